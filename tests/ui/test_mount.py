"""The page behind the guard: Gradio's doors are closed, and a new Gradio cannot open one unseen."""

from __future__ import annotations

from collections.abc import Iterator
from functools import partial
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import gradio as gr
import pytest
from fastapi import FastAPI
from starlette.routing import Mount
from starlette.testclient import TestClient

from sdwebui.ports import Account
from sdwebui.ui.loops import within_a_loop
from sdwebui.ui.mount import mount_page, user_of_request

SNAPSHOT = Path(__file__).with_name("gradio_routes.txt")


class AsPerson:
    """Stands where the guard stands: puts a person on every request."""

    def __init__(self, app: Any, account: object) -> None:
        self.app, self.account = app, account

    async def __call__(self, scope: Any, receive: Any, send: Any) -> None:
        if scope["type"] == "http":
            scope.setdefault("state", {})["user"] = self.account
        await self.app(scope, receive, send)


def echo_page() -> Any:
    """A page that hands a file back: the shape of component that Gradio's missing check concerns."""

    def place() -> Any:
        with gr.Blocks(analytics_enabled=False) as blocks:
            given, returned = gr.File(), gr.File()
            gr.Button().click(lambda file: file, given, returned, api_name="echo")
        return blocks

    return within_a_loop(place)


@pytest.fixture
def parent(page: Any) -> FastAPI:
    app = FastAPI(docs_url=None, redoc_url=None)
    mount_page(app, page, state_dirs=[Path("/var/lib/sdwebui")])
    return app


@pytest.fixture
def client(parent: FastAPI) -> Iterator[TestClient]:
    with TestClient(AsPerson(parent, Account(username="ann", role="user"))) as client:
        yield client


def gradio_app(parent: FastAPI) -> Any:
    return next(route.app for route in parent.routes if isinstance(route, Mount))


def route_lines(app: Any, prefix: str = "") -> Iterator[str]:
    """ "METHODS path" of every route, those of routers and mounts inside included."""
    for route in app.routes:
        inner = getattr(route, "original_router", None)  # how FastAPI holds an included router
        path = prefix + getattr(route, "path", "")
        methods = ",".join(sorted((getattr(route, "methods", None) or set()) - {"HEAD"}))
        if inner is not None:
            yield from route_lines(inner, prefix)
        elif isinstance(route, Mount) and route.routes:
            yield from route_lines(route, path)
        else:
            yield f"{methods or 'ANY'} {path or '/'}"


def test_the_list_of_gradios_routes_is_the_one_that_was_looked_at(parent: FastAPI):
    """After an upgrade: read the new routes, block what the page does not need (`gradio_gate.py`), renew the file."""
    lines = sorted(set(route_lines(gradio_app(parent))))
    assert len(lines) > 50
    assert lines == SNAPSHOT.read_text(encoding="utf-8").splitlines()


def test_the_page_opens_for_a_person_and_for_nobody_else(parent: FastAPI, client: TestClient):
    assert client.get("/").status_code == 200
    assert client.get("/config").status_code == 200
    with TestClient(AsPerson(parent, None)) as stranger:
        assert stranger.get("/config").status_code == 401


@pytest.mark.parametrize("state", [{}, {"user": None}, {"user": "ann"}, {"user": SimpleNamespace(username="ann")}])
def test_only_an_account_from_the_guard_is_a_person(state: dict[str, object]):
    assert user_of_request(SimpleNamespace(scope={"state": state})) is None
    assert user_of_request(SimpleNamespace(scope={})) is None


def test_the_page_is_closed_where_gradio_is_open_by_default(page: Any, parent: FastAPI):
    assert page.show_error is False
    assert page.allowed_paths == []
    assert page.blocked_paths == ["/var/lib/sdwebui"]
    assert page.has_launched is True
    assert page.run_history is False
    assert page.footer_links == []
    assert page.enable_monitoring is False
    assert page.max_file_size == 20 * 1024**2
    assert page._queue.max_size == 256
    config = page.config
    assert config["api_prefix"] == "/gradio_api"
    assert gradio_app(parent).openapi_url is None


def test_an_event_cannot_have_a_file_of_the_server():
    """Gradio 6.31 lets it when mounted: see `mount_page`."""
    app = FastAPI(docs_url=None, redoc_url=None)
    blocks = echo_page()
    mount_page(app, blocks)
    body = {"data": [{"path": "/etc/hostname", "meta": {"_type": "gradio.FileData"}}]}
    with TestClient(AsPerson(app, Account(username="ann", role="user"))) as client:
        event = client.post("/gradio_api/call/echo", json=body).json()["event_id"]
        assert "event: error" in client.get(f"/gradio_api/call/echo/{event}").text
        blocks.has_launched = False  # without the defence, so that this test is known to see the fault
        event = client.post("/gradio_api/call/echo", json=body).json()["event_id"]
        assert "event: complete" in client.get(f"/gradio_api/call/echo/{event}").text


def test_the_page_names_no_other_host(client: TestClient):
    text = client.get("/").text
    for host in ("fonts.googleapis", "fonts.gstatic", "cdn.jsdelivr", "cdnjs.cloudflare", "huggingface.co"):
        assert host not in text


def test_mounting_does_not_hide_routes_that_came_before(page: Any):
    app = FastAPI(docs_url=None, redoc_url=None)
    app.add_api_route("/healthz", lambda: {"status": "ok"})
    partial(mount_page, blocks=page)(app)
    with TestClient(AsPerson(app, Account(username="ann", role="user"))) as client:
        assert client.get("/healthz").json() == {"status": "ok"}
