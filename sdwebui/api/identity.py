"""Who is calling: session cookie, HTTP Basic with the same accounts, or a Bearer token. Routes use `caller`.

To add a way to log in: a method `_by_…` and a row in `Identity._schemes`.
"""

from __future__ import annotations

import base64
import binascii
from collections.abc import Callable
from dataclasses import dataclass

from starlette.requests import Request, cookie_parser

from sdwebui.api.request_rules import Scope, header
from sdwebui.api.threads import Threads
from sdwebui.domain.errors import NotLoggedIn, Overloaded, TooManyAttempts
from sdwebui.ports import Account
from sdwebui.service.accounts import AccountService

SESSION_COOKIE = "sdwebui-session"
SECURE_SESSION_COOKIE = "__Host-sdwebui-session"


@dataclass(frozen=True, kw_only=True)
class Caller:
    """A known caller.

    Attributes:
        account: who it is.
        holds: asks the store once more; False when the login has ended since. Blocks shortly.
    """

    account: Account
    holds: Callable[[], bool]


def caller(request: Request) -> Account:
    """The account that the guard found for this request."""
    account = request.state.user
    if not isinstance(account, Account):
        raise NotLoggedIn("The request reached a route without an account. Log in.")
    return account


def is_secure(scope: Scope) -> bool:
    """True when the request came over TLS, as the server or its trusted proxy says."""
    return scope.get("scheme") in ("https", "wss")


def session_cookie_name(scope: Scope) -> str:
    """The cookie that counts here: over TLS only the `__Host-` one, which no other host or plain page can set."""
    return SECURE_SESSION_COOKIE if is_secure(scope) else SESSION_COOKIE


def session_token(scope: Scope) -> str:
    """The session token of the request's cookie, or empty."""
    return cookie_parser(header(scope, b"cookie") or "").get(session_cookie_name(scope), "")


def client_address(scope: Scope) -> str:
    """The peer's address as the server saw it; forwarded headers count only where the server was told to trust them."""
    client = scope.get("client")
    return client[0] if client else ""


class Identity:
    """Finds the account behind a request. No verdict is kept here: each request asks the account service anew.

    Args:
        accounts: passwords (with their own short memory for Basic clients), sessions, tokens.
        threads: where blocking calls run.
    """

    def __init__(self, accounts: AccountService, threads: Threads) -> None:
        self._accounts = accounts
        self._threads = threads
        self._schemes = {"basic": self._by_basic, "bearer": self._by_bearer}

    async def find(self, scope: Scope) -> Caller | None:
        """The caller of a request, or None when it carries no credentials or an ended session.

        Raises:
            NotLoggedIn: credentials in `Authorization` are wrong or malformed (the cookie is then not looked at).
            TooManyAttempts: too many wrong passwords.
            Overloaded: too many log-ins at this moment.
        """
        authorization = (header(scope, b"authorization") or "").strip()
        if authorization:
            scheme, _, value = authorization.partition(" ")
            by_scheme = self._schemes.get(scheme.lower())
            if by_scheme is None:
                raise NotLoggedIn("The Authorization header must be 'Basic …' or 'Bearer …'.")
            return await by_scheme(value.strip(), client_address(scope))
        return await self._by_session(session_token(scope))

    async def _by_session(self, token: str) -> Caller | None:
        if not token:
            return None
        account = await self._threads.quick(self._accounts.by_session, token)
        if account is None:
            return None
        return Caller(account=account, holds=lambda: self._accounts.by_session(token) is not None)

    async def _by_bearer(self, token: str, _address: str) -> Caller:
        account = await self._threads.quick(self._accounts.by_token, token)
        if account is None:
            raise NotLoggedIn("The API token is unknown or was revoked. Make a new one with: sdwebui tokens add")
        return Caller(account=account, holds=lambda: self._accounts.by_token(token) is not None)

    async def _by_basic(self, encoded: str, address: str) -> Caller:
        username, password = _decoded_basic(encoded)
        account = await self._threads.password(self._accounts.by_password, username, password, address=address)
        return Caller(account=account, holds=lambda: self._password_holds(username, password, address))

    def _password_holds(self, username: str, password: str, address: str) -> bool:
        try:
            self._accounts.by_password(username, password, address=address)
        except NotLoggedIn:
            return False
        except (TooManyAttempts, Overloaded):
            return True  # not a verdict on this password; the next check says
        return True


def _decoded_basic(encoded: str) -> tuple[str, str]:
    try:
        text = base64.b64decode(encoded, validate=True).decode("utf-8")
    except (binascii.Error, UnicodeDecodeError, ValueError):
        raise NotLoggedIn("The Basic credentials are not base64 of 'user:password' in UTF-8.") from None
    username, separator, password = text.partition(":")
    if not separator:
        raise NotLoggedIn("The Basic credentials have no ':' between user name and password.")
    return username, password
