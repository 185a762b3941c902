"""Which jobs changed since a cursor, for each owner: what server-sent events and pages that come back ask for.

In memory only. Cursors grow for ever, also over restarts (they start at the clock), so an old `Last-Event-ID` is
recognised as old and its viewer told to read the job list again.
"""

from __future__ import annotations

import logging
import threading
import time
from collections.abc import Callable
from dataclasses import dataclass, field

logger = logging.getLogger(__name__)

_REMEMBERED_JOBS = 1000

Wake = Callable[[], None]


@dataclass(frozen=True, kw_only=True)
class JobChanges:
    """What a viewer missed.

    Attributes:
        cursor: give this back next time (the `id:` of a server-sent event).
        job_ids: jobs that changed after the viewer's cursor, the longest unchanged first.
        missed: True when the viewer's cursor is older than what is remembered: read the job list again.
    """

    cursor: int
    job_ids: tuple[str, ...]
    missed: bool


@dataclass
class _Channel:
    start: int
    cursor: int
    changed: dict[str, int] = field(default_factory=dict)
    wakes: dict[object, Wake] = field(default_factory=dict)


def _call(wake: Wake) -> None:
    try:
        wake()
    except RuntimeError as exc:  # the subscriber's event loop has been closed
        logger.debug("A subscriber could not be woken: %s", exc)


class EventFeed:
    """The changes of one owner's jobs. Made by `EventHub.feed`."""

    def __init__(self, channel: _Channel, condition: threading.Condition) -> None:
        self._channel = channel
        self._condition = condition

    @property
    def cursor(self) -> int:
        """The newest cursor: where a viewer starts who has just read the job list."""
        return self._channel.cursor

    def since(self, cursor: int) -> JobChanges:
        """What changed after `cursor`; returns at once."""
        with self._condition:
            return self._changes(cursor)

    def wait(self, cursor: int, timeout_s: float) -> JobChanges:
        """Like `since`, but blocks the calling thread until something changed or the time is over."""
        with self._condition:
            self._condition.wait_for(lambda: self._channel.cursor != cursor, timeout_s)
            return self._changes(cursor)

    def subscribe(self, wake: Wake) -> Callable[[], None]:
        """Call `wake` at every change, from any thread, and return the function that ends this.

        `wake` must be quick: an event loop passes `lambda: loop.call_soon_threadsafe(event.set)` and then reads
        `since`; thousands of streams need no thread each.
        """
        key = object()
        with self._condition:
            self._channel.wakes[key] = wake

        def unsubscribe() -> None:
            with self._condition:
                self._channel.wakes.pop(key, None)

        return unsubscribe

    def _changes(self, cursor: int) -> JobChanges:
        channel = self._channel
        job_ids = tuple(job_id for job_id, number in channel.changed.items() if number > cursor)
        missed = not channel.start <= cursor <= channel.cursor
        return JobChanges(cursor=channel.cursor, job_ids=job_ids, missed=missed)


class EventHub:
    """All owners' feeds. Thread-safe."""

    def __init__(self, clock: Callable[[], float] = time.time) -> None:
        self._condition = threading.Condition()
        self._channels: dict[str, _Channel] = {}
        self._start = int(clock() * 1_000_000)

    def feed(self, owner: str) -> EventFeed:
        """The feed of one owner."""
        with self._condition:
            return EventFeed(self._channel(owner), self._condition)

    def publish(self, owner: str, job_id: str) -> None:
        """Say that a job changed: state, progress, a new picture."""
        with self._condition:
            channel = self._channel(owner)
            channel.cursor += 1
            channel.changed.pop(job_id, None)
            channel.changed[job_id] = channel.cursor
            if len(channel.changed) > _REMEMBERED_JOBS:
                oldest = next(iter(channel.changed))
                channel.start = channel.changed.pop(oldest)
            wakes = tuple(channel.wakes.values())
            self._condition.notify_all()
        for wake in wakes:
            _call(wake)

    def _channel(self, owner: str) -> _Channel:
        return self._channels.setdefault(owner, _Channel(start=self._start, cursor=self._start))
