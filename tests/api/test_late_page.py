"""A page that comes late: the rest answers at once, requests for the page wait, a page that fails is named."""

from __future__ import annotations

import threading

import anyio
import httpx
import pytest
from fastapi import FastAPI

from sdwebui.api.late_page import LatePage
from sdwebui.domain.errors import SdWebuiError

pytestmark = pytest.mark.anyio


@pytest.fixture
def anyio_backend() -> str:
    return "asyncio"


def server(late: LatePage) -> FastAPI:
    app = FastAPI()
    app.add_api_route("/early", lambda: "early")
    late.add_to(app)
    return app


def client(app: FastAPI) -> httpx.AsyncClient:
    return httpx.AsyncClient(transport=httpx.ASGITransport(app), base_url="http://test")


async def test_other_routes_answer_while_the_page_is_built_and_its_requests_wait():
    may_finish = threading.Event()

    def mount(app: FastAPI) -> None:
        assert may_finish.wait(10)
        app.add_api_route("/", lambda: "the page")

    app = server(LatePage(mount))
    answers: list[httpx.Response] = []
    async with app.router.lifespan_context(app), client(app) as http, anyio.create_task_group() as tasks:

        async def ask() -> None:
            answers.append(await http.get("/"))

        tasks.start_soon(ask)
        assert (await http.get("/early")).json() == "early"
        assert answers == []
        may_finish.set()
    assert [answer.json() for answer in answers] == ["the page"]


async def test_a_page_that_cannot_be_built_is_a_named_error_and_the_rest_goes_on():
    def mount(app: FastAPI) -> None:
        raise RuntimeError("a secret of the inside")

    app = server(LatePage(mount))
    async with app.router.lifespan_context(app), client(app) as http:
        assert (await http.get("/early")).status_code == 200
        with pytest.raises(SdWebuiError, match=r"could not be built \(RuntimeError\)") as caught:
            await http.get("/")
        assert "secret" not in str(caught.value)


async def test_a_server_that_was_not_started_says_so():
    async with client(server(LatePage(lambda _app: None))) as http:
        with pytest.raises(SdWebuiError, match="has not been started"):
            await http.get("/")
