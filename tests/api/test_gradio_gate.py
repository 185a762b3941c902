from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

from sdwebui.api.gradio_gate import MAX_SESSIONS, GradioGate, carries_json, refuse_gradio_path
from tests.api.http import http_scope

HOST = "localhost:7860"


@pytest.fixture
def gate(tmp_path: Path) -> GradioGate:
    (tmp_path / "uploads").mkdir()
    return GradioGate([tmp_path / "uploads"])


def refused(gate: GradioGate, data: Any, username: str = "bob") -> int:
    refusal = gate.refuse_body(json.dumps(data).encode(), host=HOST, username=username)
    return refusal.status if refusal else 0


def file(path: str, **more: Any) -> dict[str, Any]:
    return {"data": [{"path": path, "meta": {"_type": "gradio.FileData"}, **more}]}


@pytest.mark.parametrize(
    "path",
    [
        "/gradio_api/proxy=http://x/", "/gradio_api/proxy=x", "/proxy=x", "/file=/etc/passwd", "/gradio_api/vibe-edit/",
        "/gradio_api/vibe-code", "/gradio_api/undo-vibe-edit", "/gradio_api/run-history/records", "/gradio_api/runs",
        "/monitoring", "/monitoring/summary", "/monitoring/abc", "/gradio_api/monitoring/summary",
        "/gradio_api/profiling/traces", "/gradio_api/process_recording", "/gradio_api/deep_link",
        "/gradio_api/startup-events", "/gradio_api/dev/reload", "/gradio_api/custom_component/x/client/y/z.js",
        "/gradio_api/stream/abc", "/gradio_api/stream/abc/close", "/gradio_api/api/predict", "/gradio_api/run/predict",
        "/gradio_api/call/predict", "/gradio_api/call/v2/predict/1", "/gradio_api/token", "/gradio_api/token/",
        "/gradio_api/user", "/gradio_api/app_id", "/pwa_icon", "/pwa_icon/9999", "/svelte/x.js", "/GRADIO_API/Token",
        "/gradio_api/openapi.json", "/gradio_api/mcp/sse",
    ],
)  # fmt: skip
def test_routes_that_the_page_does_not_need_are_blocked(path: str):
    refusal = refuse_gradio_path(path)
    assert refusal is not None
    assert refusal.status == 404


@pytest.mark.parametrize(
    "path",
    [
        "/", "/config", "/assets/index.js", "/static/img/logo.svg", "/theme.css", "/gradio_api/queue/join",
        "/gradio_api/queue/data", "/gradio_api/upload", "/gradio_api/upload_progress", "/gradio_api/file=/tmp/x.png",
        "/gradio_api/heartbeat/abc", "/gradio_api/info", "/gradio_api/cancel", "/gradio_api/reset",
        "/gradio_api/component_server", "/manifest.json", "/gradio_api/users-guide",
    ],
)  # fmt: skip
def test_routes_that_the_page_needs_are_open(path: str):
    assert refuse_gradio_path(path) is None


def test_events_may_name_uploaded_files_only(gate: GradioGate, tmp_path: Path):
    (tmp_path / "uploads" / "link").symlink_to("/etc")
    good = str(tmp_path / "uploads" / "abc" / "picture.png")
    assert refused(gate, file(good)) == 0
    assert refused(gate, file("")) == 0
    for bad in (
        "/etc/passwd", good + "/../../../secret", "../secret", "secret", "http://evil.example/x.png", "https://x/y",
        "file:///etc/passwd", str(tmp_path / "uploads-of-others" / "x"), "\0",
        str(tmp_path / "uploads" / "link" / "passwd"),
        "~/x", "C:\\x",
    ):  # fmt: skip
        assert refused(gate, file(bad)) == 403, bad


def test_files_are_found_at_any_depth_and_without_the_type_mark(gate: GradioGate):
    assert refused(gate, {"data": [[{"a": [{"path": "/etc/passwd"}]}]]}) == 403
    assert refused(gate, {"event_data": {"value": {"path": "/etc/passwd"}}}) == 403
    deep: Any = {"path": "/etc/passwd"}
    for _ in range(500):
        deep = [deep]
    assert refused(gate, deep) == 403


def test_urls_in_events_must_be_our_own(gate: GradioGate, tmp_path: Path):
    path = str(tmp_path / "uploads" / "x.png")
    for url in (
        f"http://{HOST}/gradio_api/file=/x",
        "/gradio_api/file=/x",
        "data:image/png;base64,AA",
        "blob:x",
        "",
        None,
    ):
        assert refused(gate, file(path, url=url)) == 0, url
    for url in ("http://evil.example/x", "//evil.example/x", "ftp://x/y", "file:///etc/passwd", "http://localhost:1/x"):
        assert refused(gate, file(path, url=url)) == 403, url


def test_text_with_addresses_in_it_is_no_file(gate: GradioGate):
    assert refused(gate, {"data": ["see http://example.org/path", 3, None, True], "session_hash": "s"}) == 0


@pytest.mark.parametrize("body", [b"{", b"[" * 200_000, b"\xff"])
def test_broken_events_are_refused(gate: GradioGate, body: bytes):
    refusal = gate.refuse_body(body, host=HOST, username="bob")
    assert refusal is not None
    assert refusal.status == 400


def test_an_empty_body_is_harmless(gate: GradioGate):
    assert gate.refuse_body(b"", host=HOST, username="bob") is None


def test_an_event_session_belongs_to_who_used_it_first(gate: GradioGate):
    assert refused(gate, {"data": [], "session_hash": "abc"}, "bob") == 0
    assert refused(gate, {"data": [], "session_hash": "abc"}, "bob") == 0
    assert refused(gate, {"data": [], "session_hash": "abc"}, "eve") == 404
    stream = {**http_scope("GET", "/gradio_api/queue/data"), "query_string": b"session_hash=abc"}
    beat = http_scope("GET", "/gradio_api/heartbeat/abc")
    for scope in (stream, beat):
        assert gate.refuse_session(scope, "bob") is None
        assert gate.refuse_session(scope, "eve") is not None


def test_the_memory_of_sessions_is_bounded(gate: GradioGate):
    for number in range(MAX_SESSIONS + 10):
        refused(gate, {"session_hash": str(number)})
    assert len(gate._owners) == MAX_SESSIONS


def test_what_counts_as_an_event_body():
    assert carries_json(http_scope("POST", "/gradio_api/queue/join", content_type="application/json"))
    assert carries_json(http_scope("POST", "/gradio_api/queue/join", content_type="multipart/form-data; boundary=x"))
    assert carries_json(http_scope("POST", "/gradio_api/queue/join"))
    assert not carries_json(http_scope("POST", "/gradio_api/upload", content_type="multipart/form-data; boundary=x"))
    assert not carries_json(http_scope("GET", "/gradio_api/queue/data"))
    assert not carries_json(http_scope("POST", "/sdapi/v1/txt2img"))
