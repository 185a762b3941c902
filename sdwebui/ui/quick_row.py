"""The row on top of the page: checkpoint with refresh, the worker's state, who is logged in."""

from __future__ import annotations

import html
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import gradio as gr

from sdwebui.domain.results import ModelFile
from sdwebui.ui.texts import Texts


@dataclass(frozen=True, kw_only=True)
class QuickRow:
    """The widgets that other parts of the page read or change."""

    checkpoint: Any
    refresh: Any
    person: Any


def build_quick_row(texts: Texts) -> QuickRow:
    """Place the row inside the open `gr.Blocks`. The list of checkpoints is filled when a page is opened."""
    with gr.Row(elem_id="sd-quick-row", equal_height=True):
        with gr.Row(elem_id="sd-checkpoint-box"):
            # Any name is let through: the list in an open page may be older than the folder. Submitting checks.
            checkpoint = gr.Dropdown(
                choices=[],
                value=None,
                label=texts.label("checkpoint"),
                allow_custom_value=True,
                elem_id="sd-checkpoint",
                scale=1,
                min_width=200,
            )
            refresh = tool_button(texts, "refresh", elem_id="sd-refresh")
        gr.HTML("", elem_id="sd-status", js_on_load="sdwebui.status(element)")
        person = gr.HTML("", elem_id="sd-person")
    return QuickRow(checkpoint=checkpoint, refresh=refresh, person=person)


def tool_button(texts: Texts, key: str, *, elem_id: str) -> Any:
    """A small square button. Its text is for screen readers; `static/page.css` draws the sign for its id."""
    return gr.Button(
        texts.label(key), elem_id=elem_id, elem_classes=["sd-tool-button"], scale=0, min_width=42, size="sm"
    )


def checkpoint_choices(files: Sequence[ModelFile]) -> list[tuple[str, str]]:
    """(title, name) of each file, as the drop-down takes them; files that cannot be used carry a warning sign."""
    return [(f"⚠ {file.title}" if file.problem else file.title, file.name) for file in files]


def person_markup(texts: Texts, locale: str, username: str) -> str:
    """User name and log-out button. Log-out is a POST form, so that no link on another page can trigger it."""
    name = html.escape(username)
    who = html.escape(texts.say(locale, "signed_in_as", name=username))
    return (
        f'<form class="sd-person" method="post" action="/logout"><span title="{who}">{name}</span>'
        f'<button type="submit">{html.escape(texts.say(locale, "log_out"))}</button></form>'
    )
