"""Who may come in."""

from __future__ import annotations

import hashlib

import pytest

from sdwebui.domain.errors import ConfigurationError, InvalidRequest, NotFound, NotLoggedIn, TooManyAttempts
from sdwebui.service.accounts import AccountService
from sdwebui.service.passwords import Passwords
from tests.fakes import PASSWORD, MemoryAccountStore, fast_passwords

HOME = "1.2.3.4"
DAY = 86400.0


class Clock:
    def __init__(self) -> None:
        self.now = 1_000_000.0

    def __call__(self) -> float:
        return self.now


class Counting(Passwords):
    """Counts how often a password is really checked."""

    def __init__(self) -> None:
        super().__init__(memory_kib=8, passes=1)
        self.checks = 0

    def matches(self, stored, password) -> bool:
        self.checks += 1
        return super().matches(stored, password)


@pytest.fixture
def clock() -> Clock:
    return Clock()


@pytest.fixture
def store() -> MemoryAccountStore:
    return MemoryAccountStore()


@pytest.fixture
def passwords() -> Counting:
    return Counting()


@pytest.fixture
def accounts(store, passwords, clock) -> AccountService:
    service = AccountService(store, passwords, clock=clock)
    service.add("ann", PASSWORD, "admin")
    return service


def test_a_login_opens_a_session_that_logging_out_ends(accounts):
    token = accounts.log_in("Ann", PASSWORD, address=HOME)
    account = accounts.by_session(token)
    assert account is not None
    assert (account.username, account.role) == ("ann", "admin")
    accounts.log_out(token)
    assert accounts.by_session(token) is None


def test_tokens_are_long_random_and_stored_as_hashes_only(accounts, store):
    one, two = (accounts.log_in("ann", PASSWORD, address=HOME) for _ in range(2))
    assert one != two
    assert len(one) >= 43
    assert set(store._sessions) == {hashlib.sha256(token.encode()).hexdigest() for token in (one, two)}
    assert accounts.by_session("") is None
    assert accounts.by_token("") is None


@pytest.mark.parametrize(
    ("username", "password"), [("ann", "wrong password"), ("nobody", PASSWORD), ("", ""), ("ann", "x" * 5000)]
)
def test_a_wrong_name_and_a_wrong_password_look_the_same(accounts, username, password):
    with pytest.raises(NotLoggedIn) as caught:
        accounts.log_in(username, password, address=HOME)
    assert caught.value.detail == "The user name or the password is wrong."


def test_sessions_end_after_thirty_days_whatever_happens(accounts, clock):
    token = accounts.log_in("ann", PASSWORD, address=HOME)
    for _ in range(29):
        clock.now += DAY
        assert accounts.by_session(token) is not None
    clock.now += DAY
    assert accounts.by_session(token) is None


def test_sessions_end_after_seven_idle_days(accounts, clock):
    token = accounts.log_in("ann", PASSWORD, address=HOME)
    clock.now += 7 * DAY
    assert accounts.by_session(token) is None


def test_guessing_is_slowed_down_before_the_password_is_looked_at(accounts, passwords):
    for _ in range(10):
        with pytest.raises((NotLoggedIn, TooManyAttempts)):
            accounts.log_in("ann", "wrong password", address=HOME)
    assert passwords.checks < 6
    with pytest.raises(TooManyAttempts, match=r"Try again in \d+ seconds") as caught:
        accounts.log_in("ann", PASSWORD, address=HOME)
    assert caught.value.retry_after_s >= 1
    assert accounts.log_in("ann", PASSWORD, address="5.6.7.8")


def test_basic_clients_are_slowed_down_alike(accounts):
    with pytest.raises(TooManyAttempts):
        for _ in range(10):
            try:
                accounts.by_password("ann", "wrong password", address=HOME)
            except NotLoggedIn:
                continue


def test_basic_passwords_are_remembered_for_a_minute(accounts, passwords, clock):
    for _ in range(50):
        assert accounts.by_password("ann", PASSWORD, address=HOME).username == "ann"
    assert passwords.checks == 1
    clock.now += 61.0
    accounts.by_password("ann", PASSWORD, address=HOME)
    assert passwords.checks == 2


def test_a_changed_password_counts_at_once(accounts):
    session = accounts.log_in("ann", PASSWORD, address=HOME)
    accounts.by_password("ann", PASSWORD, address=HOME)
    accounts.set_password("ann", "another good one")
    assert accounts.by_session(session) is None
    with pytest.raises(NotLoggedIn):
        accounts.by_password("ann", PASSWORD, address=HOME)
    assert accounts.by_password("ann", "another good one", address=HOME)


def test_a_disabled_account_is_out_at_once(accounts):
    accounts.add("bob", PASSWORD, "admin")
    session = accounts.log_in("ann", PASSWORD, address=HOME)
    token = accounts.add_token("ann", "script")
    accounts.by_password("ann", PASSWORD, address=HOME)
    accounts.disable("ann")
    assert accounts.by_session(session) is None
    assert accounts.by_token(token) is None
    with pytest.raises(NotLoggedIn):
        accounts.by_password("ann", PASSWORD, address=HOME)
    accounts.disable("ann", False)
    assert accounts.by_token(token) is not None


def test_the_last_enabled_administrator_cannot_be_disabled(accounts):
    accounts.add("bob", PASSWORD)
    for name in ("ann", "ANN"):
        with pytest.raises(InvalidRequest, match=r"last enabled administrator.*[Aa]dd or enable another") as caught:
            accounts.disable(name)
        assert caught.value.field == "username"
    assert accounts.log_in("ann", PASSWORD, address=HOME)
    accounts.disable("bob")


def test_an_administrator_can_be_disabled_and_enabled_while_there_is_another(accounts):
    accounts.add("bob", PASSWORD, "admin")
    accounts.disable("bob")
    accounts.disable("bob")
    with pytest.raises(InvalidRequest, match="last enabled administrator"):
        accounts.disable("ann")
    accounts.disable("bob", disabled=False)
    accounts.disable("ann")
    assert {account.username: account.disabled for account in accounts.list()} == {"ann": True, "bob": False}


def test_an_old_hash_is_renewed_at_login_and_sessions_stay(store, clock):
    old = AccountService(store, fast_passwords(), clock=clock)
    old.add("ann", PASSWORD)
    session = old.log_in("ann", PASSWORD, address=HOME)
    new = AccountService(store, Passwords(memory_kib=16, passes=1), clock=clock)
    new.log_in("ann", PASSWORD, address=HOME)
    found = store.password_hash("ann")
    assert found is not None
    assert "m=16,t=1" in found[1]
    assert new.by_session(session) is not None


@pytest.mark.parametrize("username", ["", "a b", "a:b", "a/b", "x" * 65, "a\n"])
def test_a_malformed_name_is_refused(accounts, username):
    with pytest.raises(InvalidRequest, match="username"):
        accounts.add(username, PASSWORD)


def test_names_may_be_chinese(accounts):
    accounts.add("小明", PASSWORD)
    assert accounts.log_in("小明", PASSWORD, address=HOME)
    assert [account.username for account in accounts.list()] == ["ann", "小明"]


def test_names_roles_and_passwords_are_checked(accounts):
    with pytest.raises(InvalidRequest, match="another account"):
        accounts.add("ANN", PASSWORD)
    with pytest.raises(InvalidRequest, match="role is 'king'"):
        accounts.add("bob", PASSWORD, "king")
    with pytest.raises(InvalidRequest, match="at least 8"):
        accounts.add("bob", "short")
    with pytest.raises(InvalidRequest, match="at least 8"):
        accounts.set_password("ann", "short")
    for change in (lambda: accounts.set_password("anm", PASSWORD), lambda: accounts.disable("anm")):
        with pytest.raises(NotFound, match="Did you mean 'ann'"):
            change()


def test_api_tokens_work_until_revoked(accounts):
    token = accounts.add_token("ann", "script")
    account = accounts.by_token(token)
    assert account is not None
    assert account.username == "ann"
    assert [row[:2] for row in accounts.tokens()] == [("script", "ann")]
    for label, rule in (("script", "another token"), ("", "1 to 64"), ("a\nb", "printable")):
        with pytest.raises(InvalidRequest, match=rule):
            accounts.add_token("ann", label)
    with pytest.raises(NotFound):
        accounts.add_token("nobody", "other")
    accounts.revoke_token("script")
    assert accounts.by_token(token) is None
    with pytest.raises(NotFound):
        accounts.revoke_token("script")


class TestFirstAdministrator:
    def test_comes_from_the_configuration(self, store):
        service = AccountService(store, fast_passwords())
        assert service.ensure_first_administrator("root", PASSWORD) is None
        assert [(account.username, account.role) for account in service.list()] == [("root", "admin")]
        assert service.log_in("root", PASSWORD, address=HOME)

    def test_is_generated_once_without_one(self, store):
        service = AccountService(store, fast_passwords())
        login = service.ensure_first_administrator()
        assert login is not None
        assert login.password not in repr(login)
        assert len(login.password) >= 16
        assert service.log_in(login.username, login.password, address=HOME)
        assert service.ensure_first_administrator() is None

    def test_is_left_alone_when_there_is_an_account(self, accounts):
        assert accounts.ensure_first_administrator("other", PASSWORD) is None
        assert len(accounts.list()) == 1

    @pytest.mark.parametrize(
        ("username", "password", "next_step"), [("root", "", "SDWEBUI_PASSWORD"), ("", PASSWORD, "SDWEBUI_USERNAME")]
    )
    def test_needs_name_and_password(self, store, username, password, next_step):
        with pytest.raises(ConfigurationError, match=next_step):
            AccountService(store, fast_passwords()).ensure_first_administrator(username, password)

    def test_follows_the_rules_for_passwords(self, store):
        with pytest.raises(ConfigurationError, match="at least 8 characters"):
            AccountService(store, fast_passwords()).ensure_first_administrator("root", "short")
