from __future__ import annotations

import queue
import threading
from collections.abc import Callable, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
import torch

from sdwebui.domain.errors import ModelUnusable, Overloaded
from sdwebui.domain.requests import CheckpointRef, ResolvedRequest
from sdwebui.domain.results import ImageDone, JobFailed, JobFinished, JobStarted, StepDone
from sdwebui.engine.calls import Denoise, ModelState, Prepare
from sdwebui.engine.generate import Picture, Story
from sdwebui.engine.loop import Loop
from tests.engine.fakes import InstantDevice, denoise_call
from tests.tiny import tiny_request


def tell(request: ResolvedRequest, index: int) -> Story:
    """A story of `steps` denoise calls whose latents carry the seed."""
    state = ModelState(checkpoint=request.checkpoint)
    yield Prepare(state=state)
    for step in range(1, request.steps + 1):
        x = torch.full((1, 4, request.height_px // 8, 1), float(request.image_seed(index)))
        yield denoise_call(state, x=x, step=step, steps=request.steps)
    return Picture(seed=request.image_seed(index), width_px=1, height_px=1, rgb=b"abc", warnings=("careful",))


class Clock:
    """Time that passes only when told to."""

    def __init__(self) -> None:
        self.now = 0.0

    def __call__(self) -> float:
        return self.now


@pytest.fixture
def ref(tiny_checkpoint: Path) -> CheckpointRef:
    return tiny_request(tiny_checkpoint).checkpoint


@pytest.fixture
def request_of(tiny_checkpoint: Path) -> Callable[..., ResolvedRequest]:
    return lambda **changes: tiny_request(tiny_checkpoint, **changes)


@pytest.fixture
def run():
    """Submit jobs before the loop starts, run it until each has its final event, and return the events in order."""

    def runner(
        device: Any, jobs: dict[str, ResolvedRequest], on_event=lambda _loop, _event: None, **options: Any
    ) -> list[Any]:
        events: list[Any] = []
        finals: queue.SimpleQueue[Any] = queue.SimpleQueue()
        loop = Loop(lambda: device, options.pop("tell", tell), **options)

        def listener(event: Any) -> None:
            events.append(event)
            on_event(loop, event)
            if isinstance(event, JobFinished | JobFailed):
                finals.put(event)

        for job_id, request in jobs.items():
            loop.submit(job_id, request, listener)
        loop.start()
        try:
            for _ in jobs:
                finals.get(timeout=20)
        finally:
            loop.close()
        return events

    return runner


def only(events: Sequence[Any], kind: type[Any], job_id: str = "") -> list[Any]:
    return [one for one in events if isinstance(one, kind) and (not job_id or one.job_id == job_id)]


def test_a_job_starts_steps_gives_its_picture_and_ends_once(run, request_of):
    events = run(InstantDevice(lambda call: 0), {"a": request_of(steps=3, previews_every_steps=2)})
    assert [type(one) for one in events] == [JobStarted, StepDone, StepDone, StepDone, ImageDone, JobFinished]
    steps = only(events, StepDone)
    assert [(one.step, one.steps, one.preview) for one in steps] == [(1, 3, b""), (2, 3, b"png"), (3, 3, b"")]
    assert [one.progress for one in steps] == pytest.approx([1 / 3, 2 / 3, 1])
    assert events[-1] == JobFinished(job_id="a", cancelled=False, seconds=events[-1].seconds, warnings=("careful",))


def test_pictures_of_a_batch_share_calls_and_batches_follow_each_other(run, request_of):
    device = InstantDevice(lambda call: 0)
    events = run(device, {"a": request_of(steps=3, batch_size=4, batch_count=2)})
    assert device.batches == [4] * 6
    assert [one.seed for one in only(events, ImageDone)] == list(range(7, 15))
    assert only(events, StepDone)[-1].progress == 1


def test_jobs_of_different_length_share_calls_and_the_short_one_ends_first(run, request_of):
    device = InstantDevice(lambda call: 0)
    events = run(device, {"long": request_of(steps=30), "short": request_of(steps=5)})
    assert [one.job_id for one in only(events, JobFinished)] == ["short", "long"]
    assert device.batches == [2] * 5 + [1] * 25


def test_other_sizes_do_not_share_a_call(run, request_of):
    device = InstantDevice(lambda call: 0)
    run(device, {"a": request_of(steps=3), "b": request_of(steps=3, height_px=128)})
    assert device.batches == [1] * 6


def test_a_cancelled_job_stops_before_its_next_call_and_keeps_its_pictures(run, request_of):
    def cancel(loop: Loop, event: Any) -> None:
        if isinstance(event, StepDone) and event.job_id == "a" and event.image_index == 1 and event.step == 2:
            loop.cancel("a")

    events = run(
        InstantDevice(lambda call: 0), {"a": request_of(steps=5, batch_count=3), "b": request_of(steps=9)}, cancel
    )
    assert len(only(events, ImageDone, "a")) == 1
    assert only(events, StepDone, "a")[-1].step == 2
    (finished,) = only(events, JobFinished, "a")
    assert finished.cancelled
    assert not only(events, JobFinished, "b")[0].cancelled


@pytest.mark.parametrize("end", [Loop.cancel, Loop.skip])
@pytest.mark.parametrize("batch_size", [1, 3])
def test_a_job_that_ends_within_a_call_tells_the_device_and_gets_no_step(request_of, end, batch_size):
    """The device runs a call in pieces and asks before each; here it asks twice in the third step."""
    events: list[Any] = []
    wanted: list[bool] = []

    class InPieces(InstantDevice):
        def run_together(self, calls: Sequence[Denoise], is_wanted: Callable[[Denoise], bool]) -> Sequence[Any]:
            if calls[0].step == 3:
                wanted.append(is_wanted(calls[0]))
                end(loop, "a")
                wanted.append(is_wanted(calls[0]))
            return super().run_together(calls, is_wanted)

    device = InPieces(lambda call: 0)
    loop = Loop(lambda: device, tell)
    done = threading.Event()

    def listener(event: Any) -> None:
        events.append(event)
        if isinstance(event, JobFinished | JobFailed):
            done.set()

    loop.submit("a", request_of(steps=9, batch_size=batch_size), listener)
    loop.start()
    assert done.wait(20)
    loop.close()
    assert wanted == [True, False]
    assert {one.step for one in only(events, StepDone)} == {1, 2}
    assert events[-1].cancelled
    assert not only(events, JobFailed)


def test_a_failing_call_fails_its_own_job_only(run, request_of):
    def answer(call: Any) -> Any:
        if isinstance(call, Denoise) and call.x.max() == 100:
            raise ValueError("boom")
        return 0

    jobs = {"good": request_of(steps=4), "bad": request_of(steps=4, seed=100)}
    events = run(InstantDevice(answer), jobs)
    (failed,) = only(events, JobFailed)
    assert failed.job_id == "bad"
    assert failed.error["error"] == "SdWebuiError"
    assert "ValueError" in str(failed.error["detail"])
    assert "boom" not in str(failed.error["detail"])
    assert len(only(events, ImageDone, "good")) == 1


def test_a_named_error_reaches_the_listener_with_its_name(run, request_of):
    def answer(call: Any) -> Any:
        raise ModelUnusable("broken file")

    (failed,) = only(run(InstantDevice(answer), {"a": request_of(batch_size=3)}), JobFailed)
    assert failed.error == {"error": "ModelUnusable", "detail": "broken file", "field": ""}


def test_a_story_that_cannot_begin_fails_its_job(run, request_of):
    def broken(request: ResolvedRequest, index: int) -> Story:
        if index == 1:
            raise ModelUnusable("no second picture")
        return (yield from tell(request, index))

    events = run(InstantDevice(lambda call: 0), {"a": request_of(batch_size=2)}, tell=broken)
    assert len(only(events, JobFailed)) == 1
    assert not only(events, JobFinished)


def test_a_listener_that_fails_does_not_stop_the_engine(run, request_of):
    def grumble(_loop: Loop, event: Any) -> None:
        if isinstance(event, StepDone):
            raise OSError("gone")

    events = run(InstantDevice(lambda call: 0), {"a": request_of()}, grumble)
    assert only(events, JobFinished)


def test_models_in_memory_are_served_first_and_a_waiting_one_after_its_patience(run, request_of, ref):
    other = replace(ref, name="other")
    clock = Clock()
    here, there = ModelState(checkpoint=ref), ModelState(checkpoint=other)
    device = InstantDevice(lambda call: 0, resident=[here])

    def tick(_loop: Loop, event: Any) -> None:
        if isinstance(event, StepDone) and event.job_id == "here":
            clock.now += 1

    jobs = {"there": request_of(steps=2, checkpoint=other), "here": request_of(steps=20)}
    events = run(device, jobs, tick, clock=clock, patience_s=5.0)
    assert device.loads[0] == there
    steps_before = only(events[: events.index(only(events, StepDone, "there")[0])], StepDone, "here")
    assert len(steps_before) == 7, "patience runs out after the sixth step, the seventh shares its turn with the load"
    assert len(only(events, JobFinished)) == 2


def test_without_other_work_a_model_is_loaded_at_once(run, request_of):
    device = InstantDevice(lambda call: 0)
    assert only(run(device, {"a": request_of()}), JobFinished)
    assert len(device.loads) == 1


def test_closing_ends_everything_and_frees_the_device(request_of):
    device = InstantDevice(lambda call: 0)
    loop = Loop(lambda: device, tell)
    events: list[Any] = []
    loop.submit("a", request_of(steps=150, batch_count=50), events.append)
    loop.start()
    loop.close()
    assert device.is_closed
    assert not loop.is_alive
    assert isinstance(events[-1], JobFinished)
    with pytest.raises(Overloaded, match="shutting down"):
        loop.submit("b", request_of(), events.append)


@pytest.mark.filterwarnings("ignore::pytest.PytestUnhandledThreadExceptionWarning")
def test_when_the_device_cannot_be_taken_waiting_jobs_fail(request_of):
    def no_device() -> InstantDevice:
        raise RuntimeError("no such device")

    loop = Loop(no_device, tell)
    events: list[Any] = []
    loop.submit("a", request_of(), events.append)
    loop.start()
    loop.close()
    assert [type(one) for one in events] == [JobFailed]


def test_cancelling_an_unknown_job_is_ignored():
    loop = Loop(lambda: InstantDevice(lambda call: 0), tell)
    loop.cancel("nobody")
    loop.start()
    loop.close()
