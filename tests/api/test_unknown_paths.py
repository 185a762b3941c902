"""Addresses of the API that do not exist, with a page mounted at "/" that would take them."""

from __future__ import annotations

from collections.abc import Iterator

import pytest
from fastapi import FastAPI
from starlette.requests import Request
from starlette.responses import JSONResponse, Response

from sdwebui.api.guard import Guard
from tests.api.http import connect, make_app
from tests.fakes import Services

pytestmark = pytest.mark.anyio


def mount_greedy_page(app: FastAPI) -> None:
    """A page as Gradio's: an application of its own at "/", with its own 404."""

    async def greedy(request: Request) -> Response:
        return JSONResponse({"detail": "the page has it"}, status_code=200 if request.url.path == "/" else 404)

    page = FastAPI(docs_url=None, redoc_url=None, openapi_url=None)
    page.add_route("/{path:path}", greedy, methods=["GET", "POST", "PUT", "DELETE", "PATCH", "HEAD", "OPTIONS"])
    app.mount("/", page)


@pytest.fixture(params=["with a page", "without a page"])
def server(request: pytest.FixtureRequest, fakes: Services) -> Iterator[Guard]:
    yield make_app(fakes, mount_page=mount_greedy_page if request.param == "with a page" else None)


@pytest.mark.parametrize(
    "path",
    [
        "/sdapi",
        "/sdapi/v1/nope",
        "/sdapi/v1/options/",
        "/SDAPI/v1/nope",
        "/api/v1/nope",
        "/api/v2/jobs",
        "/internal/x",
        "/controlnet/version",
    ],
)
@pytest.mark.parametrize("method", ["GET", "POST", "DELETE", "OPTIONS"])
async def test_a_missing_address_is_a_named_404_that_says_not_found(server: Guard, method: str, path: str):
    async with connect(server, "bob") as client:
        answer = await client.request(method, path)
    assert answer.status_code == 404
    facts = answer.json()
    assert set(facts) == {"error", "detail", "field", "errors"}
    assert (facts["error"], facts["field"], facts["errors"]) == ("NotFound", "", [])
    assert "Not Found" in facts["detail"]
    assert repr(path) in facts["detail"]


@pytest.mark.parametrize(
    ("method", "path", "allow"),
    [
        ("GET", "/sdapi/v1/txt2img", "POST"),
        ("DELETE", "/sdapi/v1/options", "GET, POST"),
        ("PUT", "/api/v1/jobs", "DELETE, GET, POST"),
        ("POST", "/api/v1/jobs/some-id", "DELETE, GET"),
        ("POST", "/internal/ping", "GET"),
        ("POST", "/metrics", "GET"),
    ],
)
async def test_a_wrong_method_is_a_named_405_that_says_the_right_ones(
    server: Guard, method: str, path: str, allow: str
):
    async with connect(server, "bob") as client:
        answer = await client.request(method, path)
    assert (answer.status_code, answer.headers["allow"]) == (405, allow)
    facts = answer.json()
    assert set(facts) == {"error", "detail", "field", "errors"}
    assert method in facts["detail"]


async def test_everything_else_is_still_the_pages(fakes: Services):
    async with connect(make_app(fakes, mount_page=mount_greedy_page), "bob") as client:
        for path in ("/", "/apis", "/sdapix/v1", "/theme.css", "/gradio_api/info"):
            assert (await client.get(path)).json() == {"detail": "the page has it"}, path
        assert (await client.get("/internal/ping")).json() == {}
        assert "/sdapi/v1/txt2img" in (await client.get("/openapi.json")).json()["paths"]


async def test_a_page_may_have_one_address_under_two_routes(fakes: Services):
    async def shown(request: Request) -> Response:
        return JSONResponse(request.method)

    def mount(app: FastAPI) -> None:
        app.add_route("/both", shown, methods=["GET"])
        app.add_route("/both", shown, methods=["POST"])

    async with connect(make_app(fakes, mount_page=mount), "bob") as client:
        assert (await client.post("/both")).json() == "POST"
