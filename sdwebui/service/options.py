"""Runtime options: each person's own defaults, and the server's. The table is `domain/options.py`."""

from __future__ import annotations

import logging
from collections.abc import Mapping
from typing import Any

from sdwebui.domain.errors import NotAllowed
from sdwebui.domain.options import OPTIONS, OptionValue, check_option, find_option, option_defaults, stored_options
from sdwebui.ports import AccountStore, ModelCatalog, OptionStore

logger = logging.getLogger(__name__)

SERVER = "server"


class OptionsService:
    """Reads and writes option values, typed by the table.

    Args:
        store: where values are kept.
        catalog: checks values that name a model file.
        accounts: says who is an administrator.
    """

    def __init__(self, store: OptionStore, catalog: ModelCatalog, accounts: AccountStore) -> None:
        self._store = store
        self._catalog = catalog
        self._accounts = accounts

    def get(self, username: str) -> Mapping[str, Any]:
        """Every option's value for this person. A stored value that is no longer valid counts as not stored."""
        values: dict[str, OptionValue] = option_defaults()
        for scope in (SERVER, _user_scope(username)):
            good, problems = stored_options(self._store.read(scope))
            for problem in problems:
                logger.warning("A stored option of %s is not used: %s", scope, problem)
            values.update({key: value for key, value in good.items() if _belongs(key, scope)})
        return values

    def server(self) -> Mapping[str, Any]:
        """The values of the server's options, for start-up and for workers."""
        good, _ = stored_options(self._store.read(SERVER))
        return {row.key: good.get(row.key, row.default) for row in OPTIONS if row.scope == SERVER}

    def set(self, username: str, values: Mapping[str, Any]) -> None:
        """Change options, all or none.

        Values equal to the present ones are no change, so that a client may send the whole dictionary of `get` back
        with one key altered.

        Raises:
            NotFound: an unknown option, or a model file that does not exist.
            InvalidRequest: a value of a wrong type or out of range.
            ModelUnusable: a model file that cannot be used.
            NotAllowed: a server option, and the person is no administrator.
        """
        present = self.get(username)
        changed = {key: value for key, value in values.items() if key not in present or not _same(present[key], value)}
        checked = {key: self._checked(key, value) for key, value in changed.items()}
        server = {key: value for key, value in checked.items() if find_option(key).scope == SERVER}
        if server and not self._is_administrator(username):
            raise NotAllowed(f"Option {min(server)} concerns everybody, and only an administrator can set it.")
        own = {key: value for key, value in checked.items() if key not in server}
        for scope, part in ((_user_scope(username), own), (SERVER, server)):
            if part:
                self._store.write(scope, part)

    def draft(self, username: str) -> Mapping[str, Any]:
        """What this person's forms held when they were last sent: form name → field name → value. Empty at first."""
        return self._store.read(_draft_scope(username))

    def save_draft(self, username: str, values: Mapping[str, Any]) -> None:
        """Remember forms of this person for the next visit, on whatever device; forms not named stay as they are."""
        self._store.write(_draft_scope(username), values)

    def _checked(self, key: str, value: object) -> OptionValue:
        row = find_option(key)
        checked = check_option(row, value)
        if row.catalog and checked:
            return self._catalog.find(row.catalog, str(checked)).name
        return checked

    def _is_administrator(self, username: str) -> bool:
        return any(one.username == username and one.role == "admin" for one in self._accounts.accounts())


def _same(present: object, value: object) -> bool:
    """Equal as JSON values: true is not 1."""
    return present == value and isinstance(present, bool) == isinstance(value, bool)


def _user_scope(username: str) -> str:
    return f"user:{username}"


def _draft_scope(username: str) -> str:
    return f"draft:{username}"


def _belongs(key: str, scope: str) -> bool:
    return (find_option(key).scope == SERVER) == (scope == SERVER)
