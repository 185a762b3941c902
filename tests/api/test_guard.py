"""The door: a route audit over everything that is mounted, then each check of the guard."""

from __future__ import annotations

import logging
from collections.abc import Iterator
from typing import Any

import pytest
from fastapi import FastAPI
from starlette.requests import Request
from starlette.responses import PlainTextResponse, Response, StreamingResponse

from sdwebui.api.guard import OPEN, Guard
from sdwebui.api.request_rules import SizeRule
from tests.api.http import BROWSER, OWN_ORIGIN, asgi, basic, connect, http_scope, make_app
from tests.fakes import Services, make_services

pytestmark = pytest.mark.anyio

METHODS = ("GET", "HEAD", "POST", "PUT", "PATCH", "DELETE", "OPTIONS", "TRACE", "PROPFIND")
OPEN_ROUTES = {
    ("GET", "/login"),
    ("HEAD", "/login"),
    ("POST", "/login"),
    ("GET", "/login.css"),
    ("GET", "/healthz"),
    ("HEAD", "/healthz"),
    ("GET", "/favicon.ico"),
    ("GET", "/robots.txt"),
}
CLOSED_ROUTES = {
    ("GET", "/openapi.json"),
    ("GET", "/docs"),
    ("GET", "/docs.css"),
    ("GET", "/readyz"),
    ("GET", "/metrics"),
    ("GET", "/internal/ping"),
    ("POST", "/logout"),
    ("GET", "/logout"),
    ("POST", "/api/v1/jobs"),
    ("GET", "/api/v1/jobs"),
    ("DELETE", "/api/v1/jobs"),
    ("GET", "/api/v1/jobs/{job_id}"),
    ("DELETE", "/api/v1/jobs/{job_id}"),
    ("GET", "/api/v1/jobs/{job_id}/events"),
    ("GET", "/api/v1/jobs/{job_id}/preview"),
    ("GET", "/api/v1/images/{image_id}"),
    ("POST", "/sdapi/v1/txt2img"),
    ("GET", "/sdapi/v1/progress"),
    ("POST", "/sdapi/v1/interrupt"),
    ("POST", "/sdapi/v1/skip"),
    ("GET", "/sdapi/v1/sd-models"),
    ("POST", "/sdapi/v1/refresh-checkpoints"),
    ("GET", "/sdapi/v1/samplers"),
    ("GET", "/sdapi/v1/schedulers"),
    ("GET", "/sdapi/v1/memory"),
    ("GET", "/sdapi/v1/options"),
    ("POST", "/sdapi/v1/options"),
    ("POST", "/sdapi/v1/png-info"),
}
"""Every route of ours. A new one fails `test_every_route_has_an_expectation` until it stands here."""
TRICKS = (
    "{0}/", "/{0}", "//x{0}", "{0};x", "{0}%2f", "{0}%00", "/.{0}", "/x/..{0}", "{0}?x=/login", "{0}/../login",
    "/login/..{0}", "/login%2f..{0}", "/healthz/..{0}", "/login{0}", "/LOGIN", "/Login", "/login/", "/login;x",
    "/login%00", "/healthz/", "/login.css/x", "/%2e%2e/login", "\\login", "/login\\..{0}",
)  # fmt: skip


def routes_of(router: Any, prefix: str = "") -> Iterator[tuple[str, str]]:
    """Method and path of every route, through mounts and included routers."""
    for route in getattr(router, "routes", []):
        path = prefix + getattr(route, "path", "")
        for method in sorted(getattr(route, "methods", None) or []):
            yield method, path
        for inner in ("app", "original_router"):
            if hasattr(route, inner) and hasattr(getattr(route, inner), "routes"):
                yield from routes_of(getattr(route, inner), path)


def inner_app(fakes: Services) -> FastAPI:
    apps: list[FastAPI] = []
    make_app(fakes, mount_page=apps.append)
    return apps[0]


def filled(path: str) -> str:
    return path.replace("{job_id}", "job1").replace("{image_id}", "image1")


async def test_every_route_has_an_expectation(fakes: Services):
    present = {route for route in routes_of(inner_app(fakes)) if route[0] != "HEAD"}
    assert present == {route for route in OPEN_ROUTES | CLOSED_ROUTES if route[0] != "HEAD"}
    assert OPEN == OPEN_ROUTES


@pytest.mark.parametrize("path", [*sorted({path for _, path in CLOSED_ROUTES}), "/", "/nothing", "/gradio_api/info"])
async def test_no_method_of_a_closed_route_answers_a_stranger(app: Guard, path: str):
    async with connect(app) as client:
        for method in METHODS:
            answer = await client.request(method, filled(path), headers=OWN_ORIGIN)
            assert answer.status_code == 401, (method, path)
            assert method == "HEAD" or answer.json()["error"] == "NotLoggedIn"


@pytest.mark.parametrize("trick", TRICKS)
async def test_no_spelling_of_a_path_gets_round_the_login(app: Guard, trick: str):
    for path in ("/sdapi/v1/options", "/docs", "/api/v1/jobs"):
        for method in ("GET", "POST"):
            raw = trick.format(path)
            scope = http_scope(method, raw.replace("%2f", "/").replace("%00", "\0").replace("%2e", "."), **OWN_ORIGIN)
            sent = await asgi(app, {**scope, "raw_path": raw.encode()})
            assert sent[0]["status"] in (401, 303), raw


async def test_other_methods_of_open_paths_are_closed(app: Guard):
    async with connect(app) as client:
        for path in ("/login.css", "/healthz", "/favicon.ico", "/robots.txt"):
            for method in ("POST", "PUT", "DELETE", "OPTIONS"):
                assert (await client.request(method, path, headers=OWN_ORIGIN)).status_code == 401


async def test_an_override_header_does_not_change_the_method(app: Guard):
    async with connect(app) as client:
        headers = {**OWN_ORIGIN, "X-HTTP-Method-Override": "GET", "X-Original-URL": "/login"}
        assert (await client.post("/healthz", headers=headers)).status_code == 401


async def test_a_browser_is_sent_to_the_login_page_and_learns_nothing_else(app: Guard):
    async with connect(app, Accept="text/html") as client:
        for path in ("/", "/docs", "/anything"):
            answer = await client.get(path)
            assert (answer.status_code, answer.headers["location"], answer.text) == (303, "/login", "")
        assert (await client.get("/sdapi/v1/options")).status_code == 401


async def test_unauthorised_programs_are_asked_for_basic_but_pages_get_no_dialog(app: Guard):
    async with connect(app) as client:
        assert (await client.get("/metrics")).headers["www-authenticate"].startswith("Basic")
        assert (await client.get("/metrics", headers=BROWSER)).headers["www-authenticate"].startswith("Bearer")


async def test_tricky_paths_are_refused_after_login_too(app: Guard):
    async with connect(app, "bob") as client:
        for path in ("/sdapi/v1//options", "/sdapi/v1/options;x", "/sdapi/v1%2foptions", "/a%5cb", "/%252e%252e/x"):
            assert (await client.get(path)).status_code == 400, path


async def test_unknown_methods_are_refused_after_login(app: Guard):
    async with connect(app, "bob", **OWN_ORIGIN) as client:
        for method in ("TRACE", "PROPFIND", "CONNECT"):
            answer = await client.request(method, "/sdapi/v1/options")
            assert (answer.status_code, answer.json()["error"]) == (405, "InvalidRequest")
            assert answer.headers["allow"] == "DELETE, GET, HEAD, OPTIONS, PATCH, POST, PUT"


async def test_foreign_hosts_are_refused_before_anything_else(app: Guard):
    async with connect(app, "bob") as client:
        for host in ("evil.example", "localhost.evil.example", "169.254.169.254", "pictures.example.evil"):
            assert (await client.get("/healthz", headers={"Host": host})).status_code == 421
        for host in ("localhost:1", "127.0.0.1", "[::1]:7860", "pictures.example", "LOCALHOST"):
            assert (await client.get("/healthz", headers={"Host": host})).status_code == 200
        for host in ("", "a b", "user@localhost", "localhost/x"):
            assert (await client.get("/healthz", headers={"Host": host})).status_code == 400


async def test_a_request_without_host_or_with_two_is_refused(app: Guard):
    scope = http_scope("GET", "/healthz")
    assert (await asgi(app, {**scope, "headers": []}))[0]["status"] == 400
    assert (await asgi(app, {**scope, "headers": scope["headers"] * 2}))[0]["status"] == 400


@pytest.mark.parametrize(
    "headers",
    [
        {"Origin": "http://evil.example"},
        {"Origin": "null"},
        {"Origin": "http://localhost:1234"},
        {"Origin": "http://sub.localhost:7860"},
        {"Sec-Fetch-Site": "cross-site"},
        {"Sec-Fetch-Site": "same-site", "Origin": "http://localhost:7860"},
        {"Sec-Fetch-Site": "none", "Origin": "http://evil.example"},
    ],
)
async def test_changes_from_other_sites_are_refused_even_with_credentials(app: Guard, headers: dict[str, str]):
    async with connect(app, "bob") as client:
        for path in ("/sdapi/v1/options", "/logout", "/api/v1/jobs", "/login"):
            answer = await client.post(path, headers=headers)
            assert (answer.status_code, answer.json()["error"]) == (403, "NotAllowed")


async def test_a_change_with_the_cookie_alone_needs_proof_of_same_origin(app: Guard, fakes: Services):
    token = fakes.accounts.log_in("bob", "correct horse battery", address="127.0.0.1")
    async with connect(app, Cookie=f"sdwebui-session={token}") as client:
        assert (await client.post("/sdapi/v1/refresh-checkpoints")).status_code == 403
        assert (await client.post("/sdapi/v1/refresh-checkpoints", headers=OWN_ORIGIN)).status_code == 200
        assert (await client.post("/sdapi/v1/refresh-checkpoints", headers=BROWSER)).status_code == 200


async def test_a_program_that_shows_nothing_at_all_is_asked_who_it_is(app: Guard):
    async with connect(app) as client:
        for path in ("/sdapi/v1/txt2img", "/api/v1/jobs", "/internal/ping", "/controlnet/detect", "/sdapi/v1/nope"):
            for method in ("POST", "PUT", "DELETE"):
                for headers in ({}, {"Authorization": ""}):
                    answer = await client.request(method, path, json={}, headers=headers)
                    assert (answer.status_code, answer.json()["error"]) == (401, "NotLoggedIn"), (method, path)
                    assert answer.headers["www-authenticate"].startswith("Basic")


async def test_pages_of_other_sites_are_refused_with_and_without_a_cookie(app: Guard, fakes: Services):
    token = fakes.accounts.log_in("bob", "correct horse battery", address="127.0.0.1")
    cookies: tuple[dict[str, str], ...] = ({}, {"Cookie": f"sdwebui-session={token}"}, {"Cookie": "other=1"})
    for cookie in cookies:
        async with connect(app, **cookie) as client:
            for foreign in ({"Origin": "http://evil.example"}, {"Sec-Fetch-Site": "cross-site"}):
                assert (await client.post("/sdapi/v1/txt2img", headers=foreign)).status_code == 403
    async with connect(app, Cookie="other=1") as client:
        assert (await client.post("/sdapi/v1/txt2img")).status_code == 403
    async with connect(app) as client:
        assert (await client.post("/logout")).status_code == 403


async def test_programs_with_credentials_need_no_origin(app: Guard):
    async with connect(app, "bob") as client:
        assert (await client.post("/sdapi/v1/refresh-checkpoints")).status_code == 200


async def test_other_sites_can_link_here_but_not_embed_or_fetch(app: Guard):
    async with connect(app, "bob") as client:
        link = {"Sec-Fetch-Site": "cross-site", "Sec-Fetch-Mode": "navigate", "Sec-Fetch-Dest": "document"}
        assert (await client.get("/docs", headers=link)).status_code == 200
        for dest, mode in (("iframe", "navigate"), ("image", "no-cors"), ("empty", "cors"), ("script", "no-cors")):
            headers = {"Sec-Fetch-Site": "cross-site", "Sec-Fetch-Mode": mode, "Sec-Fetch-Dest": dest}
            assert (await client.get("/docs", headers=headers)).status_code == 403


async def test_too_many_or_too_long_headers_are_refused(app: Guard):
    async with connect(app) as client:
        assert (await client.get("/healthz", headers={f"x-{i}": "1" for i in range(120)})).status_code == 431
        assert (await client.get("/healthz", headers={"x-long": "a" * 70_000})).status_code == 431
        assert (await client.get("/healthz", headers={"Authorization": "Basic " + "A" * 10_000_000})).status_code == 431
        assert (await client.get("/healthz?" + "a" * 9000)).status_code == 414


async def test_a_body_over_the_limit_is_refused_announced_or_not(fakes: Services):
    app = make_app(fakes, sizes=SizeRule(api_body=1000, page_body=1000, open_body=100))

    async def chunks() -> Any:
        for _ in range(30):
            yield b'{"prompt": "' + b"a" * 100

    async with connect(app, "bob") as client:
        for content in (b"a" * 2000, chunks()):
            answer = await client.post(
                "/sdapi/v1/txt2img", content=content, headers={"Content-Type": "application/json"}
            )
            assert (answer.status_code, answer.json()["error"]) == (413, "InvalidRequest")
        assert (await client.post("/login", content=b"a" * 200, headers=OWN_ORIGIN)).status_code == 413
        assert (await client.get("/healthz", headers={"Content-Length": "1e9"})).status_code == 400


async def test_wrong_and_malformed_credentials_are_401_json(app: Guard):
    bad = (
        "Basic",
        "Basic !!!",
        "Basic AAAA",
        "Basic /w==",
        "Digest x",
        "Bearer ",
        "Bearer nonsense",
        basic("bob", "no"),
    )
    async with connect(app) as client:
        for value in bad:
            answer = await client.get("/sdapi/v1/options", headers={"Authorization": value})
            assert (answer.status_code, answer.json()["error"]) == (401, "NotLoggedIn"), value


async def test_passwords_with_colons_and_umlauts_work_over_basic(app: Guard, fakes: Services):
    fakes.accounts.add("zoë", "pass:word:mit:Ümläut")
    async with connect(app, Authorization=basic("zoë", "pass:word:mit:Ümläut")) as client:
        assert (await client.get("/internal/ping")).status_code == 200


async def test_an_empty_authorization_header_counts_as_none(app: Guard, fakes: Services):
    token = fakes.accounts.log_in("bob", "correct horse battery", address="127.0.0.1")
    async with connect(app, Authorization="", Cookie=f"sdwebui-session={token}") as client:
        assert (await client.get("/internal/ping")).status_code == 200


async def test_tokens_work_until_they_are_revoked_or_the_account_is_disabled(app: Guard, fakes: Services):
    token = fakes.accounts.add_token("bob", "script")
    async with connect(app, Authorization=f"Bearer {token}") as client:
        assert (await client.get("/internal/ping")).status_code == 200
        fakes.accounts.disable("bob")
        assert (await client.get("/internal/ping")).status_code == 401
        fakes.accounts.disable("bob", False)
        fakes.accounts.revoke_token("script")
        assert (await client.get("/internal/ping")).status_code == 401


async def test_a_changed_password_ends_basic_and_cookie_at_once(app: Guard, fakes: Services):
    token = fakes.accounts.log_in("bob", "correct horse battery", address="127.0.0.1")
    async with connect(app, "bob") as by_basic, connect(app, Cookie=f"sdwebui-session={token}") as by_cookie:
        assert (await by_basic.get("/internal/ping")).status_code == 200
        assert (await by_cookie.get("/internal/ping")).status_code == 200
        fakes.accounts.set_password("bob", "another good passphrase")
        assert (await by_basic.get("/internal/ping")).status_code == 401
        assert (await by_cookie.get("/internal/ping")).status_code == 401


async def test_guessing_over_basic_is_throttled(app: Guard):
    async with connect(app) as client:
        answers = [
            await client.get("/internal/ping", headers={"Authorization": basic("bob", f"guess {i}")}) for i in range(12)
        ]
    assert answers[0].status_code == 401
    assert answers[-1].status_code == 429
    assert int(answers[-1].headers["retry-after"]) > 0


async def test_connections_of_other_kinds_are_refused(app: Guard, caplog: pytest.LogCaptureFixture):
    assert await asgi(app, {"type": "smtp"}) == []
    assert "unknown type" in caplog.text


async def test_websockets_of_strangers_and_foreign_pages_are_closed(app: Guard, fakes: Services):
    token = fakes.accounts.log_in("bob", "correct horse battery", address="127.0.0.1")
    cookie = f"sdwebui-session={token}"
    for headers in (
        {},
        {"origin": "http://localhost:7860"},
        {"cookie": cookie},
        {"cookie": cookie, "origin": "http://evil.example"},
    ):
        scope = {**http_scope("GET", "/ws", **headers), "type": "websocket"}
        del scope["method"]
        sent = await asgi(app, scope, {"type": "websocket.connect"})
        assert [message["type"] for message in sent] == ["websocket.close"]


async def test_every_answer_has_the_security_headers_and_none_too_many(app: Guard):
    async with connect(app, "bob") as client, connect(app) as stranger:
        answers = [
            await client.get("/sdapi/v1/options"),
            await client.get("/docs"),
            await client.get("/nothing/here"),
            await client.post("/sdapi/v1/txt2img", json={"steps": 0}),
            await stranger.get("/login"),
            await stranger.get("/"),
            await stranger.get("/healthz", headers={"Host": "evil.example", "Origin": "http://evil.example"}),
        ]
    for answer in answers:
        headers = answer.headers
        assert headers["x-content-type-options"] == "nosniff"
        assert headers["cross-origin-resource-policy"] == "same-origin"
        assert "frame-ancestors" in headers["content-security-policy"]
        assert headers["referrer-policy"] == "same-origin"
        assert "strict-transport-security" not in headers
        assert not [name for name in headers if name.startswith("access-control") or name in ("server", "x-powered-by")]


def page_with(*paths_and_endpoints: tuple[str, Any]) -> Any:
    def mount(app: FastAPI) -> None:
        for path, endpoint in paths_and_endpoints:
            app.add_route(path, endpoint, methods=["GET"])

    return mount


async def test_headers_that_a_part_of_the_page_reflects_do_not_leave(fakes: Services):
    async def reflecting(request: Request) -> Response:
        answer = PlainTextResponse("x", headers=dict(request.headers))
        answer.headers["Access-Control-Allow-Origin"] = "*"
        answer.set_cookie("access-token-unsecure", "t", samesite="none")
        answer.headers.append("Set-Cookie", "sdwebui-session=x; SameSite=None; Secure")
        return answer

    app = make_app(fakes, mount_page=page_with(("/file", reflecting)))
    async with connect(app, "bob", Cookie="secret=1") as client:
        answer = await client.get("/file", headers={"Range": "bytes=0-1"})
    for name in ("cookie", "authorization", "host", "range", "set-cookie", "access-control-allow-origin", "user-agent"):
        assert name not in answer.headers


async def test_a_crash_is_a_named_500_without_its_text_and_logged_once(
    fakes: Services, caplog: pytest.LogCaptureFixture
):
    async def crashing(_: Request) -> Response:
        raise ZeroDivisionError("the secret of life")

    app = make_app(fakes, mount_page=page_with(("/crash", crashing)))
    async with connect(app, "bob") as client:
        answer = await client.get("/crash")
    assert (answer.status_code, answer.json()["error"]) == (500, "SdWebuiError")
    assert "secret" not in answer.text
    assert "Traceback" not in answer.text
    crashes = [record for record in caplog.records if record.levelno == logging.ERROR]
    assert len(crashes) == 1
    assert crashes[0].exc_info


async def test_a_running_answer_ends_when_its_login_ends(fakes: Services):
    token = fakes.accounts.log_in("bob", "correct horse battery", address="127.0.0.1")
    now = [0.0]

    async def endless(_: Request) -> Response:
        async def lines() -> Any:
            for number in range(100):
                if number == 3:
                    fakes.accounts.log_out(token)
                    now[0] += 6.0
                yield f"{number}\n"

        return StreamingResponse(lines())

    guard = make_app(fakes, mount_page=page_with(("/stream", endless)), monotonic=lambda: now[0])
    sent = await asgi(guard, http_scope("GET", "/stream", cookie=f"sdwebui-session={token}"))
    assert b"".join(message.get("body", b"") for message in sent) == b"0\n1\n2\n"
    assert sent[-1].get("more_body", False) is False


async def test_over_tls_only_the_host_cookie_counts_and_hsts_is_set():
    with make_services() as fakes:
        app = make_app(fakes)
        token = fakes.accounts.log_in("bob", "correct horse battery", address="127.0.0.1")
        async with connect(app, home="https://pictures.example", Cookie=f"sdwebui-session={token}") as client:
            assert (await client.get("/internal/ping")).status_code == 401
        async with connect(app, home="https://pictures.example", Cookie=f"__Host-sdwebui-session={token}") as client:
            answer = await client.get("/internal/ping")
            assert answer.status_code == 200
            assert "strict-transport-security" in answer.headers
