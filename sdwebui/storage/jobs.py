"""The job table. Every method has committed to disk when it returns; see `ports.JobStore` for what each promises."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from sqlalchemy import Connection, Row, Select, func, select, update

from sdwebui.domain.errors import NotFound, WorkerDied
from sdwebui.domain.results import ImageRecord, JobRecord, JobState
from sdwebui.storage.database import Database
from sdwebui.storage.schema import images, jobs

_ACTIVE = (JobState.QUEUED.value, JobState.RUNNING.value)
_TIMES = {1: "once", 2: "twice"}


class SqlJobStore:
    """Implements `ports.JobStore`."""

    def __init__(self, database: Database) -> None:
        self._database = database

    def add(self, job: JobRecord, idempotency_key: str = "") -> JobRecord:
        """Store a new queued job. The same owner and key give the first job back instead of a second one."""
        with self._database.write() as connection:
            if idempotency_key:
                same = (jobs.c.owner == job.owner) & (jobs.c.idempotency_key == idempotency_key)
                known = _records(connection, select(jobs).where(same))
                if known:
                    return known[0]
            connection.execute(
                jobs.insert().values(
                    id=job.id,
                    owner=job.owner,
                    idempotency_key=idempotency_key or None,
                    kind=job.kind,
                    state=job.state.value,
                    request=dict(job.request),
                    attempt=job.attempt,
                    created_at=job.created_at,
                    started_at=job.started_at,
                    finished_at=job.finished_at,
                    seconds=job.seconds,
                    warnings=list(job.warnings),
                    error=job.error,
                )
            )
        return job

    def get(self, job_id: str) -> JobRecord:
        """One job with its images. Raises `NotFound`."""
        with self._database.read() as connection:
            return _record(connection, job_id)

    def list(self, owner: str | None, *, limit: int = 50, active_only: bool = False) -> Sequence[JobRecord]:
        """Newest first; of one owner, or of all for None."""
        query = select(jobs).order_by(jobs.c.number.desc()).limit(limit)
        if owner is not None:
            query = query.where(jobs.c.owner == owner)
        if active_only:
            query = query.where(jobs.c.state.in_(_ACTIVE))
        with self._database.read() as connection:
            return _records(connection, query)

    def counts(self) -> Mapping[str, int]:
        """Number of jobs by state name; states without jobs are 0."""
        query = select(jobs.c.state, func.count()).group_by(jobs.c.state)
        with self._database.read() as connection:
            found = {str(state): int(number) for state, number in connection.execute(query)}
        return {state.value: found.get(state.value, 0) for state in JobState}

    def queued(self) -> Sequence[JobRecord]:
        """All queued jobs, oldest first."""
        query = select(jobs).where(jobs.c.state == JobState.QUEUED.value).order_by(jobs.c.number)
        with self._database.read() as connection:
            return _records(connection, query)

    def mark_running(self, job_id: str, started_at: float) -> None:
        """The job was handed to a worker. Raises `NotFound` for one that is not queued."""
        is_queued = (jobs.c.id == job_id) & (jobs.c.state == JobState.QUEUED.value)
        change = update(jobs).where(is_queued).values(state=JobState.RUNNING.value, started_at=started_at)
        with self._database.write() as connection:
            if connection.execute(change).rowcount != 1:
                raise NotFound("queued job", job_id)

    def finish(
        self,
        job_id: str,
        state: JobState,
        *,
        finished_at: float,
        seconds: float = 0.0,
        warnings: Sequence[str] = (),
        error: Mapping[str, Any] | None = None,
    ) -> None:
        """The job reached a final state. The first one stays: later calls change nothing. Raises `NotFound`."""
        with self._database.write() as connection:
            _record(connection, job_id)
            connection.execute(
                update(jobs)
                .where((jobs.c.id == job_id) & jobs.c.state.in_(_ACTIVE))
                .values(
                    state=state.value,
                    finished_at=finished_at,
                    seconds=seconds,
                    warnings=list(warnings),
                    error=None if error is None else dict(error),
                )
            )

    def requeue_running(self, max_attempts: int) -> Sequence[JobRecord]:
        """All running jobs back to the queue at their old place, or failed when their attempts are used up."""
        query = select(jobs.c.id).where(jobs.c.state == JobState.RUNNING.value).order_by(jobs.c.number)
        with self._database.write() as connection:
            running = connection.execute(query).scalars().all()
            return [_requeue(connection, job_id, max_attempts) for job_id in running]

    def requeue(self, job_id: str, max_attempts: int) -> JobRecord:
        """The same for one job whose worker died; a job that is not running is given back unchanged."""
        with self._database.write() as connection:
            return _requeue(connection, job_id, max_attempts)

    def add_image(self, image: ImageRecord) -> None:
        """Record a picture whose file is safely on disk. A second picture at the same place of a job is ignored.

        Raises `NotFound` when there is no such job.
        """
        with self._database.write() as connection:
            job = _record(connection, image.job_id)
            if any(known.index == image.index for known in job.images):
                return
            connection.execute(
                images.insert().values(
                    id=image.id,
                    job_id=image.job_id,
                    index=image.index,
                    seed=image.seed,
                    width_px=image.width_px,
                    height_px=image.height_px,
                    infotext=image.infotext,
                    path=image.path,
                    created_at=image.created_at,
                )
            )

    def image(self, image_id: str) -> ImageRecord:
        """One picture. Raises `NotFound`."""
        with self._database.read() as connection:
            row = connection.execute(select(images).where(images.c.id == image_id)).one_or_none()
        if row is None:
            raise NotFound("image", image_id)
        return _image(row)


def gave_up(attempts: int, finished_at: float) -> dict[str, Any]:
    """The changed fields of a job that has used up its attempts."""
    times = _TIMES.get(attempts, f"{attempts} times")
    error = WorkerDied(
        f"This job crashed the worker {times}, so it is not tried again. "
        "A smaller size or batch may work; the log says how the worker ended."
    )
    return {"state": JobState.FAILED, "error": error.to_json(), "finished_at": finished_at}


def _requeue(connection: Connection, job_id: str, max_attempts: int) -> JobRecord:
    job = _record(connection, job_id)
    if job.state is not JobState.RUNNING:
        return job
    if job.attempt >= max_attempts:
        change = gave_up(job.attempt, job.started_at)
    else:
        change = {"state": JobState.QUEUED, "attempt": job.attempt + 1, "started_at": 0.0}
    connection.execute(update(jobs).where(jobs.c.id == job_id).values({**change, "state": change["state"].value}))
    return _record(connection, job_id)


def _record(connection: Connection, job_id: str) -> JobRecord:
    found = _records(connection, select(jobs).where(jobs.c.id == job_id))
    if not found:
        raise NotFound("job", job_id)
    return found[0]


def _records(connection: Connection, query: Select[Any]) -> Sequence[JobRecord]:
    rows = connection.execute(query).all()
    pictures: dict[str, list[ImageRecord]] = {row.id: [] for row in rows}
    chosen = select(images).where(images.c.job_id.in_(list(pictures))).order_by(images.c.index)
    for row in connection.execute(chosen).all() if pictures else ():
        pictures[row.job_id].append(_image(row))
    return [_job(row, pictures[row.id]) for row in rows]


def _job(row: Row[Any], pictures: Sequence[ImageRecord]) -> JobRecord:
    return JobRecord(
        id=row.id,
        owner=row.owner,
        kind=row.kind,
        state=JobState(row.state),
        request=row.request,
        attempt=row.attempt,
        created_at=row.created_at,
        started_at=row.started_at,
        finished_at=row.finished_at,
        seconds=row.seconds,
        warnings=tuple(row.warnings),
        error=row.error,
        images=tuple(pictures),
    )


def _image(row: Row[Any]) -> ImageRecord:
    values = dict(row._mapping)  # the documented way to a row as a mapping
    return ImageRecord(**values)
