"""What a sampler asks for and gets back. Every sampler is a generator of `DenoiseAt`; see `samplers.py` for the table.

A sampler works in k-diffusion's variance-exploding scaling, x = x0 + sigma · noise, on one picture. It never calls a
model: it yields "denoise x at sigma" and is sent the denoised latents, so that the engine's loop can put the calls of
many pictures into one batch.
"""

from __future__ import annotations

from collections.abc import Callable, Generator
from dataclasses import dataclass

from torch import Tensor


@dataclass(frozen=True, kw_only=True, eq=False)
class DenoiseAt:
    """A request of a sampler: the model's prediction of the clean latents behind `x`.

    Attributes:
        x: noisy latents [1, C, height/8, width/8], float32 (float64 in tests), variance-exploding scaling.
        sigma: noise level of `x`, ≥ 0.
        step: index of the sampler's step, 0 …; the second call of a second-order step carries the same index. DPM fast
            counts calls instead.
        progress: part of the way that lies behind, 0 … 1; exact for samplers that choose their own steps, too.
        timestep: the time to tell the model; None: `ModelSigmas.timestep_at(sigma)`, a float between training steps.
        guidance_factor: multiplies the CFG scale for this call (1/12.5 in CFG++).
        needs_unconditional: True: send the pair (denoised, denoised without guidance by the prompt), not one tensor.
    """

    x: Tensor
    sigma: float
    step: int
    progress: float
    timestep: float | None = None
    guidance_factor: float = 1.0
    needs_unconditional: bool = False


NoiseBetween = Callable[[float, float], Tensor]
"""Unit-variance noise [1, C, height/8, width/8] for the way from one sigma to another; see `noise.ImageNoise`."""

SamplerSteps = Generator[DenoiseAt, Tensor, Tensor]
"""Yields requests, is sent `denoised` for each, and returns the final latents."""

GuidedSamplerSteps = Generator[DenoiseAt, tuple[Tensor, Tensor], Tensor]
"""The same for requests with `needs_unconditional`: it is sent pairs."""


def ancestral_split(sigma: float, sigma_next: float, eta: float) -> tuple[float, float]:
    """Split a step into a deterministic one down to `sigma_down` and fresh noise `sigma_up` on top.

    sigma_down² + sigma_up² = sigma_next². With eta 1 the added noise has the variance of DDPM's posterior: equation 16
    of Song et al. (2020), arXiv:2010.02502, written for variance-exploding noise.

    Returns:
        sigma_down, sigma_up. With eta 0: (sigma_next, 0).
    """
    if eta == 0.0:
        return sigma_next, 0.0
    variance = sigma_next**2 * (sigma**2 - sigma_next**2) / sigma**2
    sigma_up = min(sigma_next, eta * variance**0.5)
    return (sigma_next**2 - sigma_up**2) ** 0.5, sigma_up
