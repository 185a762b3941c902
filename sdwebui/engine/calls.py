"""What a story can ask of the device. To add a kind of work: a frozen dataclass here and a row in `executor.Executor`.

A story (see `generate.py`) yields these one at a time and is sent the result; `loop.py` decides when each one runs and
with which others.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

from sdwebui.domain.requests import CheckpointRef, ResolvedRequest

if TYPE_CHECKING:
    from torch import Tensor

    from sdwebui.engine.conditioning import Conditioning


@dataclass(frozen=True, kw_only=True)
class ModelState:
    """What must be on the device before a call can run. Equal states share weights and UNet batches.

    Attributes:
        checkpoint: the file that everything comes from.
        accelerator: the backend that runs UNet and decoder. States that differ in it alone share their weights.
        precision: step of the device's precision ladder: 0 is the fast format, the last one float32.
    """

    checkpoint: CheckpointRef
    accelerator: str = "eager"
    precision: int = 0


@dataclass(frozen=True, kw_only=True)
class Prepare:
    """Bring the device to a state. The answer is its `weights.LoadedModel`."""

    state: ModelState


@dataclass(frozen=True, kw_only=True)
class EncodeText:
    """Turn the prompts of a request into text states. The answer is a `conditioning.Conditioning`.

    Attributes:
        state: the model to encode with.
        request: whose prompt, negative prompt, clip skip, emphasis and comma rule apply.
        calls: UNet calls of one picture, which prompt schedules are counted in.
    """

    state: ModelState
    request: ResolvedRequest
    calls: int


@dataclass(frozen=True, kw_only=True, eq=False)
class Denoise:
    """Predict the clean latents behind noisy ones, with guidance.

    The answer has the shape of `x`, float32; for `needs_unconditional` it is a pair: with guidance, and from the
    negative prompt alone.

    Attributes:
        state: the model to use.
        x: noisy latents [1, C, height/8, width/8], float32 on the CPU or the device, variance-exploding scaling.
        sigma: noise level of `x`.
        timestep: time to tell the UNet; None for the one that belongs to `sigma`.
        conditioning: text states of prompt and negative prompt.
        cfg_scale: classifier-free guidance scale, equation 6 of Ho & Salimans (2022), arXiv:2207.12598.
        call: 0-based number of this call within its picture: prompt schedules look at it.
        step: sampling steps done when this call is answered, 1 … steps; for progress only.
        steps: sampling steps in all; for progress only.
        needs_unconditional: see above.
    """

    state: ModelState
    x: Tensor
    sigma: float
    timestep: float | None
    conditioning: Conditioning
    cfg_scale: float
    call: int
    step: int
    steps: int
    needs_unconditional: bool = False


@dataclass(frozen=True, kw_only=True, eq=False)
class Decode:
    """Turn latents into a picture.

    The answer is a uint8 tensor [height, width, 3] on the CPU, or None when the decoder produced NaN or infinity in
    this precision.

    Attributes:
        state: the model to use.
        latents: clean latents [1, C, height/8, width/8], float32, unit variance.
        precision: number format of the decoder, a step of the device's ladder.
    """

    state: ModelState
    latents: Tensor
    precision: int


Call = Prepare | EncodeText | Denoise | Decode
