"""What becomes of jobs when workers die, disks fill up, and servers stop."""

from __future__ import annotations

import threading
import time
from dataclasses import replace

import pytest

from sdwebui.domain.errors import ProtocolError, StorageFull
from sdwebui.domain.requests import Txt2ImgRequest
from sdwebui.domain.results import ImageRecord, JobFailed, JobRecord, JobState
from sdwebui.service.dispatch import Dispatcher, Patience
from sdwebui.service.recording import PictureRecorder
from tests.fakes import (
    FakeCatalog,
    FakeEngine,
    FakeRunner,
    MemoryImageStore,
    MemoryJobStore,
    counted_ids,
    make_services,
)
from tests.ports.test_runner_contract import resolved, wait_until


def ask(prompt: str = "a cat", **fields) -> Txt2ImgRequest:
    return Txt2ImgRequest(**{"prompt": prompt, "steps": 2, **fields})


def queued(job_id: str, prompt: str = "a cat", *, owner: str = "ann", batch_size: int = 1) -> JobRecord:
    request = resolved(prompt, steps=2, batch_size=batch_size).to_json()
    return JobRecord(
        id=job_id,
        owner=owner,
        kind="txt2img",
        state=JobState.QUEUED,
        request=request,
        attempt=1,
        created_at=time.time(),
    )


def picture(job_id: str, index: int) -> ImageRecord:
    return ImageRecord(
        id=f"{job_id}-{index}",
        job_id=job_id,
        index=index,
        seed=5,
        width_px=64,
        height_px=64,
        infotext="",
        path="/memory/earlier.png",
        created_at=1.0,
    )


def dispatcher(
    jobs: MemoryJobStore, runner: FakeRunner, images: MemoryImageStore | None = None, patience: Patience | None = None
) -> Dispatcher:
    recorder = PictureRecorder(
        jobs=jobs, images=images or MemoryImageStore(), catalog=FakeCatalog(), new_id=counted_ids("image")
    )
    return Dispatcher(jobs=jobs, runner=runner, recorder=recorder, patience=patience)


def test_a_job_whose_worker_died_once_runs_again_with_the_same_seed():
    with make_services(deaths={"unlucky": 1}) as services:
        job = services.generation.submit(ask("unlucky"), owner="bob")
        done = services.generation.wait(job.id, 10)
        assert (done.state, done.attempt) == (JobState.DONE, 2)
        assert done.request == job.request
        assert services.runner.started_jobs == [job.id, job.id]


def test_a_poison_job_fails_after_two_deaths_and_the_others_run():
    with make_services(deaths={"poison": 100}, slots=3) as services:
        jobs = [services.generation.submit(ask(text), owner="bob") for text in ("one", "poison", "two")]
        ends = [services.generation.wait(job.id, 10) for job in jobs]
        assert [end.state for end in ends] == [JobState.DONE, JobState.FAILED, JobState.DONE]
        assert ends[1].error is not None
        assert "crashed the worker twice" in ends[1].error["detail"]
        assert services.runner.started_jobs.count(jobs[1].id) == 2


def test_a_job_that_saw_its_worker_die_runs_alone():
    """So that a poison job cannot drag an innocent one along a second time."""
    with make_services(engine=FakeEngine(step_seconds=0.005), deaths={"unlucky": 1}, slots=3) as services:
        jobs = [services.generation.submit(ask(text, steps=20), owner="bob") for text in ("unlucky", "a", "b", "c")]
        together: list[int] = []
        original = services.runner.engine.submit

        class Watching(FakeEngine):
            def submit(self, job_id, request, listener) -> None:
                if "unlucky" in request.prompt:
                    together.append(3 - services.runner.capacity())
                original(job_id, request, listener)

        services.runner.engine = Watching()
        for job in jobs:
            assert services.generation.wait(job.id, 10).state is JobState.DONE
        assert together == [1]


def test_a_cancelled_job_whose_worker_was_killed_is_cancelled_not_run_again():
    class Deaf(FakeRunner):
        def cancel(self, job_id: str) -> None:
            listener = self.listeners[job_id]
            self.engine.cancel(job_id)
            listener(JobFailed(job_id=job_id, error={"error": "WorkerDied", "detail": "killed", "field": ""}))

        def submit(self, job_id, request, listener) -> None:
            self.listeners = {job_id: listener}
            super().submit(job_id, request, listener)

    jobs = MemoryJobStore()
    runner = Deaf(FakeEngine(step_seconds=0.05))
    under_test = dispatcher(jobs, runner)
    under_test.start()
    under_test.add(jobs.add(replace(queued("a"), request=resolved(steps=100).to_json())))
    wait_until(lambda: runner.started_jobs == ["a"])
    under_test.cancel("a")
    assert under_test.wait("a", 5).state is JobState.CANCELLED
    under_test.close(1.0)


def test_a_full_disk_fails_the_job_by_name_and_the_next_one_runs_when_there_is_room():
    with make_services() as services:
        services.images.full = True
        failed = services.generation.wait(services.generation.submit(ask(batch_count=20), owner="bob").id, 10)
        assert failed.state is JobState.FAILED
        assert failed.error is not None
        assert failed.error["error"] == "StorageFull"
        assert failed.images == ()
        services.images.full = False
        assert services.generation.wait(services.generation.submit(ask(), owner="bob").id, 10).state is JobState.DONE


def test_an_end_that_cannot_be_written_is_written_when_the_disk_has_room_again():
    with make_services(engine=FakeEngine(step_seconds=0.01)) as services:
        job = services.generation.submit(ask(steps=20), owner="bob")
        wait_until(lambda: services.generation.progress(job.id).step > 2)
        services.jobs.full = True
        wait_until(lambda: bool(services.dispatcher._unwritten))
        assert services.jobs.get(job.id).state is JobState.RUNNING
        services.jobs.full = False
        ended = services.generation.wait(job.id, 10)
        assert ended.state is JobState.FAILED
        assert ended.error is not None
        assert ended.error["error"] == "StorageFull"


def test_a_job_that_cannot_be_marked_running_waits_for_room():
    jobs, runner = MemoryJobStore(), FakeRunner()
    jobs.add(queued("a"))
    under_test = dispatcher(jobs, runner)
    under_test.start()
    assert under_test.wait("a", 5).state is JobState.DONE
    second = jobs.add(queued("b"))
    jobs.full = True
    under_test.add(second)
    assert not under_test.wait("b", 0.2).state.is_final
    assert runner.started_jobs == ["a"]
    jobs.full = False
    assert under_test.wait("b", 5).state is JobState.DONE
    under_test.close(1.0)


def test_a_restart_runs_what_was_queued_and_what_was_running():
    jobs = MemoryJobStore()
    for name in ("running", "waiting"):
        jobs.add(queued(name))
    jobs.mark_running("running", 1.0)
    under_test = dispatcher(jobs, FakeRunner())
    under_test.start()
    assert [under_test.wait(name, 5).state for name in ("running", "waiting")] == [JobState.DONE, JobState.DONE]
    assert [jobs.get(name).attempt for name in ("running", "waiting")] == [2, 1]
    under_test.close(1.0)


def test_a_restart_makes_no_picture_twice():
    jobs, images = MemoryJobStore(), MemoryImageStore()
    jobs.add(queued("half", batch_size=2))
    jobs.add(queued("whole", batch_size=1))
    for name in ("half", "whole"):
        jobs.mark_running(name, 1.0)
        jobs.add_image(picture(name, 0))
    runner = FakeRunner()
    under_test = dispatcher(jobs, runner, images)
    under_test.start()
    assert [image.id for image in under_test.wait("half", 5).images] == ["half-0", "image1"]
    assert [image.id for image in under_test.wait("whole", 5).images] == ["whole-0"]
    assert runner.started_jobs == ["half"]
    assert len(images.files) == 1
    under_test.close(1.0)


def test_a_job_that_runs_again_starts_at_its_finished_pictures():
    jobs, engine = MemoryJobStore(), FakeEngine(step_seconds=0.02)
    request = resolved(steps=20, batch_size=2).to_json()
    jobs.add(replace(queued("a"), request=request))
    jobs.mark_running("a", 1.0)
    jobs.add_image(picture("a", 0))
    under_test = dispatcher(jobs, FakeRunner(engine, slots=0))
    under_test.start()
    waiting = under_test.progress("a")
    assert waiting is not None
    assert (waiting.progress, waiting.position) == (0.5, 0)
    under_test.close(1.0)
    under_test = dispatcher(jobs, FakeRunner(engine))
    under_test.start()
    seen: list[float] = []
    while (progress := under_test.progress("a")) is not None:
        seen.append(progress.progress)
        time.sleep(0.005)
    assert under_test.wait("a", 5).state is JobState.DONE
    assert seen[0] == 0.5
    assert seen == sorted(seen)
    assert seen[-1] > 0.5
    under_test.close(1.0)


def test_a_job_that_ends_the_server_every_time_is_given_up():
    jobs = MemoryJobStore()
    jobs.add(replace(queued("a"), attempt=5))
    jobs.mark_running("a", 1.0)
    under_test = dispatcher(jobs, FakeRunner(), patience=Patience(starts=5))
    under_test.start()
    assert jobs.get("a").state is JobState.FAILED
    under_test.close(1.0)


def test_a_stop_lets_running_jobs_end_and_leaves_waiting_ones_for_the_next_start():
    jobs, engine = MemoryJobStore(), FakeEngine(step_seconds=0.02)
    under_test = dispatcher(jobs, FakeRunner(engine))
    for name in ("one", "two"):
        jobs.add(replace(queued(name), request=resolved(steps=10).to_json()))
    under_test.start()
    wait_until(lambda: jobs.get("one").state is JobState.RUNNING)
    under_test.close(10.0)
    assert jobs.get("one").state is JobState.DONE
    assert len(jobs.get("one").images) == 1
    assert jobs.get("two").state is JobState.QUEUED


def test_a_job_cancelled_on_disk_alone_is_not_run():
    """As when it was cancelled between its commit and its place in the queue."""
    jobs, runner = MemoryJobStore(), FakeRunner()
    under_test = dispatcher(jobs, runner)
    under_test.start()
    job = jobs.add(queued("a"))
    under_test.cancel("a")
    under_test.add(job)
    jobs.add(queued("b"))
    under_test.add(jobs.get("b"))
    assert under_test.wait("b", 5).state is JobState.DONE
    assert runner.started_jobs == ["b"]
    assert jobs.get("a").state is JobState.CANCELLED
    under_test.close(1.0)


def test_the_gap_between_two_jobs_is_short():
    with make_services() as services:
        started = time.monotonic()
        jobs = [services.generation.submit(ask(steps=1), owner="bob") for _ in range(50)]
        for job in jobs:
            services.generation.wait(job.id, 10)
        assert time.monotonic() - started < 5.0


def test_a_stored_request_that_cannot_be_read_fails_by_name_and_the_next_one_runs():
    jobs = MemoryJobStore()
    jobs.add(replace(queued("damaged"), request={"prompt": "of another version"}))
    jobs.add(queued("good"))
    under_test = dispatcher(jobs, FakeRunner())
    under_test.start()
    assert under_test.wait("good", 5).state is JobState.DONE
    damaged = under_test.wait("damaged", 5)
    assert damaged.state is JobState.FAILED
    assert damaged.error is not None
    assert "cannot be read by this version" in damaged.error["detail"]
    under_test.close(1.0)


def test_a_job_that_the_runner_refuses_fails_by_name():
    class Refusing(FakeRunner):
        def submit(self, job_id, request, listener) -> None:
            raise ProtocolError("The header of a frame has too many bytes.")

    jobs = MemoryJobStore()
    jobs.add(queued("a"))
    under_test = dispatcher(jobs, Refusing())
    under_test.start()
    refused = under_test.wait("a", 5)
    assert refused.error is not None
    assert refused.error["error"] == "ProtocolError"
    under_test.close(1.0)


def test_a_dead_worker_and_a_full_disk_at_once_only_delay_the_job():
    jobs = MemoryJobStore()

    class DyingWithTheDisk(FakeRunner):
        def _die(self, job_id, listener) -> None:
            jobs.full = True
            super()._die(job_id, listener)

    under_test = dispatcher(jobs, DyingWithTheDisk(deaths={"unlucky": 1}))
    jobs.add(queued("a", "unlucky"))
    under_test.start()
    wait_until(lambda: bool(under_test._unwritten))
    jobs.full = False
    done = under_test.wait("a", 10)
    assert (done.state, done.attempt) == (JobState.DONE, 2)
    under_test.close(1.0)


def test_a_cancel_that_cannot_be_written_leaves_the_job_in_the_queue():
    with make_services(engine=FakeEngine(step_seconds=0.02)) as services:
        running = services.generation.submit(ask(steps=30), owner="bob")
        waiting = services.generation.submit(ask(), owner="bob")
        wait_until(lambda: services.generation.progress(running.id).step > 0)
        services.jobs.full = True
        with pytest.raises(StorageFull):
            services.generation.cancel(waiting.id, viewer=services.people["bob"])
        services.jobs.full = False
        assert services.generation.wait(waiting.id, 10).state is JobState.DONE


def test_nobody_waits_for_a_server_that_has_stopped():
    jobs = MemoryJobStore()
    under_test = dispatcher(jobs, FakeRunner(slots=0))
    jobs.add(queued("a"))
    under_test.start()
    records: list[JobRecord] = []
    thread = threading.Thread(target=lambda: records.append(under_test.wait("a", 30)))
    thread.start()
    wait_until(lambda: bool(under_test._waiters))
    under_test.close(0.1)
    thread.join(5)
    assert [record.state for record in records] == [JobState.QUEUED]
