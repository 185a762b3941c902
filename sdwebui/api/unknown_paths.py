"""Addresses of the API that do not exist: 404 and 405 in our shape, before a page mounted at "/" can take them.

To keep another part of the site for the API: its first segment in `KEPT`.
"""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any

from fastapi import FastAPI
from starlette.exceptions import HTTPException
from starlette.routing import BaseRoute, Match

from sdwebui.api.request_rules import Scope

KEPT = ("/sdapi", "/api", "/internal", "/controlnet")


class UnknownPaths(BaseRoute):
    """The last of our own routes; it takes what is the API's and what one of ours has under another method.

    Args:
        routes: the routes before this one. What is mounted later answers for its own methods.
    """

    def __init__(self, routes: Iterable[BaseRoute]) -> None:
        self._routes = tuple(routes)

    def add_to(self, app: FastAPI) -> None:
        """Register it: call it after all other routes and before the page is mounted."""
        app.router.routes.append(self)

    def matches(self, scope: Scope) -> tuple[Match, Scope]:
        """All of a request that this route answers, or none of it. WebSockets are not its business."""
        if scope["type"] == "http" and (_is_kept(scope["path"]) or self._allowed(scope)):
            return Match.FULL, {}
        return Match.NONE, {}

    async def handle(self, scope: Scope, receive: Any, send: Any) -> None:  # noqa: ARG002 - the signature of a route
        """Refuse the request.

        Raises:
            HTTPException: 405 with `Allow` when the path exists under other methods, else 404.
        """
        allowed = self._allowed(scope)
        if allowed:
            raise HTTPException(405, headers={"Allow": ", ".join(sorted(allowed))})
        raise HTTPException(404)

    def _allowed(self, scope: Scope) -> set[str]:
        """The methods of our routes that have this path, none of which is the request's."""
        allowed: set[str] = set()
        for route in self._routes:
            if route.matches(scope)[0] is Match.PARTIAL:
                allowed |= set(getattr(route, "methods", None) or ())
        return allowed


def _is_kept(path: str) -> bool:
    lower = path.lower()
    return any(lower == first or lower.startswith(first + "/") for first in KEPT)
