"""The one door: every request passes here before anything else sees it, and is refused unless it shows who it is.

A pure ASGI application around the whole server, so that no route, mount, WebSocket or extension can stand beside it.
Read `Guard._checked` for the order of the checks. To open an address without login: a pair in `OPEN` and an expectation
in the route audit, `tests/api/test_guard.py`, which fails until there is one.
"""

from __future__ import annotations

import json
import logging
import time
from collections.abc import Awaitable, Callable, MutableMapping
from typing import Any

from starlette.requests import ClientDisconnect

from sdwebui.api.gradio_gate import GradioGate, carries_json, refuse_gradio_path
from sdwebui.api.identity import Caller, Identity, is_secure
from sdwebui.api.metrics import HttpMetrics
from sdwebui.api.request_rules import (
    Refusal,
    RequestRules,
    Scope,
    body_too_large,
    header,
    refuse_cross_site,
    refuse_host,
    refuse_method,
    refuse_path,
    refuse_size,
    shows_nothing,
    wants_page,
)
from sdwebui.api.response_headers import is_plain, leaving
from sdwebui.api.threads import Threads
from sdwebui.domain.errors import SdWebuiError

logger = logging.getLogger(__name__)

Message = MutableMapping[str, Any]
Receive = Callable[[], Awaitable[Message]]
Send = Callable[[Message], Awaitable[None]]
App = Callable[[Scope, Receive, Send], Awaitable[None]]

OPEN: frozenset[tuple[str, str]] = frozenset(
    {
        ("GET", "/login"),
        ("HEAD", "/login"),
        ("POST", "/login"),
        ("GET", "/login.css"),
        ("GET", "/healthz"),
        ("HEAD", "/healthz"),
        ("GET", "/favicon.ico"),
        ("GET", "/robots.txt"),
    }
)
"""Method and exact path of everything that is answered without a login."""

RECHECK_S = 5.0
"""A running answer asks again at most this often whether its login still holds."""


class Guard:
    """Host, size, origin, identity, in this order; then the application; then the headers of its answer.

    Args:
        app: everything behind the door.
        identity: finds the account of a request.
        threads: where blocking checks run.
        gate: what Gradio may receive.
        rules: hosts and sizes.
        metrics: counts requests and refusals.
        monotonic: seconds of a clock that never jumps.
    """

    def __init__(
        self,
        app: App,
        *,
        identity: Identity,
        threads: Threads,
        gate: GradioGate,
        rules: RequestRules,
        metrics: HttpMetrics,
        monotonic: Callable[[], float] = time.monotonic,
    ) -> None:
        self._app = app
        self._identity = identity
        self._threads = threads
        self._gate = gate
        self._rules = rules
        self._metrics = metrics
        self._monotonic = monotonic

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """One ASGI connection."""
        kind = scope["type"]
        if kind == "lifespan":
            await self._app(scope, receive, send)
        elif kind == "http":
            await self._http(scope, receive, send)
        elif kind == "websocket":
            await self._websocket(scope, receive, send)
        else:
            logger.warning("A connection of unknown type %r was refused", kind)

    async def _http(self, scope: Scope, receive: Receive, send: Send) -> None:
        answer = _Answer(scope, send, self._metrics, self._monotonic)
        try:
            await self._checked(scope, receive, answer)
        except SdWebuiError as error:
            await answer.refuse(_as_refusal(error))
        except _BodyTooLarge as error:
            await answer.refuse(body_too_large(error.limit))
        except ClientDisconnect:
            logger.debug("%s %s: the client went away", scope["method"], scope["path"])
        except Exception:
            if not answer.was_cut:
                logger.exception("%s %s failed", scope["method"], scope["path"])
            await answer.fail()

    async def _checked(self, scope: Scope, receive: Receive, answer: _Answer) -> None:
        is_open = (scope["method"], scope["path"]) in OPEN
        has_credentials = bool((header(scope, b"authorization") or "").strip())
        has_own_proof = is_open or has_credentials or shows_nothing(scope)
        refusal = (
            refuse_size(scope, self._rules.sizes, is_open=is_open)
            or refuse_host(scope, self._rules.hosts)
            or refuse_cross_site(scope, has_own_proof=has_own_proof)
        )
        if refusal is None and not is_open:
            found = await self._identity.find(scope)
            if found is None:
                await answer.refuse(_not_logged_in(scope))
                return
            answer.belongs_to(found, self._threads)
            scope = _with_user(scope, found)
            refusal = refuse_method(scope) or refuse_path(scope) or refuse_gradio_path(scope["path"])
            refusal = refusal or self._gate.refuse_session(scope, found.account.username)
        if refusal is not None:
            await answer.refuse(refusal)
            return
        limit = self._rules.sizes.body_limit(scope["path"], is_open)
        await self._pass_on(scope, _Limited(receive, limit), answer)

    async def _pass_on(self, scope: Scope, receive: _Limited, answer: _Answer) -> None:
        inner: Receive = receive
        if carries_json(scope):
            body = await receive.whole()
            refusal = await self._threads.quick(
                self._gate.refuse_body,
                body,
                host=header(scope, b"host") or "",
                username=scope["state"]["user"].username,
            )
            if refusal is not None:
                await answer.refuse(refusal)
                return
            inner = _replayed(body, receive)
        try:
            await self._app(scope, inner, _unless_exceeded(receive, answer))
        except Exception:
            if not receive.is_exceeded:
                raise
        if receive.is_exceeded:
            await answer.refuse(body_too_large(receive.limit))

    async def _websocket(self, scope: Scope, receive: Receive, send: Send) -> None:
        scope = {**scope, "method": "GET"}
        has_own_proof = bool((header(scope, b"authorization") or "").strip())
        refusal = (
            refuse_size(scope, self._rules.sizes, is_open=False)
            or refuse_host(scope, self._rules.hosts)
            or refuse_cross_site(scope, has_own_proof=has_own_proof)
            or refuse_path(scope)
            or refuse_gradio_path(scope["path"])
        )
        found = None
        if refusal is None:
            try:
                found = await self._identity.find(scope)
            except SdWebuiError as error:
                refusal = _as_refusal(error)
        if found is None:
            self._metrics.count("websocket", scope["path"], refusal.status if refusal else 401)
            await receive()
            await send({"type": "websocket.close", "code": 1008, "reason": "Log in first."})
            return
        await self._app(_with_user(scope, found), receive, send)


class _BodyTooLarge(Exception):
    """More bytes came than the limit allows."""

    def __init__(self, limit: int) -> None:
        super().__init__(limit)
        self.limit = limit


class _Limited:
    """`receive` that counts body bytes and ends the request at the limit."""

    def __init__(self, receive: Receive, limit: int) -> None:
        self._receive = receive
        self._left = limit
        self.limit = limit

    @property
    def is_exceeded(self) -> bool:
        """True when the body was longer than allowed."""
        return self._left < 0

    async def __call__(self) -> Message:
        message = await self._receive()
        if message["type"] == "http.request":
            self._left -= len(message.get("body", b""))
            if self.is_exceeded:
                raise _BodyTooLarge(self.limit)
        return message

    async def whole(self) -> bytes:
        """The whole body; what came so far when the client hangs up."""
        parts: list[bytes] = []
        while True:
            message = await self()
            parts.append(message.get("body", b""))
            if message["type"] != "http.request" or not message.get("more_body", False):
                return b"".join(parts)


class _Answer:
    """`send` that lets only allowed headers out, ends when the login ends, and knows whether an answer has begun."""

    def __init__(self, scope: Scope, send: Send, metrics: HttpMetrics, monotonic: Callable[[], float]) -> None:
        self._scope = scope
        self._send = send
        self._metrics = metrics
        self._monotonic = monotonic
        self._begun_at = monotonic()
        self._checked_at = self._begun_at
        self._caller: Caller | None = None
        self._threads: Threads | None = None
        self._has_ended = False
        self.has_begun = False
        self.was_cut = False

    def belongs_to(self, found: Caller, threads: Threads) -> None:
        """The caller whose login must hold as long as the answer runs."""
        self._caller, self._threads = found, threads

    async def __call__(self, message: Message) -> None:
        if self._has_ended:
            return
        if message["type"] == "http.response.start":
            message = {**message, "headers": self._headers(message)}
            self._begin(message["status"])
        elif message["type"] == "http.response.body":
            if not await self._still_holds():
                await self._cut()
            self._has_ended = not message.get("more_body", False)
        await self._send(message)

    async def refuse(self, refusal: Refusal) -> None:
        """Answer with a refusal, unless an answer has begun already."""
        if self.has_begun:
            await self._finish()
            return
        headers = list(refusal.headers)
        body = b""
        if refusal.status != 303:
            facts = {"error": refusal.error, "detail": refusal.detail, "field": "", "errors": []}
            body = json.dumps(facts).encode()
            headers.append((b"content-type", b"application/json"))
        headers.append((b"content-length", str(len(body)).encode()))
        if self._scope["method"] == "HEAD":
            body = b""
        await self({"type": "http.response.start", "status": refusal.status, "headers": headers})
        await self({"type": "http.response.body", "body": body})

    async def fail(self) -> None:
        """Answer a failure that nobody handled: named, without its text, which is in the log."""
        await self.refuse(
            Refusal(
                status=500,
                error="SdWebuiError",
                detail="The server failed at this request. The log of the server says why; nothing was lost.",
            )
        )

    def _begin(self, status: int) -> None:
        self.has_begun = True
        self._metrics.count(self._scope["method"], self._scope["path"], status)

    def _headers(self, message: Message) -> list[tuple[bytes, bytes]]:
        is_page = not is_plain(self._scope["path"])
        return leaving(message.get("headers", ()), is_page=is_page, is_secure=is_secure(self._scope))

    async def _still_holds(self) -> bool:
        now = self._monotonic()
        if self._caller is None or self._threads is None or now - self._checked_at < RECHECK_S:
            return True
        self._checked_at = now
        return await self._threads.quick(self._caller.holds)

    async def _cut(self) -> None:
        self.was_cut = True
        await self._finish()
        raise OSError("the login ended while the answer was running")

    async def _finish(self) -> None:
        if not self._has_ended:
            self._has_ended = True
            await self._send({"type": "http.response.body", "body": b"", "more_body": False})


def _unless_exceeded(receive: _Limited, answer: _Answer) -> Send:
    """`send` that lets no answer begin to a body that was too long: the guard gives its own."""

    async def send(message: Message) -> None:
        if receive.is_exceeded and not answer.has_begun:
            raise _BodyTooLarge(receive.limit)
        await answer(message)

    return send


def _replayed(body: bytes, receive: Receive) -> Receive:
    """A `receive` that gives `body` once and then what really comes, so that a disconnect is still seen."""
    is_given = False

    async def again() -> Message:
        nonlocal is_given
        if is_given:
            return await receive()
        is_given = True
        return {"type": "http.request", "body": body, "more_body": False}

    return again


def _with_user(scope: Scope, found: Caller) -> Scope:
    return {**scope, "state": {**(scope.get("state") or {}), "user": found.account}}


def _not_logged_in(scope: Scope) -> Refusal:
    if wants_page(scope):
        return Refusal(status=303, error="", detail="", headers=((b"location", b"/login"),))
    is_program = header(scope, b"sec-fetch-site") is None
    challenge = b'Basic realm="sdwebui", charset="UTF-8"' if is_program else b'Bearer realm="sdwebui"'
    return Refusal(
        status=401,
        error="NotLoggedIn",
        detail="This address needs a login: the cookie of /login, HTTP Basic with the same account, or an API token as "
        "'Authorization: Bearer TOKEN'.",
        headers=((b"www-authenticate", challenge),),
    )


def _as_refusal(error: SdWebuiError) -> Refusal:
    headers: list[tuple[bytes, bytes]] = []
    if error.retry_after_s:
        headers.append((b"retry-after", str(error.retry_after_s).encode()))
    if error.http_status == 401:
        headers.append((b"www-authenticate", b'Basic realm="sdwebui", charset="UTF-8"'))
    return Refusal(status=error.http_status, error=error.name, detail=error.detail, headers=tuple(headers))
