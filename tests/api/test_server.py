"""Everything together with a real Gradio page mounted behind the guard."""

from __future__ import annotations

import json
from collections.abc import AsyncIterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import gradio as gr
import pytest
from fastapi import FastAPI

from sdwebui.api.gradio_gate import refuse_gradio_path
from sdwebui.api.guard import Guard
from sdwebui.api.server import ServerRules
from tests.api.http import OWN_ORIGIN, connect, make_app
from tests.api.test_guard import CLOSED_ROUTES, METHODS, OPEN_ROUTES, filled, routes_of
from tests.fakes import Services

pytestmark = pytest.mark.anyio

PAGE_NEEDS = {
    "/", "/assets/{path:path}", "/config", "/config/", "/favicon.ico", "/logout", "/manifest.json",
    "/robots.txt", "/static/{path:path}", "/theme.css", "/openapi.json", "/gradio_api/cancel",
    "/gradio_api/component_server", "/gradio_api/component_server/", "/gradio_api/file/{path:path}",
    "/gradio_api/file={path_or_url:path}", "/gradio_api/heartbeat/{session_hash}", "/gradio_api/info",
    "/gradio_api/info/", "/gradio_api/queue/data", "/gradio_api/queue/join", "/gradio_api/queue/status",
    "/gradio_api/reset", "/gradio_api/reset/", "/gradio_api/theme.css", "/gradio_api/upload",
    "/gradio_api/upload_progress",
}  # fmt: skip
"""Gradio's routes that a logged-in person may reach; all others must be blocked. Look at new ones when Gradio is
upgraded: this list fails then."""


@dataclass(frozen=True, kw_only=True)
class Mounted:
    app: Guard
    routes: set[tuple[str, str]]
    uploads: Path


@pytest.fixture
async def mounted(fakes: Services, tmp_path: Path) -> AsyncIterator[Mounted]:
    """A page that echoes a file, mounted without Gradio's own protection (`has_launched` stays False)."""
    with gr.Blocks(analytics_enabled=False) as blocks:
        given, returned = gr.File(), gr.File()
        gr.Button().click(lambda file: file, given, returned, api_name="echo")
    parents: list[FastAPI] = []

    def mount(parent: FastAPI) -> None:
        parents.append(parent)
        gr.mount_gradio_app(parent, blocks, path="/", app_kwargs={"docs_url": None, "redoc_url": None})

    app = make_app(fakes, mount_page=mount, upload_dirs=(tmp_path,))
    async with parents[0].router.lifespan_context(parents[0]):
        yield Mounted(app=app, routes=set(routes_of(parents[0])), uploads=tmp_path)


def sample(path: str) -> str:
    """A concrete path for a route's pattern."""
    text = filled(path)
    while "{" in text:
        text = text[: text.index("{")] + "x" + text[text.index("}") + 1 :]
    return text


async def test_no_route_of_gradio_answers_a_stranger_by_any_method(mounted: Mounted):
    paths = {path for _, path in mounted.routes}
    assert len(paths) > 90
    async with connect(mounted.app) as client:
        for path in sorted(paths):
            for method in METHODS:
                if (method, path) in OPEN_ROUTES:
                    continue
                answer = await client.request(method, sample(path), headers=OWN_ORIGIN)
                assert answer.status_code == 401, (method, path)
                assert "gradio" not in answer.text


async def test_every_route_of_gradio_is_either_needed_or_blocked(mounted: Mounted):
    ours = {path for _, path in OPEN_ROUTES | CLOSED_ROUTES}
    reachable = {path for _, path in mounted.routes if refuse_gradio_path(sample(path)) is None}
    assert reachable - ours - PAGE_NEEDS == set()
    assert PAGE_NEEDS - {path for _, path in mounted.routes} == set()


async def test_blocked_routes_are_404_for_people_too(mounted: Mounted):
    async with connect(mounted.app, "bob") as client:
        for path in ("/gradio_api/token", "/monitoring", "/gradio_api/startup-events", "/pwa_icon/100", "/svelte/x.js"):
            answer = await client.get(path)
            assert (answer.status_code, answer.json()["error"]) == (404, "NotFound"), path


async def test_our_routes_win_over_gradios(mounted: Mounted):
    async with connect(mounted.app) as client:
        page = await client.get("/login")
        assert (page.status_code, "gradio" in page.text.lower()) == (200, False)
    async with connect(mounted.app, "bob") as client:
        answer = await client.get("/logout")
        assert (answer.status_code, answer.headers["allow"]) == (405, "POST")
        assert (await client.post("/login/", headers=OWN_ORIGIN)).status_code == 404
        assert (await client.get("/openapi.json")).json()["info"]["title"] == "sdwebui"


async def test_the_page_opens_with_a_policy_that_lets_its_scripts_run(mounted: Mounted):
    async with connect(mounted.app, "bob", Accept="text/html") as client:
        page = await client.get("/")
    assert page.status_code == 200
    assert "gradio" in page.text.lower()
    assert "script-src 'self'" in page.headers["content-security-policy"]


async def test_an_event_cannot_name_a_foreign_file_whatever_gradio_would_do(mounted: Mounted):
    async with connect(mounted.app, "bob") as client:
        for path in ("/etc/hostname", "http://127.0.0.1:9/x"):
            event = {
                "data": [{"path": path, "meta": {"_type": "gradio.FileData"}}],
                "fn_index": 0,
                "session_hash": "s1",
            }
            answer = await client.post("/gradio_api/queue/join", json=event)
            assert (answer.status_code, answer.json()["error"]) == (403, "NotAllowed")
            text = json.dumps(event)
            for kind in ("text/plain", "multipart/form-data; boundary=x", "application/json; charset=utf-16"):
                answer = await client.post("/gradio_api/queue/join", content=text, headers={"Content-Type": kind})
                assert answer.status_code == 403, kind


async def test_an_event_with_an_uploaded_file_goes_through_and_its_answer_is_the_persons_alone(mounted: Mounted):
    (mounted.uploads / "note.txt").write_text("hello", encoding="utf-8")
    file: dict[str, Any] = {"path": str(mounted.uploads / "note.txt"), "meta": {"_type": "gradio.FileData"}}
    async with connect(mounted.app, "bob") as bob, connect(mounted.app, "eve") as eve:
        event = {"data": [file], "fn_index": 0, "session_hash": "s2"}
        answer = await bob.post("/gradio_api/queue/join", json=event)
        assert answer.status_code == 200, answer.text
        assert (await eve.get("/gradio_api/queue/data?session_hash=s2")).status_code == 404
        assert (await eve.post("/gradio_api/queue/join", json=event)).status_code == 404
        stream = await bob.get("/gradio_api/queue/data?session_hash=s2")
        assert "process_completed" in stream.text


async def test_no_origin_is_let_in_by_cors(mounted: Mounted):
    async with connect(mounted.app, "bob") as client:
        headers = {"Origin": "http://evil.example", "Host": "pictures.example"}
        answer = await client.get("/config", headers=headers)
        assert not [name for name in answer.headers if name.startswith("access-control")]
        assert not answer.headers.get_list("set-cookie")


def test_secrets_are_not_printed():
    assert "0000" not in repr(ServerRules(secret=b"0000"))
