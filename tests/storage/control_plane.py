"""A control plane with the real stores and a fake engine, for tests that kill it: submits jobs and prints their ids.

With `--finish` it submits nothing, runs what is left, and ends.
"""

from __future__ import annotations

import sys
import time
import uuid
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parents[2]))

from sdwebui.domain.requests import Txt2ImgRequest
from sdwebui.service.dispatch import Dispatcher, Patience
from sdwebui.service.generation import Admission, GenerationService
from sdwebui.service.options import OptionsService
from sdwebui.service.recording import PictureRecorder
from sdwebui.service.resolve import Resolver
from sdwebui.storage.accounts import SqlAccountStore
from sdwebui.storage.database import Database
from sdwebui.storage.image_files import ImageFiles
from sdwebui.storage.jobs import SqlJobStore
from sdwebui.storage.migrations import upgrade
from sdwebui.storage.options import SqlOptionStore
from tests.fakes import FakeCatalog, FakeRunner


def new_id() -> str:
    return uuid.uuid4().hex


def say(line: str) -> None:
    sys.stdout.write(line + "\n")
    sys.stdout.flush()


def main() -> int:
    data = Path(sys.argv[1])
    url = f"sqlite:///{data}/sdwebui.db"
    upgrade(url)
    database = Database(url)
    jobs, images, catalog = SqlJobStore(database), ImageFiles(data / "outputs"), FakeCatalog()
    images.remove_partial_files()
    recorder = PictureRecorder(jobs=jobs, images=images, catalog=catalog, new_id=new_id)
    generation = GenerationService(
        jobs=jobs,
        images=images,
        resolver=Resolver(catalog, lambda: int(time.time())),
        options=OptionsService(SqlOptionStore(database), catalog, SqlAccountStore(database)),
        dispatcher=Dispatcher(jobs=jobs, runner=FakeRunner(slots=2), recorder=recorder, patience=Patience(starts=100)),
        new_id=new_id,
        admission=Admission(queue_limit=10**6),
    )
    generation.start()
    if "--finish" in sys.argv:
        for job in jobs.list(None, limit=10**6, active_only=True):
            generation.wait(job.id, 30)
        generation.close(10)
        return 0
    say("ready")
    for number in range(10**6):
        request = Txt2ImgRequest(prompt="a cat", steps=2, batch_size=2)
        say(generation.submit(request, owner=f"user{number % 3}").id)
        time.sleep(0.004)
    return 0


if __name__ == "__main__":
    sys.exit(main())
