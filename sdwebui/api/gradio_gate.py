"""What of Gradio's own routes may be reached, and with what. To block another route: a row in `BLOCKED`.

Gradio 6.31 mounts about ninety routes; the page needs a dozen. The rest is refused by name. Events that name a file
outside the upload folder are refused too, whatever Gradio itself would do with them: a mounted Gradio app skips its own
check unless told otherwise (`Blocks.has_launched`). And an event session belongs to the person who used it first:
Gradio lets any visitor who knows the session's name read its answers.
"""

from __future__ import annotations

import json
from collections import OrderedDict
from collections.abc import Iterable, Iterator
from pathlib import Path
from typing import Any
from urllib.parse import parse_qs, unquote, urlsplit

from sdwebui.api.request_rules import Refusal, Scope, header
from sdwebui.domain.errors import shortened

PREFIX = "/gradio_api/"
FORM_PATHS = (PREFIX + "upload", PREFIX + "component_server", PREFIX + "component_server/")
MAX_SESSIONS = 20_000

BLOCKED = (
    "api", "run", "call", "proxy=", "vibe-", "undo-vibe-edit", "run-history", "runs", "monitoring", "profiling",
    "process_recording", "deep_link", "startup-events", "dev", "custom_component", "stream", "token", "user", "app_id",
    "login_check", "mcp", "openapi.json",
)  # fmt: skip
"""First path segments below `/gradio_api/` that are refused: what starts with one of these and goes on with "/" or ends
there; entries that end in "=" or "-" match as plain prefixes."""
BLOCKED_AT_ROOT = ("login", "proxy=", "file=", "monitoring", "pwa_icon", "svelte", "mcp")
"""The same at the root of the site; our own `/login` is open and never asked about here."""


def refuse_gradio_path(path: str) -> Refusal | None:
    """Refuse the routes of Gradio that the page does not need."""
    lower = path.lower()
    is_below = lower.startswith(PREFIX)
    rest = lower.removeprefix(PREFIX) if is_below else lower.removeprefix("/")
    names: tuple[str, ...] = BLOCKED if is_below else BLOCKED_AT_ROOT
    if not any(_matches(rest, name) for name in names):
        return None
    return Refusal(status=404, error="NotFound", detail=f"There is nothing at {shortened(path)}.")


def carries_json(scope: Scope) -> bool:
    """True for an event body that must be looked at before Gradio sees it: everything but an upload form."""
    if scope["method"] != "POST" or not scope["path"].startswith(PREFIX):
        return False
    is_form = (header(scope, b"content-type") or "").lower().startswith("multipart/form-data")
    return not (is_form and scope["path"] in FORM_PATHS)


class GradioGate:
    """Checks what is sent to Gradio's event routes.

    Args:
        upload_dirs: folders that a file named in an event may lie in (Gradio's temporary folder).
    """

    def __init__(self, upload_dirs: Iterable[Path]) -> None:
        self._upload_dirs = tuple(folder.resolve() for folder in upload_dirs)
        self._owners: OrderedDict[str, str] = OrderedDict()

    def refuse_session(self, scope: Scope, username: str) -> Refusal | None:
        """An event session named in the address must belong to this person or to nobody yet."""
        path = scope["path"]
        if not path.startswith(PREFIX):
            return None
        names = parse_qs((scope.get("query_string") or b"").decode("latin-1")).get("session_hash", [])
        if path.startswith(PREFIX + "heartbeat/"):
            names.append(unquote(path.removeprefix(PREFIX + "heartbeat/")))
        return self._refuse_foreign(names, username)

    def refuse_body(self, body: bytes, *, host: str, username: str) -> Refusal | None:
        """An event must be JSON, name only uploaded files, and use the person's own session. Blocks for big bodies.

        Args:
            body: the whole request body.
            host: the request's `Host`, to tell our own file addresses from foreign ones.
            username: who sends it.
        """
        if not body:
            return None
        try:
            data = json.loads(body)
        except (ValueError, RecursionError):
            detail = "The event is not valid JSON, or nested too deeply. Reload the page."
            return Refusal(status=400, error="InvalidRequest", detail=detail)
        for found in _dictionaries(data):
            refusal = self._refuse_file(found, host)
            if refusal is not None:
                return refusal
        session = data.get("session_hash") if isinstance(data, dict) else None
        return self._refuse_foreign([session] if isinstance(session, str) else [], username)

    def _refuse_file(self, data: dict[str, Any], host: str) -> Refusal | None:
        path, url = data.get("path"), data.get("url")
        if isinstance(path, str) and path and not self._is_uploaded(path):
            return _foreign_file("path", path)
        if isinstance(url, str) and url and not _is_own_file_url(url, host):
            return _foreign_file("url", url)
        return None

    def _is_uploaded(self, path: str) -> bool:
        if "\0" in path or "://" in path:
            return False
        try:
            real = Path(path).resolve()
        except (OSError, RuntimeError, ValueError):
            return False
        return any(real.is_relative_to(folder) for folder in self._upload_dirs)

    def _refuse_foreign(self, sessions: Iterable[str], username: str) -> Refusal | None:
        for session in sessions:
            owner = self._owners.setdefault(session, username)
            if owner != username:
                detail = "This event session belongs to somebody else. Reload the page."
                return Refusal(status=404, error="NotFound", detail=detail)
            self._owners.move_to_end(session)
        while len(self._owners) > MAX_SESSIONS:
            self._owners.popitem(last=False)
        return None


def _matches(rest: str, name: str) -> bool:
    if name.endswith(("=", "-")):
        return rest.startswith(name)
    return rest == name or rest.startswith(name + "/")


def _dictionaries(data: Any) -> Iterator[dict[str, Any]]:
    """Every JSON object in `data`, without recursion."""
    waiting = [data]
    while waiting:
        one = waiting.pop()
        if isinstance(one, dict):
            yield one
            waiting.extend(one.values())
        elif isinstance(one, list):
            waiting.extend(one)


def _is_own_file_url(url: str, host: str) -> bool:
    """A relative address, an inline picture, or an address on this very host."""
    if url.startswith(("data:image/", "blob:")):
        return True
    try:
        parts = urlsplit(url)
    except ValueError:
        return False
    if parts.scheme in ("http", "https"):
        return parts.netloc.lower() == host.lower()
    return not parts.scheme and not parts.netloc and url.startswith("/")


def _foreign_file(field: str, value: str) -> Refusal:
    detail = (
        f"{field} is {shortened(value)}, but an event may only name files that were uploaded here. Upload the file."
    )
    return Refusal(status=403, error="NotAllowed", detail=detail)
