"""What only the catalogue over folders does; the common part is tests/ports/test_model_catalog_contract.py."""

from __future__ import annotations

import hashlib
import json
import os
from pathlib import Path

import pytest

from sdwebui.domain.errors import ModelUnusable, NotFound
from sdwebui.storage.database import Database
from sdwebui.storage.hash_cache import HashCache
from sdwebui.storage.migrations import upgrade
from sdwebui.storage.model_catalog import FolderCatalog, HeaderFacts


def weights(data_bytes: int = 8, *, present: int | None = None) -> bytes:
    """A .safetensors file of one tensor, cut off after `present` bytes of its data."""
    header = json.dumps({"w": {"dtype": "U8", "shape": [data_bytes], "data_offsets": [0, data_bytes]}}).encode()
    return len(header).to_bytes(8, "little") + header + b"\0" * (data_bytes if present is None else present)


class Inspector:
    """Says that files which end in "whole" are whole; counts its looks."""

    def __init__(self) -> None:
        self.looks: list[str] = []

    def __call__(self, kind: str, path: Path) -> HeaderFacts:
        self.looks.append(path.name)
        whole = path.read_bytes().endswith(b"whole")
        return HeaderFacts(family="sd1", native_size_px=64) if whole else HeaderFacts(problem="it is cut off.")


class Clock:
    now = 1000.0

    def __call__(self) -> float:
        return self.now


def put(folder: Path, name: str, content: bytes = b"whole", mtime: float = 1.0, kind: str = "Stable-diffusion") -> Path:
    path = folder / kind / name
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_bytes(content)
    os.utime(path, (mtime, mtime))
    return path


def test_a_file_dropped_in_is_found_without_asking_for_a_refresh(tmp_path):
    catalog = FolderCatalog(tmp_path, Inspector())
    assert list(catalog.models("checkpoint")) == []
    put(tmp_path, "new.safetensors")
    assert catalog.find("checkpoint", "new").family == "sd1"


def test_every_kind_has_its_folder_and_hidden_and_other_files_are_left_out(tmp_path):
    for kind, folder in (("lora", "Lora"), ("controlnet", "ControlNet"), ("vae", "VAE")):
        put(tmp_path, "deep/er/x.safetensors", kind=folder)
        put(tmp_path, ".hidden.safetensors", kind=folder)
        put(tmp_path, "x.json", kind=folder)
        (tmp_path / folder / "folder.safetensors").mkdir()
        catalog = FolderCatalog(tmp_path, Inspector())
        assert [file.name for file in catalog.models(kind)] == ["deep/er/x"]


def test_unchanged_headers_are_read_once(tmp_path):
    put(tmp_path, "a.safetensors")
    look = Inspector()
    catalog = FolderCatalog(tmp_path, look)
    catalog.refresh()
    catalog.refresh()
    assert look.looks == ["a.safetensors"]
    put(tmp_path, "a.safetensors", b"a new whole", mtime=2.0)
    catalog.refresh()
    assert look.looks == ["a.safetensors"] * 2


def test_a_file_on_its_way_is_still_copying_and_then_usable_by_itself(tmp_path):
    clock = Clock()
    catalog = FolderCatalog(tmp_path, Inspector(), clock=clock)
    for part in (weights(present=3), weights(present=0), weights()[:20], weights()[:8]):
        put(tmp_path, "a.safetensors", part, mtime=999.0)
        with pytest.raises(ModelUnusable, match="still copying"):
            catalog.find("checkpoint", "a")
        catalog = FolderCatalog(tmp_path, Inspector(), clock=clock)
    assert "still copying" in catalog.models("checkpoint")[0].problem
    put(tmp_path, "a.safetensors", b"whole", mtime=1001.0)
    clock.now = 1010.0
    assert catalog.find("checkpoint", "a").problem == ""


@pytest.mark.parametrize(
    "content",
    [
        b"<!DOCTYPE html><html>Not found</html>",
        b"PK\x03\x04\x00\x00\x08\x08\x00\x00archive/data.pkl",
        b"\x80\x02\x8a\nl\xfc\x9cF\xf9 j\xa8P\x19.",
        b"",
        b"abc",
        (20).to_bytes(8, "little") + b"no JSON object",
        (4).to_bytes(8, "little") + b"{no}",
        weights(),
        weights() + b"more than the header says",
    ],
    ids=["html", "zip", "pickle", "empty", "tiny", "text", "no json", "foreign family", "too long"],
)
def test_a_young_file_that_is_not_cut_off_says_its_true_reason_at_once(tmp_path, content):
    put(tmp_path, "a.safetensors", content, mtime=999.0)
    clock = Clock()
    catalog = FolderCatalog(tmp_path, Inspector(), clock=clock)
    with pytest.raises(ModelUnusable, match="cannot be used: it is cut off"):
        catalog.find("checkpoint", "a")
    put(tmp_path, "a.safetensors", mtime=1001.0)
    clock.now = 1010.0
    assert catalog.models("checkpoint")[0].problem == ""


def test_a_file_that_stays_cut_off_is_damaged_and_stays_in_the_list(tmp_path):
    put(tmp_path, "a.safetensors", weights(present=3), mtime=1.0)
    catalog = FolderCatalog(tmp_path, Inspector(), clock=Clock())
    with pytest.raises(ModelUnusable, match="cannot be used: it is cut off"):
        catalog.find("checkpoint", "a")
    assert len(catalog.models("checkpoint")) == 1


def test_a_growing_file_with_an_old_time_is_still_copying(tmp_path):
    catalog = FolderCatalog(tmp_path, Inspector(), clock=Clock())
    put(tmp_path, "a.safetensors", b"w", mtime=1.0)
    catalog.refresh()
    put(tmp_path, "a.safetensors", b"wh", mtime=1.0)
    catalog.refresh()
    assert "still copying" in catalog.models("checkpoint")[0].problem


def test_files_that_can_run_code_are_listed_but_refused(tmp_path):
    put(tmp_path, "old.ckpt")
    look = Inspector()
    catalog = FolderCatalog(tmp_path, look)
    with pytest.raises(ModelUnusable, match=r"\.ckpt files can run code .* Convert it to \.safetensors"):
        catalog.find("checkpoint", "old")
    assert look.looks == []


def test_a1111s_aliases_partial_titles_and_foreign_hashes(tmp_path):
    put(tmp_path, "anime/GuoFeng v3.2.safetensors")
    put(tmp_path, "anime/GuoFeng v3.2 long.safetensors", b"other whole")
    catalog = FolderCatalog(tmp_path, Inspector())
    for alias in (
        "guofeng v3.2",
        "anime\\guofeng v3.2.safetensors",
        "GuoFeng v3.2.safetensors [0123456789]",
        "guofeng",
    ):
        assert catalog.find("checkpoint", alias).name == "anime/GuoFeng v3.2"
    for nothing in ("", "[0123456789]", "../../etc/passwd"):
        with pytest.raises(NotFound):
            catalog.find("checkpoint", nothing)


def test_hashes_are_computed_once_and_survive_a_restart(tmp_path):
    url = f"sqlite:///{tmp_path}/hashes.db"
    upgrade(url)
    database = Database(url)
    path = put(tmp_path, "a.safetensors")
    digest = hashlib.sha256(b"whole").hexdigest()
    catalog = FolderCatalog(tmp_path, Inspector(), HashCache(database))
    assert catalog.sha256(catalog.find("checkpoint", "a")) == digest
    assert catalog.find("checkpoint", digest[:10]).title == f"a.safetensors [{digest[:10]}]"
    again = FolderCatalog(tmp_path, Inspector(), HashCache(database))
    assert again.find("checkpoint", "a").sha256 == digest
    stat = path.stat()
    path.write_bytes(b"other")
    os.utime(path, ns=(stat.st_mtime_ns, stat.st_mtime_ns))
    assert again.sha256(again.find("checkpoint", "a")) == digest
    database.close()


def test_a_file_that_changed_since_it_was_listed_has_no_hash(tmp_path):
    path = put(tmp_path, "a.safetensors")
    catalog = FolderCatalog(tmp_path, Inspector())
    file = catalog.find("checkpoint", "a")
    path.write_bytes(b"longer and whole")
    with pytest.raises(ModelUnusable, match="has changed"):
        catalog.sha256(file)
    path.unlink()
    with pytest.raises(ModelUnusable, match="cannot be read"):
        catalog.sha256(file)


def test_a_folder_that_links_to_one_above_it_is_not_entered_again(tmp_path):
    put(tmp_path, "a.safetensors")
    put(tmp_path, "sub/b.safetensors")
    home = tmp_path / "Stable-diffusion"
    (home / "loop").symlink_to(home)
    (home / "sub" / "up").symlink_to("..")
    (home / "self").symlink_to("self")
    catalog = FolderCatalog(tmp_path, Inspector())
    assert [file.name for file in catalog.models("checkpoint")] == ["a", "sub/b"]


def test_linked_folders_and_files_are_listed(tmp_path):
    elsewhere = tmp_path / "elsewhere"
    put(elsewhere, "deep/far.safetensors")
    put(elsewhere, "one.safetensors")
    models = tmp_path / "models"
    put(models, "near.safetensors")
    (models / "Stable-diffusion" / "folder").symlink_to(elsewhere / "Stable-diffusion" / "deep")
    (models / "Stable-diffusion" / "file.safetensors").symlink_to(elsewhere / "Stable-diffusion" / "one.safetensors")
    (models / "Lora").symlink_to(elsewhere / "Stable-diffusion")
    catalog = FolderCatalog(models, Inspector())
    assert [file.name for file in catalog.models("checkpoint")] == ["file", "folder/far", "near"]
    assert [file.name for file in catalog.models("lora")] == ["deep/far", "one"]


def test_missing_folders_are_empty(tmp_path):
    assert list(FolderCatalog(tmp_path / "nothing", Inspector()).models("checkpoint")) == []
