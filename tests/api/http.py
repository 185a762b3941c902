"""The server under test: the real application over fake stores, spoken to over ASGI."""

from __future__ import annotations

import base64
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import anyio
import httpx
from fastapi import FastAPI

from sdwebui.api.guard import Guard
from sdwebui.api.request_rules import HostRule, RequestRules, SizeRule
from sdwebui.api.server import ServerRules, Services, create_app
from tests.fakes import PASSWORD
from tests.fakes import Services as Fakes

HOME = "http://localhost:7860"
OWN_ORIGIN = {"Origin": HOME}
BROWSER = {"Sec-Fetch-Site": "same-origin", "Sec-Fetch-Mode": "cors", "User-Agent": "Mozilla/5.0"}


def basic(username: str, password: str = PASSWORD) -> str:
    return "Basic " + base64.b64encode(f"{username}:{password}".encode()).decode()


def make_app(
    fakes: Fakes,
    *,
    mount_page: Callable[[FastAPI], object] | None = None,
    upload_dirs: tuple[Path, ...] = (),
    sizes: SizeRule | None = None,
    monotonic: Callable[[], float] = time.monotonic,
) -> Guard:
    services = Services(
        generation=fakes.generation,
        library=fakes.library,
        options=fakes.options,
        accounts=fakes.accounts,
        job_counts=lambda: {"queued": 0, "running": 0},
    )
    rules = ServerRules(
        secret=b"0" * 32,
        requests=RequestRules(hosts=HostRule.for_binding("127.0.0.1", ["pictures.example"]), sizes=sizes or SizeRule()),
        upload_dirs=upload_dirs,
    )
    return create_app(services, rules, mount_page=mount_page, monotonic=monotonic)


def connect(app: Guard, username: str = "", *, home: str = HOME, **headers: str) -> httpx.AsyncClient:
    """A client; with a user name it sends HTTP Basic, as A1111 clients do."""
    given = {**({"Authorization": basic(username)} if username else {}), **headers}
    return httpx.AsyncClient(transport=httpx.ASGITransport(app=app), base_url=home, headers=given, timeout=20)


async def asgi(app: Guard, scope: dict[str, Any], *messages: dict[str, Any]) -> list[dict[str, Any]]:
    """Speak ASGI directly, for what no HTTP client would send."""
    sent: list[dict[str, Any]] = []
    incoming = list(messages) or [{"type": "http.request", "body": b"", "more_body": False}]

    async def receive() -> dict[str, Any]:
        if not incoming:
            await anyio.sleep_forever()
        return incoming.pop(0)

    async def send(message: Any) -> None:
        sent.append(dict(message))

    await app(scope, receive, send)
    return sent


def http_scope(method: str, path: str, **headers: str) -> dict[str, Any]:
    """A plain ASGI scope with a good Host."""
    named = {"host": "localhost:7860", **{name.replace("_", "-"): value for name, value in headers.items()}}
    return {
        "type": "http",
        "asgi": {"version": "3.0", "spec_version": "2.3"},
        "http_version": "1.1",
        "method": method,
        "scheme": "http",
        "path": path,
        "raw_path": path.encode(),
        "query_string": b"",
        "root_path": "",
        "headers": [(name.lower().encode(), value.encode("latin-1")) for name, value in named.items() if value],
        "client": ("127.0.0.1", 50000),
        "server": ("127.0.0.1", 7860),
    }
