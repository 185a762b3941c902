"""How a job ends."""

from __future__ import annotations

import logging
from concurrent.futures import Future

import pytest

from sdwebui.domain.errors import JobCancelled, OutOfMemory, SdWebuiError, StorageFull, WorkerDied
from sdwebui.domain.results import ImageRecord, JobFailed, JobFinished, JobRecord, JobState
from sdwebui.service.outcomes import Outcome, first_problem, log_end, outcome_of, worker_died

DONE = JobFinished(job_id="j", cancelled=False, seconds=1.5, warnings=("careful",))


def failed(error: SdWebuiError) -> JobFailed:
    return JobFailed(job_id="j", error=error.to_json())


@pytest.mark.parametrize(
    ("event", "is_cancelled", "state"),
    [
        (DONE, False, JobState.DONE),
        (DONE, True, JobState.DONE),
        (JobFinished(job_id="j", cancelled=True, seconds=0.5), True, JobState.CANCELLED),
        (failed(OutOfMemory("too big")), False, JobState.FAILED),
        (failed(OutOfMemory("too big")), True, JobState.FAILED),
        (failed(JobCancelled("stopped")), False, JobState.CANCELLED),
        (failed(WorkerDied("killed")), True, JobState.CANCELLED),
        (failed(WorkerDied("killed")), False, JobState.FAILED),
    ],
)
def test_the_last_event_decides(event, is_cancelled, state):
    assert outcome_of(event, None, is_cancelled=is_cancelled).state is state


def test_time_and_warnings_are_kept():
    outcome = outcome_of(DONE, None, is_cancelled=False)
    assert outcome == Outcome(state=JobState.DONE, seconds=1.5, warnings=("careful",))


def test_a_picture_that_could_not_be_stored_fails_a_job_that_went_well():
    problem = StorageFull("no room")
    assert outcome_of(DONE, problem, is_cancelled=False).error == problem.to_json()


def test_only_a_dead_worker_is_a_dead_worker():
    assert worker_died(failed(WorkerDied("killed")))
    assert not worker_died(failed(OutOfMemory("too big")))
    assert not worker_died(DONE)


def test_the_first_problem_is_named_and_a_foreign_one_tells_no_secrets(caplog):
    good: Future[ImageRecord] = Future()
    good.set_result(
        ImageRecord(
            id="i", job_id="j", index=0, seed=1, width_px=8, height_px=8, infotext="", path="/p", created_at=0.0
        )
    )
    assert first_problem([good]) is None
    full: Future[ImageRecord] = Future()
    full.set_exception(StorageFull("no room"))
    assert first_problem([good, full]) is full.exception()
    odd: Future[ImageRecord] = Future()
    odd.set_exception(RuntimeError("secret"))
    wrapped = first_problem([odd, full])
    assert wrapped is not None
    assert "secret" not in wrapped.detail
    assert "secret" in caplog.text


def test_one_line_in_the_log_without_the_prompt(caplog):
    job = JobRecord(
        id="j",
        owner="ann",
        kind="txt2img",
        state=JobState.RUNNING,
        request={"prompt": "a secret", "sampler": "Euler", "steps": 20},
        attempt=1,
        created_at=0.0,
    )
    with caplog.at_level(logging.INFO):
        log_end(job, Outcome(state=JobState.DONE, seconds=1.5))
    assert caplog.messages == ["job j done: Euler, 20 steps, 1.50 s"]
