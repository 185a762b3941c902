"""What every job store promises: the SQL one and the fake."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import replace

import pytest

from sdwebui.domain.errors import NotFound, StorageFull
from sdwebui.domain.results import ImageRecord, JobRecord, JobState
from sdwebui.ports import JobStore
from sdwebui.storage.database import Database
from sdwebui.storage.jobs import SqlJobStore
from sdwebui.storage.migrations import upgrade
from tests.fakes import MemoryJobStore


@pytest.fixture(params=["sql", "memory"])
def store(request, tmp_path) -> Iterator[JobStore]:
    if request.param == "memory":
        yield MemoryJobStore()
        return
    url = f"sqlite:///{tmp_path}/jobs.db"
    upgrade(url)
    database = Database(url)
    yield SqlJobStore(database)
    database.close()


def job(job_id: str, owner: str = "ann", created_at: float = 1.0) -> JobRecord:
    return JobRecord(
        id=job_id,
        owner=owner,
        kind="txt2img",
        state=JobState.QUEUED,
        request={"prompt": "a 'quoted' ☃", "seed": 2**63 - 1, "nested": {"list": [1, None]}},
        attempt=1,
        created_at=created_at,
    )


def image(image_id: str, job_id: str, index: int) -> ImageRecord:
    return ImageRecord(
        id=image_id,
        job_id=job_id,
        index=index,
        seed=2**63 - 1,
        width_px=64,
        height_px=128,
        infotext="a\nSteps: 1",
        path=f"/pictures/{image_id}.png",
        created_at=3.5,
    )


def test_a_job_comes_back_as_it_was_added(store):
    assert store.add(job("a")) == job("a")
    assert store.get("a") == job("a")


def test_an_unknown_job_is_not_found(store):
    with pytest.raises(NotFound, match="job 'nobody' was not found"):
        store.get("nobody")
    with pytest.raises(NotFound):
        store.finish("nobody", JobState.DONE, finished_at=1.0)
    with pytest.raises(NotFound):
        store.requeue("nobody", 2)


def test_the_same_owner_and_key_give_the_first_job_back(store):
    first = store.add(job("a"), "key")
    assert store.add(job("b"), "key") == first
    assert store.add(replace(job("b"), request={"prompt": "another"}), "key").request == first.request
    assert store.add(job("c", owner="bob"), "key").id == "c"
    assert store.add(job("d"), "").id == "d"
    assert store.add(job("e"), "").id == "e"
    assert [one.id for one in store.list(None)] == ["e", "d", "c", "a"]


def test_lists_are_newest_first_of_one_owner_and_limited(store):
    for number, owner in enumerate(["ann", "bob", "ann", "ann"]):
        store.add(job(str(number), owner, float(number)))
    store.finish("2", JobState.DONE, finished_at=9.0)
    assert [one.id for one in store.list("ann")] == ["3", "2", "0"]
    assert [one.id for one in store.list("ann", limit=1)] == ["3"]
    assert [one.id for one in store.list("ann", active_only=True)] == ["3", "0"]
    assert [one.id for one in store.queued()] == ["0", "1", "3"]
    assert store.list("nobody") == []


def test_a_job_runs_and_finishes_with_its_pictures_in_order(store):
    store.add(job("a"))
    store.mark_running("a", 2.0)
    assert (store.get("a").state, store.get("a").started_at) == (JobState.RUNNING, 2.0)
    store.add_image(image("two", "a", 1))
    store.add_image(image("one", "a", 0))
    store.finish("a", JobState.DONE, finished_at=4.0, seconds=1.5, warnings=("careful",))
    done = store.get("a")
    assert (done.state, done.finished_at, done.seconds, done.warnings) == (JobState.DONE, 4.0, 1.5, ("careful",))
    assert done.images == (image("one", "a", 0), image("two", "a", 1))
    assert store.list("ann")[0] == done
    assert store.image("two") == image("two", "a", 1)


def test_a_failed_job_keeps_its_error(store):
    store.add(job("a"))
    error = {"error": "OutOfMemory", "detail": "too big", "field": ""}
    store.finish("a", JobState.FAILED, finished_at=4.0, error=error)
    assert store.get("a").error == error


def test_the_first_final_state_stays(store):
    store.add(job("a"))
    store.finish("a", JobState.CANCELLED, finished_at=4.0)
    store.finish("a", JobState.DONE, finished_at=5.0)
    assert (store.get("a").state, store.get("a").finished_at) == (JobState.CANCELLED, 4.0)


@pytest.mark.parametrize("end", [None, JobState.DONE])
def test_only_a_queued_job_can_be_marked_running(store, end):
    store.add(job("a"))
    if end is None:
        store.mark_running("a", 1.0)
    else:
        store.finish("a", end, finished_at=1.0)
    with pytest.raises(NotFound, match="queued job 'a'"):
        store.mark_running("a", 2.0)


def test_running_jobs_go_back_to_the_queue_with_one_attempt_more(store):
    for name in ("a", "b", "c"):
        store.add(job(name))
    store.mark_running("a", 1.0)
    store.mark_running("b", 1.0)
    touched = store.requeue_running(2)
    assert [(one.id, one.state, one.attempt, one.started_at) for one in touched] == [
        ("a", JobState.QUEUED, 2, 0.0),
        ("b", JobState.QUEUED, 2, 0.0),
    ]
    assert [one.id for one in store.queued()] == ["a", "b", "c"]
    assert store.requeue_running(2) == []


def test_a_job_that_used_up_its_attempts_fails_and_says_so(store):
    store.add(replace(job("a"), attempt=2))
    store.mark_running("a", 1.0)
    gave_up = store.requeue("a", 2)
    assert gave_up.state is JobState.FAILED
    assert gave_up.error is not None
    assert gave_up.error["error"] == "WorkerDied"
    assert "crashed the worker twice" in gave_up.error["detail"]
    assert store.get("a") == gave_up


def test_requeue_leaves_a_job_alone_that_does_not_run(store):
    store.add(job("a"))
    assert store.requeue("a", 2) == job("a")


def test_a_second_picture_at_the_same_place_is_ignored(store):
    store.add(job("a"))
    store.add_image(image("one", "a", 0))
    store.add_image(image("again", "a", 0))
    assert store.get("a").images == (image("one", "a", 0),)
    with pytest.raises(NotFound):
        store.image("again")


def test_a_picture_of_an_unknown_job_is_refused(store):
    with pytest.raises(NotFound):
        store.add_image(image("one", "nobody", 0))


def test_the_fake_can_have_a_full_disk():
    full = MemoryJobStore()
    full.full = True
    with pytest.raises(StorageFull):
        full.add(job("a"))
