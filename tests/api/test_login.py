"""Logging in and out over HTTP: the form, its token, throttle, cookies, fixation."""

from __future__ import annotations

import re

import httpx
import pytest

from sdwebui.api.guard import Guard
from tests.api.http import HOME, OWN_ORIGIN, connect, make_app
from tests.fakes import PASSWORD, Services

pytestmark = pytest.mark.anyio

TLS = "https://pictures.example"


async def form_token(client: httpx.AsyncClient) -> str:
    page = await client.get("/login")
    found = re.search(r'name="csrf" value="([0-9a-f]{64})"', page.text)
    assert found
    return found[1]


async def log_in(
    client: httpx.AsyncClient, username: str = "bob", password: str = PASSWORD, **more: str
) -> httpx.Response:
    form = {"username": username, "password": password, "csrf": await form_token(client), **more}
    return await client.post("/login", data=form, headers={"Origin": str(client.base_url).rstrip("/")})


async def test_a_good_login_gives_a_strict_cookie_and_leads_to_the_page(app: Guard):
    async with connect(app) as client:
        answer = await log_in(client)
        assert (answer.status_code, answer.headers["location"]) == (303, "/")
        cookies = [value for value in answer.headers.get_list("set-cookie") if value.startswith("sdwebui-session=")]
        assert len(cookies) == 1
        assert {"HttpOnly", "Path=/", "SameSite=lax"} <= {part.strip() for part in cookies[0].split(";")}
        assert "Secure" not in cookies[0]
        assert (await client.get("/internal/ping")).status_code == 200


async def test_over_tls_the_cookie_is_secure_and_bound_to_the_host(app: Guard):
    async with connect(app, home=TLS) as client:
        answer = await log_in(client)
        (cookie,) = [v for v in answer.headers.get_list("set-cookie") if v.startswith("__Host-sdwebui-session=")]
        assert {"HttpOnly", "Path=/", "SameSite=lax", "Secure"} <= {part.strip() for part in cookie.split(";")}
        assert "Domain" not in cookie
        assert (await client.get("/internal/ping")).status_code == 200


async def test_the_cookie_is_new_at_each_login_and_a_planted_one_is_worthless(app: Guard):
    async with connect(app) as client:
        client.cookies.set("sdwebui-session", "planted-by-an-attacker", domain="localhost.local")
        await log_in(client)
        first = client.cookies["sdwebui-session"]
        assert first != "planted-by-an-attacker"
        await log_in(client)
        second = client.cookies["sdwebui-session"]
    assert first != second
    async with connect(app, Cookie="sdwebui-session=planted-by-an-attacker") as attacker:
        assert (await attacker.get("/internal/ping")).status_code == 401
    async with connect(app, Cookie=f"sdwebui-session={first}") as old:
        assert (await old.get("/internal/ping")).status_code == 401


async def test_logging_out_ends_the_session_on_the_server(app: Guard):
    async with connect(app) as client:
        await log_in(client)
        stolen = client.cookies["sdwebui-session"]
        assert (await client.get("/logout")).status_code == 405
        answer = await client.post("/logout", headers=OWN_ORIGIN)
        assert (answer.status_code, answer.headers["location"]) == (303, "/login")
        assert "sdwebui-session" not in client.cookies
    async with connect(app, Cookie=f"sdwebui-session={stolen}") as thief:
        assert (await thief.get("/internal/ping")).status_code == 401


@pytest.mark.parametrize(("username", "password"), [("bob", "wrong password"), ("nobody", PASSWORD), ("BOB ", "x")])
async def test_wrong_name_and_wrong_password_look_the_same(app: Guard, username: str, password: str):
    async with connect(app) as client:
        answer = await log_in(client, username, password)
    assert answer.status_code == 401
    assert "The user name or the password is wrong. Check both and try again." in answer.text
    assert not [cookie for cookie in answer.headers.get_list("set-cookie") if "session" in cookie]


async def test_the_page_speaks_chinese_to_who_asks_for_it(app: Guard):
    async with connect(app, **{"Accept-Language": "zh-TW,zh;q=0.9,en;q=0.8"}) as client:
        answer = await log_in(client, "bob", "wrong password")
    assert "用户名或密码错误" in answer.text
    assert answer.headers["content-language"] == "zh-CN"


async def test_guessing_is_throttled_with_retry_after_but_others_can_log_in(app: Guard):
    async with connect(app) as client:
        answers = [await log_in(client, "bob", f"guess number {i}") for i in range(8)]
        assert answers[-1].status_code == 429
        assert int(answers[-1].headers["retry-after"]) >= 1
        assert "Too many wrong passwords. Try again in" in answers[-1].text
        assert (await log_in(client, "eve")).status_code == 303


async def test_a_form_without_its_token_or_with_a_foreign_one_is_refused(app: Guard):
    async with connect(app) as victim, connect(app) as attacker:
        foreign = await form_token(attacker)
        await form_token(victim)
        for token in ("", "0" * 64, foreign, "é"):
            form = {"username": "bob", "password": PASSWORD, "csrf": token}
            answer = await victim.post("/login", data=form, headers=OWN_ORIGIN)
            assert answer.status_code == 403
            assert "Please log in again" in answer.text
        assert "sdwebui-session" not in victim.cookies


async def test_a_token_needs_the_cookie_it_came_with(app: Guard):
    async with connect(app) as client:
        token = await form_token(client)
    async with connect(app) as other:
        form = {"username": "bob", "password": PASSWORD, "csrf": token}
        assert (await other.post("/login", data=form, headers=OWN_ORIGIN)).status_code == 403


async def test_a_scripted_login_without_origin_works_because_of_its_token(app: Guard):
    async with connect(app) as client:
        form = {"username": "bob", "password": PASSWORD, "csrf": await form_token(client)}
        assert (await client.post("/login", data=form)).status_code == 303


@pytest.mark.parametrize(("username", "password"), [("", PASSWORD), ("bob", ""), ("b" * 2000, PASSWORD)])
async def test_missing_and_oversized_fields_are_refused(app: Guard, username: str, password: str):
    async with connect(app) as client:
        assert (await log_in(client, username, password)).status_code == 422


@pytest.mark.parametrize("body", [b"\xff\xfe", b"a=1&" * 50, b'{"username": "bob"}', b""])
async def test_bodies_that_are_no_form_are_refused(app: Guard, body: bytes):
    async with connect(app) as client:
        answer = await client.post("/login", content=body, headers=OWN_ORIGIN)
    assert answer.status_code == 403


async def test_the_given_name_comes_back_escaped(app: Guard):
    async with connect(app) as client:
        answer = await log_in(client, '"><script>alert(1)</script>', "wrong password")
    assert "<script" not in answer.text
    assert "&lt;script&gt;" in answer.text


async def test_a_plain_connection_to_another_host_is_warned_about(app: Guard):
    async with connect(app, home="http://pictures.example") as client:
        assert "not encrypted" in (await client.get("/login")).text
    for home in (HOME, TLS):
        async with connect(app, home=home) as client:
            assert "not encrypted" not in (await client.get("/login")).text


async def test_the_page_and_its_parts_are_open_and_plain(app: Guard):
    async with connect(app) as client:
        page = await client.get("/login")
        assert "<script" not in page.text
        assert "script-src" not in page.headers["content-security-policy"]
        assert "default-src 'none'" in page.headers["content-security-policy"]
        assert (await client.get("/login.css")).headers["content-type"].startswith("text/css")
        assert (await client.get("/favicon.ico")).headers["content-type"] == "image/svg+xml"
        assert "Disallow: /" in (await client.get("/robots.txt")).text


async def test_a_disabled_account_cannot_log_in(fakes: Services):
    fakes.accounts.disable("bob")
    async with connect(make_app(fakes)) as client:
        assert (await log_in(client)).status_code == 401
