"""A tiny random checkpoint in the SD1 single-file layout with its yaml, made from a seed in well under a second.

Every tensor is scaled so that signals keep about their size from layer to layer: pictures are noise, but finite.
To make another layout: another list of shapes.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
import yaml
from safetensors.torch import save_file

from sdwebui.domain.requests import CheckpointRef, ResolvedRequest
from sdwebui.engine.safetensors_header import SafetensorsHeader, TensorEntry


@dataclass(frozen=True, kw_only=True)
class TinySpec:
    """Sizes of the tiny checkpoint; the defaults are the smallest that use every kind of layer."""

    width: int = 16
    multipliers: tuple[int, ...] = (1, 2)
    attention_levels: tuple[int, ...] = (1,)
    blocks: int = 1
    context: int = 24
    heads: int = 2
    unet_groups: int = 4
    vae_width: int = 8
    vae_multipliers: tuple[int, ...] = (1, 1, 2, 2)
    vae_groups: int = 4
    text_layers: int = 3
    vocabulary: int = 49408
    prediction: str = "v"
    native_size: int = 64
    linear_end: float = 0.012


Shapes = Iterator[tuple[str, tuple[int, ...]]]


def write_tiny_checkpoint(
    folder: Path, name: str = "tiny", seed: int = 0, spec: TinySpec | None = None, **metadata: str
) -> Path:
    """Write `<name>.safetensors` (float16) and `<name>.yaml`; returns the path of the checkpoint."""
    spec = spec or TinySpec()
    generator = torch.Generator().manual_seed(seed)
    tensors = {key: _random(key, shape, generator) for key, shape in tiny_shapes(spec)}
    path = folder / f"{name}.safetensors"
    save_file(tensors, path, metadata=metadata or None)
    path.with_suffix(".yaml").write_text(yaml.safe_dump(tiny_config(spec)), encoding="utf-8")
    return path


def tiny_config(spec: TinySpec) -> Mapping[str, object]:
    """The LDM configuration beside the file."""
    attention_resolutions = [2**level for level in spec.attention_levels]
    unet = {
        "model_channels": spec.width,
        "channel_mult": list(spec.multipliers),
        "num_res_blocks": spec.blocks,
        "attention_resolutions": attention_resolutions,
        "num_heads": spec.heads,
        "context_dim": spec.context,
        "norm_num_groups": spec.unet_groups,
    }
    dd = {"ch": spec.vae_width, "ch_mult": list(spec.vae_multipliers), "norm_num_groups": spec.vae_groups}
    text = {"hidden_size": spec.context, "num_attention_heads": spec.heads, "hidden_act": "quick_gelu"}
    return {
        "model": {
            "params": {
                "parameterization": spec.prediction,
                "linear_start": 0.00085,
                "linear_end": spec.linear_end,
                "timesteps": 1000,
                "scale_factor": 0.18215,
                "native_size": spec.native_size,
                "unet_config": {"params": unet},
                "first_stage_config": {"params": {"embed_dim": 4, "ddconfig": dd}},
                "cond_stage_config": {"params": text},
            }
        }
    }


def tiny_shapes(spec: TinySpec) -> Shapes:
    """Names and shapes of all tensors."""
    yield from _unet(spec)
    yield from _vae(spec)
    yield from _text(spec)


def _random(key: str, shape: tuple[int, ...], generator: torch.Generator) -> torch.Tensor:
    is_norm = len(shape) == 1 and key.endswith(".weight")
    if is_norm:
        return torch.ones(shape, dtype=torch.float16)
    if key.endswith("final_layer_norm.bias"):
        # As in real CLIP encoders the mean of the text states is not 0: "Original" emphasis divides by it.
        return torch.full(shape, 0.5, dtype=torch.float16)
    if len(shape) == 1:
        return torch.zeros(shape, dtype=torch.float16)
    fan_in = 8.0 if "embedding" in key else float(torch.Size(shape[1:]).numel())
    values: torch.Tensor = torch.randn(shape, generator=generator) / fan_in**0.5
    return values.to(torch.float16)


def _layer(name: str, *shape: int, bias: bool = True) -> Shapes:
    yield f"{name}.weight", shape
    if bias:
        yield f"{name}.bias", (shape[0],)


def _unet(spec: TinySpec) -> Shapes:
    root = "model.diffusion_model"
    embed = spec.width * 4
    widths = [spec.width * one for one in spec.multipliers]
    yield from _layer(f"{root}.time_embed.0", embed, spec.width)
    yield from _layer(f"{root}.time_embed.2", embed, embed)
    yield from _layer(f"{root}.input_blocks.0.0", spec.width, 4, 3, 3)
    skips, here, number = [spec.width], spec.width, 1
    for level, width in enumerate(widths):
        for _ in range(spec.blocks):
            yield from _unet_block(f"{root}.input_blocks.{number}", here, width, embed, level, spec)
            here, number = width, number + 1
            skips.append(here)
        if level < len(widths) - 1:
            yield from _layer(f"{root}.input_blocks.{number}.0.op", here, here, 3, 3)
            number += 1
            skips.append(here)
    yield from _resnet(f"{root}.middle_block.0", here, here, embed)
    yield from _attention(f"{root}.middle_block.1", here, spec.context)
    yield from _resnet(f"{root}.middle_block.2", here, here, embed)
    number = 0
    for level, width in reversed(list(enumerate(widths))):
        for block in range(spec.blocks + 1):
            name = f"{root}.output_blocks.{number}"
            yield from _unet_block(name, here + skips.pop(), width, embed, level, spec)
            here, number = width, number + 1
            if level and block == spec.blocks:
                place = 2 if level in spec.attention_levels else 1
                yield from _layer(f"{name}.{place}.conv", here, here, 3, 3)
    yield from _layer(f"{root}.out.0", here)
    yield from _layer(f"{root}.out.2", 4, here, 3, 3)


def _unet_block(name: str, before: int, width: int, embed: int, level: int, spec: TinySpec) -> Shapes:
    yield from _resnet(f"{name}.0", before, width, embed)
    if level in spec.attention_levels:
        yield from _attention(f"{name}.1", width, spec.context)


def _resnet(name: str, before: int, width: int, embed: int) -> Shapes:
    yield from _layer(f"{name}.in_layers.0", before)
    yield from _layer(f"{name}.in_layers.2", width, before, 3, 3)
    yield from _layer(f"{name}.emb_layers.1", width, embed)
    yield from _layer(f"{name}.out_layers.0", width)
    yield from _layer(f"{name}.out_layers.3", width, width, 3, 3)
    if before != width:
        yield from _layer(f"{name}.skip_connection", width, before, 1, 1)


def _attention(name: str, width: int, context: int) -> Shapes:
    yield from _layer(f"{name}.norm", width)
    yield from _layer(f"{name}.proj_in", width, width, 1, 1)
    block = f"{name}.transformer_blocks.0"
    for attention, source in (("attn1", width), ("attn2", context)):
        yield from _layer(f"{block}.{attention}.to_q", width, width, bias=False)
        yield from _layer(f"{block}.{attention}.to_k", width, source, bias=False)
        yield from _layer(f"{block}.{attention}.to_v", width, source, bias=False)
        yield from _layer(f"{block}.{attention}.to_out.0", width, width)
    yield from _layer(f"{block}.ff.net.0.proj", width * 8, width)
    yield from _layer(f"{block}.ff.net.2", width, width * 4)
    for number in (1, 2, 3):
        yield from _layer(f"{block}.norm{number}", width)
    yield from _layer(f"{name}.proj_out", width, width, 1, 1)


def _vae(spec: TinySpec) -> Shapes:
    widths = [spec.vae_width * one for one in spec.vae_multipliers]
    yield from _layer("first_stage_model.quant_conv", 8, 8, 1, 1)
    yield from _layer("first_stage_model.post_quant_conv", 4, 4, 1, 1)
    root, here = "first_stage_model.encoder", spec.vae_width
    yield from _layer(f"{root}.conv_in", here, 3, 3, 3)
    for level, width in enumerate(widths):
        yield from _vae_resnet(f"{root}.down.{level}.block.0", here, width)
        here = width
        if level < len(widths) - 1:
            yield from _layer(f"{root}.down.{level}.downsample.conv", here, here, 3, 3)
    yield from _vae_middle(root, here)
    yield from _layer(f"{root}.norm_out", here)
    yield from _layer(f"{root}.conv_out", 8, here, 3, 3)
    root = "first_stage_model.decoder"
    yield from _layer(f"{root}.conv_in", here, 4, 3, 3)
    yield from _vae_middle(root, here)
    for level, width in reversed(list(enumerate(widths))):
        for block in range(2):
            yield from _vae_resnet(f"{root}.up.{level}.block.{block}", here, width)
            here = width
        if level:
            yield from _layer(f"{root}.up.{level}.upsample.conv", here, here, 3, 3)
    yield from _layer(f"{root}.norm_out", here)
    yield from _layer(f"{root}.conv_out", 3, here, 3, 3)


def _vae_middle(root: str, width: int) -> Shapes:
    for number in (1, 2):
        yield from _vae_resnet(f"{root}.mid.block_{number}", width, width)
    yield from _layer(f"{root}.mid.attn_1.norm", width)
    for part in ("q", "k", "v", "proj_out"):
        yield from _layer(f"{root}.mid.attn_1.{part}", width, width, 1, 1)


def _vae_resnet(name: str, before: int, width: int) -> Shapes:
    yield from _layer(f"{name}.norm1", before)
    yield from _layer(f"{name}.conv1", width, before, 3, 3)
    yield from _layer(f"{name}.norm2", width)
    yield from _layer(f"{name}.conv2", width, width, 3, 3)
    if before != width:
        yield from _layer(f"{name}.nin_shortcut", width, before, 1, 1)


def _text(spec: TinySpec) -> Shapes:
    root, width = "cond_stage_model.transformer.text_model", spec.context
    yield f"{root}.embeddings.token_embedding.weight", (spec.vocabulary, width)
    yield f"{root}.embeddings.position_embedding.weight", (77, width)
    for number in range(spec.text_layers):
        layer = f"{root}.encoder.layers.{number}"
        for part in ("q_proj", "k_proj", "v_proj", "out_proj"):
            yield from _layer(f"{layer}.self_attn.{part}", width, width)
        for norm in ("layer_norm1", "layer_norm2"):
            yield from _layer(f"{layer}.{norm}", width)
        yield from _layer(f"{layer}.mlp.fc1", width * 4, width)
        yield from _layer(f"{layer}.mlp.fc2", width, width * 4)
    yield from _layer(f"{root}.final_layer_norm", width)


def checkpoint_ref(path: Path) -> CheckpointRef:
    """The pinned reference to a checkpoint file as it is now."""
    status = path.stat()
    return CheckpointRef(
        name=path.stem, path=str(path), family="sd1", size_bytes=status.st_size, mtime_ns=status.st_mtime_ns
    )


def tiny_request(path: Path, **changes: Any) -> ResolvedRequest:
    """A complete, small request for a checkpoint: 64×64, 4 steps."""
    fields: dict[str, Any] = {
        "kind": "txt2img",
        "prompt": "a red hanfu",
        "negative_prompt": "blurry",
        "checkpoint": checkpoint_ref(path),
        "sampler": "Euler",
        "schedule_type": "Karras",
        "automatic_schedule": False,
        "steps": 4,
        "cfg_scale": 3.0,
        "width_px": 64,
        "height_px": 64,
        "batch_size": 1,
        "batch_count": 1,
        "seed": 7,
        "clip_skip": 1,
        "emphasis": "Original",
        "pad_conds": False,
        "comma_backtrack": 20,
        "save_images": True,
        "previews_every_steps": 0,
    }
    return ResolvedRequest(**{**fields, **changes})


def header_of(shapes: Mapping[str, tuple[int, ...]], **metadata: str) -> SafetensorsHeader:
    """A header as if a file held float32 tensors of these shapes."""
    tensors = {name: TensorEntry(dtype="F32", shape=shape, begin=0, end=0) for name, shape in shapes.items()}
    return SafetensorsHeader(tensors=tensors, metadata=metadata, size_bytes=0)


def tiny_header(spec: TinySpec) -> SafetensorsHeader:
    """The header of the tiny checkpoint, without a file."""
    return header_of(dict(tiny_shapes(spec)))


def statedict_shapes(path: Path, keep_optional: bool = True) -> dict[str, tuple[int, ...]]:
    """Tensor names and shapes of a key list in sd_mecha's yaml form, all components together."""
    listed = yaml.load(path.read_text(encoding="utf-8"), Loader=getattr(yaml, "CSafeLoader", yaml.SafeLoader))  # noqa: S506
    return {
        name: tuple(facts["shape"])
        for component in listed["components"].values()
        for name, facts in component.items()
        if keep_optional or not facts.get("optional")
    }
