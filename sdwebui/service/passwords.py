"""Passwords: the rules for new ones, and Argon2id for stored ones (46 MiB, 2 passes, 1 lane: OWASP's first choice).

At most two hashes are computed at once, so a flood of logins costs at most 92 MiB.
"""

from __future__ import annotations

import threading
from collections.abc import Iterator
from contextlib import contextmanager

from argon2 import PasswordHasher
from argon2.exceptions import InvalidHashError, VerificationError

from sdwebui.domain.errors import InvalidRequest, Overloaded

MIN_PASSWORD_CHARACTERS = 8
MAX_PASSWORD_BYTES = 1024
_SLOTS = 2
_SLOT_WAIT_S = 10.0

REFUSED_PASSWORDS = frozenset(
    [
        "00000000",
        "11111111",
        "12121212",
        "123123123",
        "12341234",
        "12344321",
        "12345678",
        "123456789",
        "1234567890",
        "1234567a",
        "1q2w3e4r",
        "1q2w3e4r5t",
        "1qaz2wsx",
        "66666666",
        "77777777",
        "87654321",
        "88888888",
        "987654321",
        "a1234567",
        "a12345678",
        "aa123456",
        "aa12345678",
        "abc12345",
        "abcd1234",
        "abcdefgh",
        "admin123",
        "admin1234",
        "adminadmin",
        "administrator",
        "asdf1234",
        "asdfasdf",
        "asdfghjk",
        "asdfghjkl",
        "baseball",
        "basketball",
        "changeit",
        "changeme",
        "charlie1",
        "computer",
        "dearbook",
        "diffusion",
        "football",
        "iloveyou",
        "internet",
        "jennifer",
        "letmein1",
        "liverpool",
        "michelle",
        "mustang1",
        "opensesame",
        "p@ssw0rd",
        "pass1234",
        "passw0rd",
        "password",
        "password1",
        "password12",
        "password123",
        "princess",
        "q1w2e3r4",
        "qazwsxedc",
        "qwer1234",
        "qwert123",
        "qwerty12",
        "qwerty123",
        "qwertyui",
        "qwertyuiop",
        "samantha",
        "sdwebui1",
        "sdwebui123",
        "stablediffusion",
        "starwars",
        "sunshine",
        "superman",
        "test1234",
        "testtest",
        "trustno1",
        "welcome1",
        "welcome123",
        "whatever",
        "woaini123",
        "woaini1314",
        "woaini520",
        "wojiushiwo",
        "zaq12wsx",
        "zxcvbnm1",
        "zxcvbnm123",
    ]
)
"""The most used passwords of eight and more characters, and this program's own name."""


def check_new_password(password: str, username: str) -> None:
    """Refuse a password that is too short, too long, among the most used ones, or the user's name.

    Raises:
        InvalidRequest: with the rule; the password itself never appears in the message.
    """
    hidden = "(hidden)"
    if len(password) < MIN_PASSWORD_CHARACTERS:
        raise InvalidRequest("password", hidden, f"must have at least {MIN_PASSWORD_CHARACTERS} characters")
    if len(password.encode("utf-8", "surrogatepass")) > MAX_PASSWORD_BYTES:
        raise InvalidRequest("password", hidden, f"must have at most {MAX_PASSWORD_BYTES} bytes")
    if password.casefold() in REFUSED_PASSWORDS or password.casefold() == username.casefold():
        raise InvalidRequest("password", hidden, "must not be easy to guess", "Take a longer one, such as four words.")


class Passwords:
    """Hashes and checks passwords.

    Args:
        memory_kib: Argon2 memory; tests pass a small value, servers keep the default.
        passes: Argon2 time cost.
    """

    def __init__(self, memory_kib: int = 46 * 1024, passes: int = 2) -> None:
        self._hasher = PasswordHasher(time_cost=passes, memory_cost=memory_kib, parallelism=1)
        self._slots = threading.BoundedSemaphore(_SLOTS)
        self._dummy = self._hasher.hash("no account has this password")

    @contextmanager
    def slot(self) -> Iterator[None]:
        """Wait for one of the two slots. Raises `Overloaded` when there is none in time."""
        if not self._slots.acquire(timeout=_SLOT_WAIT_S):
            raise Overloaded("Too many people log in at this moment. Try again in a few seconds.", 10)
        try:
            yield
        finally:
            self._slots.release()

    def hash(self, password: str) -> str:
        """The Argon2id hash of a password, in a slot."""
        with self.slot():
            return self._hasher.hash(_encoded(password))

    def matches(self, stored: str | None, password: str) -> bool:
        """Whether a password fits its hash; call inside `slot`. Without a hash a dummy costs the same time."""
        if len(password.encode("utf-8", "surrogatepass")) > MAX_PASSWORD_BYTES:
            password, stored = "", None
        try:
            self._hasher.verify(stored or self._dummy, _encoded(password))
        except (VerificationError, InvalidHashError):
            return False
        return stored is not None

    def is_outdated(self, stored: str) -> bool:
        """True when the hash was made with other parameters than today's."""
        return self._hasher.check_needs_rehash(stored)


def _encoded(password: str) -> bytes:
    return password.encode("utf-8", "surrogatepass")
