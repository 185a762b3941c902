"""What a checkpoint file is, from its header and the configuration beside it. No torch: the web process uses it.

To add a model family: a row in `FAMILIES`, and a builder in `components.py`.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import yaml

from sdwebui.domain.errors import ModelUnusable
from sdwebui.engine.architecture import (
    CLIP_PREFIXES,
    UNET_PREFIX,
    ClipShape,
    Config,
    UNetShape,
    VaeShape,
    read_clip,
    read_unet,
    read_vae,
)
from sdwebui.engine.safetensors_header import SafetensorsHeader, read_header

MAX_CONFIG_BYTES = 32 * 1024
_MAX_BRACKETS = 500
_TOKENS = "embeddings.token_embedding.weight"
_SDXL_CLIP = "conditioner.embedders.0.transformer.text_model." + _TOKENS


@dataclass(frozen=True, kw_only=True)
class FamilyRow:
    """How a family is recognised, and what it is when no configuration says otherwise.

    Attributes:
        family: the name in requests and the catalogue.
        one_of: tensor names of which one must be there.
        all_of: tensor names that must all be there.
        in_channels: input channels of the UNet.
        prediction_type: "epsilon" or "v".
        native_size_px: side of the pictures it was trained on.
        scale_factor: latents are the VAE's mean times this.
    """

    family: str
    one_of: tuple[str, ...]
    all_of: tuple[str, ...] = ()
    in_channels: int = 4
    prediction_type: str = "epsilon"
    native_size_px: int = 512
    scale_factor: float = 0.18215


_CLIP_L = tuple(prefix + _TOKENS for prefix in CLIP_PREFIXES)
_OPEN_CLIP = ("cond_stage_model.model.token_embedding.weight",)
_SDXL_G = ("conditioner.embedders.1.model.token_embedding.weight",)
_REFINER_G = ("conditioner.embedders.0.model.token_embedding.weight",)
_XL: Mapping[str, Any] = {"native_size_px": 1024, "scale_factor": 0.13025}

FAMILIES: tuple[FamilyRow, ...] = (
    FamilyRow(family="sd1", one_of=_CLIP_L),
    FamilyRow(family="sd1-inpaint", one_of=_CLIP_L, in_channels=9),
    # Nothing in an SD2 file tells v from epsilon: 2.0 and 2.1 at 768 px are v, the 512 px ones come with a yaml.
    FamilyRow(family="sd2", one_of=_OPEN_CLIP, prediction_type="v", native_size_px=768),
    FamilyRow(family="sd2-inpaint", one_of=_OPEN_CLIP, in_channels=9),
    FamilyRow(family="sdxl", one_of=_SDXL_G, all_of=(_SDXL_CLIP,), **_XL),
    FamilyRow(family="sdxl-inpaint", one_of=_SDXL_G, all_of=(_SDXL_CLIP,), in_channels=9, **_XL),
    FamilyRow(family="sdxl-refiner", one_of=_REFINER_G, **_XL),
)


@dataclass(frozen=True, kw_only=True)
class CheckpointFacts:
    """Everything that building the pipeline needs to know of a checkpoint before its weights are read.

    Attributes:
        family: a name of `FAMILIES`.
        prediction_type: "epsilon" or "v": what the UNet's output means.
        native_size_px: side of the pictures it was trained on.
        scale_factor: latents are the VAE's mean times this.
        beta_start: first β of the noise schedule, linear in √β (LDM `linear_start`).
        beta_end: last β (LDM `linear_end`).
        train_timesteps: number of training timesteps.
        unet: shape of the UNet.
        vae: shape of the autoencoder.
        text: shape of the CLIP text encoder; None for families whose encoder has another layout.
    """

    family: str
    prediction_type: str
    native_size_px: int
    scale_factor: float
    beta_start: float
    beta_end: float
    train_timesteps: int
    unet: UNetShape
    vae: VaeShape
    text: ClipShape | None


def read_facts(path: Path) -> CheckpointFacts:
    """Say what a checkpoint file is. Reads the header, and `<name>.yaml` or the `sdwebui.config` metadata.

    Precedence: `<name>.yaml` beside the file, then `sdwebui.config` (the same structure as JSON or yaml text), then
    `modelspec.*` metadata, then the family's row.

    Raises:
        ModelUnusable: the file is damaged, in disguise, of no known family, or its configuration does not fit it.
    """
    header = read_header(path)
    config = _read_config(path, header)
    try:
        return facts_from_header(header, config)
    except ModelUnusable as error:
        raise ModelUnusable(f"{path.name}: {error.detail}") from error


def facts_from_header(header: SafetensorsHeader, config: Config) -> CheckpointFacts:
    """The facts of a checkpoint whose header and configuration are already read. Raises `ModelUnusable`."""
    row = detect_family(header)
    return CheckpointFacts(
        family=row.family,
        prediction_type=_prediction_type(header, config, row),
        native_size_px=config.integer("model.params.native_size", _modelspec_size(header) or row.native_size_px),
        scale_factor=config.number("model.params.scale_factor", row.scale_factor),
        beta_start=config.number("model.params.linear_start", 0.00085),
        beta_end=config.number("model.params.linear_end", 0.012),
        train_timesteps=config.integer("model.params.timesteps", 1000),
        unet=read_unet(header, config),
        vae=read_vae(header, config),
        text=read_clip(header, config) if row.one_of is _CLIP_L else None,
    )


def detect_family(header: SafetensorsHeader) -> FamilyRow:
    """The row of `FAMILIES` that a file's tensor names and shapes fit.

    Raises:
        ModelUnusable: it fits none; the sentence says what the file looks like instead.
    """
    conv_in = header.shape(UNET_PREFIX + "input_blocks.0.0.weight")
    for row in FAMILIES:
        has_encoder = any(name in header.tensors for name in row.one_of)
        if (
            has_encoder
            and all(name in header.tensors for name in row.all_of)
            and conv_in
            and conv_in[1] == row.in_channels
        ):
            return row
    raise ModelUnusable(f"This is no checkpoint of a known family: {_likeness(header)}.")


# What a file that is no checkpoint looks like, by a part of its tensor names.
_LIKENESSES: tuple[tuple[str, str], ...] = (
    ("lora_unet_", "it looks like a LoRA; put it into models/Lora"),
    ("lora_te_", "it looks like a LoRA; put it into models/Lora"),
    (".lora_A.", "it looks like a LoRA; put it into models/Lora"),
    ("control_model.", "it looks like a ControlNet; put it into models/ControlNet"),
    ("zero_convs.", "it looks like a ControlNet; put it into models/ControlNet"),
    ("controlnet_cond_embedding.", "it looks like a ControlNet; put it into models/ControlNet"),
    ("emb_params", "it looks like an embedding; put it into models/embeddings"),
    ("double_blocks.", "it looks like Flux, which is not supported"),
    ("joint_blocks.", "it looks like Stable Diffusion 3, which is not supported"),
    (UNET_PREFIX, "it has a UNet, but no text encoder that belongs to it, or a UNet of another kind"),
    ("down_blocks.", "it looks like a part in the diffusers layout; use the single-file version"),
    ("decoder.", "it looks like a VAE; put it into models/VAE"),
)


def _likeness(header: SafetensorsHeader) -> str:
    for part, sentence in _LIKENESSES:
        if any(part in name for name in header.tensors):
            return sentence
    return f"its first tensor is {next(iter(header.tensors))[:60]!r}"


def _prediction_type(header: SafetensorsHeader, config: Config, row: FamilyRow) -> str:
    marked = "v" if "v_pred" in header.tensors else row.prediction_type
    said = header.metadata.get("modelspec.prediction_type", "").lower() or marked
    said = config.text("model.params.parameterization", said)
    known = {"eps": "epsilon", "epsilon": "epsilon", "v": "v", "v_prediction": "v", "v-prediction": "v"}
    if said not in known:
        raise ModelUnusable(f"parameterization is {said[:40]!r}, but it must be 'eps' or 'v'.")
    return known[said]


def _modelspec_size(header: SafetensorsHeader) -> int:
    sides = header.metadata.get("modelspec.resolution", "").lower().split("x")
    return int(sides[0]) if sides[0].isascii() and sides[0].isdigit() and 64 <= int(sides[0][:6]) <= 8192 else 0


def _read_config(path: Path, header: SafetensorsHeader) -> Config:
    beside = path.with_suffix(".yaml")
    text, origin = header.metadata.get("sdwebui.config", ""), f"{path.name} (sdwebui.config)"
    try:
        if beside.is_file():
            origin = beside.name
            with beside.open("rb") as file:
                text = file.read(MAX_CONFIG_BYTES + 1).decode("utf-8")
        # Listing files must stay quick whatever lies in the folder: the yaml reader is slow and recursive.
        if len(text) > MAX_CONFIG_BYTES or text.count("[") + text.count("{") > _MAX_BRACKETS:
            raise ModelUnusable(f"{origin} is too long or too deep to be a model configuration. Correct or remove it.")
        values = yaml.safe_load(text) or {}
    except (yaml.YAMLError, UnicodeDecodeError, RecursionError, ValueError) as error:
        raise ModelUnusable(f"{origin} is not a readable yaml file. Correct or remove it.") from error
    except OSError as error:
        raise ModelUnusable(f"{origin} cannot be read: {error.strerror or error}.") from error
    if not isinstance(values, dict):
        raise ModelUnusable(f"{origin} must hold a table that begins with 'model:'. Correct or remove it.")
    return Config(values, origin)
