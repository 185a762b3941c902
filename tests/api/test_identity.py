from __future__ import annotations

import anyio
import pytest
from starlette.requests import Request

from sdwebui.api.identity import Identity, caller, client_address, session_cookie_name
from sdwebui.api.threads import Threads
from sdwebui.domain.errors import NotLoggedIn, TooManyAttempts
from tests.api.http import basic, http_scope
from tests.fakes import PASSWORD, Services

pytestmark = pytest.mark.anyio


@pytest.fixture
def identity(fakes: Services) -> Identity:
    return Identity(fakes.accounts, Threads())


async def test_a_stranger_is_nobody(identity: Identity):
    assert await identity.find(http_scope("GET", "/")) is None
    assert await identity.find(http_scope("GET", "/", cookie="sdwebui-session=unknown")) is None


async def test_each_way_in_finds_the_account_and_knows_when_it_ends(identity: Identity, fakes: Services):
    session = fakes.accounts.log_in("bob", PASSWORD, address="127.0.0.1")
    token = fakes.accounts.add_token("bob", "script")
    callers = [
        await identity.find(http_scope("GET", "/", cookie=f"a=b; sdwebui-session={session}")),
        await identity.find(http_scope("GET", "/", authorization=f"bearer {token}")),
        await identity.find(http_scope("GET", "/", authorization=basic("bob"))),
    ]
    assert [one.account.username for one in callers if one] == ["bob"] * 3
    assert all(one.holds() for one in callers if one)
    fakes.accounts.disable("bob")
    assert not any(one.holds() for one in callers if one)


async def test_a_throttled_recheck_is_no_verdict(identity: Identity, fakes: Services):
    found = await identity.find(http_scope("GET", "/", authorization=basic("bob")))
    fakes.accounts.set_password("bob", "another good passphrase")
    for _ in range(12):
        with pytest.raises((NotLoggedIn, TooManyAttempts)):
            fakes.accounts.by_password("bob", "wrong", address="127.0.0.1")
    assert found is not None
    assert found.holds()


async def test_a_wrong_header_is_not_saved_by_a_good_cookie(identity: Identity, fakes: Services):
    session = fakes.accounts.log_in("bob", PASSWORD, address="127.0.0.1")
    scope = http_scope("GET", "/", cookie=f"sdwebui-session={session}", authorization="Bearer wrong")
    with pytest.raises(NotLoggedIn):
        await identity.find(scope)


async def test_basic_calls_after_the_first_cost_no_argon2(identity: Identity, fakes: Services):
    scope = http_scope("GET", "/", authorization=basic("bob"))
    await identity.find(scope)
    with fakes.accounts._passwords.slot(), fakes.accounts._passwords.slot(), anyio.fail_after(1):
        assert await identity.find(scope) is not None


def test_the_cookie_that_counts_depends_on_the_connection():
    assert session_cookie_name({"scheme": "http"}) == "sdwebui-session"
    assert session_cookie_name({"scheme": "https"}) == "__Host-sdwebui-session"


def test_addresses_come_from_the_connection_never_from_headers():
    assert client_address(http_scope("GET", "/", x_forwarded_for="1.2.3.4")) == "127.0.0.1"
    assert client_address({"client": None}) == ""


def test_a_route_without_an_account_refuses():
    with pytest.raises(NotLoggedIn):
        caller(Request({**http_scope("GET", "/"), "state": {"user": None}}))
