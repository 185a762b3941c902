"""Picture files on disk."""

from __future__ import annotations

import os
import resource
import tempfile
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from pathlib import Path

import pytest

from sdwebui.domain.errors import ConfigurationError, NotFound, StorageFull
from sdwebui.storage.image_files import ImageFiles, check_writable

NOON = 1_795_348_800.0
NOBODY = 65534


def save(files: ImageFiles, png: bytes = b"png", seed: int = 7) -> Path:
    return Path(files.save(png, kind="txt2img", seed=seed, created_at=NOON, in_gallery=True))


@contextmanager
def without_power() -> Iterator[Path]:
    """A folder of somebody else, as a user who may not write there."""
    with tempfile.TemporaryDirectory() as folder:
        Path(folder).chmod(0o555)
        am_root = os.geteuid() == 0
        if am_root:
            os.seteuid(NOBODY)
        try:
            yield Path(folder)
        finally:
            if am_root:
                os.seteuid(0)
            Path(folder).chmod(0o755)


def test_numbers_go_on_after_a_restart(tmp_path):
    folder = save(ImageFiles(tmp_path)).parent
    (folder / "00041-9.png").write_bytes(b"")
    (folder / "notes.txt").write_bytes(b"")
    assert save(ImageFiles(tmp_path)).name == "00042-7.png"


def test_numbers_may_grow_beyond_five_digits(tmp_path):
    folder = save(ImageFiles(tmp_path)).parent
    (folder / "99999-9.png").write_bytes(b"")
    assert save(ImageFiles(tmp_path)).name == "100000-7.png"
    assert save(ImageFiles(tmp_path)).name == "100001-7.png"


def test_threads_never_share_a_name(tmp_path):
    files = ImageFiles(tmp_path)
    with ThreadPoolExecutor(8) as pool:
        paths = list(pool.map(lambda number: save(files, b"%d" % number), range(50)))
    assert len(set(paths)) == 50
    assert sorted(path.read_bytes() for path in paths) == sorted(b"%d" % number for number in range(50))


def test_a_full_disk_leaves_no_file(tmp_path):
    """The limit on file sizes stands in for a full disk."""
    files = ImageFiles(tmp_path)
    folder = save(files).parent
    before = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (1000, before[1]))
    try:
        with pytest.raises(StorageFull, match="could not be stored in"):
            save(files, b"x" * 5000)
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, before)
    assert len(list(folder.iterdir())) == 1


def test_a_read_only_folder_is_named_at_the_start():
    with without_power() as folder, pytest.raises(ConfigurationError, match=f"{folder}.*cannot be written") as caught:
        ImageFiles(folder / "outputs")
    assert "--data-dir" in caught.value.detail


def test_a_folder_that_becomes_read_only_is_full():
    with tempfile.TemporaryDirectory() as folder:
        Path(folder).chmod(0o777)
        files = ImageFiles(Path(folder))
        Path(folder).chmod(0o555)
        am_root = os.geteuid() == 0
        if am_root:
            os.seteuid(NOBODY)
        try:
            with pytest.raises(StorageFull, match="writable"):
                save(files)
        finally:
            if am_root:
                os.seteuid(0)
            Path(folder).chmod(0o755)


def test_a_file_in_the_way_is_named(tmp_path):
    (tmp_path / "data").write_bytes(b"")
    with pytest.raises(ConfigurationError, match="cannot be written"):
        check_writable(tmp_path / "data" / "outputs")


def test_what_an_interrupted_save_left_is_removed(tmp_path):
    files = ImageFiles(tmp_path)
    path = save(files)
    partial = path.with_name("00001-8.png.partial")
    partial.write_bytes(b"half")
    assert files.remove_partial_files() == 1
    assert not partial.exists()
    assert path.exists()


def test_a_link_out_of_the_store_is_not_followed(tmp_path):
    files = ImageFiles(tmp_path / "outputs")
    path = save(files)
    secret = tmp_path / "secret"
    secret.write_bytes(b"secret")
    link = path.with_name("00001-1.png")
    link.symlink_to(secret)
    for wanted in (str(link), str(path.parent / ".." / ".." / ".." / "secret"), str(path.parent)):
        with pytest.raises(NotFound):
            files.read(wanted)


@pytest.mark.parametrize("kind", ["../x", "", "A/B", "x" * 40])
def test_a_kind_is_a_word(tmp_path, kind):
    with pytest.raises(ValueError, match="kind is"):
        ImageFiles(tmp_path).save(b"", kind=kind, seed=1, created_at=NOON, in_gallery=True)
