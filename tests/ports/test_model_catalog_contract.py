"""What every model catalogue promises: the one over folders and the fake."""

from __future__ import annotations

import hashlib
import os

import pytest

from sdwebui.domain.errors import ModelUnusable, NotFound
from sdwebui.storage.model_catalog import FolderCatalog, HeaderFacts
from tests.fakes import FakeCatalog


def facts(_kind, path) -> HeaderFacts:
    if path.stem == "broken":
        return HeaderFacts(problem="the file is cut off.")
    return HeaderFacts(family="sd1", native_size_px=64)


@pytest.fixture(params=["folders", "fake"])
def catalog(request, tmp_path):
    if request.param == "fake":
        return FakeCatalog()
    for name in ("broken", "guofeng-mini", "sub/other"):
        path = tmp_path / "Stable-diffusion" / f"{name}.safetensors"
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(name.encode())
        os.utime(path, (1.0, 1.0))
    found = FolderCatalog(tmp_path, facts)
    found.refresh()
    for name in ("guofeng-mini", "sub/other"):
        found.sha256(found.find("checkpoint", name))
    return found


def test_files_are_listed_by_name_with_the_unusable_ones(catalog):
    assert [file.name for file in catalog.models("checkpoint")] == ["broken", "guofeng-mini", "sub/other"]
    assert [bool(file.problem) for file in catalog.models("checkpoint")] == [True, False, False]
    assert list(catalog.models("lora")) == []


def test_a_file_is_found_by_all_of_its_aliases(catalog):
    digest = hashlib.sha256(b"guofeng-mini").hexdigest()
    for alias in (
        "guofeng-mini",
        "GuoFeng-Mini",
        "guofeng-mini.safetensors",
        f"guofeng-mini.safetensors [{digest[:10]}]",
        digest[:10],
        digest,
    ):
        assert catalog.find("checkpoint", alias).name == "guofeng-mini"
    assert catalog.find("checkpoint", "other").name == "sub/other"
    assert catalog.find("checkpoint", "sub/other").native_size_px > 0


def test_an_unknown_name_offers_the_nearest(catalog):
    with pytest.raises(
        NotFound, match=r"checkpoint 'guofong-mimi' was not found. Did you mean 'guofeng-mini'"
    ) as caught:
        catalog.find("checkpoint", "guofong-mimi")
    assert caught.value.field == "checkpoint"


def test_an_unusable_file_says_why(catalog):
    with pytest.raises(ModelUnusable, match=r"checkpoint 'broken' cannot be used: the file is cut off"):
        catalog.find("checkpoint", "broken")


def test_the_hash_is_that_of_the_content(catalog):
    file = catalog.find("checkpoint", "sub/other")
    assert catalog.sha256(file) == hashlib.sha256(b"sub/other").hexdigest()
