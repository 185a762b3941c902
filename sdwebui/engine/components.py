"""The one typed seam to diffusers and transformers: a checkpoint file becomes three modules on a device.

Nothing is fetched: the modules are built from `CheckpointFacts`, empty, and the file's tensors are put in one by one.
To add a family: a row in `_BUILDERS`.
"""

from __future__ import annotations

import logging
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
from diffusers import AutoencoderKL, UNet2DConditionModel
from safetensors import safe_open
from transformers import CLIPTextConfig, CLIPTextModel

from sdwebui.domain.errors import ModelUnusable
from sdwebui.engine.checkpoints import CheckpointFacts, read_facts
from sdwebui.engine.ldm_keys import is_training_leftover, part_key

logger = logging.getLogger(__name__)

_NAMES_IN_A_WARNING = 5


@dataclass(frozen=True, kw_only=True)
class Pipeline:
    """The loaded parts of one checkpoint.

    Attributes:
        facts: what the file is.
        unet: noise predictor, channels-last: (x [B, 4, h, w], timestep [B], text states [B, 77·k, C]) → [B, 4, h, w].
        vae: KL autoencoder, channels-last.
        text_encoder: CLIP text model in float32.
        warnings: sentences for people, such as tensors of the file that nothing uses.
    """

    facts: CheckpointFacts
    unet: Any
    vae: Any
    text_encoder: Any
    warnings: tuple[str, ...] = ()

    @property
    def size_bytes(self) -> int:
        """Memory of all parameters."""
        parameters = (one for part in (self.unet, self.vae, self.text_encoder) for one in part.parameters())
        return sum(one.numel() * one.element_size() for one in parameters)


def load_pipeline(path: Path, device: torch.device, precision: torch.dtype) -> Pipeline:
    """Load a single-file checkpoint: UNet and VAE in `precision`, the small text encoder in float32.

    Raises:
        ModelUnusable: the file is damaged, of a family that cannot be run, or lacks tensors.
    """
    facts = read_facts(path)
    modules = empty_modules(facts)
    dtypes = {"unet": precision, "vae": precision, "text": torch.float32}
    unused = _fill(modules, path, facts, device, dtypes)
    for part, module in modules.items():
        _check_complete(path.name, part, module)
        module.eval().requires_grad_(False)
    return Pipeline(
        facts=facts,
        unet=modules["unet"],
        vae=modules["vae"],
        text_encoder=modules["text"],
        warnings=_warnings(path.name, unused),
    )


def empty_modules(facts: CheckpointFacts) -> dict[str, Any]:
    """The modules of a checkpoint without weights (on torch's meta device), by part: "unet", "vae", "text".

    Raises:
        ModelUnusable: the family cannot be run by this version.
    """
    if facts.family not in _BUILDERS:
        known = ", ".join(sorted(_BUILDERS))
        raise ModelUnusable(
            f"The checkpoint is of the family {facts.family}, which cannot be run yet. Can be run: {known}."
        )
    with torch.device("meta"):
        modules = _BUILDERS[facts.family](facts)
    embeddings = modules["text"].embeddings
    embeddings.position_ids = torch.arange(embeddings.position_embedding.num_embeddings).expand(1, -1)
    return modules


def _sd1_modules(facts: CheckpointFacts) -> dict[str, Any]:
    return {"unet": _build_unet(facts), "vae": _build_vae(facts), "text": _build_clip(facts)}


_BUILDERS: Mapping[str, Callable[[CheckpointFacts], dict[str, Any]]] = {"sd1": _sd1_modules}


def _build_unet(facts: CheckpointFacts) -> Any:
    shape = facts.unet
    down = tuple("CrossAttnDownBlock2D" if depth else "DownBlock2D" for depth in shape.depths)
    up = tuple("CrossAttnUpBlock2D" if depth else "UpBlock2D" for depth in reversed(shape.depths))
    return UNet2DConditionModel(
        sample_size=facts.native_size_px // facts.vae.downscale,
        in_channels=shape.in_channels,
        out_channels=shape.out_channels,
        block_out_channels=shape.channels,
        layers_per_block=shape.layers_per_block,
        down_block_types=down,
        up_block_types=up,
        transformer_layers_per_block=tuple(max(1, depth) for depth in shape.depths),
        # The name is diffusers' old mistake: it is the number of heads of each level.
        attention_head_dim=shape.heads,
        cross_attention_dim=shape.context_dim,
        use_linear_projection=shape.has_linear_projection,
        norm_num_groups=shape.norm_groups,
    )


def _build_vae(facts: CheckpointFacts) -> Any:
    shape = facts.vae
    levels = len(shape.channels)
    return AutoencoderKL(
        in_channels=3,
        out_channels=3,
        latent_channels=shape.latent_channels,
        block_out_channels=shape.channels,
        layers_per_block=shape.layers_per_block,
        down_block_types=("DownEncoderBlock2D",) * levels,
        up_block_types=("UpDecoderBlock2D",) * levels,
        norm_num_groups=shape.norm_groups,
        sample_size=facts.native_size_px,
        scaling_factor=facts.scale_factor,
    )


def _build_clip(facts: CheckpointFacts) -> Any:
    shape = facts.text
    if shape is None:
        raise ModelUnusable(f"The {facts.family} checkpoint has no CLIP text encoder in the transformers layout.")
    return CLIPTextModel(
        CLIPTextConfig(
            vocab_size=shape.vocabulary,
            hidden_size=shape.hidden,
            intermediate_size=shape.intermediate,
            num_hidden_layers=shape.layers,
            num_attention_heads=shape.heads,
            max_position_embeddings=shape.positions,
            hidden_act=shape.activation,
        )
    )


def _fill(
    modules: Mapping[str, Any],
    path: Path,
    facts: CheckpointFacts,
    device: torch.device,
    dtypes: Mapping[str, torch.dtype],
) -> list[str]:
    """Put the file's tensors into the modules, one at a time. Returns the names that found no place."""
    unused = []
    for name, tensor in _tensors(path):
        key = part_key(name, facts)
        owner = _owner(modules[key.part], key.name) if key else None
        if key is None or owner is None:
            unused.append(name)
            continue
        _put(owner, key.name.rpartition(".")[2], tensor.to(device, dtypes[key.part]), f"{path.name}: {name}")
    return [name for name in unused if not is_training_leftover(name)]


def _tensors(path: Path) -> Iterator[tuple[str, torch.Tensor]]:
    try:
        with safe_open(path, framework="pt", device="cpu") as file:
            for name in file.keys():  # noqa: SIM118 - a file handle, not a mapping
                # A copy: nothing may refer to the mapped file once it is loaded, it may be replaced or cut short.
                yield name, file.get_tensor(name).clone()
    except OSError as error:
        raise ModelUnusable(f"{path.name} cannot be read: {error.strerror or error}.") from error


def _owner(module: Any, name: str) -> Any | None:
    for step in name.split(".")[:-1]:
        module = getattr(module, step, None)
        if module is None:
            return None
    return module if name.rpartition(".")[2] in module._parameters else None


def _put(owner: Any, name: str, tensor: torch.Tensor, what: str) -> None:
    wanted = owner._parameters[name].shape
    if tensor.shape != wanted:
        # 1×1 convolutions and matrices stand for each other in different versions of the layout.
        if tensor.squeeze().shape != torch.Size(side for side in wanted if side != 1):
            raise ModelUnusable(f"{what} has the shape {tuple(tensor.shape)}, but the model needs {tuple(wanted)}.")
        tensor = tensor.reshape(wanted)
    if tensor.ndim == 4:
        tensor = tensor.contiguous(memory_format=torch.channels_last)
    owner._parameters[name] = torch.nn.Parameter(tensor, requires_grad=False)


def _check_complete(file_name: str, part: str, module: Any) -> None:
    missing = [name for name, parameter in module.named_parameters() if parameter.is_meta]
    if missing:
        some = ", ".join(missing[:_NAMES_IN_A_WARNING])
        raise ModelUnusable(f"{file_name} lacks {len(missing)} tensors of its {part} ({some} …): it is incomplete.")


def _warnings(file_name: str, unused: list[str]) -> tuple[str, ...]:
    if not unused:
        return ()
    some = ", ".join(sorted(unused)[:_NAMES_IN_A_WARNING])
    more = f" and {len(unused) - _NAMES_IN_A_WARNING} more" if len(unused) > _NAMES_IN_A_WARNING else ""
    sentence = f"{file_name} has tensors that nothing uses: {some}{more}."
    logger.warning("%s", sentence)
    return (sentence,)
