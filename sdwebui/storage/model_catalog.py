"""Model files by kind: found by scanning folders, named as A1111 names them. To add a kind: add a row to FOLDERS.

Only headers are read, by the inspector that the constructor is given. A name is looked up in what the scan found, never
joined to a path.
"""

from __future__ import annotations

import hashlib
import logging
import math
import os
import re
import threading
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path

from sdwebui.domain.errors import ModelUnusable, NotFound
from sdwebui.domain.results import ModelFile
from sdwebui.storage.hash_cache import HashCache
from sdwebui.storage.partial_files import is_cut_off

logger = logging.getLogger(__name__)

FOLDERS: Mapping[str, str] = {
    "checkpoint": "Stable-diffusion",
    "vae": "VAE",
    "vae-approx": "VAE-approx",
    "lora": "Lora",
    "embedding": "embeddings",
    "controlnet": "ControlNet",
    "upscaler": "ESRGAN",
    "hypernetwork": "hypernetworks",
}
"""Folder of each kind below the models folder."""

ENDINGS = (".safetensors",)
REFUSED_ENDINGS = (".ckpt", ".pt", ".pth", ".bin")
_SETTLE_S = 5.0
_MAX_DEPTH = 8
_HASH_BLOCK = 2**20
_BRACKET = re.compile(r"\s*\[[0-9a-fA-F]{6,64}\]\s*$")


@dataclass(frozen=True, kw_only=True)
class HeaderFacts:
    """What a look into a file's header tells.

    Attributes:
        family: "sd1", "sdxl" …; empty when unknown.
        native_size_px: the size it was trained at; 0 when unknown.
        problem: why the file cannot be used, a sentence; empty for a healthy file.
    """

    family: str = ""
    native_size_px: int = 0
    problem: str = ""


Inspector = Callable[[str, Path], HeaderFacts]
"""Called with the kind and the path. Must not raise for damaged files: that is what `problem` is for."""


class FolderCatalog:
    """Implements `ports.ModelCatalog`. Thread-safe.

    An unusable file that grows, or that is shorter than its header says and changed less than five seconds ago, is
    "still copying". Every unusable file that changed so lately is looked at again by itself. (A safetensors header says
    how long the file must be, so a sound one is a whole file.)

    Args:
        models: the models folder, with the kinds' folders below.
        inspect: reads a file's header.
        hashes: remembers full hashes; None to compute them each time.
        clock: seconds since 1970.
    """

    def __init__(
        self,
        models: Path,
        inspect: Inspector,
        hashes: HashCache | None = None,
        clock: Callable[[], float] = time.time,
    ) -> None:
        self._models = models
        self._inspect = inspect
        self._hashes = hashes
        self._clock = clock
        self._lock = threading.Lock()
        self._files: dict[str, tuple[ModelFile, ...]] = {}
        self._sizes: dict[str, int] = {}
        self._look_again_at = math.inf

    def refresh(self) -> None:
        """Look at the folders again. Unchanged files keep what their header told."""
        with self._lock:
            self._look_again_at = math.inf
            known = {file.path: file for files in self._files.values() for file in files}
            self._files = {kind: self._scan(kind, known) for kind in FOLDERS}

    def models(self, kind: str) -> Sequence[ModelFile]:
        """All files of a kind, by name, unusable ones included (with their `problem`)."""
        if not self._files or self._look_again_at <= self._clock():
            self.refresh()
        return self._files.get(kind, ())

    def find(self, kind: str, name: str) -> ModelFile:
        """A usable file by name, file name, title, short or full hash, whatever the case; see `ports.ModelCatalog`.

        As in A1111, a name that is only part of one title finds that file, the shortest title first; and a hash in
        brackets behind a name counts only when the name alone finds nothing.

        Raises:
            NotFound: no such file; the nearest names are offered.
            ModelUnusable: the file is there but has a `problem`.
        """
        files = self.models(kind)
        file = _match(files, name) or _match(files, _BRACKET.sub("", name))
        if file is None:
            self.refresh()
            files = self.models(kind)
            file = _match(files, name) or _match(files, _BRACKET.sub("", name))
        if file is None:
            raise NotFound(kind, name, [one.name for one in files], field=kind)
        if file.problem:
            raise ModelUnusable(f"{kind} {file.name!r} cannot be used: {file.problem}", field=kind)
        return file

    def sha256(self, file: ModelFile) -> str:
        """Full hash of a file, from the cache when size and time are unchanged. May take seconds for big files.

        Raises:
            ModelUnusable: the file is gone, or has changed since `file` was listed.
        """
        path = Path(file.path)
        if file.sha256:
            return file.sha256
        if self._hashes and (known := self._hashes.find(file.path, file.size_bytes, file.mtime_ns)):
            return known
        try:
            digest = _digest(path)
            stat = path.stat()
        except OSError as exc:
            raise ModelUnusable(f"{file.kind} {file.name!r} cannot be read: {exc.strerror}.") from exc
        if (stat.st_size, stat.st_mtime_ns) != (file.size_bytes, file.mtime_ns):
            raise ModelUnusable(f"{file.kind} {file.name!r} has changed. Refresh the list of models.")
        if self._hashes:
            self._hashes.remember(file.path, file.size_bytes, file.mtime_ns, digest)
        self._learn_hash(file, digest)
        return digest

    def _learn_hash(self, file: ModelFile, digest: str) -> None:
        with self._lock:
            self._files[file.kind] = tuple(
                replace(one, sha256=digest) if (one.path, one.mtime_ns) == (file.path, file.mtime_ns) else one
                for one in self._files.get(file.kind, ())
            )

    def _scan(self, kind: str, known: Mapping[str, ModelFile]) -> tuple[ModelFile, ...]:
        folder = self._models / FOLDERS[kind]
        files = [self._look_at(kind, folder, path, known) for path in _model_paths(folder, _MAX_DEPTH)]
        return tuple(sorted((file for file in files if file), key=lambda file: (file.name.casefold(), file.path)))

    def _look_at(self, kind: str, folder: Path, path: Path, known: Mapping[str, ModelFile]) -> ModelFile | None:
        try:
            stat = path.stat()
        except OSError as exc:
            logger.warning("Model file %s cannot be read: %s", path, exc.strerror)
            return None
        before = self._sizes.get(str(path))
        self._sizes[str(path)] = stat.st_size
        old = known.get(str(path))
        unchanged = old is not None and (old.size_bytes, old.mtime_ns) == (stat.st_size, stat.st_mtime_ns)
        if old is not None and unchanged and not old.problem:
            return old
        file = ModelFile(
            kind=kind,
            name=path.relative_to(folder).with_suffix("").as_posix(),
            path=str(path),
            size_bytes=stat.st_size,
            mtime_ns=stat.st_mtime_ns,
        )
        is_growing = before is not None and before < stat.st_size
        is_young = is_growing or -1 < self._clock() - stat.st_mtime < _SETTLE_S
        return self._with_facts(file, path, is_young=is_young, is_growing=is_growing)

    def _with_facts(self, file: ModelFile, path: Path, *, is_young: bool, is_growing: bool) -> ModelFile:
        if path.suffix.lower() in REFUSED_ENDINGS:
            problem = f"{path.suffix} files can run code when they are opened. Convert it to .safetensors."
            return replace(file, problem=problem)
        facts = self._inspect(file.kind, path)
        problem = facts.problem
        if problem and is_young:
            self._look_again_at = self._clock() + _SETTLE_S
            if is_growing or is_cut_off(path):
                problem = f"it seems to be still copying, look again in a few seconds ({problem})"
        digest = self._hashes.find(file.path, file.size_bytes, file.mtime_ns) if self._hashes else None
        return replace(
            file,
            family=facts.family,
            native_size_px=facts.native_size_px,
            problem=problem,
            sha256=digest or "",
        )


def _model_paths(folder: Path, depth: int, above: frozenset[str] = frozenset()) -> Iterator[Path]:
    """Regular model files below a folder; links are followed, hidden files and other things are not.

    A link to a folder on the way down to it (`above`, real paths) is not entered: it would come round for ever.
    """
    here = os.path.realpath(folder)
    if here in above:
        return
    try:
        entries = sorted(folder.iterdir())
    except OSError:
        return
    for entry in entries:
        if entry.name.startswith("."):
            continue
        if entry.is_dir() and depth > 0:
            yield from _model_paths(entry, depth - 1, above | {here})
        elif entry.suffix.lower() in ENDINGS + REFUSED_ENDINGS and entry.is_file():
            yield entry


def _match(files: Sequence[ModelFile], name: str) -> ModelFile | None:
    wanted = name.strip().casefold().replace("\\", "/")
    if not wanted:
        return None
    for file in files:
        if wanted in _aliases(file):
            return file
    partly = [file for file in files if wanted in file.title.casefold()]
    return min(partly, key=lambda file: len(file.title), default=None)


def _aliases(file: ModelFile) -> set[str]:
    """A1111's ways to name a checkpoint (`CheckpointInfo.ids` of A1111 1.10), in lower case."""
    file_name = Path(file.path).name
    names = {file.name, file.name.rpartition("/")[2], file_name, f"{file.name}{Path(file_name).suffix}", file.title}
    if file.sha256:
        names |= {file.short_hash, file.sha256, f"{file.name} [{file.short_hash}]"}
    return {name.casefold() for name in names}


def _digest(path: Path) -> str:
    digest = hashlib.sha256()
    with path.open("rb") as file:
        while block := file.read(_HASH_BLOCK):
            digest.update(block)
    return digest.hexdigest()
