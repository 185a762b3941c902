"""What a request must look like before anything reads it: host, size, shape of the path, proof of same origin.

Each rule is a function of the ASGI scope that returns a `Refusal` or None; their order is in `guard.py`.
To add a rule: a function here and one line there.
"""

from __future__ import annotations

import ipaddress
from collections.abc import Iterable, MutableMapping
from dataclasses import dataclass, field
from typing import Any
from urllib.parse import urlsplit

from sdwebui.domain.errors import shortened

Scope = MutableMapping[str, Any]

SAFE_METHODS = frozenset({"GET", "HEAD", "OPTIONS"})
KNOWN_METHODS = frozenset({*SAFE_METHODS, "POST", "PUT", "PATCH", "DELETE"})
LOOPBACK_HOSTS = frozenset({"localhost", "127.0.0.1", "::1"})
API_PREFIXES = (
    "/sdapi/",
    "/api/",
    "/controlnet/",
    "/internal/",
    "/gradio_api/",
    "/openapi.json",
    "/metrics",
    "/readyz",
)
MIB = 1024 * 1024


@dataclass(frozen=True, kw_only=True)
class Refusal:
    """Why a request goes no further: status, error name and sentence of the answer."""

    status: int
    error: str
    detail: str
    headers: tuple[tuple[bytes, bytes], ...] = ()


@dataclass(frozen=True, kw_only=True)
class HostRule:
    """Which `Host` headers are answered: the defence against DNS rebinding.

    Attributes:
        names: host names and IP literals without port, lower case, IPv6 without brackets.
        any_ip_literal: accept every IP address as host. Safe for a server that listens on all interfaces, because a
            rebinding page always carries the attacker's name, never a bare address.
    """

    names: frozenset[str] = LOOPBACK_HOSTS
    any_ip_literal: bool = False

    @classmethod
    def for_binding(cls, bind_host: str, extra_names: Iterable[str] = ()) -> HostRule:
        """The rule for a server that listens on `bind_host` and is also reached by `extra_names`."""
        bound = _ip(bind_host)
        names = {name.strip().strip("[]").lower() for name in (bind_host, *extra_names) if name.strip()}
        return cls(names=LOOPBACK_HOSTS | names, any_ip_literal=bound is not None and bound.is_unspecified)

    def allows(self, host: str) -> bool:
        """Whether a `Host` value without port ("example.org", "::1") is one of ours."""
        name = host.lower().rstrip(".")
        return name in self.names or (self.any_ip_literal and _ip(name) is not None)


@dataclass(frozen=True, kw_only=True)
class SizeRule:
    """Limits that hold before anything is parsed, in bytes.

    Attributes:
        page_body: a body for the page (Gradio events and uploads).
        api_body: a body for the API (base64 pictures are large).
        open_body: a body that comes without a login (the login form).
        headers: all header names and values together.
        header_count: number of headers.
        path: path and query together.
    """

    page_body: int = 32 * MIB
    api_body: int = 64 * MIB
    open_body: int = 16 * 1024
    headers: int = 64 * 1024
    header_count: int = 100
    path: int = 8 * 1024

    def body_limit(self, path: str, is_open: bool) -> int:
        """Largest body that this path takes, in bytes."""
        if is_open:
            return self.open_body
        return self.api_body if path.startswith(("/sdapi/", "/api/", "/controlnet/")) else self.page_body


@dataclass(frozen=True, kw_only=True)
class RequestRules:
    """All limits of the guard in one place."""

    hosts: HostRule = field(default_factory=HostRule)
    sizes: SizeRule = field(default_factory=SizeRule)


def header(scope: Scope, name: bytes) -> str | None:
    """A request header by its lower-case name, or None. Several of one name are joined by ", "."""
    values = [value.decode("latin-1") for key, value in scope["headers"] if key.lower() == name]
    return ", ".join(values) if values else None


def refuse_host(scope: Scope, rule: HostRule) -> Refusal | None:
    """Exactly one `Host` header, well formed, and one of ours."""
    values = [value.decode("latin-1") for key, value in scope["headers"] if key.lower() == b"host"]
    if len(values) != 1 or not (host := _host_name(values[0])):
        return Refusal(
            status=400,
            error="InvalidRequest",
            detail="A request needs exactly one valid Host header; this one has none, several or a malformed one.",
        )
    if rule.allows(host):
        return None
    return Refusal(
        status=421,
        error="NotAllowed",
        detail=f"Host is {shortened(host)}, but this server answers only for its own names. "
        "If the name is right, add it to the setting allowed_hosts.",
    )


def refuse_size(scope: Scope, rule: SizeRule, *, is_open: bool) -> Refusal | None:
    """Headers, path and announced body within their limits."""
    headers = scope["headers"]
    total = sum(len(key) + len(value) for key, value in headers)
    if total > rule.headers or len(headers) > rule.header_count:
        return Refusal(
            status=431,
            error="InvalidRequest",
            detail=f"The request has {len(headers)} headers of {total} bytes, more than the {rule.header_count} "
            f"headers or {rule.headers} bytes allowed. Send fewer or shorter ones.",
        )
    length = len(scope.get("raw_path") or b"") + len(scope.get("query_string") or b"")
    if length > rule.path:
        detail = f"The address has {length} bytes, more than the {rule.path} allowed. Send data in the body."
        return Refusal(status=414, error="InvalidRequest", detail=detail)
    return _refuse_announced_body(scope, rule.body_limit(scope["path"], is_open))


def body_too_large(limit: int) -> Refusal:
    """The refusal of a body of more than `limit` bytes."""
    detail = f"The request body is larger than the {limit} bytes allowed here. Send less at once."
    return Refusal(status=413, error="InvalidRequest", detail=detail)


def refuse_path(scope: Scope) -> Refusal | None:
    """No path that two readers could understand differently: the second reader might skip a rule of the first."""
    path, raw = scope["path"], (scope.get("raw_path") or b"").split(b"?")[0].lower()
    segments = path.split("/")
    is_odd = (
        not path.startswith("/")
        or "" in segments[1:-1]
        or any(segment in {".", ".."} for segment in segments)
        or any(character in path for character in "\\;%")
        or any(ord(character) < 32 or ord(character) == 127 for character in path)
        or any(escape in raw for escape in (b"%2f", b"%5c", b"%00", b"%25"))
    )
    if not is_odd:
        return None
    detail = f"The address {shortened(path)} has an empty or dot segment, an escaped slash, a semicolon or a control "
    return Refusal(status=400, error="InvalidRequest", detail=detail + "character. Use the plain address.")


def refuse_method(scope: Scope) -> Refusal | None:
    """Only the methods that some route could have."""
    if scope["type"] == "websocket" or scope["method"] in KNOWN_METHODS:
        return None
    known = ", ".join(sorted(KNOWN_METHODS))
    detail = f"The method {shortened(scope['method'])} is not used here. Use {known}."
    return Refusal(status=405, error="InvalidRequest", detail=detail, headers=((b"allow", known.encode()),))


def refuse_cross_site(scope: Scope, *, has_own_proof: bool) -> Refusal | None:
    """State changes, streams and sub-resources only from our own pages or from programs that authenticate themselves.

    First `Sec-Fetch-Site`, which pages cannot forge; else `Origin` must equal `Host`; with neither, the request must
    carry its own proof: credentials in `Authorization`, which no page of another site can add, or the form's token.
    Browsers add `Origin` to every POST, so a request with neither does not come from a page.

    Args:
        scope: the request.
        has_own_proof: whether the request authenticates itself without help of the browser's cookie jar.
    """
    site = header(scope, b"sec-fetch-site")
    is_read = scope["type"] == "http" and scope["method"] in SAFE_METHODS
    if is_read:
        navigates = header(scope, b"sec-fetch-mode") == "navigate" and header(scope, b"sec-fetch-dest") == "document"
        return None if site in (None, "same-origin", "none") or navigates else _cross_site(site or "")
    if site is not None and site not in ("same-origin", "none"):
        return _cross_site(site)
    origin = header(scope, b"origin")
    if origin is not None:
        return None if _same_origin(origin, header(scope, b"host") or "") else _cross_site(origin)
    if site == "same-origin" or has_own_proof:
        return None
    return Refusal(
        status=403,
        error="NotAllowed",
        detail="This request changes something but does not show that it comes from this server's own page. "
        "Programs: send the header Authorization (Basic or Bearer), or Origin equal to this server's address.",
    )


def shows_nothing(scope: Scope) -> bool:
    """True for an API call without cookie and without credentials: it can change nothing, so it is asked who it is.

    Only for `has_own_proof` of `refuse_cross_site`, which refuses a call that says it comes from another site first.
    """
    has_cookie = header(scope, b"cookie") is not None
    has_credentials = bool((header(scope, b"authorization") or "").strip())
    return scope["path"].lower().startswith(API_PREFIXES) and not (has_cookie or has_credentials)


def wants_page(scope: Scope) -> bool:
    """True for a person's browser asking for a page, which is then sent to the login form instead of a 401."""
    if scope["method"] not in ("GET", "HEAD") or scope["path"].lower().startswith(API_PREFIXES):
        return False
    return "text/html" in (header(scope, b"accept") or "")


def _cross_site(source: str) -> Refusal:
    detail = f"The request comes from {shortened(source)}, not from this server's own page, so it is refused. "
    return Refusal(status=403, error="NotAllowed", detail=detail + "Open this server's address itself.")


def _same_origin(origin: str, host: str) -> bool:
    try:
        parts = urlsplit(origin)
        scheme, netloc = parts.scheme, parts.netloc.lower()
    except ValueError:
        return False
    return scheme in ("http", "https") and bool(netloc) and netloc == host.lower()


def _refuse_announced_body(scope: Scope, limit: int) -> Refusal | None:
    announced = header(scope, b"content-length")
    if announced is None:
        return None
    if not (announced.isascii() and announced.isdigit() and len(announced) < 16):
        detail = f"Content-Length is {shortened(announced)}, but it must be one whole number of bytes."
        return Refusal(status=400, error="InvalidRequest", detail=detail)
    return body_too_large(limit) if int(announced) > limit else None


def _host_name(value: str) -> str:
    """Host without port, IPv6 without brackets; empty when malformed."""
    if not value.isascii() or any(character in value for character in " /\\@?#,"):
        return ""
    try:
        parts = urlsplit("//" + value)
        port = parts.port
    except ValueError:
        return ""
    return (parts.hostname or "") if port is None or port > 0 else ""


def _ip(text: str) -> ipaddress.IPv4Address | ipaddress.IPv6Address | None:
    try:
        return ipaddress.ip_address(text.strip("[]"))
    except ValueError:
        return None
