"""What every option store promises: the SQL one and the fake."""

from __future__ import annotations

import pytest

from sdwebui.storage.database import Database
from sdwebui.storage.migrations import upgrade
from sdwebui.storage.options import SqlOptionStore
from tests.fakes import MemoryOptionStore


@pytest.fixture(params=["sql", "memory"])
def store(request, tmp_path):
    if request.param == "memory":
        yield MemoryOptionStore()
        return
    url = f"sqlite:///{tmp_path}/options.db"
    upgrade(url)
    database = Database(url)
    yield SqlOptionStore(database)
    database.close()


def test_an_unknown_scope_is_empty(store):
    assert dict(store.read("user:nobody")) == {}


def test_values_of_every_json_type_come_back_and_scopes_are_apart(store):
    values = {"text": "ä", "number": 1.5, "whole": 3, "switch": False, "nothing": None, "list": [1, {"a": 2}]}
    store.write("user:ann", values)
    store.write("server", {"text": "other"})
    assert dict(store.read("user:ann")) == values
    assert dict(store.read("server")) == {"text": "other"}


def test_a_write_changes_the_given_keys_only(store):
    store.write("server", {"a": 1, "b": 2})
    store.write("server", {"b": 3, "c": 4})
    assert dict(store.read("server")) == {"a": 1, "b": 3, "c": 4}
