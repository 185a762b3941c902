from __future__ import annotations

from contextlib import aclosing

import anyio
import pytest

from sdwebui.api.threads import Threads
from sdwebui.api.watching import JobWatch
from sdwebui.domain.errors import NotFound
from sdwebui.domain.requests import Txt2ImgRequest
from sdwebui.domain.results import JobState
from tests.fakes import Services

pytestmark = pytest.mark.anyio

REQUEST = Txt2ImgRequest(prompt="a moon", steps=10, width_px=64, height_px=64)


async def test_waiting_ends_with_the_job(slow_fakes: Services):
    watch = JobWatch(slow_fakes.generation, Threads())
    job = slow_fakes.generation.submit(REQUEST, owner="bob")
    with anyio.fail_after(5):
        done = await watch.final(job.id, viewer=slow_fakes.people["bob"])
    assert (done.state, len(done.images)) == (JobState.DONE, 1)


async def test_a_finished_job_is_seen_once(fakes: Services):
    watch = JobWatch(fakes.generation, Threads())
    job = fakes.generation.submit(REQUEST, owner="bob")
    fakes.generation.wait(job.id, 5)
    sights = [sight async for sight in watch.sights(job.id, viewer=fakes.people["bob"])]
    assert [sight.job.state for sight in sights] == [JobState.DONE]


async def test_silence_is_reported_and_then_looked_at_again(slow_fakes: Services):
    watch = JobWatch(slow_fakes.generation, Threads(), patience_s=0.01)
    first = slow_fakes.generation.submit(REQUEST, owner="eve")
    second = slow_fakes.generation.submit(REQUEST, owner="bob")
    with anyio.fail_after(5):
        kinds = {sight.is_news async for sight in watch.sights(second.id, viewer=slow_fakes.people["bob"])}
    assert kinds == {True, False}
    slow_fakes.generation.wait(first.id, 5)


async def test_other_people_cannot_watch_and_watchers_leave_nothing_behind(slow_fakes: Services):
    watch = JobWatch(slow_fakes.generation, Threads())
    job = slow_fakes.generation.submit(REQUEST, owner="bob")
    with pytest.raises(NotFound):
        await watch.final(job.id, viewer=slow_fakes.people["eve"])
    async with aclosing(watch.sights(job.id, viewer=slow_fakes.people["bob"])) as sights:
        async for _ in sights:
            break
    assert slow_fakes.generation.events("bob")._channel.wakes == {}
