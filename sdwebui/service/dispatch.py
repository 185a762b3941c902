"""Who runs next, and what becomes of it: the thread between the queue, the runner and the stores.

What is on disk decides. A job is queued on disk before it is queued here, running on disk before a worker gets it, its
pictures are on disk before their rows, their rows before its final state. So the process may be killed between any two
lines: the next start finds the job queued or running, and runs it (again) with the same seed; pictures that are already
stored are not made twice.
"""

from __future__ import annotations

import logging
import threading
import time
from collections.abc import Callable
from concurrent.futures import Future, ThreadPoolExecutor
from dataclasses import dataclass, field, replace
from functools import partial
from queue import Empty, SimpleQueue

from sdwebui.domain.errors import NotFound, Overloaded, SdWebuiError, StorageFull
from sdwebui.domain.requests import ResolvedRequest
from sdwebui.domain.results import (
    ImageDone,
    ImageRecord,
    JobEvent,
    JobFailed,
    JobFinished,
    JobProgress,
    JobRecord,
    JobStarted,
    JobState,
    StepDone,
)
from sdwebui.ports import DeviceStatus, JobStore, Runner
from sdwebui.service.events import EventFeed, EventHub
from sdwebui.service.fair_queue import FairQueue, checkpoint_path
from sdwebui.service.outcomes import Outcome, first_problem, log_end, outcome_of, worker_died
from sdwebui.service.progress import JobBoard, share_stored
from sdwebui.service.recording import PictureRecorder

logger = logging.getLogger(__name__)

_SAVERS = 2
_RETRY_S = 1.0
_CAPACITY_POLL_S = 0.05


@dataclass(frozen=True, kw_only=True)
class Patience:
    """How often a job may be tried.

    Attributes:
        worker_deaths: a job under which the worker died this often is given up: it would do it again.
        starts: a job that was started this often is given up, whatever ended the earlier starts. Larger than
            `worker_deaths`, because a server that is killed says nothing against the job.
    """

    worker_deaths: int = 2
    starts: int = 10


@dataclass
class _Active:
    job: JobRecord
    saves: list[Future[ImageRecord]] = field(default_factory=list)
    cancelled: threading.Event = field(default_factory=threading.Event)


class Dispatcher:
    """Runs what is queued. Thread-safe.

    Args:
        jobs: the durable job table.
        runner: where jobs are sent.
        recorder: turns finished pictures into files and rows.
        board: progress of running jobs.
        hub: who is told about changes.
        patience: how often a job may be tried.
        clock: seconds since 1970.
        monotonic: seconds of a clock that never jumps.
    """

    def __init__(
        self,
        *,
        jobs: JobStore,
        runner: Runner,
        recorder: PictureRecorder,
        board: JobBoard | None = None,
        hub: EventHub | None = None,
        patience: Patience | None = None,
        clock: Callable[[], float] = time.time,
        monotonic: Callable[[], float] = time.monotonic,
    ) -> None:
        self._jobs = jobs
        self._runner = runner
        self._recorder = recorder
        self._board = board or JobBoard(monotonic)
        self._hub = hub or EventHub(clock)
        self._patience = patience or Patience()
        self._clock = clock
        self._monotonic = monotonic
        self._lock = threading.Lock()
        self._queue = FairQueue()
        self._active: dict[str, _Active] = {}
        self._deaths: dict[str, int] = {}
        self._waiters: dict[str, threading.Event] = {}
        self._unwritten: list[Callable[[], None]] = []
        self._loaded_checkpoint = ""
        self._inbox: SimpleQueue[ImageDone | JobFinished | JobFailed | None] = SimpleQueue()
        self._pool = ThreadPoolExecutor(_SAVERS, thread_name_prefix="save-pictures")
        self._thread = threading.Thread(target=self._run, name="dispatcher", daemon=True)
        self._stop = threading.Event()
        self.is_closing = False

    # ------------------------------------------------------------------------------------- for the service

    def start(self) -> None:
        """Take up the queue of the last run, start the worker and the thread; returns at once."""
        for job in self._jobs.requeue_running(self._patience.starts):
            logger.warning("job %s was running when the server ended: %s, attempt %d", job.id, job.state, job.attempt)
        with self._lock:
            for job in self._jobs.queued():
                self._queue.add(job)
        self._runner.start()
        self._thread.start()

    def close(self, drain_s: float) -> None:
        """Hand out nothing new, wait for running jobs up to `drain_s` seconds, end the worker and the thread.

        Jobs that are still running stay so on disk, and run again at the next start.
        """
        self.is_closing = True
        self._runner.drain(drain_s)
        self._stop.set()
        self._inbox.put(None)
        if self._thread.is_alive():
            self._thread.join()
        self._pool.shutdown(wait=True)
        self._write_unwritten()
        with self._lock:
            for ended in self._waiters.values():
                ended.set()

    def add(self, job: JobRecord) -> None:
        """Queue a job that is already on disk."""
        with self._lock:
            self._queue.add(job)
        self._hub.publish(job.owner, job.id)
        self._inbox.put(None)

    def cancel(self, job_id: str) -> None:
        """Stop a job: at once while it waits, within a step while it runs."""
        with self._lock:
            waiting = self._queue.remove(job_id)
            active = self._active.get(job_id)
            if active is not None:
                active.cancelled.set()
        if active is not None:
            self._runner.cancel(job_id)
            return
        job = waiting or self._jobs.get(job_id)
        try:
            self._jobs.finish(job_id, JobState.CANCELLED, finished_at=self._clock())
        except SdWebuiError:
            if waiting is not None:
                self.add(waiting)
            raise
        self._announce_end(job)

    def skip(self, job_id: str) -> None:
        """Give up the pictures in work of a running job; its others go on. A job that waits is left as it is."""
        with self._lock:
            is_running = job_id in self._active
        if is_running:
            self._runner.skip(job_id)

    def wait(self, job_id: str, timeout_s: float | None) -> JobRecord:
        """Block until the job is final, the time is over, or the server has stopped. Raises `NotFound`."""
        job = self._jobs.get(job_id)
        if job.state.is_final:
            return job
        with self._lock:
            ended = self._waiters.setdefault(job_id, threading.Event())
        job = self._jobs.get(job_id)  # it may have ended just before we began to wait
        if not job.state.is_final:
            ended.wait(timeout_s)
            job = self._jobs.get(job_id)
        if job.state.is_final:
            with self._lock:
                self._waiters.pop(job_id, None)
        return job

    def progress(self, job_id: str) -> JobProgress | None:
        """Where an unfinished job is; None for one that is neither queued nor running here.

        One that runs again is never further back than the pictures that its earlier attempts have stored.
        """
        with self._lock:
            running, active = len(self._active), self._active.get(job_id)
            waiting = None if active else self._queue.find(job_id)
            place = self._queue.positions()[job_id] if waiting else 0
        if active is not None:
            newest = self._board.progress(job_id)
            return replace(newest, progress=max(newest.progress, share_stored(active.job)))
        if waiting is None:
            return None
        eta_s = self._board.seconds_per_job * (running + place + 1)
        return JobProgress(job_id=job_id, progress=share_stored(waiting), position=running + place, eta_s=eta_s)

    def feed(self, owner: str) -> EventFeed:
        """The owner's jobs as they change."""
        return self._hub.feed(owner)

    def status(self) -> DeviceStatus:
        """State of the worker; never blocks."""
        return self._runner.status()

    def queue_length(self) -> int:
        """How many jobs wait."""
        return len(self._queue)

    def seconds_per_job(self) -> int:
        """Whole seconds until a place in the queue is likely to be free, at least 1."""
        return max(1, round(self._board.seconds_per_job))

    # ------------------------------------------------------------------------------------ the thread's loop

    def _run(self) -> None:
        while True:
            try:
                message = self._inbox.get(timeout=_CAPACITY_POLL_S if self._queue else _RETRY_S)
            except Empty:
                message = None
            try:
                if message is not None:
                    self._take_in(message)
                elif self._stop.is_set():
                    return
                self._hand_out()
                self._write_unwritten()
            except Exception:
                logger.exception("The dispatcher goes on after an error.")

    def _hand_out(self) -> None:
        while not self.is_closing and self._runner.capacity() > 0:
            active = self._next()
            if active is None or not self._launch(active):
                return

    def _next(self) -> _Active | None:
        """Take the next job out of the queue. A job that saw its worker die runs alone, so that it blames no other."""
        with self._lock:
            if any(one.job.attempt > 1 for one in self._active.values()):
                return None
            job = self._queue.take(self._loaded_checkpoint, self._monotonic())
            if job is None:
                return None
            if job.attempt > 1 and self._active:
                self._queue.add(job)
                return None
            active = _Active(job)
            self._active[job.id] = active
            return active

    def _launch(self, active: _Active) -> bool:
        """Mark a job running and send it off. False when the disk refuses; the job then waits on."""
        job = active.job
        try:
            request = ResolvedRequest.from_json(job.request)
        except (KeyError, TypeError, ValueError) as exc:
            logger.warning("job %s cannot be read: %s", job.id, exc)
            error = SdWebuiError("The stored request of this job cannot be read by this version. Submit it again.")
            self._write(partial(self._end, active, Outcome(state=JobState.FAILED, error=error.to_json())))
            return True
        if len(job.images) == request.image_count or active.cancelled.is_set():
            state = JobState.CANCELLED if active.cancelled.is_set() else JobState.DONE
            self._write(partial(self._end, active, Outcome(state=state)))
            return True
        return self._send(active, request)

    def _send(self, active: _Active, request: ResolvedRequest) -> bool:
        job = active.job
        try:
            self._jobs.mark_running(job.id, self._clock())
        except NotFound:
            logger.info("job %s is not queued any more", job.id)
            self._forget(active)
            return True
        except (StorageFull, Overloaded) as error:
            logger.warning("job %s waits: %s", job.id, error.detail)
            self._forget(active)
            with self._lock:
                self._queue.add(job)
            return False
        self._board.started(job.id)
        self._loaded_checkpoint = checkpoint_path(job)
        try:
            self._runner.submit(job.id, request, self._listen)
        except SdWebuiError as error:
            self._write(partial(self._end, active, Outcome(state=JobState.FAILED, error=error.to_json())))
            return True
        if active.cancelled.is_set():
            self._runner.cancel(job.id)
        self._announce(job)
        return True

    def _listen(self, event: JobEvent) -> None:
        """Called from the runner's thread; must be quick."""
        if isinstance(event, JobStarted):
            self._board.started(event.job_id)
        elif isinstance(event, StepDone):
            self._board.step(event)
        else:
            self._inbox.put(event)
            return
        active = self._active.get(event.job_id)
        if active is not None:
            self._hub.publish(active.job.owner, event.job_id)

    def _take_in(self, event: ImageDone | JobFinished | JobFailed) -> None:
        active = self._active.get(event.job_id)
        if active is None:
            logger.warning("An event of job %s came after its end and is ignored.", event.job_id)
        elif isinstance(event, ImageDone):
            active.saves.append(self._pool.submit(self._save, active, event))
        else:
            self._pool.submit(self._settle, active, event)

    # ---------------------------------------------------------------------------------- pictures and ends

    def _save(self, active: _Active, event: ImageDone) -> ImageRecord:
        try:
            request = ResolvedRequest.from_json(active.job.request)
            image = self._recorder.record(active.job, request, event)
        except SdWebuiError:
            self._runner.cancel(active.job.id)
            raise
        self._hub.publish(active.job.owner, active.job.id)
        return image

    def _settle(self, active: _Active, event: JobFinished | JobFailed) -> None:
        """The last event of a job: when all its pictures are stored, write its final state or queue it again."""
        try:
            problem = first_problem(active.saves)
            if problem is None and worker_died(event) and not active.cancelled.is_set():
                self._deaths[active.job.id] = self._deaths.get(active.job.id, 0) + 1
                self._write(partial(self._try_again, active))
            else:
                outcome = outcome_of(event, problem, is_cancelled=active.cancelled.is_set())
                self._write(partial(self._end, active, outcome))
        except Exception:
            logger.exception("job %s could not be ended", active.job.id)
        self._inbox.put(None)

    def _try_again(self, active: _Active) -> None:
        job = active.job
        if self.is_closing:
            self._forget(active)
            return
        gives_up = self._deaths[job.id] >= self._patience.worker_deaths
        again = self._jobs.requeue(job.id, job.attempt if gives_up else job.attempt + 1)
        self._forget(active)
        logger.warning("job %s: the worker died under it: %s, attempt %d", job.id, again.state, again.attempt)
        if again.state.is_final:
            self._announce_end(again)
            return
        with self._lock:
            self._queue.add(again)
        self._hub.publish(job.owner, job.id)

    def _end(self, active: _Active, outcome: Outcome) -> None:
        job = active.job
        self._jobs.finish(
            job.id,
            outcome.state,
            finished_at=self._clock(),
            seconds=outcome.seconds,
            warnings=outcome.warnings,
            error=outcome.error,
        )
        self._forget(active)
        self._board.finished(job.id, outcome.seconds)
        log_end(job, outcome)
        self._announce_end(job)

    def _write(self, change: Callable[[], None]) -> None:
        """Write the end of a job to disk, now or as soon as the disk takes it."""
        try:
            change()
        except (StorageFull, Overloaded) as error:
            logger.warning("The end of a job is not on disk yet, it is tried again: %s", error.detail)
            with self._lock:
                self._unwritten.append(change)

    def _write_unwritten(self) -> None:
        with self._lock:
            unwritten, self._unwritten = self._unwritten, []
        for change in unwritten:
            self._write(change)

    def _forget(self, active: _Active) -> None:
        with self._lock:
            self._active.pop(active.job.id, None)
        self._board.finished(active.job.id)

    def _announce(self, job: JobRecord) -> None:
        """Tell the job's owner, and everybody whose place in the queue has changed."""
        with self._lock:
            waiting = self._queue.owners()
        self._hub.publish(job.owner, job.id)
        for job_id, owner in waiting.items():
            self._hub.publish(owner, job_id)

    def _announce_end(self, job: JobRecord) -> None:
        with self._lock:
            self._deaths.pop(job.id, None)
            ended = self._waiters.pop(job.id, None)
        if ended is not None:
            ended.set()
        self._hub.publish(job.owner, job.id)
