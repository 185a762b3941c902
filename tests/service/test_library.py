"""What there is to choose from."""

from __future__ import annotations

import pytest

from sdwebui.domain.errors import ModelUnusable, NotFound
from sdwebui.service.library import LibraryService
from sdwebui.service.options import OptionsService
from tests.fakes import FakeCatalog, MemoryAccountStore, MemoryOptionStore, checkpoint


def library(catalog: FakeCatalog | None = None, chosen: str = "") -> LibraryService:
    catalog = catalog or FakeCatalog()
    store = MemoryOptionStore()
    store.write("user:ann", {"sd_model_checkpoint": chosen})
    return LibraryService(catalog, OptionsService(store, catalog, MemoryAccountStore()))


def test_checkpoints_are_listed_with_the_unusable_ones_and_refreshed_on_demand():
    catalog = FakeCatalog()
    under_test = library(catalog)
    assert [file.name for file in under_test.checkpoints()] == ["broken", "guofeng-mini", "sub/other"]
    assert catalog.refreshes == 0
    under_test.checkpoints(refresh=True)
    assert catalog.refreshes == 1


def test_the_current_checkpoint_is_the_chosen_one_or_the_first_usable():
    for chosen, expected in (("", "guofeng-mini"), ("sub/other", "sub/other"), ("gone", "guofeng-mini")):
        current = library(chosen=chosen).current_checkpoint("ann")
        assert current is not None
        assert current.name == expected


def test_there_may_be_no_checkpoint_at_all():
    assert library(FakeCatalog([checkpoint("broken", problem="cut off")])).current_checkpoint("ann") is None


def test_the_native_size_is_found_by_name():
    assert library().native_size("sub/other") == 128
    with pytest.raises(NotFound):
        library().native_size("nothing")
    with pytest.raises(ModelUnusable):
        library().native_size("broken")


def test_samplers_and_schedules_are_a1111s():
    assert library().samplers()[0].name == "DPM++ 2M"
    assert library().schedules()[0].label == "Automatic"
