"""Log in and out: `/login`, `/logout`, and what the login page needs. Its text and look are in `login_page.py`."""

from __future__ import annotations

import hmac
import secrets
from collections.abc import Callable
from dataclasses import dataclass
from urllib.parse import parse_qs

from fastapi import FastAPI
from starlette.exceptions import HTTPException
from starlette.requests import Request
from starlette.responses import HTMLResponse, PlainTextResponse, RedirectResponse, Response

from sdwebui.api.identity import client_address, is_secure, session_cookie_name, session_token
from sdwebui.api.login_page import CSS, FAVICON, TEXTS, login_html, preferred_language
from sdwebui.api.request_rules import LOOPBACK_HOSTS
from sdwebui.api.response_headers import LOGIN_COOKIE, SECURE_LOGIN_COOKIE
from sdwebui.api.threads import Threads
from sdwebui.domain.errors import NotLoggedIn, Overloaded, SdWebuiError, TooManyAttempts
from sdwebui.service.accounts import AccountService

FIELD_LIMIT = 1024
_DAY_S = 86400


@dataclass(frozen=True, kw_only=True)
class _Form:
    username: str
    password: str
    csrf: str


class LoginRoutes:
    """The only routes that answer strangers.

    Args:
        accounts: checks passwords, opens and ends sessions.
        threads: where password checks run.
        secret: key of the form tokens; random for each start of the server.
        session_days: how long the browser keeps the session cookie; the session itself may end earlier.
        new_nonce: text of 128 random bits.
    """

    def __init__(
        self,
        accounts: AccountService,
        threads: Threads,
        *,
        secret: bytes,
        session_days: int = 30,
        new_nonce: Callable[[], str] = lambda: secrets.token_urlsafe(16),
    ) -> None:
        self._accounts = accounts
        self._threads = threads
        self._secret = secret
        self._session_days = session_days
        self._new_nonce = new_nonce

    def add_to(self, app: FastAPI) -> None:
        """Register the routes."""
        app.add_route("/login", self.page, methods=["GET"], include_in_schema=False)
        app.add_route("/login", self.log_in, methods=["POST"], include_in_schema=False)
        app.add_route("/logout", self.log_out, methods=["POST"], include_in_schema=False)
        app.add_route("/logout", self.no_link, methods=["GET"], include_in_schema=False)
        app.add_route("/login.css", self.css, methods=["GET"], include_in_schema=False)
        app.add_route("/favicon.ico", self.favicon, methods=["GET"], include_in_schema=False)
        app.add_route("/robots.txt", self.robots, methods=["GET"], include_in_schema=False)

    async def page(self, request: Request) -> Response:
        """The form."""
        return self._form_page(request)

    async def log_in(self, request: Request) -> Response:
        """Check the form, open a session under a new token, go to the page."""
        form = _parsed(await request.body())
        if not self._is_own_form(request, form.csrf):
            return self._form_page(request, status=403, alert="stale", given=form.username)
        if not (0 < len(form.username) <= FIELD_LIMIT and 0 < len(form.password) <= FIELD_LIMIT):
            return self._form_page(request, status=422, alert="incomplete", given=form.username[:FIELD_LIMIT])
        try:
            token = await self._threads.password(
                self._accounts.log_in, form.username, form.password, address=client_address(request.scope)
            )
        except (NotLoggedIn, TooManyAttempts, Overloaded) as error:
            return self._refused(request, error, form.username)
        await self._end_session(request)
        answer = RedirectResponse("/", status_code=303)
        self._set_cookie(request, answer, session_cookie_name(request.scope), token, self._session_days * _DAY_S)
        self._set_cookie(request, answer, _nonce_cookie(request), "", 0)
        return answer

    async def log_out(self, request: Request) -> Response:
        """End this session, on the server and in the browser."""
        await self._end_session(request)
        answer = RedirectResponse("/login", status_code=303)
        self._set_cookie(request, answer, session_cookie_name(request.scope), "", 0)
        return answer

    async def no_link(self, _: Request) -> Response:
        """A link must not log anybody out, and Gradio's own route of this name must not answer."""
        raise HTTPException(405, headers={"Allow": "POST"})

    async def css(self, _: Request) -> Response:
        """Look of the login page."""
        return Response(CSS, media_type="text/css", headers={"Cache-Control": "public, max-age=3600"})

    async def favicon(self, _: Request) -> Response:
        """The icon in the browser's tab."""
        return Response(FAVICON, media_type="image/svg+xml", headers={"Cache-Control": "public, max-age=86400"})

    async def robots(self, _: Request) -> Response:
        """Nothing here is for search engines."""
        return PlainTextResponse("User-agent: *\nDisallow: /\n")

    async def _end_session(self, request: Request) -> None:
        token = session_token(request.scope)
        if token:
            await self._threads.quick(self._accounts.log_out, token)

    def _refused(self, request: Request, error: SdWebuiError, given: str) -> Response:
        alert = {NotLoggedIn: "wrong", TooManyAttempts: "throttled"}.get(type(error), "busy")
        answer = self._form_page(
            request, status=error.http_status, alert=alert, given=given, seconds=error.retry_after_s
        )
        if error.retry_after_s:
            answer.headers["Retry-After"] = str(error.retry_after_s)
        return answer

    def _form_page(
        self, request: Request, *, status: int = 200, alert: str = "", given: str = "", seconds: int = 0
    ) -> Response:
        language = preferred_language(request.headers.get("accept-language", ""))
        texts = TEXTS[language]
        nonce = request.cookies.get(_nonce_cookie(request), "")
        if not 16 <= len(nonce) <= 64:
            nonce = self._new_nonce()
        is_exposed = not is_secure(request.scope) and (request.url.hostname or "") not in LOOPBACK_HOSTS
        html = login_html(
            language=language,
            csrf=self._form_token(nonce),
            alert=texts[alert].format(seconds=seconds, limit=FIELD_LIMIT) if alert else "",
            notice=texts["insecure"] if is_exposed else "",
            given=given,
            limit=FIELD_LIMIT,
        )
        answer = HTMLResponse(
            html, status_code=status, headers={"Vary": "Accept-Language", "Content-Language": language}
        )
        self._set_cookie(request, answer, _nonce_cookie(request), nonce, _DAY_S)
        return answer

    def _form_token(self, nonce: str) -> str:
        return hmac.digest(self._secret, nonce.encode(), "sha256").hex()

    def _is_own_form(self, request: Request, csrf: str) -> bool:
        """The form must carry the token that belongs to the cookie which came with it: no other site can know it."""
        nonce = request.cookies.get(_nonce_cookie(request), "")
        return bool(nonce) and hmac.compare_digest(self._form_token(nonce).encode(), csrf.encode())

    def _set_cookie(self, request: Request, answer: Response, name: str, value: str, max_age_s: int) -> None:
        answer.set_cookie(
            name, value, max_age=max_age_s, path="/", secure=is_secure(request.scope), httponly=True, samesite="lax"
        )


def _nonce_cookie(request: Request) -> str:
    return SECURE_LOGIN_COOKIE if is_secure(request.scope) else LOGIN_COOKIE


def _parsed(body: bytes) -> _Form:
    """The urlencoded form; what is missing or unreadable is empty and refused as such."""
    try:
        fields = parse_qs(body.decode("utf-8"), keep_blank_values=True, max_num_fields=10, errors="strict")
    except (UnicodeDecodeError, ValueError):
        fields = {}
    first = {name: values[0] for name, values in fields.items()}
    return _Form(
        username=first.get("username", "").strip(), password=first.get("password", ""), csrf=first.get("csrf", "")
    )
