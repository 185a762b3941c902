"""`sdwebui doctor`: what this machine can do and what is wrong with it. To add an examination: a function and a row."""

from __future__ import annotations

import os
import shutil
from collections.abc import Callable, Iterator
from dataclasses import asdict, dataclass
from pathlib import Path

from sdwebui.bootstrap import accelerators, build_catalog
from sdwebui.domain.errors import ConfigurationError
from sdwebui.domain.settings import Settings


@dataclass(frozen=True, kw_only=True)
class Finding:
    """One line of the doctor's report.

    Attributes:
        verdict: "good", "note" (works, but look at it) or "broken" (the server cannot serve pictures).
        subject: what was examined.
        detail: a sentence.
    """

    verdict: str
    subject: str
    detail: str

    def to_json(self) -> dict[str, str]:
        """The finding as a JSON object."""
        return asdict(self)


def examine(settings: Settings) -> list[Finding]:
    """All findings, in the order of `_EXAMINATIONS`; imports torch, so it takes seconds."""
    return [finding for examination in _EXAMINATIONS for finding in examination(settings)]


def _device(settings: Settings) -> Iterator[Finding]:
    from sdwebui.engine.devices import PRECISION_NAMES, choose_device

    try:
        device = choose_device(settings.device)
    except ConfigurationError as error:
        yield Finding(verdict="broken", subject="device", detail=error.detail)
        return
    ladder = ", then ".join(PRECISION_NAMES[one] for one in device.precisions)
    memory = f", {device.memory_bytes / 2**30:.0f} GiB" if device.memory_bytes else ""
    yield Finding(verdict="good", subject="device", detail=f"{device.name}{memory}; computes in {ladder}")
    for name, make in accelerators().items():
        availability = make().probe(device.name)
        verdict = "good" if availability.usable else "note"
        yield Finding(verdict=verdict, subject="backend", detail=f"{name}: {availability.reason or 'usable'}")


def _disk(settings: Settings) -> Iterator[Finding]:
    folder = _nearest_existing(settings.data_dir)
    if not folder.is_dir() or not os.access(folder, os.W_OK | os.X_OK):
        detail = (
            f"{folder} cannot be written, so {settings.data_dir} cannot be the data folder; give another --data-dir"
        )
        yield Finding(verdict="broken", subject="disk", detail=detail)
        return
    free_mb = shutil.disk_usage(folder).free // 2**20
    enough = free_mb >= settings.disk_low_water_mb
    rule = f"{free_mb} MB free below {folder}; at least {settings.disk_low_water_mb} MB must stay free"
    yield Finding(verdict="good" if enough else "broken", subject="disk", detail=rule)


def _database(settings: Settings) -> Iterator[Finding]:
    from sdwebui.storage.database import Database

    if settings.database == "" and not (settings.data_dir / "sdwebui.db").exists():
        yield Finding(verdict="note", subject="database", detail="does not exist yet; the first start makes it")
        return
    try:
        database = Database(settings.database_url)
        database.check()
        database.close()
        yield Finding(verdict="good", subject="database", detail="sound and writable")
    except ConfigurationError as error:
        yield Finding(verdict="broken", subject="database", detail=error.detail)


def _models(settings: Settings) -> Iterator[Finding]:
    catalog = build_catalog(settings)
    catalog.refresh()
    files = catalog.models("checkpoint")
    healthy = [file for file in files if not file.problem]
    verdict = "good" if healthy else "broken"
    names = ", ".join(f"{file.name} ({file.family})" for file in healthy[:6])
    hint = f"none usable in {settings.models_dir / 'Stable-diffusion'}; put a .safetensors file there"
    yield Finding(verdict=verdict, subject="checkpoints", detail=names or hint)
    for file in files:
        if file.problem:
            yield Finding(verdict="note", subject="checkpoints", detail=f"{file.name}: {file.problem}")


_EXAMINATIONS: tuple[Callable[[Settings], Iterator[Finding]], ...] = (_device, _disk, _database, _models)


def _nearest_existing(folder: Path) -> Path:
    return next(one for one in (folder, *folder.parents) if one.exists())
