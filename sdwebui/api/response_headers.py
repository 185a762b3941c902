"""Which headers leave the server: an allow-list, the security headers, and no foreign cookie.

To let a new header through: a name in `PASSED`. To set a new cookie: its name in `COOKIES`.
"""

from __future__ import annotations

from collections.abc import Iterable

from sdwebui.api.identity import SECURE_SESSION_COOKIE, SESSION_COOKIE

RawHeaders = list[tuple[bytes, bytes]]

LOGIN_COOKIE = "sdwebui-login"
SECURE_LOGIN_COOKIE = "__Host-sdwebui-login"
COOKIES = frozenset({SESSION_COOKIE, SECURE_SESSION_COOKIE, LOGIN_COOKIE, SECURE_LOGIN_COOKIE})

PASSED = frozenset(
    b"accept-ranges allow cache-control content-disposition content-encoding content-language content-length "
    b"content-range content-type etag last-modified location retry-after vary www-authenticate "
    b"x-accel-buffering".split()
)
"""Everything else is dropped: Gradio's file route answers a Range request with the request's own headers, cookie
included, its CORS code lets every origin in, and servers like to say what they are."""

PLAIN_PREFIXES = (
    "/sdapi/", "/api/", "/controlnet/", "/internal/", "/gradio_api/", "/login", "/logout", "/docs", "/openapi.json",
    "/healthz", "/readyz", "/metrics", "/favicon.ico", "/robots.txt",
)  # fmt: skip
"""Addresses whose answers hold no script; all others are the Gradio page and its parts."""

ALWAYS: tuple[tuple[bytes, bytes], ...] = (
    (b"x-content-type-options", b"nosniff"),
    (b"referrer-policy", b"same-origin"),
    (b"x-frame-options", b"SAMEORIGIN"),
    (b"cross-origin-resource-policy", b"same-origin"),
    (b"cross-origin-opener-policy", b"same-origin"),
)
HSTS = (b"strict-transport-security", b"max-age=31536000")

PAGE_POLICY = (
    b"default-src 'self'; script-src 'self' 'unsafe-inline' 'unsafe-eval'; style-src 'self' 'unsafe-inline'; "
    b"img-src 'self' blob: data:; media-src 'self' blob: data:; font-src 'self' data:; connect-src 'self'; "
    b"worker-src 'self' blob:; object-src 'none'; base-uri 'self'; form-action 'self'; frame-ancestors 'self'"
)
"""For the Gradio page: its HTML holds inline scripts and styles, it sets its own base, and its code evaluates strings
(without 'unsafe-eval' Gradio 6.31 shows nothing)."""
PLAIN_POLICY = (
    b"default-src 'none'; style-src 'self'; img-src 'self'; form-action 'self'; base-uri 'none'; frame-ancestors 'none'"
)
"""For everything that is ours: no script at all."""


def is_plain(path: str) -> bool:
    """True for addresses that are not part of the Gradio page."""
    return path.startswith(PLAIN_PREFIXES)


def leaving(headers: Iterable[tuple[bytes, bytes]], *, is_page: bool, is_secure: bool) -> RawHeaders:
    """The headers of an answer as they may leave.

    Args:
        headers: what the application set.
        is_page: True for addresses of the Gradio page, which needs inline scripts.
        is_secure: True over TLS.
    """
    kept: RawHeaders = []
    for name, value in headers:
        lower = name.lower()
        if lower in PASSED or (lower == b"set-cookie" and _is_own_cookie(value)):
            kept.append((lower, value))
    names = {name for name, _ in kept}
    if b"cache-control" not in names:
        kept.append((b"cache-control", b"private, no-store" if not is_page else b"private, no-cache"))
    kept.append((b"content-security-policy", PAGE_POLICY if is_page else PLAIN_POLICY))
    kept.extend(ALWAYS)
    if is_secure:
        kept.append(HSTS)
    return kept


def _is_own_cookie(value: bytes) -> bool:
    name = value.split(b"=", 1)[0].strip().decode("latin-1")
    return name in COOKIES and b"samesite=none" not in value.lower().replace(b" ", b"")
