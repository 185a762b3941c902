"""Runtime options: one's own and the server's."""

from __future__ import annotations

import pytest

from sdwebui.domain.errors import InvalidRequest, ModelUnusable, NotAllowed, NotFound
from sdwebui.domain.options import option_defaults
from sdwebui.service.options import OptionsService
from tests.fakes import FakeCatalog, MemoryAccountStore, MemoryOptionStore


@pytest.fixture
def store() -> MemoryOptionStore:
    return MemoryOptionStore()


@pytest.fixture
def options(store) -> OptionsService:
    accounts = MemoryAccountStore()
    accounts.add("ann", "hash", "admin")
    accounts.add("bob", "hash", "user")
    return OptionsService(store, FakeCatalog(), accounts)


def test_defaults_come_first(options):
    assert options.get("bob") == option_defaults()


def test_each_person_has_own_defaults(options):
    options.set("bob", {"CLIP_stop_at_last_layers": 2, "emphasis": "No norm"})
    assert options.get("bob")["CLIP_stop_at_last_layers"] == 2
    assert options.get("ann")["CLIP_stop_at_last_layers"] == 1


def test_server_options_are_an_administrators(options):
    with pytest.raises(NotAllowed, match="only an administrator"):
        options.set("bob", {"unet_accelerator_enabled": False, "emphasis": "No norm"})
    assert options.get("bob") == option_defaults()
    options.set("ann", {"unet_accelerator_enabled": False})
    assert options.get("bob")["unet_accelerator_enabled"] is False
    assert options.server()["unet_accelerator_enabled"] is False
    assert "emphasis" not in options.server()


def test_the_whole_dictionary_may_be_sent_back_with_one_key_changed(options, store):
    everything = dict(options.get("bob"))
    options.set("bob", {**everything, "CLIP_stop_at_last_layers": 2})
    assert store.read("user:bob") == {"CLIP_stop_at_last_layers": 2}
    assert store.read("server") == {}


@pytest.mark.parametrize(
    ("values", "error", "sentence"),
    [
        ({"CLIP_stop_at_last_layer": 2}, NotFound, "Did you mean 'CLIP_stop_at_last_layers'"),
        ({"CLIP_stop_at_last_layers": 13}, InvalidRequest, "must be a whole number from 1 to 12"),
        ({"CLIP_stop_at_last_layers": True}, InvalidRequest, "whole number"),
        ({"emphasis": "Loud"}, InvalidRequest, "must be one of Original, No norm, Ignore, None"),
        ({"pad_cond_uncond": "yes"}, InvalidRequest, "must be true or false"),
        ({"sd_model_checkpoint": "nothing"}, NotFound, "checkpoint 'nothing' was not found"),
        ({"sd_model_checkpoint": "broken"}, ModelUnusable, "cut off"),
        ({"sd_model_checkpoint": "a\nb"}, InvalidRequest, "one line of text"),
    ],
)
def test_one_bad_value_changes_nothing(options, values, error, sentence):
    with pytest.raises(error, match=sentence):
        options.set("ann", {"comma_padding_backtrack": 5, **values})
    assert options.get("ann") == option_defaults()


def test_a_checkpoint_is_stored_by_its_name_whatever_alias_was_given(options):
    options.set("bob", {"sd_model_checkpoint": "other.safetensors"})
    assert options.get("bob")["sd_model_checkpoint"] == "sub/other"
    options.set("bob", {"sd_model_checkpoint": ""})
    assert options.get("bob")["sd_model_checkpoint"] == ""


@pytest.mark.parametrize("nonsense", [None, [], {}, "x" * 5000, float("nan"), -(10**30)])
@pytest.mark.parametrize("key", sorted(option_defaults()))
def test_nonsense_in_the_store_costs_only_its_own_key(options, store, key, nonsense):
    other = "emphasis" if key != "emphasis" else "pad_cond_uncond"
    value = "Ignore" if other == "emphasis" else True
    store.write("user:ann", {other: value, "gone_option": 1})
    for scope in ("server", "user:ann"):
        store.write(scope, {key: nonsense})
    assert options.get("ann") == {**option_defaults(), other: value}


def test_drafts_are_kept_for_each_person_and_are_no_options(options):
    options.save_draft("bob", {"txt2img": {"prompt": "a cat"}})
    assert options.draft("bob") == {"txt2img": {"prompt": "a cat"}}
    assert options.draft("ann") == {}
    assert options.get("bob") == option_defaults()
