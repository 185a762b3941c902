"""The story of a job: submit → resolve → queue → run → save → record. Read this first, then `dispatch.py`.

A job is on disk before `submit` returns, so whoever has its id may go away: the job and its pictures stay.
"""

from __future__ import annotations

import logging
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass

from sdwebui.domain.errors import InvalidRequest, NotFound, Overloaded, StorageFull
from sdwebui.domain.requests import Txt2ImgRequest
from sdwebui.domain.results import ImageRecord, JobProgress, JobRecord, JobState
from sdwebui.ports import Account, DeviceStatus, ImageStore, JobStore
from sdwebui.service.dispatch import Dispatcher
from sdwebui.service.events import EventFeed
from sdwebui.service.fair_queue import checkpoint_path
from sdwebui.service.options import OptionsService
from sdwebui.service.resolve import Resolver

logger = logging.getLogger(__name__)


_NOT_GIVEN = frozenset({"pad_conds", "comma_backtrack", "previews_every_steps", "accelerator", "checkpoint"})
"""Fields of a resolved request that no person gives (the checkpoint is compared by its path)."""


@dataclass(frozen=True, kw_only=True)
class Admission:
    """When new jobs are refused.

    Attributes:
        queue_limit: jobs that may wait at once.
        disk_low_water_bytes: free space below which no job is accepted.
    """

    queue_limit: int = 256
    disk_low_water_bytes: int = 512 * 2**20


class GenerationService:
    """What pages, the API and the command line call to make pictures. Thread-safe.

    Args:
        jobs: the durable job table.
        images: picture files.
        resolver: completes requests.
        options: each person's defaults.
        dispatcher: runs what is queued.
        new_id: a fresh opaque id, hard to guess.
        admission: when new jobs are refused.
        clock: seconds since 1970.
    """

    def __init__(
        self,
        *,
        jobs: JobStore,
        images: ImageStore,
        resolver: Resolver,
        options: OptionsService,
        dispatcher: Dispatcher,
        new_id: Callable[[], str],
        admission: Admission | None = None,
        clock: Callable[[], float] = time.time,
    ) -> None:
        self._jobs = jobs
        self._images = images
        self._resolver = resolver
        self._options = options
        self._dispatcher = dispatcher
        self._new_id = new_id
        self._admission = admission or Admission()
        self._clock = clock

    def start(self) -> None:
        """Take the queue of the last run up again and start the worker; returns at once."""
        self._dispatcher.start()

    def close(self, drain_s: float) -> None:
        """Take nothing new, let running jobs end for up to `drain_s` seconds; the others run at the next start."""
        self._dispatcher.close(drain_s)

    def submit(self, request: Txt2ImgRequest, *, owner: str, idempotency_key: str = "") -> JobRecord:
        """Accept a job. It is committed to disk when this returns.

        Args:
            request: what the person asked for.
            owner: user name of the person.
            idempotency_key: the same request with the same key of the same owner gives the first job back instead of
                a second one.

        Raises:
            InvalidRequest: a field breaks a rule, or the key belongs to another request of this owner.
            NotFound: unknown checkpoint, sampler or schedule.
            ModelUnusable: the checkpoint cannot be used.
            Overloaded: the queue is full or the server is stopping; with `retry_after_s`.
            StorageFull: too little space where pictures go.
        """
        self._admit()
        resolved = self._resolver.resolve(request, self._options.get(owner))
        job = JobRecord(
            id=self._new_id(),
            owner=owner,
            kind=resolved.kind,
            state=JobState.QUEUED,
            request=resolved.to_json(),
            attempt=1,
            created_at=self._clock(),
        )
        stored = self._jobs.add(job, idempotency_key)
        if stored.id == job.id:
            logger.info("job %s queued: %s, %d steps, %s", job.id, resolved.sampler, resolved.steps, owner)
            self._dispatcher.add(stored)
        elif not _is_same_request(stored, job, any_seed=request.seed == -1):
            rule = "belongs to another request"
            raise InvalidRequest("Idempotency-Key", idempotency_key, rule, "Use a new key for each new request.")
        return stored

    def job(self, job_id: str, *, viewer: Account) -> JobRecord:
        """One job with its pictures. Raises `NotFound` for an unknown one and for other people's alike."""
        job = self._jobs.get(job_id)
        if not _may_see(job, viewer):
            raise NotFound("job", job_id)
        return job

    def jobs(self, *, viewer: Account, limit: int = 50, active_only: bool = False) -> Sequence[JobRecord]:
        """The viewer's own jobs, newest first."""
        return self._jobs.list(viewer.username, limit=limit, active_only=active_only)

    def progress(self, job_id: str) -> JobProgress:
        """Where a job is. A finished job has progress 1. Raises `NotFound`."""
        progress = self._dispatcher.progress(job_id)
        if progress is None:
            state = self._jobs.get(job_id).state
            progress = JobProgress(job_id=job_id, progress=1.0 if state is JobState.DONE else 0.0)
        return progress

    def cancel(self, job_id: str, *, viewer: Account) -> None:
        """Stop a job: at once while it waits, within a step while it runs. Finished pictures are kept.

        A job that has ended stays as it is. Raises `NotFound` as `job` does.
        """
        if not self.job(job_id, viewer=viewer).state.is_final:
            self._dispatcher.cancel(job_id)

    def skip(self, job_id: str, *, viewer: Account) -> None:
        """Give up the pictures in work of a running job; its others go on.

        A job that ends without any picture counts as cancelled. Raises `NotFound` as `job` does.
        """
        if not self.job(job_id, viewer=viewer).state.is_final:
            self._dispatcher.skip(job_id)

    def wait(self, job_id: str, timeout_s: float | None = None) -> JobRecord:
        """Block this thread until the job has ended, or the time is over: then the record is not final.

        Raises:
            NotFound: no such job.
        """
        return self._dispatcher.wait(job_id, timeout_s)

    def image(self, image_id: str, *, viewer: Account) -> tuple[ImageRecord, bytes]:
        """A stored picture and its file content. Raises `NotFound` also for other people's pictures."""
        image = self._jobs.image(image_id)
        if not _may_see(self._jobs.get(image.job_id), viewer):
            raise NotFound("image", image_id)
        return image, self._images.read(image.path)

    def events(self, owner: str) -> EventFeed:
        """The owner's jobs as they change."""
        return self._dispatcher.feed(owner)

    def status(self) -> DeviceStatus:
        """State of the worker; never blocks."""
        return self._dispatcher.status()

    def _admit(self) -> None:
        waiting = self._dispatcher.queue_length()
        if self._dispatcher.is_closing:
            raise Overloaded("The server is stopping and takes no new jobs. Try again in a minute.", 60)
        if waiting >= self._admission.queue_limit:
            rule = f"the queue holds {waiting} jobs, and at most {self._admission.queue_limit} may wait"
            raise Overloaded(f"The server is busy: {rule}. Try again in a while.", self._dispatcher.seconds_per_job())
        free, needed = self._images.free_bytes(), self._admission.disk_low_water_bytes
        if free < needed:
            raise StorageFull(
                f"The disk for pictures has {free / 2**20:.0f} MB free, less than the {needed / 2**20:.0f} MB that must"
                " stay free. No job is accepted until there is space: delete old pictures or enlarge the disk."
            )


def _is_same_request(stored: JobRecord, job: JobRecord, *, any_seed: bool) -> bool:
    """Whether two jobs were asked for alike, as far as a stored row tells: a random seed fits every seed."""
    ignored = _NOT_GIVEN | {"seed"} if any_seed else _NOT_GIVEN
    given = [{key: value for key, value in one.request.items() if key not in ignored} for one in (stored, job)]
    return given[0] == given[1] and checkpoint_path(stored) == checkpoint_path(job)


def _may_see(job: JobRecord, viewer: Account) -> bool:
    return job.owner == viewer.username
