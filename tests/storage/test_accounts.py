"""What only the SQL account store does; the common part is tests/ports/test_account_store_contract.py."""

from __future__ import annotations

from sqlalchemy import Table, func, select, text

from sdwebui.storage.accounts import SqlAccountStore
from sdwebui.storage.database import Database
from sdwebui.storage.migrations import upgrade
from sdwebui.storage.schema import login_attempts, sessions

DAY = 86400.0


def make(tmp_path) -> tuple[Database, SqlAccountStore]:
    url = f"sqlite:///{tmp_path}/accounts.db"
    upgrade(url)
    database = Database(url)
    store = SqlAccountStore(database)
    store.add("ann", "hash", "admin")
    return database, store


def count(database: Database, table: Table) -> int:
    with database.read() as connection:
        return int(connection.execute(select(func.count()).select_from(table)).scalar_one())


def test_sessions_and_failures_survive_a_restart(tmp_path):
    database, store = make(tmp_path)
    store.add_session("token", "ann", 0.0, DAY)
    store.note_attempt("key", 0.0, window_s=900.0)
    database.close()
    again = SqlAccountStore(Database(database.url))
    assert again.session_account("token", 1.0) is not None
    assert again.attempts("key", 1.0, window_s=900.0) == 1
    again._database.close()


def test_a_session_in_use_is_not_written_at_every_request(tmp_path):
    database, store = make(tmp_path)
    store.add_session("token", "ann", 0.0, 30 * DAY)
    seen = []
    for now in (1.0, 599.0, 700.0, 800.0):
        store.session_account("token", now)
        with database.read() as connection:
            seen.append(connection.execute(text("select seen_at from sessions")).scalar_one())
    assert seen == [0.0, 0.0, 700.0, 700.0]
    database.close()


def test_old_rows_are_forgotten(tmp_path):
    database, store = make(tmp_path)
    store.add_session("one", "ann", 0.0, DAY)
    store.add_session("two", "ann", 2 * DAY, 3 * DAY)
    assert count(database, sessions) == 1
    for number in range(5):
        store.note_attempt(f"address:{number}", 0.0, window_s=900.0)
    store.note_attempt("address:9", 2 * DAY, window_s=900.0)
    assert count(database, login_attempts) == 1
    database.close()
