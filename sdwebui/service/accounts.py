"""Who may come in: log-in, sessions, API tokens, the first administrator.

Rules for passwords are in `passwords.py`, the brake on guessing in `throttle.py`.
"""

from __future__ import annotations

import hashlib
import hmac
import logging
import secrets
import threading
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass

from sdwebui.domain.errors import ConfigurationError, InvalidRequest, NotFound, NotLoggedIn
from sdwebui.ports import Account, AccountStore
from sdwebui.service.passwords import Passwords, check_new_password
from sdwebui.service.throttle import LoginThrottle

logger = logging.getLogger(__name__)

ROLES = ("admin", "user")
MAX_USERNAME_CHARACTERS = 64
_TOKEN_BYTES = 32
_BASIC_CACHE_S = 60.0
_BASIC_CACHE_ENTRIES = 256
_WRONG = "The user name or the password is wrong."


@dataclass(frozen=True, kw_only=True)
class FirstLogin:
    """The generated administrator login, to be shown once."""

    username: str
    password: str

    def __repr__(self) -> str:
        return f"FirstLogin(username={self.username!r}, password='**********')"


@dataclass(frozen=True, kw_only=True)
class _RecentBasic:
    password_hash: str
    until: float


class AccountService:
    """Accounts and everything that proves one. Thread-safe.

    Args:
        store: accounts, sessions, tokens and failed attempts.
        passwords: hashing.
        session_absolute_s: a session ends after this time, whatever happens (its idle limit is the store's).
        clock: seconds since 1970.
        new_secret: text of that many random bytes or more.
    """

    def __init__(
        self,
        store: AccountStore,
        passwords: Passwords,
        *,
        session_absolute_s: float = 30 * 86400.0,
        clock: Callable[[], float] = time.time,
        new_secret: Callable[[int], str] = secrets.token_urlsafe,
    ) -> None:
        self._store = store
        self._passwords = passwords
        self._throttle = LoginThrottle(store)
        self._session_absolute_s = session_absolute_s
        self._clock = clock
        self._new_secret = new_secret
        self._cache_key = secrets.token_bytes(32)
        self._cache: dict[bytes, _RecentBasic] = {}
        self._cache_lock = threading.Lock()

    # --------------------------------------------------------------------------------------------- coming in

    def log_in(self, username: str, password: str, *, address: str) -> str:
        """Check a password and open a session.

        Args:
            username: as typed; case does not matter.
            password: as typed.
            address: the client's IP address, for the throttle.

        Returns:
            The session token for the cookie: 256 random bits. Only its SHA-256 is stored.

        Raises:
            NotLoggedIn: wrong name or password, or a disabled account; nobody can tell which.
            TooManyAttempts: with `retry_after_s`.
            Overloaded: too many log-ins at this moment.
        """
        account = self._verified(username, password, address)
        token = self._new_secret(_TOKEN_BYTES)
        now = self._clock()
        self._store.add_session(_digest(token), account.username, now, now + self._session_absolute_s)
        logger.info("login: %s from %s", account.username, address)
        return token

    def log_out(self, token: str) -> None:
        """End the session of this token; unknown ones are ignored."""
        self._store.end_session(_digest(token))

    def by_session(self, token: str) -> Account | None:
        """The account of a live session, or None."""
        return self._store.session_account(_digest(token), self._clock()) if token else None

    def by_token(self, token: str) -> Account | None:
        """The account of an API token, or None."""
        return self._store.token_account(_digest(token)) if token else None

    def by_password(self, username: str, password: str, *, address: str) -> Account:
        """The account of an HTTP Basic login. Raises as `log_in`.

        A success is remembered for a minute (as a keyed hash, in memory), because such clients send the password with
        every request; a changed password and a disabled account count at once all the same.
        """
        key = hmac.digest(self._cache_key, f"{username}\0{password}".encode("utf-8", "surrogatepass"), "sha256")
        found = self._store.password_hash(username)
        with self._cache_lock:
            recent = self._cache.get(key)
        is_fresh = recent is not None and self._clock() < recent.until
        if found and recent and is_fresh and recent.password_hash == found[1] and not found[0].disabled:
            return found[0]
        account = self._verified(username, password, address)
        self._remember(key, account.username)
        return account

    # ---------------------------------------------------------------------------------------------- accounts

    def add(self, username: str, password: str, role: str = "user") -> Account:
        """A new account.

        Raises:
            InvalidRequest: name taken or malformed, unknown role, password against the rules.
        """
        _check_username(username)
        if role not in ROLES:
            raise InvalidRequest("role", role, f"must be one of {', '.join(ROLES)}")
        check_new_password(password, username)
        account = self._store.add(username, self._passwords.hash(password), role)
        logger.info("account added: %s (%s)", account.username, role)
        return account

    def set_password(self, username: str, password: str) -> None:
        """Change a password; all sessions of the account end.

        Raises:
            NotFound: no such account.
            InvalidRequest: password against the rules.
        """
        self._require(username)
        check_new_password(password, username)
        self._store.set_password_hash(username, self._passwords.hash(password))
        logger.info("password changed: %s", username)

    def disable(self, username: str, disabled: bool = True) -> None:
        """Switch an account off (its sessions end, its tokens stop working) or on again.

        Raises:
            NotFound: no such account.
            InvalidRequest: it is the last enabled administrator: nobody could let people in any more.
        """
        account = self._require(username)
        if disabled and self._enabled_administrators() == [account]:
            rule = "must not be the last enabled administrator"
            raise InvalidRequest("username", username, rule, "Add or enable another administrator first.")
        self._store.set_disabled(username, disabled)
        logger.info("account %s: %s", "disabled" if disabled else "enabled", username)

    def list(self) -> Sequence[Account]:
        """All accounts by name."""
        return self._store.accounts()

    def ensure_first_administrator(self, username: str = "", password: str = "") -> FirstLogin | None:
        """Create the first administrator when there is no account at all.

        Args:
            username: name from the configuration, or empty.
            password: password from the configuration, or empty.

        Returns:
            A generated login to show once, when the configuration gave none; otherwise None.

        Raises:
            ConfigurationError: only one of the two was given, or one breaks a rule.
        """
        if self._store.accounts():
            return None
        if bool(username) != bool(password):
            given, missing = ("username", "password") if username else ("password", "username")
            raise ConfigurationError(
                f"Setting {given} is given without {missing}, but the first administrator needs both. "
                f"Set SDWEBUI_{missing.upper()} as well, or neither."
            )
        generated = not username
        login = FirstLogin(username=username or "admin", password=password or self._new_secret(12))
        try:
            self.add(login.username, login.password, "admin")
        except InvalidRequest as exc:
            raise ConfigurationError(f"The first administrator cannot be created: {exc.detail}") from exc
        return login if generated else None

    # ------------------------------------------------------------------------------------------------ tokens

    def add_token(self, username: str, label: str) -> str:
        """A new API token of an account, shown only now.

        Raises:
            NotFound: no such account.
            InvalidRequest: label empty, too long or taken.
        """
        account = self._require(username)
        if not 0 < len(label) <= MAX_USERNAME_CHARACTERS or not label.isprintable():
            raise InvalidRequest("label", label, f"must have 1 to {MAX_USERNAME_CHARACTERS} printable characters")
        if any(label == known for known, _, _ in self._store.tokens()):
            raise InvalidRequest("label", label, "must not be the label of another token", "Revoke that one first.")
        token = self._new_secret(_TOKEN_BYTES)
        self._store.add_token(_digest(token), account.username, label, self._clock())
        return token

    def tokens(self) -> Sequence[tuple[str, str, float]]:
        """(label, user name, created at) of all tokens."""
        return self._store.tokens()

    def revoke_token(self, label: str) -> None:
        """Delete a token. Raises `NotFound`."""
        self._store.revoke_token(label)

    # ---------------------------------------------------------------------------------------------- in house

    def _verified(self, username: str, password: str, address: str) -> Account:
        self._throttle.check(username, address, self._clock())
        with self._passwords.slot():
            self._throttle.check(username, address, self._clock())
            found = self._store.password_hash(username)
            matches = self._passwords.matches(found[1] if found else None, password)
            if found is None or not matches or found[0].disabled:
                self._throttle.note_failure(username, address, self._clock())
                logger.warning("login refused from %s", address)
                raise NotLoggedIn(_WRONG)
        account, stored = found
        if self._passwords.is_outdated(stored):
            self._store.set_password_hash(account.username, self._passwords.hash(password), keep_sessions=True)
        return account

    def _remember(self, key: bytes, username: str) -> None:
        found = self._store.password_hash(username)
        if found is None:
            return
        with self._cache_lock:
            if len(self._cache) >= _BASIC_CACHE_ENTRIES:
                self._cache.clear()
            self._cache[key] = _RecentBasic(password_hash=found[1], until=self._clock() + _BASIC_CACHE_S)

    def _enabled_administrators(self) -> Sequence[Account]:
        return [account for account in self._store.accounts() if account.role == "admin" and not account.disabled]

    def _require(self, username: str) -> Account:
        found = self._store.password_hash(username)
        if found is None:
            raise NotFound("account", username, [account.username for account in self._store.accounts()])
        return found[0]


def _check_username(username: str) -> None:
    allowed = all(letter.isalnum() or letter in "._-@" for letter in username)
    if not 0 < len(username) <= MAX_USERNAME_CHARACTERS or not allowed:
        rule = f"must have 1 to {MAX_USERNAME_CHARACTERS} letters, digits, dots, dashes, underscores or @"
        raise InvalidRequest("username", username, rule)


def _digest(token: str) -> str:
    return hashlib.sha256(token.encode("utf-8", "surrogatepass")).hexdigest()
