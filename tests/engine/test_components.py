from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import pytest
import torch
from safetensors.torch import load_file, save_file

from sdwebui.domain.errors import ModelUnusable
from sdwebui.engine.checkpoints import read_facts
from sdwebui.engine.components import empty_modules, load_pipeline
from tests.tiny import write_tiny_checkpoint

CPU = torch.device("cpu")


def rewritten(path: Path, change) -> Path:
    tensors = load_file(path)
    change(tensors)
    save_file(tensors, path)
    return path


def test_a_loaded_checkpoint_holds_exactly_the_numbers_of_the_file(tiny_checkpoint: Path):
    pipeline = load_pipeline(tiny_checkpoint, CPU, torch.float32)
    tensors = load_file(tiny_checkpoint)
    name = "model.diffusion_model.input_blocks.3.1.transformer_blocks.0.attn2.to_k.weight"
    loaded = pipeline.unet.down_blocks[1].attentions[0].transformer_blocks[0].attn2.to_k.weight
    assert torch.equal(loaded, tensors[name].float())
    matrix = pipeline.vae.decoder.mid_block.attentions[0].to_q.weight
    assert torch.equal(matrix, tensors["first_stage_model.decoder.mid.attn_1.q.weight"].float().squeeze())
    assert pipeline.warnings == ()
    assert pipeline.size_bytes == sum(tensor.numel() * 4 for tensor in tensors.values())


def test_convolutions_are_channels_last_and_the_text_encoder_stays_in_float32(tiny_checkpoint: Path):
    pipeline = load_pipeline(tiny_checkpoint, CPU, torch.bfloat16)
    assert pipeline.unet.conv_in.weight.is_contiguous(memory_format=torch.channels_last)
    dtypes = [next(part.parameters()).dtype for part in (pipeline.unet, pipeline.vae, pipeline.text_encoder)]
    assert dtypes == [torch.bfloat16, torch.bfloat16, torch.float32]


def test_the_file_may_be_overwritten_once_it_is_loaded(tmp_path: Path):
    path = write_tiny_checkpoint(tmp_path)
    pipeline = load_pipeline(path, CPU, torch.float16)
    before = pipeline.unet.conv_in.weight.clone()
    path.write_bytes(b"")
    assert torch.equal(pipeline.unet.conv_in.weight, before)


def test_the_unet_and_vae_compute_what_diffusers_own_loader_computes(tmp_path: Path):
    """With the LDM defaults that diffusers assumes, its converted modules and ours are the same function."""
    pipeline = load_pipeline(write_tiny_checkpoint(tmp_path), CPU, torch.float32)
    from diffusers.loaders.single_file_utils import convert_ldm_unet_checkpoint, convert_ldm_vae_checkpoint

    tensors = {name: tensor.float() for name, tensor in load_file(tmp_path / "tiny.safetensors").items()}
    modules = empty_modules(pipeline.facts)
    unet, vae = modules["unet"], modules["vae"]
    unet.load_state_dict(convert_ldm_unet_checkpoint(dict(tensors), unet.config), assign=True)
    vae.load_state_dict(convert_ldm_vae_checkpoint(dict(tensors), vae.config), assign=True)
    x, states = torch.randn(2, 4, 8, 8), torch.randn(2, 77, 24)
    times = torch.tensor([3.5, 900.0])
    with torch.inference_mode():
        ours, theirs = (one(x, times, states, return_dict=False)[0] for one in (pipeline.unet, unet.eval()))
        torch.testing.assert_close(ours, theirs)
        torch.testing.assert_close(pipeline.vae.decode(x).sample, vae.eval().decode(x).sample)


def test_a_tensor_that_nothing_uses_is_named_in_a_warning(tmp_path: Path):
    path = write_tiny_checkpoint(tmp_path)
    rewritten(path, lambda tensors: tensors.update({"mystery.weight": torch.zeros(1), "betas": torch.zeros(2)}))
    (warning,) = load_pipeline(path, CPU, torch.float32).warnings
    assert "mystery.weight" in warning
    assert "betas" not in warning


def test_a_missing_tensor_is_named(tmp_path: Path):
    path = write_tiny_checkpoint(tmp_path)
    rewritten(path, lambda tensors: tensors.pop("first_stage_model.decoder.conv_out.bias"))
    with pytest.raises(ModelUnusable, match=r"lacks 1 tensors of its vae \(decoder\.conv_out\.bias"):
        load_pipeline(path, CPU, torch.float32)


def test_a_tensor_of_the_wrong_shape_is_named(tmp_path: Path):
    path = write_tiny_checkpoint(tmp_path)
    rewritten(path, lambda tensors: tensors.update({"model.diffusion_model.out.2.bias": torch.zeros(5)}))
    with pytest.raises(ModelUnusable, match=r"model\.diffusion_model\.out\.2\.bias has the shape \(5,\)"):
        load_pipeline(path, CPU, torch.float32)


def test_matrices_may_stand_for_1x1_convolutions(tmp_path: Path):
    path = write_tiny_checkpoint(tmp_path)
    name = "first_stage_model.encoder.mid.attn_1.q.weight"
    rewritten(path, lambda tensors: tensors.update({name: tensors[name].squeeze()}))
    assert load_pipeline(path, CPU, torch.float32).warnings == ()


def test_a_family_without_a_builder_is_refused_by_name(tiny_checkpoint: Path):
    facts = replace(read_facts(tiny_checkpoint), family="sdxl")
    with pytest.raises(ModelUnusable, match=r"family sdxl, which cannot be run yet. Can be run: sd1"):
        empty_modules(facts)
