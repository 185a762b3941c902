from __future__ import annotations

import pytest

from sdwebui.domain.errors import ModelUnusable
from sdwebui.engine.architecture import Config, read_clip, read_unet, read_vae
from tests.tiny import TinySpec, tiny_config, tiny_header


def config(values: object) -> Config:
    return Config(values if isinstance(values, dict) else {}, "a.yaml")


def test_the_shapes_of_the_tiny_checkpoint_are_read_off_its_tensor_names():
    spec = TinySpec()
    header = tiny_header(spec)
    unet = read_unet(header, config(tiny_config(spec)))
    assert (unet.channels, unet.depths, unet.heads) == ((16, 32), (0, 1), (2, 2))
    assert (unet.layers_per_block, unet.context_dim, unet.norm_groups) == (1, 24, 4)
    assert not unet.has_linear_projection
    vae = read_vae(header, config(tiny_config(spec)))
    assert (vae.channels, vae.layers_per_block, vae.downscale) == ((8, 8, 16, 16), 1, 8)
    clip = read_clip(header, config(tiny_config(spec)))
    assert (clip.hidden, clip.layers, clip.heads, clip.intermediate) == (24, 3, 2, 96)


@pytest.mark.parametrize("read", [read_unet, read_vae, read_clip])
def test_a_number_that_does_not_divide_the_width_is_named(read):
    values = {
        "unet_config": {"params": {"norm_num_groups": 7}},
        "first_stage_config": {"params": {"ddconfig": {"norm_num_groups": 7}}},
        "cond_stage_config": {"params": {"num_attention_heads": 7}},
    }
    with pytest.raises(ModelUnusable, match="is 7, but it must divide"):
        read(tiny_header(TinySpec()), config({"model": {"params": values}}))


@pytest.mark.parametrize("value", ["four", -1, 0, 1.5, True, [4], float("nan"), float("inf"), 10**9])
def test_a_configuration_value_of_the_wrong_kind_is_refused_by_its_path(value: object):
    with pytest.raises(ModelUnusable, match=r"a\.yaml: x\.y is "):
        config({"x": {"y": value}}).integer("x.y", 1)


def test_a_path_that_leads_nowhere_gives_the_default():
    assert config({"x": 3}).integer("x.y.z", 5) == 5
    assert config({}).number("x", 0.5) == 0.5
    assert config({"x": "text"}).text("x", "") == "text"


def test_a_text_in_place_of_a_table_is_refused():
    with pytest.raises(ModelUnusable, match="must be a text"):
        config({"x": 3}).text("x", "")
