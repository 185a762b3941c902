"""Slows password guessing down: after some free mistakes, each further one doubles the time until the next try.

Counted by account with address, and by address alone (IPv6 by /64). An attacker at one address cannot lock a person at
another one out. Counts are in the account store, so that a restart forgives nothing. To add a rule: add a row to RULES.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from ipaddress import AddressValueError, IPv6Address, IPv6Network

from sdwebui.domain.errors import TooManyAttempts
from sdwebui.ports import AccountStore


@dataclass(frozen=True, kw_only=True)
class ThrottleRule:
    """How often a key may fail.

    Attributes:
        by_account: True to count by account and address, False by address alone.
        free: failures without any delay.
        window_s: failures older than this are forgotten.
        max_delay_s: the delay doubles from 1 s up to this.
    """

    by_account: bool
    free: int
    window_s: float
    max_delay_s: float

    def delay_s(self, failures: int) -> float:
        """Seconds that must pass after the newest failure."""
        beyond = failures - self.free
        return 0.0 if beyond < 0 else min(self.max_delay_s, 2.0 ** min(beyond, 32))


RULES: tuple[ThrottleRule, ...] = (
    ThrottleRule(by_account=True, free=4, window_s=900.0, max_delay_s=60.0),
    ThrottleRule(by_account=False, free=10, window_s=900.0, max_delay_s=60.0),
)


class LoginThrottle:
    """Asks and counts. The caller notes failures only of tries that `check` let through."""

    def __init__(self, store: AccountStore) -> None:
        self._store = store

    def check(self, username: str, address: str, now: float) -> None:
        """Let a try through, or raise `TooManyAttempts` with the seconds to wait."""
        for rule in RULES:
            key = _key(rule, username, address)
            delay = rule.delay_s(self._store.attempts(key, now, window_s=rule.window_s))
            if delay and self._store.attempts(key, now, window_s=delay):
                wait = math.ceil(delay)
                raise TooManyAttempts(f"Too many wrong passwords. Try again in {wait} seconds.", wait)

    def note_failure(self, username: str, address: str, now: float) -> None:
        """A wrong password was given."""
        for rule in RULES:
            self._store.note_attempt(_key(rule, username, address), now, window_s=rule.window_s)


def address_block(address: str) -> str:
    """What counts as one address: an IPv4 address itself, the /64 network of an IPv6 one (a customer has that many)."""
    try:
        six = IPv6Address(address.partition("%")[0])
    except (AddressValueError, ValueError):
        return address
    return str(six.ipv4_mapped) if six.ipv4_mapped else str(IPv6Network((six, 64), strict=False))


def _key(rule: ThrottleRule, username: str, address: str) -> str:
    block = address_block(address)
    return f"account:{username.casefold()}@{block}" if rule.by_account else f"address:{block}"
