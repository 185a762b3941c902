"""From pixels to a stored picture."""

from __future__ import annotations

from dataclasses import replace

import pytest

from sdwebui.domain.errors import ModelUnusable, StorageFull
from sdwebui.domain.image_metadata import read_parameters
from sdwebui.domain.infotext import parse_infotext
from sdwebui.domain.results import ImageDone, JobRecord, JobState
from sdwebui.service.recording import PictureRecorder
from tests.fakes import FakeCatalog, MemoryImageStore, MemoryJobStore, counted_ids, gradient_rgb
from tests.ports.test_runner_contract import resolved


class Room:
    def __init__(self, catalog: FakeCatalog | None = None) -> None:
        self.jobs, self.images = MemoryJobStore(), MemoryImageStore()
        self.recorder = PictureRecorder(
            jobs=self.jobs,
            images=self.images,
            catalog=catalog or FakeCatalog(),
            new_id=counted_ids("image"),
            version="1.2.3",
            clock=lambda: 1_795_348_800.0,
        )
        self.request = resolved("a cat", batch_size=2)
        self.job = self.jobs.add(
            JobRecord(
                id="j",
                owner="ann",
                kind="txt2img",
                state=JobState.QUEUED,
                request=self.request.to_json(),
                attempt=1,
                created_at=0.0,
            )
        )

    def event(self, index: int = 0) -> ImageDone:
        rgb = gradient_rgb(self.request, index)
        return ImageDone(
            job_id="j",
            image_index=index,
            seed=5 + index,
            width_px=64,
            height_px=64,
            rgb=rgb,
            facts={"Backend": "eager"},
        )


def test_the_picture_is_stored_with_everything_that_made_it():
    room = Room()
    image = room.recorder.record(room.job, room.request, room.event(1))
    assert room.jobs.get("j").images == (image,)
    assert (image.index, image.seed, image.width_px, image.height_px) == (1, 6, 64, 64)
    assert read_parameters(room.images.read(image.path)) == image.infotext
    params = parse_infotext(image.infotext).params
    assert (params["Seed"], params["Model"], params["Backend"]) == ("6", "m", "eager")
    assert params["Version"].endswith("1.2.3")
    assert len(params["Model hash"]) == 10


def test_a_picture_that_is_already_stored_is_not_stored_again():
    room = Room()
    first = room.recorder.record(room.job, room.request, room.event())
    again = room.recorder.record(room.jobs.get("j"), room.request, room.event())
    assert again == first
    assert len(room.images.files) == 1


def test_no_row_without_a_file():
    room = Room()
    room.images.full = True
    with pytest.raises(StorageFull):
        room.recorder.record(room.job, room.request, room.event())
    assert room.jobs.get("j").images == ()


def test_a_checkpoint_that_has_gone_since_costs_only_its_hash():
    class Gone(FakeCatalog):
        def sha256(self, file):
            raise ModelUnusable("checkpoint 'm' has changed.")

    room = Room(Gone())
    assert "Model hash" not in room.recorder.record(room.job, room.request, room.event()).infotext


def test_pictures_may_be_kept_from_the_gallery():
    room = Room()
    request = replace(room.request, save_images=False)
    assert "private" in room.recorder.record(room.job, request, room.event()).path
