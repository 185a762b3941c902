"""The database: SQLite in WAL mode with `synchronous=FULL`, or PostgreSQL by URL. Errors are translated here, once.

`synchronous=FULL` is what makes "committed" mean "still there after a power loss" in WAL mode (sqlite.org/pragma.html).
"""

from __future__ import annotations

import sqlite3
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from sqlalchemy import URL, Connection, Engine, create_engine, event, make_url
from sqlalchemy.exc import ArgumentError as UrlError
from sqlalchemy.exc import DBAPIError, NoSuchModuleError, OperationalError

from sdwebui.domain.errors import ConfigurationError, Overloaded, SdWebuiError, StorageFull

_PRAGMAS = (
    "PRAGMA journal_mode=WAL",
    "PRAGMA synchronous=FULL",
    "PRAGMA foreign_keys=ON",
    "PRAGMA journal_size_limit=67108864",
)
_WRITE = "sdwebui_write"
_URL_RULE = "must be an SQLAlchemy URL with an installed driver, such as sqlite:////var/lib/sdwebui/sdwebui.db"


class Database:
    """Short transactions on one database. Thread-safe.

    Args:
        url: an SQLAlchemy URL, such as `sqlite:////var/lib/sdwebui/sdwebui.db`.
        busy_timeout_s: how long to wait for another process that writes.

    Raises:
        ConfigurationError: not a URL, or no driver for it.
    """

    def __init__(self, url: str, busy_timeout_s: float = 10.0) -> None:
        self.url = url
        self.engine = _engine(url, busy_timeout_s)

    @property
    def place(self) -> str:
        """The URL as it may be shown: without its password."""
        return _place(self.url)

    @property
    def file(self) -> Path | None:
        """The database file; None for a server, a database in memory, and SQLite's own `file:` URIs.

        A `file:` URI (sqlite.org/uri.html) says itself how its file is opened, so nothing is prepared for one.
        """
        url = self.engine.url
        if url.get_backend_name() != "sqlite" or not url.database or url.database.startswith((":memory:", "file:")):
            return None
        return Path(url.database)

    @contextmanager
    def read(self) -> Iterator[Connection]:
        """A transaction that only reads: never waits for a writer in WAL mode."""
        with translated(self.url), self.engine.connect() as connection, connection.begin():
            yield connection

    @contextmanager
    def write(self) -> Iterator[Connection]:
        """A transaction that writes: on disk when the block ends, rolled back when it raises.

        Raises:
            StorageFull: the disk is full, or the database became read-only.
            Overloaded: another process held the database for longer than the time-out.
        """
        writer = self.engine.execution_options(**{_WRITE: True})
        with translated(self.url), writer.begin() as connection:
            yield connection

    def check(self) -> None:
        """Whether the file is a sound database that can be written.

        Raises:
            ConfigurationError: it is damaged, is no database, or cannot be written.
        """
        try:
            with self.write() as connection:
                if connection.dialect.name == "sqlite":
                    answer = connection.exec_driver_sql("PRAGMA quick_check(1)").scalar_one()
                    _require_sound(answer, self.url)
        except StorageFull as exc:
            raise ConfigurationError(f"{exc.detail} Give a --data-dir that can be written.") from exc

    def close(self) -> None:
        """Close all connections."""
        self.engine.dispose()


@contextmanager
def translated(url: str) -> Iterator[None]:
    """Turn the driver's errors into ours, with the database's place in the sentence."""
    try:
        yield
    except DBAPIError as exc:
        ours = _translation(exc, url)
        if ours is None:
            raise
        raise ours from exc


def _engine(url: str, busy_timeout_s: float) -> Engine:
    try:
        parsed = make_url(url)
        if parsed.get_backend_name() != "sqlite":
            return create_engine(parsed, pool_pre_ping=True)
        engine = create_engine(parsed, connect_args={"timeout": busy_timeout_s})
    except (UrlError, NoSuchModuleError, ImportError, ValueError) as exc:  # ValueError: a port that is no number
        raise ConfigurationError(
            f"The database URL {_place(url)!r} cannot be used: it {_URL_RULE}. Give another --database."
        ) from exc
    event.listen(engine, "connect", _prepare_sqlite)
    event.listen(engine, "begin", _begin_sqlite)
    return engine


def _prepare_sqlite(connection: Any, _record: object) -> None:
    """Let us say BEGIN ourselves (the driver would begin late, and then fail to upgrade a read lock)."""
    connection.isolation_level = None
    cursor = connection.cursor()
    try:
        for pragma in _PRAGMAS:
            cursor.execute(pragma)
    finally:
        cursor.close()


def _begin_sqlite(connection: Connection) -> None:
    writes = connection.get_execution_options().get(_WRITE, False)
    connection.exec_driver_sql("BEGIN IMMEDIATE" if writes else "BEGIN")


def _translation(error: DBAPIError, url: str) -> SdWebuiError | None:
    place = _place(url)
    code = getattr(error.orig, "sqlite_errorcode", None)
    if code is not None:
        return _SQLITE_ERRORS[code & 0xFF](place) if code & 0xFF in _SQLITE_ERRORS else None
    if isinstance(error, OperationalError):
        return Overloaded(f"The database {place} does not answer. It is tried again with the next request.", 10)
    return None


def _require_sound(answer: object, url: str) -> None:
    if answer != "ok":
        raise _damaged(_place(url))


def _full(place: str) -> SdWebuiError:
    return StorageFull(f"The disk of the database {place} is full. Free some space; the server then goes on by itself.")


def _read_only(place: str) -> SdWebuiError:
    return StorageFull(f"The database {place} cannot be written: the file, its folder or its disk is read-only.")


def _unreachable(place: str) -> SdWebuiError:
    return ConfigurationError(
        f"The database {place} cannot be opened: its folder must exist and be writable. Give another --data-dir."
    )


def _damaged(place: str) -> SdWebuiError:
    return ConfigurationError(
        f"The database {place} is damaged or not a database. Move it away, then restore a backup or start anew."
    )


def _busy(place: str) -> SdWebuiError:
    return Overloaded(f"The database {place} is locked by another process. Try again in a while.", 10)


_SQLITE_ERRORS = {
    sqlite3.SQLITE_FULL: _full,
    sqlite3.SQLITE_IOERR: _full,
    sqlite3.SQLITE_READONLY: _read_only,
    sqlite3.SQLITE_CANTOPEN: _unreachable,
    sqlite3.SQLITE_PERM: _unreachable,
    sqlite3.SQLITE_CORRUPT: _damaged,
    sqlite3.SQLITE_NOTADB: _damaged,
    sqlite3.SQLITE_BUSY: _busy,
    sqlite3.SQLITE_LOCKED: _busy,
}


def _place(url: str) -> str:
    """The URL without its password. What cannot be parsed loses everything that may hold one."""
    try:
        parsed = make_url(url)
    except (UrlError, ValueError):
        scheme, slashes, rest = url.rpartition("://")
        secret, at, rest = rest.partition("?")[0].rpartition("@")
        return f"{scheme}{slashes}{'***' if secret else ''}{at}{rest}"
    return _without_secrets(parsed).render_as_string(hide_password=True)


def _without_secrets(url: URL) -> URL:
    """Drivers take a password from the query, too."""
    return url.set(query={key: "***" if "pass" in key.lower() else value for key, value in url.query.items()})


def sqlite_url(path: Path) -> str:
    """The URL of a database file."""
    return f"sqlite:///{path}"
