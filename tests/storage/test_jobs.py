"""The durable job table under `kill -9`; all other promises are in tests/ports/test_job_store_contract.py."""

from __future__ import annotations

import os
import random
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest
from PIL import Image
from sqlalchemy import text

from sdwebui.domain.results import JobState
from sdwebui.storage.database import Database
from sdwebui.storage.jobs import SqlJobStore

CYCLES = 10
SERVER = Path(__file__).resolve().parent / "control_plane.py"


def start(data: Path, *arguments: str) -> subprocess.Popen[str]:
    return subprocess.Popen([sys.executable, str(SERVER), str(data), *arguments], stdout=subprocess.PIPE, text=True)


def kill_under_load(data: Path, seconds: float) -> list[str]:
    """Run a control plane that submits and finishes jobs, kill it, and return the jobs that it had acknowledged."""
    with start(data) as process:
        assert process.stdout is not None
        assert process.stdout.readline() == "ready\n"
        time.sleep(seconds)
        os.kill(process.pid, signal.SIGKILL)
        lines = process.stdout.read().splitlines(keepends=True)
    return [line.strip() for line in lines if line.endswith("\n")]


@pytest.mark.slow
def test_kill_9_at_any_moment_loses_no_acknowledged_job_and_no_picture(tmp_path):
    chance = random.Random(7)  # noqa: S311  # moments, not secrets
    acknowledged: list[str] = []
    for _ in range(CYCLES):
        acknowledged += kill_under_load(tmp_path, chance.uniform(0.0, 0.3))
    assert len(acknowledged) > CYCLES
    with start(tmp_path, "--finish") as last:
        assert last.wait(60) == 0

    database = Database(f"sqlite:///{tmp_path}/sdwebui.db")
    with database.read() as connection:
        assert connection.execute(text("PRAGMA integrity_check")).scalar_one() == "ok"
    store = SqlJobStore(database)
    jobs = {job.id: job for job in store.list(None, limit=10**6)}
    assert set(acknowledged) <= set(jobs)
    assert {job.state for job in jobs.values()} == {JobState.DONE}
    for job in jobs.values():
        assert [image.index for image in job.images] == [0, 1]
        assert [image.seed for image in job.images] == [job.request["seed"], job.request["seed"] + 1]
    for path in (tmp_path / "outputs").rglob("*.png"):
        with Image.open(path) as picture:
            picture.load()
    recorded = {image.path for job in jobs.values() for image in job.images}
    assert all(Path(path).exists() for path in recorded)
    assert not list((tmp_path / "outputs").rglob("*.partial"))
    assert store.counts() == {"queued": 0, "running": 0, "done": len(jobs), "failed": 0, "cancelled": 0}
    database.close()
