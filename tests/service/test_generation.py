"""The story of a job, on fakes."""

from __future__ import annotations

import io
import threading
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace

import pytest
from PIL import Image

from sdwebui.domain.errors import InvalidRequest, NotFound, OutOfMemory, Overloaded, StorageFull
from sdwebui.domain.image_metadata import read_parameters
from sdwebui.domain.requests import Txt2ImgRequest
from sdwebui.domain.results import JobState
from sdwebui.service.generation import Admission
from tests.fakes import FakeEngine, make_services
from tests.ports.test_runner_contract import wait_until


def ask(**fields) -> Txt2ImgRequest:
    return Txt2ImgRequest(**{"prompt": "a cat", "steps": 3, **fields})


def test_a_job_is_made_stored_and_shown():
    with make_services() as services:
        job = services.generation.submit(ask(batch_size=2, seed=5), owner="bob")
        assert job.state is JobState.QUEUED
        done = services.generation.wait(job.id, 10)
        assert done.state is JobState.DONE
        assert [(image.index, image.seed) for image in done.images] == [(0, 5), (1, 6)]
        bob = services.people["bob"]
        record, png = services.generation.image(done.images[1].id, viewer=bob)
        assert record == done.images[1]
        assert Image.open(io.BytesIO(png)).size == (64, 64)
        assert read_parameters(png) == record.infotext
        assert "Seed: 6" in record.infotext
        assert "Model: guofeng-mini" in record.infotext
        assert services.generation.progress(job.id).progress == 1.0
        assert services.generation.job(job.id, viewer=bob) == done
        assert list(services.generation.jobs(viewer=bob)) == [done]


def test_the_same_idempotency_key_makes_one_job():
    with make_services() as services:
        first = services.generation.submit(ask(), owner="bob", idempotency_key="k")
        services.generation.wait(first.id, 10)
        again = services.generation.submit(ask(), owner="bob", idempotency_key="k")
        assert again.id == first.id
        assert again.state is JobState.DONE
        assert services.runner.started_jobs == [first.id]
        assert services.generation.submit(ask(), owner="eve", idempotency_key="k").id != first.id


@pytest.mark.parametrize(
    "changed", [{"prompt": "a dog"}, {"steps": 4}, {"batch_count": 2}, {"width_px": 128}, {"checkpoint": "other"}]
)
def test_a_key_of_another_request_is_refused(changed):
    with make_services() as services:
        first = services.generation.submit(ask(), owner="bob", idempotency_key="k")
        with pytest.raises(InvalidRequest, match=r"Idempotency-Key is 'k', but it belongs to another .* new key") as no:
            services.generation.submit(ask(**changed), owner="bob", idempotency_key="k")
        assert no.value.field == "Idempotency-Key"
        assert [job.id for job in services.generation.jobs(viewer=services.people["bob"])] == [first.id]
        assert services.generation.submit(ask(**changed), owner="eve", idempotency_key="k").id != first.id


def test_a_given_seed_belongs_to_the_request_and_a_random_one_does_not():
    with make_services() as services:
        first = services.generation.submit(ask(seed=5), owner="bob", idempotency_key="k")
        assert services.generation.submit(ask(seed=5), owner="bob", idempotency_key="k").id == first.id
        with pytest.raises(InvalidRequest, match="another request"):
            services.generation.submit(ask(seed=6), owner="bob", idempotency_key="k")


def test_a_key_still_fits_when_options_or_the_checkpoints_time_have_changed_since():
    with make_services() as services:
        first = services.generation.submit(ask(), owner="bob", idempotency_key="k")
        services.options.set("bob", {"show_progress_every_n_steps": 3, "pad_cond_uncond": True})
        services.catalog.files = [replace(file, mtime_ns=2) for file in services.catalog.files]
        assert services.generation.submit(ask(), owner="bob", idempotency_key="k").id == first.id


def test_many_threads_with_one_key_make_one_job():
    with make_services() as services, ThreadPoolExecutor(8) as pool:
        asked = [pool.submit(services.generation.submit, ask(), owner="bob", idempotency_key="k") for _ in range(20)]
        assert len({one.result().id for one in asked}) == 1


def test_other_peoples_jobs_and_pictures_do_not_exist():
    with make_services() as services:
        job = services.generation.wait(services.generation.submit(ask(), owner="bob").id, 10)
        for viewer in (services.people["eve"], services.people["ann"]):
            with pytest.raises(NotFound):
                services.generation.job(job.id, viewer=viewer)
            with pytest.raises(NotFound):
                services.generation.cancel(job.id, viewer=viewer)
            with pytest.raises(NotFound):
                services.generation.image(job.images[0].id, viewer=viewer)
            assert services.generation.jobs(viewer=viewer) == []


def test_an_unknown_job_is_not_found_anywhere():
    with make_services() as services:
        bob = services.people["bob"]
        with pytest.raises(NotFound):
            services.generation.job("nothing", viewer=bob)
        with pytest.raises(NotFound):
            services.generation.progress("nothing")
        with pytest.raises(NotFound):
            services.generation.wait("nothing", 1)


def test_a_bad_request_leaves_no_job():
    with make_services() as services:
        with pytest.raises(InvalidRequest, match="width is 517"):
            services.generation.submit(ask(width_px=517), owner="bob")
        assert services.generation.jobs(viewer=services.people["bob"]) == []


def test_a_failing_job_keeps_the_named_error_and_the_next_one_runs():
    error = OutOfMemory("64 × 64 does not fit into 1 GB.")
    with make_services(engine=FakeEngine(failures={"huge": error})) as services:
        failed = services.generation.wait(services.generation.submit(ask(prompt="huge"), owner="bob").id, 10)
        assert failed.state is JobState.FAILED
        assert failed.error == error.to_json()
        done = services.generation.wait(services.generation.submit(ask(), owner="bob").id, 10)
        assert done.state is JobState.DONE


def test_a_running_job_is_cancelled_and_keeps_its_finished_pictures():
    with make_services(engine=FakeEngine(step_seconds=0.01)) as services:
        job = services.generation.submit(ask(batch_count=100), owner="bob")
        bob = services.people["bob"]
        wait_until(lambda: len(services.generation.job(job.id, viewer=bob).images) > 0)
        services.generation.cancel(job.id, viewer=bob)
        cancelled = services.generation.wait(job.id, 10)
        assert cancelled.state is JobState.CANCELLED
        assert 0 < len(cancelled.images) < 100
        services.generation.cancel(job.id, viewer=bob)
        assert services.generation.job(job.id, viewer=bob).state is JobState.CANCELLED


def test_a_waiting_job_is_cancelled_at_once_and_never_runs():
    with make_services(engine=FakeEngine(step_seconds=0.02)) as services:
        first = services.generation.submit(ask(steps=50), owner="bob")
        second = services.generation.submit(ask(), owner="bob")
        wait_until(lambda: services.generation.progress(first.id).progress > 0)
        services.generation.cancel(second.id, viewer=services.people["bob"])
        assert services.generation.wait(second.id, 1).state is JobState.CANCELLED
        services.generation.cancel(first.id, viewer=services.people["bob"])
        services.generation.wait(first.id, 10)
        assert services.runner.started_jobs == [first.id]


def test_progress_shows_steps_previews_and_places_in_the_queue():
    with make_services(engine=FakeEngine(step_seconds=0.02)) as services:
        running = services.generation.submit(ask(steps=50), owner="bob")
        waiting = [services.generation.submit(ask(), owner="bob") for _ in range(2)]
        wait_until(lambda: services.generation.progress(running.id).step >= 5)
        progress = services.generation.progress(running.id)
        assert progress.position == 0
        assert progress.steps == 50
        assert progress.eta_s > 0
        assert progress.preview == b"preview of step 5"
        assert [services.generation.progress(job.id).position for job in waiting] == [1, 2]
        services.generation.cancel(running.id, viewer=services.people["bob"])


def test_a_full_queue_is_refused_with_a_time_to_come_back():
    with make_services(engine=FakeEngine(step_seconds=0.05), admission=Admission(queue_limit=2)) as services:
        running = services.generation.submit(ask(steps=100), owner="bob")
        wait_until(lambda: services.generation.progress(running.id).position == 0)
        wait_until(lambda: services.runner.capacity() == 0)
        for _ in range(2):
            services.generation.submit(ask(), owner="bob")
        with pytest.raises(Overloaded, match="the queue holds 2 jobs, and at most 2 may wait") as caught:
            services.generation.submit(ask(), owner="eve")
        assert caught.value.retry_after_s >= 1
        services.generation.cancel(running.id, viewer=services.people["bob"])


def test_a_nearly_full_disk_takes_no_jobs_and_recovers_by_itself():
    with make_services() as services:
        services.images.free = 100 * 2**20
        with pytest.raises(StorageFull, match="has 100 MB free, less than the 512 MB"):
            services.generation.submit(ask(), owner="bob")
        services.images.free = 10**12
        assert services.generation.wait(services.generation.submit(ask(), owner="bob").id, 10).state is JobState.DONE


def test_a_stopping_server_takes_no_jobs():
    with make_services() as services:
        services.generation.close(1.0)
        with pytest.raises(Overloaded, match="stopping"):
            services.generation.submit(ask(), owner="bob")


def test_waiting_gives_up_after_its_time():
    with make_services(engine=FakeEngine(step_seconds=0.05)) as services:
        job = services.generation.submit(ask(steps=100), owner="bob")
        assert not services.generation.wait(job.id, 0.05).state.is_final
        services.generation.cancel(job.id, viewer=services.people["bob"])


def test_the_feed_tells_the_owner_and_nobody_else():
    with make_services() as services:
        mine, theirs = services.generation.events("bob"), services.generation.events("eve")
        cursor, other = mine.cursor, theirs.cursor
        job = services.generation.submit(ask(), owner="bob")
        services.generation.wait(job.id, 10)
        assert mine.since(cursor).job_ids == (job.id,)
        assert theirs.since(other).job_ids == ()


def test_the_status_is_the_workers():
    with make_services() as services:
        assert services.generation.status().state == "ready"


def test_two_flooding_and_one_single_user_share_fairly():
    with make_services(engine=FakeEngine(step_seconds=0.001)) as services:
        held = services.generation.submit(ask(steps=100), owner="ann")
        wait_until(lambda: services.runner.capacity() == 0)
        flood = [services.generation.submit(ask(), owner="bob").id for _ in range(20)]
        single = services.generation.submit(ask(), owner="eve").id
        for job_id in (held.id, *flood, single):
            services.generation.wait(job_id, 10)
        order = services.runner.started_jobs
        assert order.index(single) <= order.index(flood[0]) + 1
        assert [job for job in order if job in flood] == flood


def test_submits_from_many_threads_all_end():
    with make_services(slots=4) as services, ThreadPoolExecutor(8) as pool:
        stop = threading.Event()
        jobs = list(pool.map(lambda _: services.generation.submit(ask(steps=1), owner="bob").id, range(100)))
        stop.set()
        assert {services.generation.wait(job, 20).state for job in jobs} == {JobState.DONE}
        assert len(services.images.files) == 100
