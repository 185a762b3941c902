"""What only the runner over a worker process does; the common part is tests/ports/test_runner_contract.py."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

from sdwebui.domain.results import JobFailed, JobFinished
from sdwebui.runners.local import LocalRunner, WorkerHabits
from tests.ports.test_runner_contract import WORKER, Ear, resolved, wait_until

Start = Callable[..., LocalRunner]


@pytest.fixture
def start() -> Iterator[Start]:
    runners: list[LocalRunner] = []

    def begin(settings: dict[str, Any] | None = None, **habits: float) -> LocalRunner:
        given = WorkerHabits(**{"slots": 2, "first_pause_s": 0.05, **habits})  # type: ignore[arg-type]  # numbers all
        runner = LocalRunner([sys.executable, str(WORKER)], settings or {}, given)
        runner.start()
        runners.append(runner)
        return runner

    yield begin
    for runner in runners:
        runner.drain(0.0)


def test_nothing_is_taken_before_the_worker_is_ready(start):
    runner = start({"start_seconds": 0.3})
    assert (runner.status().state, runner.capacity()) == ("starting", 0)
    wait_until(lambda: runner.capacity() == 2)


def test_a_job_given_too_early_is_sent_when_the_worker_is_ready(start):
    runner, ear = start({"start_seconds": 0.2}), Ear()
    runner.submit("j", resolved(), ear)
    assert isinstance(ear.final(), JobFinished)


def test_a_job_cancelled_before_it_was_sent_never_runs(start):
    runner, ear = start({"start_seconds": 0.5}), Ear()
    runner.submit("j", resolved(), ear)
    runner.cancel("j")
    final = ear.final(0.1)
    assert isinstance(final, JobFinished)
    assert final.cancelled


def test_a_worker_that_dies_at_start_is_started_again(start, tmp_path):
    runner = start({"die_at_start_unless": str(tmp_path / "tried")})
    wait_until(lambda: runner.status().state == "ready")


def test_a_wrong_configuration_is_told_in_the_status(start):
    runner = start({"bad_configuration": True})
    wait_until(lambda: runner.status().state == "dead")
    assert "'cuda:7'" in runner.status().detail
    assert runner.capacity() == 0


def test_a_program_that_cannot_be_started_is_told_in_the_status():
    runner = LocalRunner(["/nowhere/python"], {})
    runner.start()
    wait_until(lambda: runner.status().state == "dead")
    assert "could not be started" in runner.status().detail
    runner.drain(0.0)


def test_the_signal_that_ended_a_worker_is_named(start):
    runner, ear = start(), Ear()
    wait_until(lambda: runner.status().state == "ready")
    runner.submit("j", resolved("kill the worker"), ear)
    final = ear.final()
    assert isinstance(final, JobFailed)
    assert "SIGKILL" in final.error["detail"]


def test_a_worker_that_does_not_obey_a_cancel_is_replaced(start):
    runner, ear = start({"step_seconds": 0.02}, cancel_s=0.2), Ear()
    wait_until(lambda: runner.status().state == "ready")
    runner.submit("j", resolved("ignore cancel", steps=10_000), ear)
    wait_until(lambda: bool(ear.events))
    runner.cancel("j")
    final = ear.final()
    assert isinstance(final, JobFailed)
    assert final.error["error"] == "WorkerDied"
    wait_until(lambda: runner.capacity() == 2)


def test_a_job_that_the_engine_refuses_fails_with_its_error(start):
    runner, ear = start(), Ear()
    runner.submit("j", resolved("refuse the job"), ear)
    final = ear.final()
    assert isinstance(final, JobFailed)
    assert final.error == {"error": "OutOfMemory", "detail": "too big for this device", "field": ""}


def test_a_worker_that_speaks_nonsense_is_replaced(start):
    runner, ear = start(), Ear()
    runner.submit("j", resolved("speak nonsense", steps=1), ear)
    assert ear.final()
    wait_until(lambda: runner.capacity() == 2)


def test_no_worker_survives_the_kill_of_its_parent():
    """The parent is killed without a chance to say goodbye; the worker sees its connection close and ends."""
    parent = f"""
import sys, time
sys.path.insert(0, {str(WORKER.parents[2])!r})
from sdwebui.runners.local import LocalRunner
runner = LocalRunner([sys.executable, {str(WORKER)!r}], {{}})
runner.start()
while runner.status().state != "ready":
    time.sleep(0.01)
print(runner._process.pid, flush=True)
time.sleep(60)
"""
    process = subprocess.Popen([sys.executable, "-c", parent], stdout=subprocess.PIPE, text=True)
    with process:
        assert process.stdout is not None
        worker = int(process.stdout.readline())
        process.send_signal(signal.SIGKILL)
    wait_until(lambda: not _lives(worker), 10.0)


def _lives(pid: int) -> bool:
    try:
        os.kill(pid, 0)
    except ProcessLookupError:
        return False
    stat = Path(f"/proc/{pid}/stat").read_text(encoding="utf-8")
    return stat.rpartition(")")[2].split()[0] != "Z"


def test_a_drain_is_quick_when_nothing_runs(start):
    runner = start()
    wait_until(lambda: runner.status().state == "ready")
    started = time.monotonic()
    runner.drain(30.0)
    assert time.monotonic() - started < 5.0
