"""What every account store promises: the SQL one and the fake."""

from __future__ import annotations

import pytest

from sdwebui.domain.errors import InvalidRequest, NotFound
from sdwebui.ports import Account, AccountStore
from sdwebui.storage.accounts import SqlAccountStore
from sdwebui.storage.database import Database
from sdwebui.storage.migrations import upgrade
from tests.fakes import MemoryAccountStore

DAY = 86400.0


@pytest.fixture(params=["sql", "memory"])
def store(request, tmp_path):
    if request.param == "memory":
        yield MemoryAccountStore()
        return
    url = f"sqlite:///{tmp_path}/accounts.db"
    upgrade(url)
    database = Database(url)
    yield SqlAccountStore(database)
    database.close()


@pytest.fixture
def ann(store: AccountStore) -> Account:
    return store.add("Ann", "hash one", "admin")


def test_accounts_are_found_whatever_the_case_of_their_name(store, ann):
    assert ann == Account(username="Ann", role="admin")
    assert store.password_hash("aNN") == (ann, "hash one")
    assert store.password_hash("bob") is None


def test_accounts_are_listed_by_name(store, ann):
    bob = store.add("bob", "hash", "user")
    assert list(store.accounts()) == [ann, bob]


@pytest.mark.parametrize("name", ["ANN", "", "a:b", "a\nb"])
def test_a_name_that_is_taken_or_malformed_is_refused(store, ann, name):
    with pytest.raises(InvalidRequest, match="username"):
        store.add(name, "hash", "user")


def test_a_session_lives_until_its_end(store, ann):
    store.add_session("token", "ann", 0.0, 3 * DAY)
    assert store.session_account("token", 1.0) == ann
    assert store.session_account("token", 3 * DAY) is None
    assert store.session_account("other", 1.0) is None


def test_a_session_ends_when_it_is_not_used(store, ann):
    store.add_session("token", "ann", 0.0, 30 * DAY)
    assert store.session_account("token", 6 * DAY) == ann
    assert store.session_account("token", 12 * DAY) == ann
    assert store.session_account("token", 20 * DAY) is None


def test_a_log_out_ends_only_that_session(store, ann):
    store.add_session("one", "ann", 0.0, DAY)
    store.add_session("two", "ann", 0.0, DAY)
    store.end_session("one")
    store.end_session("unknown")
    assert store.session_account("one", 1.0) is None
    assert store.session_account("two", 1.0) == ann


def test_a_new_password_ends_all_sessions_but_a_new_hash_does_not(store, ann):
    store.add_session("token", "ann", 0.0, DAY)
    store.set_password_hash("ann", "hash two", keep_sessions=True)
    assert store.session_account("token", 1.0) == ann
    store.set_password_hash("ann", "hash three")
    assert store.session_account("token", 1.0) is None
    assert store.password_hash("ann") == (ann, "hash three")


def test_a_disabled_account_has_no_sessions_and_no_tokens(store, ann):
    store.add_session("session", "ann", 0.0, DAY)
    store.add_token("token", "ann", "script", 0.0)
    store.set_disabled("ann", True)
    assert store.session_account("session", 1.0) is None
    assert store.token_account("token") is None
    assert store.accounts()[0].disabled
    store.set_disabled("ann", False)
    assert store.session_account("session", 1.0) is None
    assert store.token_account("token") == ann


def test_changes_of_an_unknown_account_are_refused(store):
    with pytest.raises(NotFound):
        store.set_password_hash("nobody", "hash")
    with pytest.raises(NotFound):
        store.set_disabled("nobody", True)


def test_tokens_are_listed_and_revoked_by_label(store, ann):
    store.add_token("t2", "ann", "phone", 2.0)
    store.add_token("t1", "ANN", "bot", 1.0)
    assert list(store.tokens()) == [("bot", "Ann", 1.0), ("phone", "Ann", 2.0)]
    with pytest.raises(InvalidRequest, match="label"):
        store.add_token("t3", "ann", "bot", 3.0)
    store.revoke_token("bot")
    assert store.token_account("t1") is None
    assert store.token_account("t2") == ann
    with pytest.raises(NotFound):
        store.revoke_token("bot")


def test_failures_are_counted_within_their_window(store):
    assert store.attempts("key", 0.0, window_s=10.0) == 0
    assert store.note_attempt("key", 0.0, window_s=10.0) == 1
    assert store.note_attempt("key", 5.0, window_s=10.0) == 2
    assert store.note_attempt("other", 5.0, window_s=10.0) == 1
    assert store.attempts("key", 9.0, window_s=10.0) == 2
    assert store.attempts("key", 9.0, window_s=4.5) == 1
    assert store.attempts("key", 10.0, window_s=10.0) == 1
    assert store.note_attempt("key", 20.0, window_s=10.0) == 1
