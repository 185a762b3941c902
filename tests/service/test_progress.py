"""Progress and time left."""

from __future__ import annotations

import pytest

from sdwebui.domain.results import ImageRecord, JobProgress, JobRecord, JobState, StepDone
from sdwebui.service.progress import JobBoard, share_stored


class Clock:
    def __init__(self) -> None:
        self.now = 100.0

    def __call__(self) -> float:
        return self.now


def step(progress: float, preview: bytes = b"") -> StepDone:
    return StepDone(job_id="j", image_index=0, step=int(progress * 20), steps=20, progress=progress, preview=preview)


def test_nothing_is_known_of_a_job_that_does_not_run():
    board = JobBoard()
    board.step(step(0.5))
    assert board.progress("j") == JobProgress(job_id="j")


def test_the_time_left_follows_the_pace():
    clock = Clock()
    board = JobBoard(clock)
    board.started("j")
    assert board.progress("j").eta_s == 0.0
    clock.now += 3.0
    board.step(step(0.25))
    progress = board.progress("j")
    assert (progress.progress, progress.step, progress.steps) == (0.25, 5, 20)
    assert progress.eta_s == pytest.approx(9.0)


def test_progress_never_goes_back_and_stays_within_one():
    board = JobBoard()
    board.started("j")
    board.step(step(0.5))
    board.step(step(0.25))
    assert board.progress("j").progress == 0.5
    board.step(step(1.5))
    assert board.progress("j").progress == 1.0


def test_the_newest_preview_stays_and_its_number_counts_up():
    board = JobBoard()
    board.started("j")
    board.step(step(0.1, b"one"))
    board.step(step(0.2))
    assert (board.progress("j").preview, board.progress("j").preview_number) == (b"one", 1)
    board.step(step(0.3, b"two"))
    assert (board.progress("j").preview, board.progress("j").preview_number) == (b"two", 2)


def test_finished_jobs_are_forgotten_and_teach_how_long_a_job_takes():
    board = JobBoard()
    assert board.seconds_per_job == 0.0
    board.started("j")
    board.finished("j", 10.0)
    assert board.progress("j") == JobProgress(job_id="j")
    assert board.seconds_per_job == 10.0
    board.finished("k", 20.0)
    assert board.seconds_per_job == pytest.approx(13.0)


@pytest.mark.parametrize(
    ("request_", "stored", "share"),
    [({"batch_size": 2, "batch_count": 4}, 2, 0.25), ({"batch_size": 2, "batch_count": 1}, 2, 1.0), ({}, 0, 0.0)],
)
def test_the_stored_share_of_a_job_is_that_of_its_pictures(request_, stored, share):
    images = tuple(
        ImageRecord(
            id=str(index),
            job_id="j",
            index=index,
            seed=index,
            width_px=64,
            height_px=64,
            infotext="",
            path="",
            created_at=1.0,
        )
        for index in range(stored)
    )
    job = JobRecord(
        id="j",
        owner="ann",
        kind="txt2img",
        state=JobState.QUEUED,
        request=request_,
        attempt=2,
        created_at=1.0,
        images=images,
    )
    assert share_stored(job) == share
