"""The brake on guessing."""

from __future__ import annotations

import pytest

from sdwebui.domain.errors import TooManyAttempts
from sdwebui.service.throttle import LoginThrottle, address_block
from tests.fakes import MemoryAccountStore


def guess(throttle: LoginThrottle, username: str, address: str, now: float) -> bool:
    """One wrong try. True when it reached the password check."""
    try:
        throttle.check(username, address, now)
    except TooManyAttempts:
        return False
    throttle.note_failure(username, address, now)
    return True


def test_a_few_mistakes_are_free_and_then_the_delay_doubles():
    throttle = LoginThrottle(MemoryAccountStore())
    now, waits = 0.0, []
    for _ in range(10):
        try:
            throttle.check("ann", "1.2.3.4", now)
            waits.append(0)
        except TooManyAttempts as error:
            waits.append(error.retry_after_s)
            now += error.retry_after_s
            throttle.check("ann", "1.2.3.4", now)
        throttle.note_failure("ann", "1.2.3.4", now)
    assert waits == [0, 0, 0, 0, 1, 2, 4, 8, 16, 32]


@pytest.mark.parametrize("names", [["ann"], [f"user{number}" for number in range(1000)]])
def test_one_address_reaches_the_password_check_at_most_twenty_times_in_five_minutes(names):
    throttle = LoginThrottle(MemoryAccountStore())
    reached = [guess(throttle, names[tick % len(names)], "1.2.3.4", tick * 0.25) for tick in range(1200)]
    assert 5 <= sum(reached) <= 20


def test_an_attacker_elsewhere_locks_nobody_out():
    throttle = LoginThrottle(MemoryAccountStore())
    for tick in range(1000):
        guess(throttle, "ann", "6.6.6.6", tick * 0.1)
    throttle.check("ann", "1.2.3.4", 100.0)
    with pytest.raises(TooManyAttempts):
        throttle.check("ANN", "6.6.6.6", 100.0)


def test_failures_are_forgotten():
    throttle = LoginThrottle(MemoryAccountStore())
    for tick in range(100):
        guess(throttle, "ann", "1.2.3.4", float(tick))
    throttle.check("ann", "1.2.3.4", 100.0 + 900.0)


@pytest.mark.parametrize(
    ("address", "block"),
    [
        ("1.2.3.4", "1.2.3.4"),
        ("2001:db8:1:2:3:4:5:6", "2001:db8:1:2::/64"),
        ("2001:db8:1:2::1", "2001:db8:1:2::/64"),
        ("::ffff:1.2.3.4", "1.2.3.4"),
        ("fe80::1%eth0", "fe80::/64"),
        ("testclient", "testclient"),
        ("", ""),
    ],
)
def test_an_ipv6_customer_counts_as_one(address, block):
    assert address_block(address) == block
