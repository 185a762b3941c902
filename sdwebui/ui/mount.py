"""Puts the page into the web application, with every door of Gradio closed that it leaves open by default."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import gradio as gr

from sdwebui.ports import Account
from sdwebui.ui.loops import within_a_loop
from sdwebui.ui.texts import load_texts
from sdwebui.ui.theme import page_head, page_style, page_theme

QUEUE_LIMIT = 256
"""Page events that may wait. Handlers are short, so a full queue means a flood; Gradio then answers 503."""
CONCURRENT_EVENTS = 16
MAX_UPLOAD = "20mb"


def mount_page(parent: Any, blocks: Any, *, state_dirs: Sequence[Path] = ()) -> None:
    """Mount the page at "/". Call it last: a mount at "/" takes every path that no earlier route has.

    Args:
        parent: the FastAPI application behind the guard.
        blocks: what `build_page` returned.
        state_dirs: folders that Gradio must never serve a file from (the data folder).
    """
    within_a_loop(lambda: _mount(parent, blocks, [str(folder) for folder in state_dirs]))
    # Gradio 6.31 checks the paths of files that an event names only in a "launched" app, and mounting does not launch:
    # without this line, an event could name /etc/passwd and get it back.
    blocks.has_launched = True


def _mount(parent: Any, blocks: Any, blocked: list[str]) -> None:
    texts = load_texts()
    blocks.queue(max_size=QUEUE_LIMIT, api_open=False, default_concurrency_limit=CONCURRENT_EVENTS)
    gr.mount_gradio_app(
        parent,
        blocks,
        path="/",
        auth_dependency=user_of_request,
        show_error=False,
        allowed_paths=[],
        blocked_paths=blocked,
        max_file_size=MAX_UPLOAD,
        ssr_mode=False,
        mcp_server=False,
        enable_monitoring=False,
        run_history=False,
        footer_links=[],
        pwa=False,
        favicon_path=None,
        app_kwargs={"docs_url": None, "redoc_url": None, "openapi_url": None},
        theme=page_theme(),
        css=page_style(),
        head=page_head(texts),
        i18n=texts.i18n,
    )


def user_of_request(request: Any) -> str | None:
    """The user name that the guard put on the request; None (Gradio answers 401) when there is none.

    Must stay a plain function: older Gradio versions let everybody in when it was a coroutine.
    """
    user = request.scope.get("state", {}).get("user")
    return user.username if isinstance(user, Account) else None
