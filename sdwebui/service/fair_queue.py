"""Who is next: round-robin between owners, first come first served within one, a bounded liking for the loaded model.

Plain data, not thread-safe: the dispatcher holds a lock around it.
"""

from __future__ import annotations

from bisect import insort
from collections.abc import Mapping
from dataclasses import dataclass

from sdwebui.domain.results import JobRecord

MAX_DEFERRED_JOBS = 4
MAX_DEFERRED_S = 60.0


@dataclass(frozen=True, order=True)
class _Waiting:
    created_at: float
    job_id: str


class FairQueue:
    """Queued jobs of all owners.

    An owner whose turn it is may be passed over for a job of another owner whose checkpoint is in memory, for at most
    `MAX_DEFERRED_JOBS` jobs or `MAX_DEFERRED_S` seconds; then the turn is taken whatever the checkpoint.
    """

    def __init__(self) -> None:
        self._jobs: dict[str, JobRecord] = {}
        self._owners: dict[str, list[_Waiting]] = {}
        self._deferred_jobs = 0
        self._deferred_since = 0.0

    def __len__(self) -> int:
        return len(self._jobs)

    def add(self, job: JobRecord) -> None:
        """Queue a job; one that comes back takes its old place among its owner's jobs."""
        if job.id not in self._jobs:
            self._jobs[job.id] = job
            insort(self._owners.setdefault(job.owner, []), _Waiting(job.created_at, job.id))

    def find(self, job_id: str) -> JobRecord | None:
        """A job that waits here, left where it is; None for another one."""
        return self._jobs.get(job_id)

    def remove(self, job_id: str) -> JobRecord | None:
        """Take a job out, wherever it stands; None when it does not wait here."""
        job = self._jobs.pop(job_id, None)
        if job is not None:
            line = self._owners[job.owner]
            line.remove(_Waiting(job.created_at, job.id))
            if not line:
                del self._owners[job.owner]
        return job

    def take(self, loaded_checkpoint: str, now: float) -> JobRecord | None:
        """The next job to run, taken out; None when nothing waits.

        Args:
            loaded_checkpoint: path of the checkpoint in the worker's memory, or empty.
            now: seconds of a clock that never jumps.
        """
        if not self._owners:
            return None
        heads = [self._jobs[line[0].job_id] for line in self._owners.values()]
        chosen = next((job for job in heads if checkpoint_path(job) == loaded_checkpoint), heads[0])
        if chosen is not heads[0] and not self._may_defer(now):
            chosen = heads[0]
        if chosen is heads[0]:
            self._deferred_jobs = 0
        else:
            self._deferred_since = now if self._deferred_jobs == 0 else self._deferred_since
            self._deferred_jobs += 1
        self.remove(chosen.id)
        if chosen.owner in self._owners:
            self._owners[chosen.owner] = self._owners.pop(chosen.owner)
        return chosen

    def positions(self) -> Mapping[str, int]:
        """For each waiting job, how many wait before it, if no model is preferred: whole rounds of all owners."""
        lines = list(self._owners.values())
        rounds = max((len(line) for line in lines), default=0)
        in_order = (line[turn].job_id for turn in range(rounds) for line in lines if turn < len(line))
        return {job_id: place for place, job_id in enumerate(in_order)}

    def owners(self) -> Mapping[str, str]:
        """Owner of each waiting job."""
        return {job_id: job.owner for job_id, job in self._jobs.items()}

    def _may_defer(self, now: float) -> bool:
        if self._deferred_jobs == 0:
            return True
        return self._deferred_jobs < MAX_DEFERRED_JOBS and now - self._deferred_since < MAX_DEFERRED_S


def checkpoint_path(job: JobRecord) -> str:
    """Path of the checkpoint that a job needs; empty for a damaged row."""
    checkpoint = job.request.get("checkpoint")
    return str(checkpoint.get("path", "")) if isinstance(checkpoint, Mapping) else ""
