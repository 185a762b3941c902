"""Full hashes of model files, remembered by path, size and modification time, because computing one reads the file."""

from __future__ import annotations

from sqlalchemy import delete, select

from sdwebui.storage.database import Database
from sdwebui.storage.schema import model_hashes


class HashCache:
    """The table `model_hashes`."""

    def __init__(self, database: Database) -> None:
        self._database = database

    def find(self, path: str, size_bytes: int, mtime_ns: int) -> str | None:
        """The SHA-256 of a file that has not changed since it was computed, or None."""
        same = (model_hashes.c.path == path) & (model_hashes.c.size_bytes == size_bytes)
        query = select(model_hashes.c.sha256).where(same & (model_hashes.c.mtime_ns == mtime_ns))
        with self._database.read() as connection:
            return connection.execute(query).scalar_one_or_none()

    def remember(self, path: str, size_bytes: int, mtime_ns: int, sha256: str) -> None:
        """Store a hash in the place of an older one of the same path."""
        row = model_hashes.insert().values(path=path, size_bytes=size_bytes, mtime_ns=mtime_ns, sha256=sha256)
        with self._database.write() as connection:
            connection.execute(delete(model_hashes).where(model_hashes.c.path == path))
            connection.execute(row)
