"""Accounts, sessions, API tokens and failed log-ins; see `ports.AccountStore`. User names match whatever their case."""

from __future__ import annotations

from collections.abc import Sequence

from sqlalchemy import delete, func, select, update
from sqlalchemy.exc import IntegrityError

from sdwebui.domain.errors import InvalidRequest, NotFound
from sdwebui.ports import Account
from sdwebui.storage.database import Database
from sdwebui.storage.schema import accounts, login_attempts, sessions, tokens

_SEEN_EVERY_S = 600.0


class SqlAccountStore:
    """Implements `ports.AccountStore`.

    Args:
        database: where the tables are.
        session_idle_s: a session ends when it was not used for this long (to within ten minutes, so that not every
            request writes).
    """

    def __init__(self, database: Database, session_idle_s: float = 7 * 86400.0) -> None:
        self._database = database
        self._session_idle_s = session_idle_s

    def add(self, username: str, password_hash: str, role: str) -> Account:
        """A new account. Raises `InvalidRequest` when the name is taken or malformed."""
        check_free_of_controls(username)
        row = accounts.insert().values(
            key=username.casefold(), username=username, password_hash=password_hash, role=role, disabled=False
        )
        try:
            with self._database.write() as connection:
                connection.execute(row)
        except IntegrityError as exc:
            raise InvalidRequest("username", username, "must not be the name of another account") from exc
        return Account(username=username, role=role)

    def accounts(self) -> Sequence[Account]:
        """All accounts by name."""
        with self._database.read() as connection:
            rows = connection.execute(select(accounts).order_by(accounts.c.key)).all()
        return [Account(username=row.username, role=row.role, disabled=row.disabled) for row in rows]

    def password_hash(self, username: str) -> tuple[Account, str] | None:
        """Account and Argon2id hash, or None for an unknown name."""
        query = select(accounts).where(accounts.c.key == username.casefold())
        with self._database.read() as connection:
            row = connection.execute(query).one_or_none()
        if row is None:
            return None
        return Account(username=row.username, role=row.role, disabled=row.disabled), row.password_hash

    def set_password_hash(self, username: str, password_hash: str, *, keep_sessions: bool = False) -> None:
        """Change the password; all sessions of the account end, unless it is the same password hashed anew."""
        self._change(username, password_hash=password_hash, ends_sessions=not keep_sessions)

    def set_disabled(self, username: str, disabled: bool) -> None:
        """Switch an account off or on; switching off ends its sessions and tokens' use."""
        self._change(username, disabled=disabled, ends_sessions=disabled)

    def add_session(self, token_hash: str, username: str, created_at: float, expires_at: float) -> None:
        """Remember a login; sessions that are over are forgotten on the way."""
        with self._database.write() as connection:
            idle = sessions.c.seen_at < created_at - self._session_idle_s
            connection.execute(delete(sessions).where((sessions.c.expires_at <= created_at) | idle))
            connection.execute(
                sessions.insert().values(
                    token_hash=token_hash,
                    account=username.casefold(),
                    created_at=created_at,
                    expires_at=expires_at,
                    seen_at=created_at,
                )
            )

    def session_account(self, token_hash: str, now: float) -> Account | None:
        """The enabled account of a live session, or None."""
        query = select(accounts, sessions.c.seen_at, sessions.c.expires_at).join_from(sessions, accounts)
        with self._database.read() as connection:
            row = connection.execute(query.where(sessions.c.token_hash == token_hash)).one_or_none()
        if row is None or row.disabled or now >= min(row.expires_at, row.seen_at + self._session_idle_s):
            return None
        if now - row.seen_at > min(_SEEN_EVERY_S, self._session_idle_s / 10):
            with self._database.write() as connection:
                seen = update(sessions).where(sessions.c.token_hash == token_hash).values(seen_at=now)
                connection.execute(seen)
        return Account(username=row.username, role=row.role)

    def end_session(self, token_hash: str) -> None:
        """Log out."""
        with self._database.write() as connection:
            connection.execute(delete(sessions).where(sessions.c.token_hash == token_hash))

    def add_token(self, token_hash: str, username: str, label: str, created_at: float) -> None:
        """Remember an API token. Raises `InvalidRequest` when the label is taken."""
        row = tokens.insert().values(
            token_hash=token_hash, account=username.casefold(), label=label, created_at=created_at
        )
        try:
            with self._database.write() as connection:
                connection.execute(row)
        except IntegrityError as exc:
            raise InvalidRequest("label", label, "must not be the label of another token") from exc

    def token_account(self, token_hash: str) -> Account | None:
        """The enabled account of a live API token, or None."""
        query = select(accounts).join_from(tokens, accounts).where(tokens.c.token_hash == token_hash)
        with self._database.read() as connection:
            row = connection.execute(query).one_or_none()
        return None if row is None or row.disabled else Account(username=row.username, role=row.role)

    def tokens(self) -> Sequence[tuple[str, str, float]]:
        """(label, username, created_at) of all tokens, by label."""
        query = select(tokens.c.label, accounts.c.username, tokens.c.created_at).join_from(tokens, accounts)
        with self._database.read() as connection:
            rows = connection.execute(query.order_by(tokens.c.label)).all()
        return [(row.label, row.username, row.created_at) for row in rows]

    def revoke_token(self, label: str) -> None:
        """Delete a token. Raises `NotFound`."""
        with self._database.write() as connection:
            if connection.execute(delete(tokens).where(tokens.c.label == label)).rowcount == 0:
                raise NotFound("token", label, connection.execute(select(tokens.c.label)).scalars().all())

    def note_attempt(self, key: str, now: float, *, window_s: float) -> int:
        """Count a failed login under a key; returns the failures in the window. Older ones are forgotten."""
        with self._database.write() as connection:
            old = (login_attempts.c.key == key) & (login_attempts.c.at <= now - window_s)
            connection.execute(delete(login_attempts).where(old | (login_attempts.c.at <= now - 86400.0)))
            connection.execute(login_attempts.insert().values(key=key, at=now))
            count = select(func.count()).select_from(login_attempts).where(login_attempts.c.key == key)
            return int(connection.execute(count).scalar_one())

    def attempts(self, key: str, now: float, *, window_s: float) -> int:
        """Failures in the window, without counting one."""
        recent = (login_attempts.c.key == key) & (login_attempts.c.at > now - window_s)
        count = select(func.count()).select_from(login_attempts).where(recent)
        with self._database.read() as connection:
            return int(connection.execute(count).scalar_one())

    def _change(self, username: str, *, ends_sessions: bool, **values: str | bool) -> None:
        key = username.casefold()
        with self._database.write() as connection:
            if connection.execute(update(accounts).where(accounts.c.key == key).values(**values)).rowcount == 0:
                raise NotFound("account", username, connection.execute(select(accounts.c.username)).scalars().all())
            if ends_sessions:
                connection.execute(delete(sessions).where(sessions.c.account == key))


def check_free_of_controls(username: str) -> None:
    """Refuse an empty name and one with control characters or a colon (HTTP Basic splits there)."""
    if not username or not username.isprintable() or ":" in username:
        raise InvalidRequest("username", username, "must have printable characters and no colon")
