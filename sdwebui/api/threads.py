"""Blocking calls, off the event loop. Every call of a service from a coroutine goes through here.

Two separate sets of threads, so that log-ins never hold up a page.
"""

from __future__ import annotations

from collections.abc import Callable
from functools import partial
from typing import ParamSpec, TypeVar

import anyio
from anyio import to_thread

from sdwebui.domain.errors import Overloaded

P = ParamSpec("P")
T = TypeVar("T")


class Threads:
    """Runs blocking functions in threads of two kinds.

    Args:
        quick: threads for database look-ups and file reads, a few milliseconds each.
        passwords: threads for password checks, some 100 ms each (how many hash at once is the service's to limit).
        passwords_queued: log-ins that may wait for a thread before further ones are refused.
    """

    def __init__(self, *, quick: int = 16, passwords: int = 16, passwords_queued: int = 64) -> None:
        self._quick = anyio.CapacityLimiter(quick)
        self._passwords = anyio.CapacityLimiter(passwords)
        self._passwords_queued = passwords_queued

    async def quick(self, function: Callable[P, T], *args: P.args, **kwargs: P.kwargs) -> T:
        """Run a short blocking call."""
        return await to_thread.run_sync(partial(function, *args, **kwargs), limiter=self._quick)

    async def password(self, function: Callable[P, T], *args: P.args, **kwargs: P.kwargs) -> T:
        """Run a call that checks a password.

        Raises:
            Overloaded: too many log-ins are waiting already.
        """
        if self._passwords.statistics().tasks_waiting >= self._passwords_queued:
            raise Overloaded("Too many people are logging in at this moment. Try again in a few seconds.")
        return await to_thread.run_sync(partial(function, *args, **kwargs), limiter=self._passwords)
