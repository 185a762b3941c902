"""A1111's lists: checkpoints, samplers, schedulers, memory. To add a list: a method and a row in `add_to`."""

from __future__ import annotations

import os
from pathlib import PurePath
from typing import Any

from fastapi import FastAPI

from sdwebui.domain.results import ModelFile
from sdwebui.service.library import LibraryService


class LibraryRoutes:
    """What clients fill their menus with.

    Args:
        library: model files and names.
    """

    def __init__(self, library: LibraryService) -> None:
        self._library = library

    def add_to(self, app: FastAPI) -> None:
        """Register the routes."""
        tags: list[Any] = ["A1111: lists"]
        app.add_api_route("/sdapi/v1/sd-models", self.checkpoints, methods=["GET"], tags=tags)
        app.add_api_route("/sdapi/v1/refresh-checkpoints", self.refresh, methods=["POST"], tags=tags)
        app.add_api_route("/sdapi/v1/samplers", self.samplers, methods=["GET"], tags=tags)
        app.add_api_route("/sdapi/v1/schedulers", self.schedulers, methods=["GET"], tags=tags)
        app.add_api_route("/sdapi/v1/memory", self.memory, methods=["GET"], tags=tags)

    def checkpoints(self) -> list[dict[str, Any]]:
        """Usable checkpoints. `filename` is the name below the models folder, not a path of the server."""
        return [checkpoint_facts(file) for file in self._library.checkpoints() if not file.problem]

    def refresh(self) -> None:
        """Look at the models folder again."""
        self._library.checkpoints(refresh=True)

    def samplers(self) -> list[dict[str, Any]]:
        """Samplers by their A1111 names."""
        return [
            {"name": row.name, "aliases": list(row.aliases), "options": dict(row.options)}
            for row in self._library.samplers()
        ]

    def schedulers(self) -> list[dict[str, Any]]:
        """Schedules by their A1111 names."""
        return [
            {
                "name": row.name,
                "label": row.label,
                "aliases": list(row.aliases) or None,
                "default_rho": row.default_rho,
                "need_inner_model": row.need_inner_model,
            }
            for row in self._library.schedules()
        ]

    def memory(self) -> dict[str, Any]:
        """Memory of this machine in bytes. The device's memory belongs to the worker process."""
        page = os.sysconf("SC_PAGE_SIZE")
        total, free = page * os.sysconf("SC_PHYS_PAGES"), page * os.sysconf("SC_AVPHYS_PAGES")
        return {
            "ram": {"free": free, "used": total - free, "total": total},
            "cuda": {"error": "The device belongs to the worker process; /readyz says which one it is."},
        }


def checkpoint_facts(file: ModelFile) -> dict[str, Any]:
    """One row of /sdapi/v1/sd-models."""
    return {
        "title": file.title,
        "model_name": file.name,
        "hash": file.short_hash or None,
        "sha256": file.sha256 or None,
        "filename": file.name + PurePath(file.path).suffix,
        "config": None,
    }
