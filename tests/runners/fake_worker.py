"""A worker process with a fake engine, started by the tests as the real one is: `--fd N --settings JSON`.

Some prompts make it misbehave: "kill the worker", "ignore cancel", "refuse the job", "speak nonsense".
"""

from __future__ import annotations

import argparse
import json
import os
import signal
import sys
import time
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parents[2]))

from sdwebui.domain.errors import ConfigurationError, OutOfMemory
from sdwebui.runners.worker import run_worker
from tests.fakes import FakeEngine


class MisbehavingEngine(FakeEngine):
    def __init__(self, step_seconds: float, descriptor: int) -> None:
        super().__init__(step_seconds)
        self._descriptor = descriptor

    def submit(self, job_id, request, listener) -> None:
        if "kill the worker" in request.prompt:
            os.kill(os.getpid(), signal.SIGKILL)
        if "refuse the job" in request.prompt:
            raise OutOfMemory("too big for this device")
        if "speak nonsense" in request.prompt:
            os.write(self._descriptor, b"\xff\xff\xff\xffnonsense")
        super().submit(job_id, request, listener)

    def cancel(self, job_id: str) -> None:
        if "ignore cancel" not in self.requests[job_id].prompt:
            super().cancel(job_id)


def main() -> int:
    parser = argparse.ArgumentParser()
    parser.add_argument("--fd", type=int)
    parser.add_argument("--settings", type=json.loads)
    given = parser.parse_args()
    once = given.settings.get("die_at_start_unless")
    if once and not Path(once).exists():
        Path(once).touch()
        return 3
    time.sleep(given.settings.get("start_seconds", 0))

    def make_engine() -> FakeEngine:
        if given.settings.get("bad_configuration"):
            raise ConfigurationError("Setting device is 'cuda:7', but there is no such device.")
        return MisbehavingEngine(given.settings.get("step_seconds", 0.0), given.fd)

    return run_worker(given.fd, make_engine)


if __name__ == "__main__":
    sys.exit(main())
