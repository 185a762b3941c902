"""What every runner promises: the one over a worker process and the fake."""

from __future__ import annotations

import sys
import threading
import time
from pathlib import Path
from typing import Any

import pytest

from sdwebui.domain.requests import CheckpointRef, ResolvedRequest
from sdwebui.domain.results import ImageDone, JobFailed, JobFinished, JobStarted, StepDone
from sdwebui.runners.local import LocalRunner, WorkerHabits
from tests.fakes import FakeEngine, FakeRunner, gradient_rgb

WORKER = Path(__file__).resolve().parent.parent / "runners" / "fake_worker.py"


def resolved(prompt: str = "a cat", steps: int = 3, batch_size: int = 1) -> ResolvedRequest:
    return ResolvedRequest(
        kind="txt2img",
        prompt=prompt,
        negative_prompt="",
        checkpoint=CheckpointRef(name="m", path="/m.safetensors", family="sd1", size_bytes=1, mtime_ns=2),
        sampler="Euler",
        schedule_type="Uniform",
        automatic_schedule=True,
        steps=steps,
        cfg_scale=7.0,
        width_px=64,
        height_px=64,
        batch_size=batch_size,
        batch_count=1,
        seed=5,
        clip_skip=1,
        emphasis="Original",
        pad_conds=False,
        comma_backtrack=20,
        save_images=True,
        previews_every_steps=2,
    )


class Ear:
    """Remembers events and knows when the last one came."""

    def __init__(self) -> None:
        self.events: list[Any] = []
        self.ended = threading.Event()

    def __call__(self, event) -> None:
        self.events.append(event)
        if isinstance(event, JobFinished | JobFailed):
            self.ended.set()

    def final(self, timeout_s: float = 20.0):
        assert self.ended.wait(timeout_s), "no final event came"
        return self.events[-1]


def wait_until(condition, timeout_s: float = 20.0) -> None:
    end = time.monotonic() + timeout_s
    while not condition():
        assert time.monotonic() < end, "it took too long"
        time.sleep(0.01)


@pytest.fixture(params=["local", "fake"])
def runner(request):
    if request.param == "fake":
        made: LocalRunner | FakeRunner = FakeRunner(
            FakeEngine(step_seconds=0.02), slots=2, deaths={"kill the worker": 1}
        )
    else:
        habits = WorkerHabits(slots=2, first_pause_s=0.05)
        made = LocalRunner([sys.executable, str(WORKER)], {"step_seconds": 0.02}, habits)
    made.start()
    wait_until(lambda: made.status().state == "ready")
    yield made
    made.drain(0.0)


def test_a_job_gives_its_events_in_order_and_exactly_one_final_one(runner):
    ear = Ear()
    runner.submit("j", resolved(batch_size=2), ear)
    final = ear.final()
    assert isinstance(final, JobFinished)
    assert not final.cancelled
    kinds = [type(event) for event in ear.events]
    assert kinds == [
        JobStarted,
        StepDone,
        StepDone,
        StepDone,
        ImageDone,
        StepDone,
        StepDone,
        StepDone,
        ImageDone,
        JobFinished,
    ]
    pictures = [event for event in ear.events if isinstance(event, ImageDone)]
    assert [picture.seed for picture in pictures] == [5, 6]
    assert pictures[1].rgb == gradient_rgb(resolved(batch_size=2), 1)
    assert any(event.preview for event in ear.events if isinstance(event, StepDone))


def test_capacity_shrinks_with_running_jobs_and_is_free_when_the_final_event_comes(runner):
    assert runner.capacity() == 2
    at_the_end: list[int] = []
    ear = Ear()

    def listen(event) -> None:
        if isinstance(event, JobFinished):
            at_the_end.append(runner.capacity())
        ear(event)

    runner.submit("j", resolved(steps=10), listen)
    assert runner.capacity() == 1
    ear.final()
    assert at_the_end == [2]


def test_cancel_stops_that_job_alone(runner):
    one, two = Ear(), Ear()
    runner.submit("one", resolved(steps=500), one)
    runner.submit("two", resolved(steps=5), two)
    wait_until(lambda: any(isinstance(event, StepDone) for event in one.events))
    runner.cancel("one")
    runner.cancel("unknown")
    cancelled, done = one.final(), two.final()
    assert isinstance(cancelled, JobFinished)
    assert cancelled.cancelled
    assert isinstance(done, JobFinished)
    assert not done.cancelled


def test_a_job_whose_worker_dies_fails_with_worker_died_and_the_next_one_runs(runner):
    bad, good = Ear(), Ear()
    runner.submit("bad", resolved("kill the worker"), bad)
    failed = bad.final()
    assert isinstance(failed, JobFailed)
    assert failed.error["error"] == "WorkerDied"
    wait_until(lambda: runner.capacity() > 0)
    runner.submit("good", resolved(), good)
    assert isinstance(good.final(), JobFinished)
    assert len([event for event in bad.events if isinstance(event, JobFailed)]) == 1


def test_drain_lets_running_jobs_end_and_takes_no_new_ones(runner):
    ear = Ear()
    runner.submit("j", resolved(steps=10), ear)
    runner.drain(20.0)
    final = ear.final(0.0)
    assert isinstance(final, JobFinished)
    assert not final.cancelled
    assert runner.capacity() == 0


def test_drain_without_patience_still_gives_each_job_its_final_event(runner):
    ear = Ear()
    runner.submit("j", resolved(steps=1000), ear)
    wait_until(lambda: bool(ear.events))
    runner.drain(0.0)
    assert ear.final(1.0)


def test_skip_gives_up_the_picture_in_work_and_makes_the_others(runner):
    ear = Ear()
    runner.submit("s", resolved(steps=20, batch_size=3), ear)
    wait_until(lambda: any(isinstance(one, StepDone) for one in ear.events))
    runner.skip("s")
    runner.skip("unknown")
    last = ear.final()
    assert isinstance(last, JobFinished)
    assert not last.cancelled
    assert [one.image_index for one in ear.events if isinstance(one, ImageDone)] == [1, 2]
