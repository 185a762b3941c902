"""A headless Chromium and servers for it to look at."""

from __future__ import annotations

import socket
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytest
import uvicorn

CHROMIUM = Path("/usr/bin/chromium")
ARGUMENTS = (
    "--headless",
    "--no-sandbox",
    "--disable-gpu",
    "--disable-quic",
    "--no-first-run",
    "--disable-background-networking",
    "--disable-component-update",
    "--disable-sync",
)
DESKTOP = {"width": 1400, "height": 1000}
PHONE = {"width": 420, "height": 900}


@pytest.fixture(scope="module")
def browser() -> Iterator[Any]:
    """One Chromium for a file of tests; ended with it, because its driver keeps an event loop running meanwhile."""
    if not CHROMIUM.exists():
        pytest.fail(
            f"{CHROMIUM} is not installed: run scripts/test as root once, or leave these out with -m 'not browser'"
        )
    from playwright.sync_api import sync_playwright

    with sync_playwright() as playwright:
        chromium = playwright.chromium.launch(executable_path=str(CHROMIUM), args=list(ARGUMENTS))
        yield chromium
        chromium.close()


@pytest.fixture
def open_page(browser: Any) -> Iterator[Callable[..., Any]]:
    """Opens a page in a fresh profile. At the end: no request went to another host and no script failed."""
    foreign: list[str] = []
    broken: list[str] = []
    contexts: list[Any] = []

    def note(request: Any) -> None:
        if not request.url.startswith(("http://127.0.0.1:", "data:", "blob:")):
            foreign.append(request.url)

    def open_one(url: str, *, size: dict[str, int] = DESKTOP, locale: str = "en-US", dark: bool = False) -> Any:
        scheme = "dark" if dark else "light"
        contexts.append(browser.new_context(viewport=size, locale=locale, color_scheme=scheme))
        page = contexts[-1].new_page()
        page.on("request", note)
        page.on("pageerror", lambda error: broken.append(str(error)))
        page.set_default_timeout(30_000)
        page.goto(url)
        return page

    yield open_one
    for context in contexts:
        context.close()
    assert foreign == []
    assert broken == []


def free_port() -> int:
    """A loopback port that nobody listens on."""
    with socket.socket() as one:
        one.bind(("127.0.0.1", 0))
        return int(one.getsockname()[1])


@contextmanager
def served(app: Any) -> Iterator[str]:
    """The application on a loopback port; gives its address."""
    port = free_port()
    server = uvicorn.Server(uvicorn.Config(app, host="127.0.0.1", port=port, log_level="error", ws="none"))
    thread = threading.Thread(target=server.run, daemon=True)
    thread.start()
    until = time.monotonic() + 30
    while not server.started:
        assert thread.is_alive(), "the server ended while it started"
        assert time.monotonic() < until, "the server did not start within 30 s"
        time.sleep(0.05)
    yield f"http://127.0.0.1:{port}"
    server.should_exit = True
    server.force_exit = True
    thread.join(10)


def log_in(page: Any, username: str, password: str) -> None:
    """Fill in the login page, and wait for the page behind it."""
    page.fill("input[name=username]", username)
    page.fill("input[name=password]", password)
    page.press("input[name=password]", "Enter")
    page.wait_for_selector("#sd-prompt textarea")
    page.wait_for_selector("#sd-person form")
