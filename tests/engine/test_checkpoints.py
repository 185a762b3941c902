from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest
import yaml

from sdwebui.domain.errors import ModelUnusable
from sdwebui.engine.architecture import Config
from sdwebui.engine.checkpoints import FAMILIES, detect_family, facts_from_header, read_facts
from tests.tiny import TinySpec, header_of, statedict_shapes, tiny_config, tiny_shapes, write_tiny_checkpoint

NO_CONFIG = Config({}, "none")
UNET_IN = "model.diffusion_model.input_blocks.0.0.weight"


def marker_header(row, in_channels=None):
    names = [row.one_of[0], *row.all_of]
    return header_of({UNET_IN: (320, in_channels or row.in_channels, 3, 3), **dict.fromkeys(names, (49408, 768))})


@pytest.mark.parametrize("row", FAMILIES, ids=lambda row: row.family)
def test_each_family_is_recognised_by_its_own_row(row):
    assert detect_family(marker_header(row)).family == row.family


@pytest.mark.parametrize(("name", "family", "size"), [("sd1-ldm", "sd1", 512), ("sdxl-sgm", "sdxl", 1024)])
def test_real_key_lists_give_family_size_and_shapes(name: str, family: str, size: int, shared_data: Path):
    shapes = statedict_shapes(shared_data / "statedicts" / "sd_mecha" / f"{name}.yaml", keep_optional=False)
    facts = facts_from_header(header_of(shapes), NO_CONFIG)
    assert (facts.family, facts.prediction_type, facts.native_size_px) == (family, "epsilon", size)
    expected = {
        "sd1": ((320, 640, 1280, 1280), (1, 1, 1, 0), (8, 8, 8, 8), 768, 0),
        "sdxl": ((320, 640, 1280), (0, 2, 10), (5, 10, 20), 2048, 2816),
    }[family]
    unet = facts.unet
    assert (unet.channels, unet.depths, unet.heads, unet.context_dim, unet.label_dim) == expected
    assert (facts.vae.channels, facts.vae.layers_per_block) == ((128, 256, 512, 512), 2)


@pytest.mark.parametrize(
    ("name", "likeness"),
    [
        ("lora_unet_down_blocks_0.lora_up.weight", "LoRA"),
        ("control_model.input_blocks.0.0.weight", "ControlNet"),
        ("down_blocks.0.resnets.0.conv1.weight", "diffusers layout"),
        ("double_blocks.0.img_attn.norm.weight", "Flux"),
        ("joint_blocks.0.x", "Stable Diffusion 3"),
        ("emb_params", "embedding"),
        ("decoder.conv_in.weight", "VAE"),
        (UNET_IN, "no text encoder"),
        ("something", "first tensor is 'something'"),
    ],
)
def test_a_file_that_is_no_checkpoint_is_told_what_it_looks_like(name: str, likeness: str):
    with pytest.raises(ModelUnusable, match=likeness):
        detect_family(header_of({name: (1, 4, 3, 3)}))


def test_unets_with_other_inputs_are_not_taken_for_plain_ones():
    (sd1,) = [row for row in FAMILIES if row.family == "sd1"]
    assert detect_family(marker_header(sd1, in_channels=9)).family == "sd1-inpaint"
    with pytest.raises(ModelUnusable, match="of another kind"):
        detect_family(marker_header(sd1, in_channels=5))


def test_the_yaml_beside_the_file_says_what_the_tensors_cannot(tmp_path: Path):
    facts = read_facts(write_tiny_checkpoint(tmp_path, spec=TinySpec(prediction="v", native_size=64)))
    assert (facts.prediction_type, facts.native_size_px, facts.unet.norm_groups) == ("v", 64, 4)
    assert (facts.beta_start, facts.beta_end, facts.train_timesteps) == (0.00085, 0.012, 1000)
    assert facts.scale_factor == 0.18215


def test_without_a_yaml_the_metadata_serves(tmp_path: Path):
    config = yaml.safe_dump(tiny_config(TinySpec(native_size=128)))
    path = write_tiny_checkpoint(tmp_path, "tiny", 0, None, **{"sdwebui.config": config})
    path.with_suffix(".yaml").unlink()
    assert read_facts(path).native_size_px == 128


def test_an_endless_configuration_in_the_metadata_is_refused(tmp_path: Path):
    path = write_tiny_checkpoint(tmp_path, "tiny", 0, None, **{"sdwebui.config": "- a\n" * 20_000})
    path.with_suffix(".yaml").unlink()
    with pytest.raises(ModelUnusable, match=r"sdwebui\.config\) is too long"):
        read_facts(path)


def test_modelspec_metadata_serves_where_nothing_else_speaks():
    header = header_of(
        dict(tiny_shapes(TinySpec())), **{"modelspec.prediction_type": "v", "modelspec.resolution": "256x256"}
    )
    groups = {"norm_num_groups": 4}
    params = {
        "unet_config": {"params": {**groups, "num_heads": 2}},
        "cond_stage_config": {"params": {"num_attention_heads": 2}},
    }
    values = {"model": {"params": {**params, "first_stage_config": {"params": {"ddconfig": groups}}}}}
    facts = facts_from_header(header, Config(values, "x"))
    assert (facts.prediction_type, facts.native_size_px) == ("v", 256)


@pytest.mark.parametrize(
    ("text", "reason"),
    [
        ("model: [unclosed", "not a readable yaml"),
        ("- a\n- b", "must hold a table"),
        ("\x00", "not a readable yaml"),
        ("model: {params: {parameterization: x0}}", "must be 'eps' or 'v'"),
        ("model: {params: {native_size: tall}}", "must be a positive whole number"),
        ("[" * 5000, "too long or too deep"),
        ("a" * 300_000, "too long or too deep"),
    ],
)
def test_a_faulty_yaml_is_named(text: str, reason: str, tmp_path: Path):
    path = write_tiny_checkpoint(tmp_path)
    path.with_suffix(".yaml").write_text(text, encoding="utf-8")
    with pytest.raises(ModelUnusable, match=reason) as caught:
        read_facts(path)
    assert "tiny" in caught.value.detail


def test_a_checkpoint_that_lacks_tensors_names_one(tmp_path: Path):
    shapes = dict(tiny_shapes(TinySpec()))
    del shapes["model.diffusion_model.out.2.weight"]
    values = tiny_config(TinySpec())
    with pytest.raises(ModelUnusable, match=r"model\.diffusion_model\.out\.2\.weight"):
        facts_from_header(header_of(shapes), Config(values, "x"))


def test_listing_checkpoints_needs_no_torch(project_root: Path):
    script = "import sys, sdwebui.engine.checkpoints; print('torch' in sys.modules)"
    done = subprocess.run([sys.executable, "-c", script], capture_output=True, text=True, cwd=project_root, check=True)
    assert done.stdout.strip() == "False"
