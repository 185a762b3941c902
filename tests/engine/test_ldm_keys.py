from __future__ import annotations

from pathlib import Path

import pytest
import torch

from sdwebui.engine.architecture import Config
from sdwebui.engine.checkpoints import facts_from_header
from sdwebui.engine.components import empty_modules
from sdwebui.engine.ldm_keys import PartKey, is_training_leftover, part_key
from tests.tiny import TinySpec, header_of, statedict_shapes, tiny_config, tiny_shapes


def assert_every_tensor_has_its_place(shapes: dict[str, tuple[int, ...]], config: Config) -> None:
    facts = facts_from_header(header_of(shapes), config)
    modules = empty_modules(facts)
    wanted = {PartKey(part, name): p.shape for part, m in modules.items() for name, p in m.named_parameters()}
    found = {}
    for name, shape in shapes.items():
        key = part_key(name, facts)
        if key is None or key not in wanted:
            assert is_training_leftover(name), name
            continue
        assert key not in found, f"{name} and another tensor both claim {key}"
        found[key] = name
        assert torch.Size(shape).numel() == wanted[key].numel(), name
    assert set(wanted) == set(found)


def test_every_tensor_of_a_full_size_sd1_checkpoint_has_its_place(shared_data: Path):
    shapes = statedict_shapes(shared_data / "statedicts" / "sd_mecha" / "sd1-ldm.yaml")
    assert len(shapes) > 1100
    assert_every_tensor_has_its_place(shapes, Config({}, "none"))


def test_every_tensor_of_the_tiny_checkpoint_has_its_place():
    spec = TinySpec(multipliers=(1, 2, 3), attention_levels=(0, 2), blocks=2)
    assert_every_tensor_has_its_place(dict(tiny_shapes(spec)), Config(tiny_config(spec), "x"))


def test_the_same_names_as_diffusers_own_converter(shared_data: Path):
    """An independent reference: diffusers' single-file converter on the full-size key list."""
    convert = pytest.importorskip("diffusers.loaders.single_file_utils").convert_ldm_unet_checkpoint
    shapes = statedict_shapes(shared_data / "statedicts" / "sd_mecha" / "sd1-ldm.yaml", keep_optional=False)
    facts = facts_from_header(header_of(shapes), Config({}, "none"))
    named = {name: name for name in shapes if name.startswith("model.diffusion_model.")}
    theirs = convert(named, {"layers_per_block": 2})
    ours = {key.name: name for name in named if (key := part_key(name, facts))}
    assert ours == theirs


def test_older_files_without_the_text_model_step_in_their_names_are_understood():
    facts = facts_from_header(header_of(dict(tiny_shapes(TinySpec()))), Config(tiny_config(TinySpec()), "x"))
    old = part_key("cond_stage_model.transformer.final_layer_norm.weight", facts)
    new = part_key("cond_stage_model.transformer.text_model.final_layer_norm.weight", facts)
    assert old == new == PartKey("text", "final_layer_norm.weight")
    assert part_key("control_model.x", facts) is None


@pytest.mark.parametrize("name", ["betas", "model_ema.decay", "alphas_cumprod_prev", "sqrt_recip_alphas_cumprod"])
def test_what_training_left_behind_is_known(name: str):
    assert is_training_leftover(name)
    assert not is_training_leftover("model.diffusion_model.out.2.weight")
