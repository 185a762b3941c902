"""The shapes of a checkpoint's parts, read off its tensor names: levels, widths, depths. No torch is needed.

What a state dict cannot say (norm groups, attention heads) comes from the configuration beside the file, by the key
names of the original LDM yaml files. To add a part: a frozen dataclass and a `read_…` function.
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import Any, NoReturn

from sdwebui.domain.errors import ModelUnusable, shortened
from sdwebui.engine.safetensors_header import SafetensorsHeader

UNET_PREFIX = "model.diffusion_model."
VAE_PREFIX = "first_stage_model."
_MAX_NUMBER = 1e6
CLIP_PREFIXES = ("cond_stage_model.transformer.text_model.", "cond_stage_model.transformer.")


class Config:
    """A nested configuration with typed look-ups by dotted path.

    Args:
        values: the parsed yaml or JSON object.
        origin: name of the file, for messages.
    """

    def __init__(self, values: Mapping[str, Any], origin: str) -> None:
        self._values = values
        self._origin = origin

    def integer(self, path: str, default: int) -> int:
        """A positive whole number at "a.b.c", or the default when nothing stands there."""
        return int(self._positive(path, default, int, "a positive whole number"))

    def number(self, path: str, default: float) -> float:
        """A positive number at "a.b.c", or the default when nothing stands there."""
        return float(self._positive(path, default, int | float, "a positive number"))

    def text(self, path: str, default: str) -> str:
        """A string at "a.b.c", or the default when nothing stands there."""
        found = self._find(path)
        if found is not None and not isinstance(found, str):
            self._refuse(path, found, "a text")
        return default if found is None else str(found)

    def _positive(self, path: str, default: float, kind: Any, rule: str) -> float:
        found = self._find(path)
        if found is None:
            return default
        if isinstance(found, bool) or not isinstance(found, int | float) or not isinstance(found, kind):
            self._refuse(path, found, rule)
        if not 0 < found < _MAX_NUMBER:
            self._refuse(path, found, rule)
        return float(found)

    def _find(self, path: str) -> object:
        value: object = self._values
        for name in path.split("."):
            value = value.get(name) if isinstance(value, Mapping) else None
        return value

    def _refuse(self, path: str, value: object, rule: str) -> NoReturn:
        raise ModelUnusable(f"{self._origin}: {path} is {shortened(value)}, but it must be {rule}.")


@dataclass(frozen=True, kw_only=True)
class UNetShape:
    """A UNet of the LDM kind. Tuples have one item a level, the finest level first.

    Attributes:
        in_channels: 4, or 9 for inpainting checkpoints.
        out_channels: 4.
        channels: width of each level.
        layers_per_block: residual blocks a level on the way down.
        depths: transformer blocks behind each residual block, 0 for none.
        heads: attention heads of each level; the middle block has the last level's.
        context_dim: width of the text states.
        has_linear_projection: transformer projections are matrices (SD2, SDXL) instead of 1×1 convolutions.
        label_dim: length of the added vector (SDXL), 0 for none.
        norm_groups: groups of every group norm.
    """

    in_channels: int
    out_channels: int
    channels: tuple[int, ...]
    layers_per_block: int
    depths: tuple[int, ...]
    heads: tuple[int, ...]
    context_dim: int
    has_linear_projection: bool
    label_dim: int
    norm_groups: int


@dataclass(frozen=True, kw_only=True)
class VaeShape:
    """A KL autoencoder of the LDM kind; `channels` finest level first, `layers_per_block` as in its encoder."""

    latent_channels: int
    channels: tuple[int, ...]
    layers_per_block: int
    norm_groups: int

    @property
    def downscale(self) -> int:
        """Pixels a latent cell is wide: 8 for four levels."""
        return int(2 ** (len(self.channels) - 1))


@dataclass(frozen=True, kw_only=True)
class ClipShape:
    """A CLIP text encoder in the transformers layout."""

    vocabulary: int
    positions: int
    hidden: int
    layers: int
    heads: int
    intermediate: int
    activation: str


def read_unet(header: SafetensorsHeader, config: Config) -> UNetShape:
    """Shape of the UNet under `model.diffusion_model.`.

    Raises:
        ModelUnusable: tensors are missing, or the configuration does not fit them.
    """
    levels = _unet_levels(header)
    channels = tuple(
        _size(header, f"{UNET_PREFIX}input_blocks.{blocks[0]}.0.out_layers.3.weight", 0) for blocks in levels
    )
    depths = tuple(_depth(header, f"{UNET_PREFIX}input_blocks.{blocks[0]}.1.") for blocks in levels)
    path = "model.params.unet_config.params."
    groups = config.integer(path + "norm_num_groups", 32)
    heads = config.integer(path + "num_heads", 8)
    has_linear_projection = len(_any_shape(header, UNET_PREFIX, ".proj_in.weight")) == 2
    head_width = config.integer(path + "num_head_channels", 64 if has_linear_projection else 0)
    _check_divides("norm_num_groups", groups, channels)
    all_heads = tuple(width // head_width if head_width else heads for width in channels)
    _check_divides("num_heads", head_width or heads, channels)
    return UNetShape(
        in_channels=_size(header, UNET_PREFIX + "input_blocks.0.0.weight", 1),
        out_channels=_size(header, UNET_PREFIX + "out.2.weight", 0),
        channels=channels,
        layers_per_block=len(levels[0]),
        depths=depths,
        heads=all_heads,
        context_dim=_any_shape(header, UNET_PREFIX, ".attn2.to_k.weight")[1],
        has_linear_projection=has_linear_projection,
        label_dim=(header.shape(UNET_PREFIX + "label_emb.0.0.weight") or (0, 0))[1],
        norm_groups=groups,
    )


def read_vae(header: SafetensorsHeader, config: Config) -> VaeShape:
    """Shape of the autoencoder under `first_stage_model.`. Raises `ModelUnusable` like `read_unet`."""
    blocks = list(_matches(header, re.escape(VAE_PREFIX) + r"encoder\.down\.(\d+)\.block\.(\d+)\.conv2\.weight"))
    if not blocks:
        raise ModelUnusable(
            "The checkpoint has no VAE baked in (first_stage_model.*). Use the full version of the file."
        )
    levels = 1 + max(int(level) for level, _ in blocks)
    channels = tuple(
        _size(header, f"{VAE_PREFIX}encoder.down.{level}.block.0.conv2.weight", 0) for level in range(levels)
    )
    groups = config.integer("model.params.first_stage_config.params.ddconfig.norm_num_groups", 32)
    _check_divides("ddconfig.norm_num_groups", groups, channels)
    latent_channels, embed_channels = (_size(header, VAE_PREFIX + "post_quant_conv.weight", axis) for axis in (0, 1))
    if latent_channels != embed_channels:
        raise ModelUnusable(
            f"The VAE's embedding has {embed_channels} channels and its latents {latent_channels}: not SD."
        )
    return VaeShape(
        latent_channels=latent_channels,
        channels=channels,
        layers_per_block=1 + max(int(block) for _, block in blocks),
        norm_groups=groups,
    )


def read_clip(header: SafetensorsHeader, config: Config) -> ClipShape:
    """Shape of the CLIP text encoder under `cond_stage_model.transformer.`. Raises `ModelUnusable` like `read_unet`."""
    prefix = next((one for one in CLIP_PREFIXES if header.shape(one + "final_layer_norm.weight")), CLIP_PREFIXES[0])
    hidden = _size(header, prefix + "final_layer_norm.weight", 0)
    layers = {
        int(number) for (number,) in _matches(header, re.escape(prefix) + r"encoder\.layers\.(\d+)\.mlp\.fc1\.weight")
    }
    path = "model.params.cond_stage_config.params."
    heads = config.integer(path + "num_attention_heads", max(1, hidden // 64))
    _check_divides("num_attention_heads", heads, (hidden,))
    return ClipShape(
        vocabulary=_size(header, prefix + "embeddings.token_embedding.weight", 0),
        positions=_size(header, prefix + "embeddings.position_embedding.weight", 0),
        hidden=hidden,
        layers=len(layers),
        heads=heads,
        intermediate=_size(header, prefix + "encoder.layers.0.mlp.fc1.weight", 0),
        activation=config.text(path + "hidden_act", "quick_gelu"),
    )


def _unet_levels(header: SafetensorsHeader) -> list[list[int]]:
    """Numbers of the residual input blocks, grouped by level: a downsampling block ends a level."""
    numbers = sorted(
        {int(number) for (number,) in _matches(header, re.escape(UNET_PREFIX) + r"input_blocks\.(\d+)\.0\..*")}
    )
    levels: list[list[int]] = [[]]
    for number in numbers[1:]:
        if header.shape(f"{UNET_PREFIX}input_blocks.{number}.0.op.weight"):
            levels.append([])
        else:
            levels[-1].append(number)
    if any(len(blocks) != len(levels[0]) or not blocks for blocks in levels):
        raise ModelUnusable("The UNet's levels have different numbers of blocks: not an LDM checkpoint.")
    return levels


def _depth(header: SafetensorsHeader, prefix: str) -> int:
    pattern = re.escape(prefix) + r"transformer_blocks\.(\d+)\.norm1\.weight"
    return len(list(_matches(header, pattern)))


def _matches(header: SafetensorsHeader, pattern: str) -> Iterator[tuple[str, ...]]:
    compiled = re.compile(pattern)
    return (found.groups() for name in header.tensors if (found := compiled.fullmatch(name)))


def _size(header: SafetensorsHeader, name: str, axis: int) -> int:
    shape = header.shape(name)
    if shape is None or len(shape) <= axis:
        raise ModelUnusable(f"The checkpoint lacks the tensor {name}: it is incomplete or of another kind.")
    return shape[axis]


def _any_shape(header: SafetensorsHeader, prefix: str, ending: str) -> tuple[int, ...]:
    for name, entry in header.tensors.items():
        if name.startswith(prefix) and name.endswith(ending) and len(entry.shape) >= 2:
            return entry.shape
    raise ModelUnusable(f"The checkpoint has no tensor {prefix}…{ending}: its UNet has no text attention.")


def _check_divides(name: str, divisor: int, widths: tuple[int, ...]) -> None:
    for width in widths:
        if width % divisor:
            hint = "Put the right value in the yaml file beside the checkpoint."
            raise ModelUnusable(f"{name} is {divisor}, but it must divide {width}, a layer's width. {hint}")
