"""A1111's `/sdapi/v1/options`: the caller's options as a flat object. The table of options is `domain/options.py`."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from fastapi import FastAPI
from starlette.requests import Request

from sdwebui.api.identity import caller
from sdwebui.domain.errors import InvalidRequest, SdWebuiError
from sdwebui.domain.options import OPTIONS
from sdwebui.service.library import LibraryService
from sdwebui.service.options import OptionsService

CHECKPOINT = "sd_model_checkpoint"
MAX_KEYS = 1000
OPTION_OF_CATALOG: Mapping[str, str] = {row.catalog: row.key for row in OPTIONS if row.catalog}
"""The catalogue names its own kinds of file in an error ("checkpoint"); the caller knows the option."""


class OptionsRoutes:
    """Read and change options. In A1111 they are the whole server's; here most are each person's own.

    Args:
        options: reads and writes values.
        library: knows the title of the current checkpoint.
    """

    def __init__(self, options: OptionsService, library: LibraryService) -> None:
        self._options = options
        self._library = library

    def add_to(self, app: FastAPI) -> None:
        """Register the routes."""
        tags: list[Any] = ["A1111: options"]
        app.add_api_route("/sdapi/v1/options", self.show, methods=["GET"], tags=tags)
        app.add_api_route("/sdapi/v1/options", self.change, methods=["POST"], tags=tags)

    def show(self, request: Request) -> dict[str, Any]:
        """All options of the caller; `sd_model_checkpoint` is the title of the checkpoint that would be used."""
        return self._shown(caller(request).username)

    def change(self, request: Request, values: dict[str, Any]) -> None:
        """Change options, all or none. Values as GET showed them change nothing: clients send the whole object back."""
        if len(values) > MAX_KEYS:
            raise InvalidRequest("body", f"{len(values)} options", f"must have at most {MAX_KEYS} keys")
        username = caller(request).username
        shown = self._shown(username)
        changed = {key: value for key, value in values.items() if key not in shown or not _same(shown[key], value)}
        try:
            self._options.set(username, changed)
        except SdWebuiError as error:
            error.field = OPTION_OF_CATALOG.get(error.field, error.field)
            raise

    def _shown(self, username: str) -> dict[str, Any]:
        current = self._library.current_checkpoint(username)
        return {**self._options.get(username), CHECKPOINT: current.title if current else ""}


def _same(shown: object, value: object) -> bool:
    """Equal as JSON values: true is not 1."""
    return shown == value and isinstance(shown, bool) == isinstance(value, bool)
