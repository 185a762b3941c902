"""The batching loop: one thread runs the stories of all jobs, step by step, together where they fit.

Each turn serves every story that waits for a call: `Denoise` calls of one model and one latent shape go through the
UNet as one batch, whatever their step, sampler or job, so a picture of 20 steps never waits for one of 150. To change
who is served when: `_states_to_serve`.
"""

from __future__ import annotations

import logging
import threading
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager, suppress
from dataclasses import dataclass, field
from queue import Empty, SimpleQueue
from typing import Any, Protocol

import torch

from sdwebui.domain.errors import Overloaded, SdWebuiError
from sdwebui.domain.requests import ResolvedRequest
from sdwebui.domain.results import ImageDone, JobFailed, JobFinished, JobStarted, StepDone
from sdwebui.engine.calls import Call, Denoise, ModelState
from sdwebui.engine.generate import Picture, Story
from sdwebui.ports import EventListener

logger = logging.getLogger(__name__)


class Runs(Protocol):
    """What the loop needs of the device; `executor.Executor` has it."""

    def holds(self, state: ModelState) -> bool:
        """True when the state is in memory."""

    def run_one(self, call: Call) -> Any:
        """The answer to a call of any kind but `Denoise`."""

    def run_together(self, calls: Sequence[Denoise], is_wanted: Callable[[Denoise], bool]) -> Sequence[Any]:
        """Answers to `Denoise` calls of one state and one latent shape; None for one that was not wanted any more.

        `is_wanted` is asked before each piece of the work.
        """

    def preview(self, call: Denoise, answer: Any) -> bytes:
        """A small PNG, may be empty."""

    def close(self) -> None:
        """Free the device."""


@dataclass(kw_only=True, eq=False)
class _Job:
    """A job in the loop. `cancelled` and `skipping` may be set by any thread; the rest belongs to the loop's thread."""

    job_id: str
    request: ResolvedRequest
    listener: EventListener
    cancelled: bool = False
    skipping: bool = False
    next_index: int = 0
    pictures_done: int = 0
    started_at: float = 0.0
    warnings: list[str] = field(default_factory=list)
    running: list[_Running] = field(default_factory=list)

    @property
    def is_wanted(self) -> bool:
        """False when its pictures in work are about to be given up."""
        return not (self.cancelled or self.skipping)


@dataclass(kw_only=True, eq=False)
class _Running:
    """A story that waits for the answer to `call`, since `waiting_since`."""

    job: _Job
    index: int
    story: Story
    call: Call
    waiting_since: float
    steps_reported: int = 0


class Loop:
    """Runs jobs on one device in a thread of its own.

    Args:
        make_device: called once in the loop's thread; returns what runs the calls.
        tell: makes the story of picture `index` of a request.
        patience_s: how long a story may wait for a model that is not in memory while others keep the device busy.
        clock: seconds, for waiting times and durations.
    """

    def __init__(
        self,
        make_device: Callable[[], Runs],
        tell: Callable[[ResolvedRequest, int], Story],
        *,
        patience_s: float = 10.0,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        self._make_device = make_device
        self._tell = tell
        self._patience_s = patience_s
        self._clock = clock
        self._arrivals: SimpleQueue[_Job | None] = SimpleQueue()
        self._jobs: dict[str, _Job] = {}
        self._jobs_lock = threading.Lock()
        self._closing = False
        self._thread = threading.Thread(target=self._run, name="engine", daemon=True)

    def start(self) -> None:
        """Start the thread."""
        self._thread.start()

    def submit(self, job_id: str, request: ResolvedRequest, listener: EventListener) -> None:
        """Take a job up; thread-safe, returns at once.

        Raises:
            Overloaded: the loop is closed or its thread has ended.
        """
        job = _Job(job_id=job_id, request=request, listener=listener)
        with self._jobs_lock:
            if self._closing:
                raise Overloaded("The engine is shutting down. Send the job again in a moment.")
            self._jobs[job_id] = job
        self._arrivals.put(job)

    def cancel(self, job_id: str) -> None:
        """Stop a job before its next UNet batch; thread-safe. Unknown ids are ignored."""
        with self._jobs_lock:
            job = self._jobs.get(job_id)
        if job is not None:
            job.cancelled = True

    def skip(self, job_id: str) -> None:
        """Give up a job's pictures in work before their next UNet batch; thread-safe. Unknown ids are ignored."""
        with self._jobs_lock:
            job = self._jobs.get(job_id)
        if job is not None:
            job.skipping = True

    @property
    def is_alive(self) -> bool:
        """True while the thread takes jobs."""
        return self._thread.is_alive()

    def close(self) -> None:
        """Cancel every job, end the thread and free the device. Returns when that is done."""
        with self._jobs_lock:
            self._closing = True
            for job in self._jobs.values():
                job.cancelled = True
        self._arrivals.put(None)
        if self._thread.is_alive():
            self._thread.join()

    # ---------------------------------------------------------------------------------- everything below: loop thread

    def _run(self) -> None:
        try:
            with torch.inference_mode():
                self._work()
        finally:
            with self._jobs_lock:
                self._closing = True
                left = list(self._jobs.values())
            for job in left:
                self._fail(job, SdWebuiError("The engine stopped unexpectedly. The server's log says more."))

    def _work(self) -> None:
        self._device = self._make_device()
        running: list[_Running] = []
        while not (self._closing and not running and self._arrivals.empty()):
            for job in self._arrived(wait=not running):
                running += self._begin(job)
            running = self._without_skipped(self._without_cancelled(running))
            for state in self._states_to_serve(running):
                running = self._serve([one for one in running if one.call.state == state], running)
        self._device.close()

    def _arrived(self, *, wait: bool) -> Iterator[_Job]:
        with suppress(Empty):
            while True:
                job = self._arrivals.get(block=wait)
                wait = False
                if job is not None:
                    yield job

    def _begin(self, job: _Job) -> list[_Running]:
        self._send(job, JobStarted(job_id=job.job_id))
        job.started_at = self._clock()
        return self._start_stories(job)

    def _start_stories(self, job: _Job) -> list[_Running]:
        """Start the next batch of a job's pictures, or finish the job when none is left."""
        if job.running:
            return []
        if job.cancelled or job.next_index >= job.request.image_count:
            self._finish(job)
            return []
        count = min(job.request.batch_size, job.request.image_count - job.next_index)
        started = []
        for index in range(job.next_index, job.next_index + count):
            with self._failing(job):
                story = self._tell(job.request, index)
                call = next(story)
                started.append(_Running(job=job, index=index, story=story, call=call, waiting_since=self._clock()))
        job.next_index += count
        if len(started) < count:
            return []
        job.running = started
        return list(started)

    def _without_cancelled(self, running: list[_Running]) -> list[_Running]:
        for job in {id(one.job): one.job for one in running if one.job.cancelled}.values():
            self._stop(job)
            self._finish(job)
        return [one for one in running if one.job.running]

    def _without_skipped(self, running: list[_Running]) -> list[_Running]:
        """Drop the pictures in work of jobs that skip; their next batch begins, or the job ends."""
        for job in {id(one.job): one.job for one in running if one.job.skipping}.values():
            job.skipping = False
            self._stop(job)
            running = running + self._start_stories(job)
        return [one for one in running if one in one.job.running]

    def _states_to_serve(self, running: Sequence[_Running]) -> list[ModelState]:
        """Models in memory first, then one that is not: when nothing else is to do, or its story waited long enough."""
        states = list(dict.fromkeys(one.call.state for one in running))
        there = [state for state in states if self._device.holds(state)]
        now = self._clock()
        for one in running:
            is_late = now - one.waiting_since > self._patience_s
            if one.call.state not in there and (is_late or not there):
                return [*there, one.call.state]
        return there

    def _serve(self, waiting: Sequence[_Running], running: list[_Running]) -> list[_Running]:
        """Run one call of each waiting story. Returns all stories that run on, new ones included."""
        groups: dict[object, list[_Running]] = {}
        for one in waiting:
            key = tuple(one.call.x.shape) if isinstance(one.call, Denoise) else id(one)
            groups.setdefault(key, []).append(one)
        for group in groups.values():
            alive = [one for one in group if one.job.running and one.job.is_wanted]
            for one, answer in self._answers(alive):
                self._advance(one, answer, running)
        return [one for one in running if one in one.job.running]

    def _answers(self, group: Sequence[_Running]) -> list[tuple[_Running, Any]]:
        """The group's answers. When a batch fails, each picture is tried alone, so that only the faulty job fails."""
        if len(group) > 1:
            try:
                return list(zip(group, self._denoised(group), strict=True))
            except Exception:
                logger.exception("a batch of %s pictures failed; they are tried one by one", len(group))
        found = []
        for one in group:
            with self._failing(one.job):
                is_denoise = isinstance(one.call, Denoise)
                found.append((one, self._denoised([one])[0] if is_denoise else self._device.run_one(one.call)))
        return found

    def _denoised(self, group: Sequence[_Running]) -> Sequence[Any]:
        """Answers to the `Denoise` calls of a group; None where the job ended or skips meanwhile."""
        calls = [one.call for one in group if isinstance(one.call, Denoise)]
        jobs = {id(one.call): one.job for one in group}
        return self._device.run_together(calls, lambda call: jobs[id(call)].is_wanted)

    def _advance(self, one: _Running, answer: Any, running: list[_Running]) -> None:
        is_given_up = isinstance(one.call, Denoise) and answer is None
        if one not in one.job.running or is_given_up:
            return
        with self._failing(one.job):
            if isinstance(one.call, Denoise):
                self._report_step(one, one.call, answer)
            try:
                one.call = one.story.send(answer)
                one.waiting_since = self._clock()
            except StopIteration as done:
                one.job.running.remove(one)
                self._deliver(one, done.value)
                running += self._start_stories(one.job)

    def _report_step(self, one: _Running, call: Denoise, answer: Any) -> None:
        if call.step <= one.steps_reported:
            return
        one.steps_reported = call.step
        every = one.job.request.previews_every_steps
        has_preview = every > 0 and call.step % every == 0 and call.step < call.steps
        shares = one.job.pictures_done + sum(other.steps_reported / call.steps for other in one.job.running)
        event = StepDone(
            job_id=one.job.job_id,
            image_index=one.index,
            step=call.step,
            steps=call.steps,
            progress=min(1.0, shares / one.job.request.image_count),
            preview=self._device.preview(call, answer) if has_preview else b"",
        )
        self._send(one.job, event)

    def _deliver(self, one: _Running, picture: Picture) -> None:
        job = one.job
        job.pictures_done += 1
        job.warnings += [warning for warning in picture.warnings if warning not in job.warnings]
        event = ImageDone(
            job_id=job.job_id,
            image_index=one.index,
            seed=picture.seed,
            width_px=picture.width_px,
            height_px=picture.height_px,
            rgb=picture.rgb,
            facts=picture.facts,
        )
        self._send(job, event)

    def _finish(self, job: _Job) -> None:
        seconds = self._clock() - job.started_at
        self._forget(job)
        logger.info("job %s: %s pictures in %.2f s, %s", job.job_id, job.pictures_done, seconds, job.request.sampler)
        event = JobFinished(
            job_id=job.job_id,
            cancelled=job.pictures_done == 0 or (job.cancelled and job.pictures_done < job.request.image_count),
            seconds=seconds,
            warnings=tuple(job.warnings),
        )
        self._send(job, event)

    @contextmanager
    def _failing(self, job: _Job) -> Iterator[None]:
        """The edge where anything that goes wrong in a job becomes its failure, and nobody else's."""
        try:
            yield
        except SdWebuiError as error:
            logger.warning("job %s failed: %s", job.job_id, error.detail)
            self._fail(job, error)
        except Exception as error:
            logger.exception("job %s failed", job.job_id)
            self._fail(job, SdWebuiError(f"The engine failed ({type(error).__name__}). The server's log says more."))

    def _fail(self, job: _Job, error: SdWebuiError) -> None:
        if not self._forget(job):
            return
        self._stop(job)
        self._send(job, JobFailed(job_id=job.job_id, error=error.to_json()))

    def _stop(self, job: _Job) -> None:
        for one in job.running:
            one.story.close()
        job.running = []

    def _forget(self, job: _Job) -> bool:
        """True the first time: exactly one final event is sent."""
        with self._jobs_lock:
            return self._jobs.pop(job.job_id, None) is not None

    def _send(self, job: _Job, event: Any) -> None:
        try:
            job.listener(event)
        except Exception:
            logger.exception("the listener of job %s failed at %s", job.job_id, type(event).__name__)
