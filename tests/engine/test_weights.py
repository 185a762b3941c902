from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import pytest
import torch

from sdwebui.accelerators.eager import EagerAccelerator
from sdwebui.accelerators.fused.backend import FusedAccelerator
from sdwebui.domain.errors import ModelUnusable, NotFound
from sdwebui.engine.calls import ModelState
from sdwebui.engine.checkpoints import read_facts
from sdwebui.engine.devices import Device
from sdwebui.engine.weights import WeightStore, architecture_key
from tests.tiny import checkpoint_ref, write_tiny_checkpoint


def new_store(cpu: Device, budget_bytes: int = 10**9) -> WeightStore:
    return WeightStore(cpu, [EagerAccelerator()], budget_bytes)


def state_of(folder: Path, name: str, seed: int = 0) -> ModelState:
    return ModelState(checkpoint=checkpoint_ref(write_tiny_checkpoint(folder, name, seed)))


def test_bringing_up_the_same_state_twice_loads_once(tmp_path: Path, cpu: Device):
    store, state = new_store(cpu), state_of(tmp_path, "a")
    assert store.current is None
    first = store.bring_to(state)
    assert (first.loaded, first.dropped) == ("a", ())
    assert first.seconds > 0
    loaded = store.current
    assert store.bring_to(state).loaded == ""
    assert store.current is loaded


def test_models_beyond_the_budget_are_dropped_least_recently_used_first(tmp_path: Path, cpu: Device):
    store = new_store(cpu)
    a, b, c = (state_of(tmp_path, name, seed) for seed, name in enumerate("abc"))
    store.bring_to(a)
    assert store.current is not None
    size = store.current.pipeline.size_bytes
    store = new_store(cpu, budget_bytes=2 * size)
    for state in (a, b, a):
        assert store.bring_to(state).dropped == ()
    assert store.bring_to(c).dropped == ("b",)
    assert [store.holds(state) for state in (a, b, c)] == [True, False, True]


def test_one_model_stays_even_when_it_alone_is_above_the_budget(tmp_path: Path, cpu: Device):
    store, state = new_store(cpu, budget_bytes=1), state_of(tmp_path, "a")
    store.bring_to(state)
    assert store.holds(state)


def test_a_failed_load_keeps_the_state_before(tmp_path: Path, cpu: Device):
    store, good, bad = new_store(cpu), state_of(tmp_path, "good"), state_of(tmp_path, "bad")
    store.bring_to(good)
    path = tmp_path / "bad.safetensors"
    path.write_bytes(path.read_bytes()[:-100])
    with pytest.raises(ModelUnusable, match="100 bytes are missing"):
        store.bring_to(ModelState(checkpoint=checkpoint_ref(path)))
    assert store.current is not None
    assert store.current.state == good
    assert not store.holds(bad)


def test_a_file_that_changed_since_the_request_is_refused(tmp_path: Path, cpu: Device):
    state = state_of(tmp_path, "a")
    write_tiny_checkpoint(tmp_path, "a", seed=5, note="another size")
    with pytest.raises(ModelUnusable, match="'a' has changed on disk"):
        new_store(cpu).bring_to(state)


def test_a_file_that_is_gone_is_named(tmp_path: Path, cpu: Device):
    state = state_of(tmp_path, "a")
    (tmp_path / "a.safetensors").unlink()
    with pytest.raises(ModelUnusable, match="'a' cannot be read"):
        new_store(cpu).bring_to(state)


def test_closing_gives_the_models_back(tmp_path: Path, cpu: Device):
    store, state = new_store(cpu), state_of(tmp_path, "a")
    store.bring_to(state)
    store.close()
    assert store.current is None


def test_the_architecture_key_knows_shapes_and_precision_but_no_weights(tmp_path: Path):
    first, second = (read_facts(write_tiny_checkpoint(tmp_path, name, seed)) for seed, name in enumerate("ab"))
    key = architecture_key("UNet", first.unet, torch.float32)
    assert key == architecture_key("UNet", second.unet, torch.float32)
    assert key != architecture_key("UNet", first.unet, torch.bfloat16)
    assert key != architecture_key("VAE", first.vae, torch.float32)


def test_states_that_differ_in_the_accelerator_share_their_weights(cpu, tmp_path):
    store = WeightStore(cpu, [EagerAccelerator(), FusedAccelerator()], 10**9)
    state = state_of(tmp_path, "tiny")
    assert store.bring_to(state).loaded == "tiny"
    eager = store.current
    fused = replace(state, accelerator="fused")
    assert store.holds(fused)
    store.bring_to(fused)
    assert store.current is not None
    assert eager is not None
    assert store.current.accelerator == "fused"
    assert store.current.pipeline is eager.pipeline
    assert len(store.sharing(eager)) == 2


def test_an_unknown_accelerator_is_refused_by_name_and_the_state_before_stays(cpu, tmp_path):
    store = WeightStore(cpu, [EagerAccelerator()], 10**9)
    state = state_of(tmp_path, "tiny")
    store.bring_to(state)
    with pytest.raises(NotFound, match="accelerator 'fusd' was not found"):
        store.bring_to(replace(state, accelerator="fusd"))
    assert store.current is not None
    assert store.current.state == state
