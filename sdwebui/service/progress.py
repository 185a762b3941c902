"""Where every running job is right now, with the time left. In memory, in the control plane; thread-safe."""

from __future__ import annotations

import threading
import time
from collections.abc import Callable
from dataclasses import dataclass, replace

from sdwebui.domain.results import JobProgress, JobRecord, StepDone

_PACE_WEIGHT = 0.3
"""Weight of the newest job in the running mean of seconds per job."""


@dataclass
class _Run:
    progress: JobProgress
    started: float


class JobBoard:
    """Takes the news of running jobs in and says how they are doing.

    Args:
        monotonic: seconds of a clock that never jumps.
    """

    def __init__(self, monotonic: Callable[[], float] = time.monotonic) -> None:
        self._monotonic = monotonic
        self._lock = threading.Lock()
        self._runs: dict[str, _Run] = {}
        self._seconds_per_job = 0.0

    @property
    def seconds_per_job(self) -> float:
        """Running mean of the seconds that a job takes; 0 while none has ended."""
        return self._seconds_per_job

    def progress(self, job_id: str) -> JobProgress:
        """Newest progress of a running job; zeros when nothing is known."""
        with self._lock:
            run = self._runs.get(job_id)
            if run is None:
                return JobProgress(job_id=job_id)
            done = run.progress.progress
            eta = (self._monotonic() - run.started) * (1 - done) / done if done > 0 else 0.0
            return replace(run.progress, eta_s=eta)

    def started(self, job_id: str) -> None:
        """The job was handed to a worker, or the worker took it up: the time left counts from here."""
        with self._lock:
            self._runs[job_id] = _Run(JobProgress(job_id=job_id), self._monotonic())

    def step(self, event: StepDone) -> None:
        """A sampling step is done; progress never goes back within one run of a job."""
        with self._lock:
            run = self._runs.get(event.job_id)
            if run is None:
                return
            old = run.progress
            run.progress = JobProgress(
                job_id=event.job_id,
                progress=max(old.progress, min(1.0, event.progress)),
                step=event.step,
                steps=event.steps,
                image_index=event.image_index,
                preview=event.preview or old.preview,
                preview_number=old.preview_number + bool(event.preview),
            )

    def finished(self, job_id: str, seconds: float = 0.0) -> None:
        """Forget the job; `seconds` of a finished one teach how long a job takes."""
        with self._lock:
            self._runs.pop(job_id, None)
            if seconds > 0:
                known = self._seconds_per_job or seconds
                self._seconds_per_job = known + _PACE_WEIGHT * (seconds - known)


def share_stored(job: JobRecord) -> float:
    """The part of a job, 0…1, whose pictures are stored: where the progress of one that runs again starts."""
    pictures = int(job.request.get("batch_size", 1)) * int(job.request.get("batch_count", 1))
    return min(1.0, len(job.images) / max(1, pictures))
