"""What only the SQL option store does; the common part is tests/ports/test_option_store_contract.py."""

from __future__ import annotations

import pytest
from sqlalchemy import text
from sqlalchemy.exc import StatementError

from sdwebui.storage.database import Database
from sdwebui.storage.migrations import upgrade
from sdwebui.storage.options import SqlOptionStore


@pytest.fixture
def store(tmp_path):
    url = f"sqlite:///{tmp_path}/options.db"
    upgrade(url)
    database = Database(url)
    yield SqlOptionStore(database)
    database.close()


def test_five_generations_are_kept_for_each_scope(store):
    for number in range(8):
        store.write("server", {"key": number})
        store.write("user:ann", {"key": -number})
    assert store.read("server") == {"key": 7}
    assert list(store.generations("server")) == [{"key": 6}, {"key": 5}, {"key": 4}, {"key": 3}, {"key": 2}]
    assert store.generations("user:ann")[0] == {"key": -6}


def test_a_write_that_fails_changes_nothing(store):
    store.write("server", {"a": 1})
    with pytest.raises(StatementError, match="not JSON serializable"):
        store.write("server", {"a": 2, "b": object()})
    assert store.read("server") == {"a": 1}
    assert len(store.generations("server")) == 1


def test_values_that_json_lost_are_left_to_the_reader(store):
    with store._database.write() as connection:
        connection.execute(text("insert into options values ('server', 'odd', '[1, {\"x\": null}]')"))
    assert store.read("server") == {"odd": [1, {"x": None}]}
