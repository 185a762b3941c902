"""What every image store promises: the one on disk and the fake."""

from __future__ import annotations

import time
from pathlib import PurePath

import pytest

from sdwebui.domain.errors import NotFound
from sdwebui.ports import ImageStore
from sdwebui.storage.image_files import ImageFiles
from tests.fakes import MemoryImageStore

NOON = 1_795_348_800.0


@pytest.fixture(params=["files", "memory"])
def store(request, tmp_path):
    return MemoryImageStore() if request.param == "memory" else ImageFiles(tmp_path / "outputs")


def save(store: ImageStore, png=b"png", seed=7, in_gallery=True) -> str:
    return store.save(png, kind="txt2img", seed=seed, created_at=NOON, in_gallery=in_gallery)


def test_a_saved_picture_is_read_back(store):
    path = save(store, b"\x89PNG picture")
    assert store.read(path) == b"\x89PNG picture"


def test_names_are_number_and_seed_in_a_folder_of_the_day(store):
    first, second = PurePath(save(store, seed=7)), PurePath(save(store, seed=2**63 - 1))
    assert (first.name, second.name) == ("00000-7.png", f"00001-{2**63 - 1}.png")
    assert first.is_absolute()
    assert first.parent.parent.name == "txt2img-images"
    assert first.parent.name == time.strftime("%Y-%m-%d", time.localtime(NOON))


def test_pictures_kept_from_the_gallery_lie_elsewhere(store):
    assert PurePath(save(store)).parent != PurePath(save(store, in_gallery=False)).parent


def test_a_picture_that_is_gone_or_elsewhere_is_not_found(store, tmp_path):
    outside = tmp_path / "secret.txt"
    outside.write_text("secret")
    for path in (str(outside), "/etc/passwd", save(store) + "x"):
        with pytest.raises(NotFound, match="picture file"):
            store.read(path)


def test_free_space_is_known(store):
    assert store.free_bytes() > 0
