"""Picture files, safe against a crash at any point: temporary name, fsync, rename, fsync of the folder.

```
<data>/outputs/txt2img-images/2026-11-22/00000-1234.png    pictures for the gallery: [number]-[seed], as A1111
<data>/outputs/private/txt2img-images/2026-11-22/…          pictures that only belong to their job
```
"""

from __future__ import annotations

import errno
import os
import re
import shutil
import threading
from contextlib import suppress
from datetime import datetime
from pathlib import Path

from sdwebui.domain.errors import ConfigurationError, NotFound, SdWebuiError, StorageFull

_NUMBERED = re.compile(r"(\d{5,})-")
_KIND = re.compile(r"[a-z0-9]{1,32}")
_PARTIAL = ".partial"
_NO_ROOM = frozenset({errno.ENOSPC, errno.EDQUOT, errno.EFBIG, errno.EROFS, errno.EACCES, errno.EPERM, errno.EIO})


class ImageFiles:
    """Implements `ports.ImageStore` on a folder.

    Args:
        outputs: the folder of all pictures; made when missing.

    Raises:
        ConfigurationError: the folder cannot be made or written.
    """

    def __init__(self, outputs: Path) -> None:
        self._root = outputs.resolve()
        self._lock = threading.Lock()
        self._next_numbers: dict[Path, int] = {}
        check_writable(self._root)

    def save(self, png: bytes, *, kind: str, seed: int, created_at: float, in_gallery: bool) -> str:
        """Store a PNG and return its absolute path. It is on disk, whole, when this returns.

        Raises:
            StorageFull: the disk is full or read-only; nothing is left behind.
        """
        if not _KIND.fullmatch(kind):
            raise ValueError(f"kind is {kind!r}, but it must be a short lower-case word")
        day = datetime.fromtimestamp(created_at).astimezone().strftime("%Y-%m-%d")
        home = self._root if in_gallery else self._root / "private"
        folder = home / f"{kind}-images" / day
        try:
            _make_durable_folder(folder, self._root)
            path = self._reserved_name(folder, seed)
            _write_durably(path, png)
        except OSError as exc:
            raise _storage_error(folder, exc) from exc
        return str(path)

    def read(self, path: str) -> bytes:
        """File content of a stored picture. Raises `NotFound` for one that is gone or outside the store."""
        real = Path(path).resolve()
        if not real.is_relative_to(self._root):
            raise NotFound("picture file", Path(path).name)
        try:
            return real.read_bytes()
        except (FileNotFoundError, NotADirectoryError, IsADirectoryError) as exc:
            raise NotFound("picture file", real.name) from exc

    def free_bytes(self) -> int:
        """Free space where pictures go."""
        return shutil.disk_usage(self._root).free

    def remove_partial_files(self) -> int:
        """Delete what an interrupted `save` left; call it once, before pictures are made. Returns how many."""
        partial = list(self._root.rglob(f"*{_PARTIAL}"))
        for path in partial:
            path.unlink(missing_ok=True)
        return len(partial)

    def _reserved_name(self, folder: Path, seed: int) -> Path:
        """The next free number of the folder: counted in memory, read from the folder once."""
        with self._lock:
            number = self._next_numbers.get(folder)
            if number is None:
                number = _first_free_number(folder)
            while (path := folder / f"{number:05d}-{seed}.png").exists():  # another process writes here, too
                number += 1
            self._next_numbers[folder] = number + 1
        return path


def check_writable(folder: Path) -> None:
    """Make a folder when it is missing and try whether a file can be written there.

    Raises:
        ConfigurationError: it cannot; says which folder, why, and what to do.
    """
    probe = folder / f"probe-{os.getpid()}{_PARTIAL}"
    try:
        folder.mkdir(parents=True, exist_ok=True)
        probe.write_bytes(b"")
        probe.unlink()
    except OSError as exc:
        raise ConfigurationError(
            f"The folder {str(folder)!r} cannot be written: {exc.strerror}. "
            "Give a --data-dir that the server's user may write, or correct the folder's owner."
        ) from exc


def _first_free_number(folder: Path) -> int:
    numbers = (int(match[1]) for entry in os.scandir(folder) if (match := _NUMBERED.match(entry.name)))
    return max(numbers, default=-1) + 1


def _make_durable_folder(folder: Path, root: Path) -> None:
    """Make a folder below `root`, each new one recorded in its parent on disk."""
    if folder.is_dir():
        return
    if folder != root:
        _make_durable_folder(folder.parent, root)
    folder.mkdir(exist_ok=True)
    _sync_folder(folder.parent)


def _write_durably(path: Path, content: bytes) -> None:
    partial = path.with_name(path.name + _PARTIAL)
    try:
        with partial.open("xb") as file:
            file.write(content)
            file.flush()
            os.fsync(file.fileno())
        partial.rename(path)
        _sync_folder(path.parent)
    except OSError:
        with suppress(OSError):
            partial.unlink(missing_ok=True)
        raise


def _sync_folder(folder: Path) -> None:
    descriptor = os.open(folder, os.O_RDONLY | os.O_DIRECTORY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)


def _storage_error(folder: Path, error: OSError) -> SdWebuiError:
    if error.errno in _NO_ROOM:
        return StorageFull(
            f"A picture could not be stored in {str(folder)!r}: {error.strerror}. Free some space or make it writable."
        )
    return SdWebuiError(f"A picture could not be stored in {str(folder)!r}: {error.strerror}.")
