"""Following a job from a coroutine: no thread waits, the feed wakes the event loop."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncGenerator, Iterator
from contextlib import aclosing, contextmanager, suppress
from dataclasses import dataclass

from sdwebui.api.threads import Threads
from sdwebui.domain.errors import NotFound
from sdwebui.domain.results import JobRecord
from sdwebui.ports import Account
from sdwebui.service.events import EventFeed
from sdwebui.service.generation import GenerationService

PATIENCE_S = 10.0
"""After so long without news a viewer hears that the connection is alive, and the job is read again."""
BREATH_S = 0.05
"""Pause after each piece of news: twenty looks a second are enough for anybody."""


@dataclass(frozen=True, kw_only=True)
class Sight:
    """A look at a job.

    Attributes:
        job: the job as it is now.
        cursor: place in the owner's feed at which it was looked at.
        is_news: False when only the patience was over.
    """

    job: JobRecord
    cursor: int
    is_news: bool


class JobWatch:
    """Follows jobs for people who may see them.

    Args:
        generation: reads jobs and knows their feeds.
        threads: where reads run.
        patience_s: longest silence between two looks.
    """

    def __init__(self, generation: GenerationService, threads: Threads, *, patience_s: float = PATIENCE_S) -> None:
        self._generation = generation
        self._threads = threads
        self._patience_s = patience_s

    async def final(self, job_id: str, *, viewer: Account) -> JobRecord:
        """Wait until the job has ended.

        Raises:
            NotFound: no such job, or somebody else's.
        """
        async with aclosing(self.sights(job_id, viewer=viewer)) as sights:
            async for sight in sights:
                if sight.job.state.is_final:
                    return sight.job
        raise NotFound("job", job_id)

    async def sights(self, job_id: str, *, viewer: Account) -> AsyncGenerator[Sight]:
        """The job now, then at every change, and last when it has ended.

        Raises:
            NotFound: no such job, or somebody else's.
        """
        first = await self._read(job_id, viewer)
        feed = self._generation.events(first.owner)
        with _woken_by(feed) as news:
            cursor, is_news = feed.cursor, True
            while True:
                job = await self._read(job_id, viewer)
                yield Sight(job=job, cursor=cursor, is_news=is_news)
                if job.state.is_final:
                    return
                await asyncio.sleep(BREATH_S)
                cursor, is_news = await self._next(feed, news, cursor, job_id)

    async def _next(self, feed: EventFeed, news: asyncio.Event, cursor: int, job_id: str) -> tuple[int, bool]:
        """The cursor of the next change of this job; False with it when the patience was over first."""
        try:
            async with asyncio.timeout(self._patience_s):
                while True:
                    news.clear()
                    changes = feed.since(cursor)
                    cursor = changes.cursor
                    if changes.missed or job_id in changes.job_ids:
                        return cursor, True
                    await news.wait()
        except TimeoutError:
            return cursor, False

    async def _read(self, job_id: str, viewer: Account) -> JobRecord:
        return await self._threads.quick(self._generation.job, job_id, viewer=viewer)


@contextmanager
def _woken_by(feed: EventFeed) -> Iterator[asyncio.Event]:
    """An event that is set at every change of the feed, as long as the block runs."""
    loop, news = asyncio.get_running_loop(), asyncio.Event()

    def wake() -> None:
        with suppress(RuntimeError):  # the loop is closed: the server is going down, and nobody listens any more
            loop.call_soon_threadsafe(news.set)

    unsubscribe = feed.subscribe(wake)
    try:
        yield news
    finally:
        unsubscribe()
