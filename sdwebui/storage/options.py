"""Stored option values, one row each, with the five generations before. See `ports.OptionStore`."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from sqlalchemy import Connection, delete, select

from sdwebui.storage.database import Database
from sdwebui.storage.schema import option_generations, options

KEPT_GENERATIONS = 5


class SqlOptionStore:
    """Implements `ports.OptionStore`."""

    def __init__(self, database: Database) -> None:
        self._database = database

    def read(self, scope: str) -> Mapping[str, Any]:
        """All stored values of a scope."""
        with self._database.read() as connection:
            return _values(connection, scope)

    def write(self, scope: str, values: Mapping[str, Any]) -> None:
        """Store values, all or none; the values before are kept as a generation."""
        with self._database.write() as connection:
            connection.execute(option_generations.insert().values(scope=scope, values=dict(_values(connection, scope))))
            changed = (options.c.scope == scope) & options.c.key.in_(list(values))
            connection.execute(delete(options).where(changed))
            for key, value in values.items():
                connection.execute(options.insert().values(scope=scope, key=key, value=value))
            _forget_old_generations(connection, scope)

    def generations(self, scope: str) -> Sequence[Mapping[str, Any]]:
        """Earlier states of a scope, the newest first."""
        query = select(option_generations.c["values"]).where(option_generations.c.scope == scope)
        with self._database.read() as connection:
            return list(connection.execute(query.order_by(option_generations.c.number.desc())).scalars())


def _values(connection: Connection, scope: str) -> Mapping[str, Any]:
    rows = connection.execute(select(options).where(options.c.scope == scope).order_by(options.c.key)).all()
    return {row.key: row.value for row in rows}


def _forget_old_generations(connection: Connection, scope: str) -> None:
    numbers = select(option_generations.c.number).where(option_generations.c.scope == scope)
    newest = numbers.order_by(option_generations.c.number.desc()).limit(KEPT_GENERATIONS)
    kept = connection.execute(newest).scalars().all()
    old = (option_generations.c.scope == scope) & option_generations.c.number.not_in(kept)
    connection.execute(delete(option_generations).where(old))
