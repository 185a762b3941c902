"""Stage "export": one file in Stable Diffusion 1's original key layout, with its config and notes beside it."""

from __future__ import annotations

import json
import logging
import re
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import torch
import yaml
from safetensors.torch import load_file, save_file

from scripts.demo_models.architecture import (
    BETA_END,
    BETA_START,
    TRAIN_TIMESTEPS,
    DemoArchitecture,
    build_text_encoder,
    build_unet,
    build_vae,
)
from scripts.demo_models.latents import LATENT_SCALE
from scripts.demo_models.scenes import NATIVE_SIZE_PX

logger = logging.getLogger(__name__)
NAME = "guofeng-mini"
DESCRIPTION = "Small GuoFeng (Chinese style) picture model, trained from scratch on pictures drawn by a program."
NOTES = {
    "description": DESCRIPTION,
    "sd version": "SD1",
    "activation text": "1girl, red hanfu, upper body, lotus pond, smile",
    "preferred weight": 0,
    "notes": "Native size 256x256, CFG scale 3, DPM++ 2M Karras, 20 steps. Comma separated tags; its words are in "
    "scripts/demo_models/vocabulary.py.",
}
UNET_PREFIX = "model.diffusion_model."
VAE_PREFIX = "first_stage_model."
TEXT_PREFIX = "cond_stage_model.transformer.text_model."
Weights = dict[str, torch.Tensor]

RESNET_TO_LDM = {
    "norm1": "in_layers.0",
    "conv1": "in_layers.2",
    "time_emb_proj": "emb_layers.1",
    "norm2": "out_layers.0",
    "conv2": "out_layers.3",
    "conv_shortcut": "skip_connection",
}
VAE_ATTENTION_TO_LDM = {
    "group_norm": "norm",
    "to_q": "q",
    "to_k": "k",
    "to_v": "v",
    "to_out.0": "proj_out",
}


def export_checkpoint(shape: DemoArchitecture, work_dir: Path, models_dir: Path) -> Path:
    """Writes the best weights so far as `guofeng-mini.safetensors` (float16) with `.yaml` beside it.

    The decoder's fine-tuned weights and the 32x32 denoiser are taken where they exist.
    """
    vae_path = _first_existing(work_dir, ("decoder.pt", "vae_unit.pt"))
    unet_path = _first_existing(work_dir, ("unet32.pt", "unet16.pt"))
    trained = torch.load(unet_path, map_location="cpu", weights_only=True)
    vae = torch.load(vae_path, map_location="cpu", weights_only=True)
    tensors = single_file_weights(shape, trained["unet"], vae, trained["text"])
    config = ldm_config(shape)
    models_dir.mkdir(parents=True, exist_ok=True)
    path = models_dir / f"{NAME}.safetensors"
    partial = path.with_name(path.name + ".tmp")
    save_file(tensors, partial, metadata=metadata(config))
    partial.chmod(0o644)
    partial.replace(path)
    path.with_suffix(".yaml").write_text(yaml.safe_dump(config, sort_keys=False))
    path.with_suffix(".json").write_text(json.dumps(NOTES, indent=1) + "\n")
    logger.info("%s: %.2f MB from %s and %s", path, path.stat().st_size / 1e6, unet_path.name, vae_path.name)
    return path


def load_checkpoint(shape: DemoArchitecture, path: Path) -> tuple[Any, Any, Any]:
    """VAE, UNet and text encoder of an exported file, in float32 and not trainable."""
    tensors = load_file(path)
    vae, unet, text = build_vae(shape), build_unet(shape), build_text_encoder(shape)
    for module, names in (
        (unet, {key: f"{UNET_PREFIX}{unet_key(key, shape)}" for key in unet.state_dict()}),
        (vae, {key: f"{VAE_PREFIX}{vae_key(key, shape)}" for key in vae.state_dict()}),
        (text, {key: TEXT_PREFIX + key.removeprefix("text_model.") for key in text.state_dict()}),
    ):
        weights = module.state_dict()
        module.load_state_dict(
            {key: tensors[name].to(weights[key].dtype).reshape(weights[key].shape) for key, name in names.items()}
        )
        module.requires_grad_(False).eval().to(memory_format=torch.channels_last)
    return vae, unet, text


def _first_existing(folder: Path, names: Sequence[str]) -> Path:
    for name in names:
        if (folder / name).exists():
            return folder / name
    raise FileNotFoundError(f"none of {', '.join(names)} is in {folder}; run the stages before 'export' first.")


def single_file_weights(shape: DemoArchitecture, unet: Weights, vae: Weights, text: Weights) -> Weights:
    """All tensors under their SD1 names, float16."""
    named = {UNET_PREFIX + unet_key(key, shape): value for key, value in unet.items()}
    named |= {VAE_PREFIX + vae_key(key, shape): _as_conv(key, value) for key, value in vae.items()}
    named |= {TEXT_PREFIX + key.removeprefix("text_model."): value for key, value in text.items()}
    return {
        key: value.half().contiguous() if value.is_floating_point() else value.contiguous()
        for key, value in sorted(named.items())
    }


def unet_key(key: str, shape: DemoArchitecture) -> str:
    """The SD1 name of a diffusers UNet tensor."""
    fixed = {
        "time_embedding.linear_1": "time_embed.0",
        "time_embedding.linear_2": "time_embed.2",
        "conv_in": "input_blocks.0.0",
        "conv_norm_out": "out.0",
        "conv_out": "out.2",
    }
    for start, renamed in fixed.items():
        if key.startswith(start + "."):
            return renamed + key.removeprefix(start)
    if key.startswith("mid_block."):
        _, kind, index, rest = key.split(".", 3)
        place = 1 if kind == "attentions" else 2 * int(index)
        return f"middle_block.{place}.{_resnet_part(rest) if kind == 'resnets' else rest}"
    side, level, kind, index, rest = key.split(".", 4)
    return _unet_block_key(side == "down_blocks", int(level), kind, int(index), rest, shape)


def _unet_block_key(down: bool, level: int, kind: str, index: int, rest: str, shape: DemoArchitecture) -> str:
    blocks = shape.unet_blocks
    if down:
        number = 1 + level * (blocks + 1) + (blocks if kind == "downsamplers" else index)
        if kind == "downsamplers":
            return f"input_blocks.{number}.0.op.{rest.removeprefix('conv.')}"
    else:
        number = level * (blocks + 1) + (blocks if kind == "upsamplers" else index)
        if kind == "upsamplers":
            factor = 2 ** (len(shape.unet_multipliers) - 1 - level)
            return f"output_blocks.{number}.{2 if factor in shape.unet_attention else 1}.{rest}"
    place = "input_blocks" if down else "output_blocks"
    if kind == "resnets":
        return f"{place}.{number}.0.{_resnet_part(rest)}"
    return f"{place}.{number}.1.{rest}"


def _resnet_part(rest: str) -> str:
    part, last = rest.rsplit(".", 1)
    return f"{RESNET_TO_LDM[part]}.{last}"


def vae_key(key: str, shape: DemoArchitecture) -> str:
    """The SD1 name of a diffusers AutoencoderKL tensor."""
    levels = len(shape.vae_multipliers)
    key = key.replace("conv_norm_out", "norm_out").replace("conv_shortcut", "nin_shortcut")
    match = re.match(r"(encoder|decoder)\.mid_block\.(resnets|attentions)\.(\d)\.(.+)", key)
    if match:
        coder, kind, index, rest = match.groups()
        if kind == "resnets":
            return f"{coder}.mid.block_{int(index) + 1}.{rest}"
        part, last = rest.rsplit(".", 1)
        return f"{coder}.mid.attn_1.{VAE_ATTENTION_TO_LDM[part]}.{last}"
    match = re.match(r"(encoder|decoder)\.(down|up)_blocks\.(\d)\.(resnets|downsamplers|upsamplers)\.(\d)\.(.+)", key)
    if not match:
        return key
    coder, side, level, kind, index, rest = match.groups()
    number = int(level) if side == "down" else levels - 1 - int(level)
    place = {"resnets": f"block.{index}", "downsamplers": "downsample", "upsamplers": "upsample"}[kind]
    return f"{coder}.{side}.{number}.{place}.{rest}"


def _as_conv(key: str, value: torch.Tensor) -> torch.Tensor:
    """SD1 keeps the VAE's attention matrices as 1x1 convolutions."""
    is_matrix = "attentions" in key and value.ndim == 2
    return value[:, :, None, None] if is_matrix else value


def ldm_config(shape: DemoArchitecture) -> dict[str, Any]:
    """What the weights cannot say, in the words of the original configuration files."""
    return {
        "model": {
            "params": {
                "parameterization": "v",
                "linear_start": BETA_START,
                "linear_end": BETA_END,
                "timesteps": TRAIN_TIMESTEPS,
                "scale_factor": LATENT_SCALE,
                "native_size": NATIVE_SIZE_PX,
                "unet_config": {"params": _unet_config(shape)},
                "first_stage_config": {"params": _vae_config(shape)},
                "cond_stage_config": {"params": _text_config(shape)},
            }
        }
    }


def _unet_config(shape: DemoArchitecture) -> dict[str, Any]:
    return {
        "in_channels": 4,
        "out_channels": 4,
        "model_channels": shape.unet_channels,
        "channel_mult": list(shape.unet_multipliers),
        "num_res_blocks": shape.unet_blocks,
        "attention_resolutions": list(shape.unet_attention),
        "num_heads": shape.unet_heads,
        "context_dim": shape.text_width,
        "transformer_depth": 1,
        "norm_num_groups": shape.unet_groups,
    }


def _vae_config(shape: DemoArchitecture) -> dict[str, Any]:
    details = {
        "z_channels": 4,
        "resolution": NATIVE_SIZE_PX,
        "in_channels": 3,
        "out_ch": 3,
        "ch": shape.vae_channels,
        "ch_mult": list(shape.vae_multipliers),
        "num_res_blocks": shape.vae_blocks,
        "attn_resolutions": [],
        "norm_num_groups": shape.vae_groups,
    }
    return {"embed_dim": 4, "ddconfig": details}


def _text_config(shape: DemoArchitecture) -> dict[str, Any]:
    return {
        "hidden_size": shape.text_width,
        "num_hidden_layers": shape.text_layers,
        "num_attention_heads": shape.text_heads,
        "intermediate_size": shape.text_intermediate,
        "max_position_embeddings": 77,
        "hidden_act": "quick_gelu",
    }


def metadata(config: Mapping[str, Any]) -> dict[str, str]:
    """The safetensors header's text entries."""
    return {
        "modelspec.sai_model_spec": "1.0.0",
        "modelspec.architecture": "stable-diffusion-v1",
        "modelspec.implementation": "https://github.com/Stability-AI/generative-models",
        "modelspec.title": NAME,
        "modelspec.author": "sdwebui",
        "modelspec.license": "Apache-2.0",
        "modelspec.description": DESCRIPTION,
        "modelspec.resolution": f"{NATIVE_SIZE_PX}x{NATIVE_SIZE_PX}",
        "modelspec.prediction_type": "v",
        "sdwebui.config": json.dumps(config),
    }
