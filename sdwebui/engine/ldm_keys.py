"""From tensor names of single-file checkpoints (CompVis LDM layout) to names in diffusers' and transformers' modules.

One rule a line in the tables below. To add a layout: its rules, and a row in `_PARTS`. Facts: the modules of
CompVis/stable-diffusion (`openaimodel.py`, `model.py`) against those of diffusers, compared name by name.
"""

from __future__ import annotations

import re
from collections.abc import Callable
from dataclasses import dataclass

from sdwebui.engine.architecture import CLIP_PREFIXES, UNET_PREFIX, VAE_PREFIX
from sdwebui.engine.checkpoints import CheckpointFacts


@dataclass(frozen=True)
class PartKey:
    """A parameter of a loaded part: `part` is "unet", "vae" or "text", `name` its name in that module."""

    part: str
    name: str


def part_key(name: str, facts: CheckpointFacts) -> PartKey | None:
    """Where a tensor of a single-file checkpoint belongs, or None when it belongs nowhere."""
    for prefix, part, rename in _PARTS:
        if name.startswith(prefix):
            renamed = rename(name.removeprefix(prefix), facts)
            return PartKey(part, renamed) if renamed else None
    return None


def is_training_leftover(name: str) -> bool:
    """True for tensors that pictures never need: noise schedule tables, EMA copies, position numbers, loss state."""
    return _LEFTOVERS.fullmatch(name) is not None


_LEFTOVERS = re.compile(
    r"model_ema\..*|betas|logvar|scale_factor|alphas_cumprod(_prev)?|sqrt_.*|log_one_minus_.*|posterior_.*"
    r"|.*\.position_ids|cond_stage_model\.(logit_scale|text_projection)|first_stage_model\.loss\..*|v_pred|ztsnr"
    r"|edm_.*|lvlb_weights|model\.diffusion_model\.num_batches_tracked"
)

_RESNET = {
    "in_layers.0": "norm1",
    "in_layers.2": "conv1",
    "emb_layers.1": "time_emb_proj",
    "out_layers.0": "norm2",
    "out_layers.3": "conv2",
    "skip_connection": "conv_shortcut",
}
_UNET_ENDS = {
    "input_blocks.0.0": "conv_in",
    "time_embed.0": "time_embedding.linear_1",
    "time_embed.2": "time_embedding.linear_2",
    "label_emb.0.0": "add_embedding.linear_1",
    "label_emb.0.2": "add_embedding.linear_2",
    "out.0": "conv_norm_out",
    "out.2": "conv_out",
}
_VAE_WORDS = (
    (re.compile(r"\.nin_shortcut\."), ".conv_shortcut."),
    (re.compile(r"\.norm_out\."), ".conv_norm_out."),
    (re.compile(r"\.mid\.block_1\."), ".mid_block.resnets.0."),
    (re.compile(r"\.mid\.block_2\."), ".mid_block.resnets.1."),
    (re.compile(r"\.mid\.attn_1\.norm\."), ".mid_block.attentions.0.group_norm."),
    (re.compile(r"\.mid\.attn_1\.([qkv])\."), r".mid_block.attentions.0.to_\1."),
    (re.compile(r"\.mid\.attn_1\.proj_out\."), ".mid_block.attentions.0.to_out.0."),
    (re.compile(r"\.down\.(\d+)\.block\."), r".down_blocks.\1.resnets."),
    (re.compile(r"\.down\.(\d+)\.downsample\."), r".down_blocks.\1.downsamplers.0."),
)
_NUMBERED = re.compile(r"(input_blocks|output_blocks)\.(\d+)\.(\d+)\.(.+)")
_MIDDLE = re.compile(r"middle_block\.([012])\.(.+)")
_UP = re.compile(r"decoder\.up\.(\d+)\.(block|upsample)\.(.+)")


def _unet_name(name: str, facts: CheckpointFacts) -> str:
    stem, _, kind = name.rpartition(".")
    if stem in _UNET_ENDS:
        return f"{_UNET_ENDS[stem]}.{kind}"
    if middle := _MIDDLE.fullmatch(name):
        number, rest = int(middle[1]), middle[2]
        return f"mid_block.attentions.0.{rest}" if number == 1 else f"mid_block.resnets.{number // 2}.{_resnet(rest)}"
    numbered = _NUMBERED.fullmatch(name)
    if numbered is None:
        return ""
    side, number, part, rest = numbered[1], int(numbered[2]), int(numbered[3]), numbered[4]
    per_block = facts.unet.layers_per_block + 1
    goes_down = side == "input_blocks"
    block, layer = divmod(number - 1 if goes_down else number, per_block)
    where = f"{'down' if goes_down else 'up'}_blocks.{block}"
    if rest.startswith("op."):
        return f"{where}.downsamplers.0.conv.{rest.removeprefix('op.')}"
    if rest.startswith("conv."):
        return f"{where}.upsamplers.0.{rest}"
    return f"{where}.attentions.{layer}.{rest}" if part == 1 else f"{where}.resnets.{layer}.{_resnet(rest)}"


def _resnet(rest: str) -> str:
    stem, _, kind = rest.rpartition(".")
    return f"{_RESNET.get(stem, stem)}.{kind}"


def _vae_name(name: str, facts: CheckpointFacts) -> str:
    if up := _UP.fullmatch(name):
        block = len(facts.vae.channels) - 1 - int(up[1])
        kind, rest = up[2], up[3]
        name = f"decoder.up_blocks.{block}.{'resnets' if kind == 'block' else 'upsamplers.0'}.{rest}"
    for pattern, replacement in _VAE_WORDS:
        name = pattern.sub(replacement, name)
    return name


def _clip_name(name: str, facts: CheckpointFacts) -> str:  # noqa: ARG001 - one signature for all renamers
    return name


_PARTS: tuple[tuple[str, str, Callable[[str, CheckpointFacts], str]], ...] = (
    (UNET_PREFIX, "unet", _unet_name),
    (VAE_PREFIX, "vae", _vae_name),
    *((prefix, "text", _clip_name) for prefix in CLIP_PREFIXES),
)
