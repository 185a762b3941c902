"""How a job ends: from its last event and its stored pictures to a final state. To add a way to end: here."""

from __future__ import annotations

import logging
from collections.abc import Mapping, Sequence
from concurrent.futures import Future
from dataclasses import dataclass
from typing import Any

from sdwebui.domain.errors import JobCancelled, SdWebuiError, WorkerDied
from sdwebui.domain.results import ImageRecord, JobFailed, JobFinished, JobRecord, JobState

logger = logging.getLogger(__name__)


@dataclass(frozen=True, kw_only=True)
class Outcome:
    """A final state with what belongs to it; see `JobRecord`."""

    state: JobState
    seconds: float = 0.0
    warnings: tuple[str, ...] = ()
    error: Mapping[str, Any] | None = None


def outcome_of(event: JobFinished | JobFailed, problem: SdWebuiError | None, *, is_cancelled: bool) -> Outcome:
    """The end of a job that is not tried again.

    Args:
        event: the job's last event.
        problem: why a picture could not be stored, or None; it weighs more than the event.
        is_cancelled: True when somebody cancelled the job: the death of a worker that did not stop is no failure.
    """
    if problem is not None:
        return Outcome(state=JobState.FAILED, error=problem.to_json())
    if isinstance(event, JobFinished):
        state = JobState.CANCELLED if event.cancelled else JobState.DONE
        return Outcome(state=state, seconds=event.seconds, warnings=event.warnings)
    if event.error.get("error") == JobCancelled.__name__ or (is_cancelled and worker_died(event)):
        return Outcome(state=JobState.CANCELLED)
    return Outcome(state=JobState.FAILED, error=dict(event.error))


def worker_died(event: JobFinished | JobFailed) -> bool:
    """True when the job ended only because its worker did."""
    return isinstance(event, JobFailed) and event.error.get("error") == WorkerDied.__name__


def first_problem(saves: Sequence[Future[ImageRecord]]) -> SdWebuiError | None:
    """Wait for all pictures of a job; the first error among them, a foreign one wrapped."""
    problems = [problem for save in saves if (problem := save.exception()) is not None]
    if not problems:
        return None
    if isinstance(problems[0], SdWebuiError):
        return problems[0]
    logger.error("A picture could not be stored.", exc_info=problems[0])
    return SdWebuiError("A picture could not be stored because of an error in the program; the log says which.")


def log_end(job: JobRecord, outcome: Outcome) -> None:
    """One line a job, without its prompt."""
    facts = (job.request.get("sampler"), job.request.get("steps"), outcome.seconds)
    logger.info("job %s %s: %s, %s steps, %.2f s", job.id, outcome.state, *facts)
    if outcome.error is not None:
        logger.warning("job %s failed: %s", job.id, outcome.error.get("detail"))
