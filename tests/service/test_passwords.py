"""Rules for passwords, and Argon2id."""

from __future__ import annotations

import time

import pytest

from sdwebui.domain.errors import InvalidRequest
from sdwebui.service.passwords import Passwords, check_new_password


@pytest.mark.parametrize(
    ("password", "rule"),
    [
        ("short", "at least 8 characters"),
        ("x" * 1025, "at most 1024 bytes"),
        ("字" * 400, "at most 1024 bytes"),
        ("Password123", "easy to guess"),
        ("WoAini1314", "easy to guess"),
        ("annannann", "easy to guess"),
    ],
)
def test_a_weak_password_is_refused_without_being_repeated(password, rule):
    with pytest.raises(InvalidRequest, match=rule) as caught:
        check_new_password(password, "AnnAnnAnn")
    assert password not in caught.value.detail


@pytest.mark.parametrize("password", ["correct horse", "密码密码密码密码", "user:pass:with:colons", " spaces  "])
def test_any_other_password_is_taken_as_it_is(password):
    check_new_password(password, "ann")
    passwords = Passwords(memory_kib=8, passes=1)
    stored = passwords.hash(password)
    assert passwords.matches(stored, password)
    assert not passwords.matches(stored, password + "x")
    assert not passwords.matches(stored, password.strip() + " ")


def test_servers_use_argon2id_with_46_mib_and_two_passes():
    stored = Passwords().hash("correct horse")
    assert stored.startswith("$argon2id$v=19$m=47104,t=2,p=1$")


def test_a_hash_with_other_parameters_is_outdated():
    old, new = Passwords(memory_kib=8, passes=1), Passwords(memory_kib=16, passes=1)
    stored = old.hash("correct horse")
    assert not old.is_outdated(stored)
    assert new.is_outdated(stored)
    assert new.matches(stored, "correct horse")


def test_without_a_hash_nothing_matches():
    passwords = Passwords(memory_kib=8, passes=1)
    assert not passwords.matches(None, "no account has this password")
    assert not passwords.matches(None, "x" * 2000)
    assert not passwords.matches("not a hash", "x")


def test_an_unknown_account_costs_as_much_time_as_a_known_one():
    passwords = Passwords(memory_kib=4096, passes=1)
    stored = passwords.hash("correct horse")

    def fastest(given: str | None) -> float:
        times = []
        for _ in range(9):
            started = time.perf_counter()
            passwords.matches(given, "wrong password")
            times.append(time.perf_counter() - started)
        return min(times)

    assert fastest(None) > fastest(stored) / 2
