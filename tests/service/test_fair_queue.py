"""Who is next."""

from __future__ import annotations

from collections import Counter

from sdwebui.domain.results import JobRecord, JobState
from sdwebui.service.fair_queue import FairQueue


def job(job_id: str, owner: str, created_at: float = 0.0, checkpoint: str = "m") -> JobRecord:
    return JobRecord(
        id=job_id,
        owner=owner,
        kind="txt2img",
        state=JobState.QUEUED,
        request={"checkpoint": {"path": checkpoint}},
        attempt=1,
        created_at=created_at,
    )


def drained(queue: FairQueue, loaded: str = "m", now: float = 0.0) -> list[str]:
    order = []
    while (taken := queue.take(loaded, now)) is not None:
        order.append(taken.id)
    return order


def test_one_owner_is_served_in_order():
    queue = FairQueue()
    for number in range(3):
        queue.add(job(f"a{number}", "ann", number))
    assert len(queue) == 3
    assert drained(queue) == ["a0", "a1", "a2"]
    assert len(queue) == 0


def test_owners_take_turns_so_that_a_late_single_job_runs_after_one_of_the_flood():
    queue = FairQueue()
    for number in range(500):
        queue.add(job(f"a{number:03}", "ann", number))
    queue.take("m", 0.0)
    queue.add(job("b", "bob", 1000.0))
    assert drained(queue)[:3] == ["a001", "b", "a002"]


def test_a_job_that_comes_back_takes_its_old_place():
    queue = FairQueue()
    for number in range(3):
        queue.add(job(f"a{number}", "ann", number))
    first = queue.take("m", 0.0)
    assert first is not None
    queue.add(first)
    queue.add(first)
    assert drained(queue) == ["a0", "a1", "a2"]


def test_a_job_can_be_taken_out_anywhere():
    queue = FairQueue()
    queue.add(job("a", "ann"))
    queue.add(job("b", "bob"))
    removed = queue.remove("a")
    assert removed is not None
    assert removed.id == "a"
    assert queue.remove("a") is None
    assert drained(queue) == ["b"]


def test_the_loaded_model_goes_first_for_at_most_four_jobs():
    queue = FairQueue()
    queue.add(job("other", "ann", 0, checkpoint="x"))
    for number in range(6):
        queue.add(job(f"b{number}", "bob", number, checkpoint="m"))
    assert drained(queue) == ["b0", "b1", "b2", "b3", "other", "b4", "b5"]


def test_the_loaded_model_goes_first_for_at_most_a_minute():
    queue = FairQueue()
    queue.add(job("other", "ann", 0, checkpoint="x"))
    for number in range(4):
        queue.add(job(f"b{number}", "bob", number, checkpoint="m"))
    order = [queue.take("m", now) for now in (0.0, 59.0, 61.0)]
    assert [one.id for one in order if one] == ["b0", "b1", "other"]


def test_positions_count_whole_rounds():
    queue = FairQueue()
    for job_id, owner in (("a0", "ann"), ("a1", "ann"), ("a2", "ann"), ("b0", "bob")):
        queue.add(job(job_id, owner, float(job_id[1])))
    assert queue.positions() == {"a0": 0, "b0": 1, "a1": 2, "a2": 3}
    assert queue.owners() == {"a0": "ann", "a1": "ann", "a2": "ann", "b0": "bob"}


def test_ten_equal_owners_get_equal_shares():
    queue = FairQueue()
    for owner in range(10):
        for number in range(20):
            queue.add(job(f"{owner}-{number}", f"user{owner}", number))
    served = Counter(one.partition("-")[0] for one in drained(queue)[:100])
    assert set(served.values()) == {10}
