"""Samplers that A1111 runs on the model's own timesteps: DDIM, DDIM CFG++ and LCM (PLMS, UniPC: samplers_multistep).

To add one: a generator function here that cites its source, and a row in `samplers.SAMPLER_FUNCTIONS`.
"""

from __future__ import annotations

from collections.abc import Sequence
from itertools import pairwise
from math import sqrt

from torch import Tensor

from sdwebui.engine.sampler_calls import DenoiseAt, GuidedSamplerSteps, NoiseBetween, SamplerSteps, ancestral_split

CFGPP_GUIDANCE_FACTOR = 1 / 12.5
"""A1111 maps the CFG scales 0 … 12.5 of its slider to the 0 … 1 of CFG++."""

LCM_SIGMA_DATA = 0.5
LCM_TIMESTEP_SCALING = 10.0


def ddim(x: Tensor, sigmas: Tensor, noise: NoiseBetween, *, eta: float = 0.0) -> SamplerSteps:
    """DDIM: equations 12 and 16 of Song et al. (2020), arXiv:2010.02502.

    Divided by √ᾱ of the target, equation 12 is an ancestral Euler step in variance-exploding scaling, and equation 16
    is `ancestral_split` with the same eta.

    Args:
        x: start latents [1, C, h, w], noise included.
        sigmas: noise levels of the timesteps, falling; the last one is the model's at t = 1, not 0.
        noise: source of the fresh noise; asked at every step, also for eta 0, as A1111 does.
        eta: share of fresh noise, 0 is deterministic.

    Returns:
        Latents in unit-variance scaling, as A1111 hands them to the VAE: divided by √(1 + σ²) of the last level.
    """
    levels = sigmas.tolist()
    for step, (sigma, sigma_next) in enumerate(pairwise(levels)):
        denoised = yield DenoiseAt(x=x, sigma=sigma, step=step, progress=step / (len(levels) - 1))
        sigma_down, sigma_up = ancestral_split(sigma, sigma_next, eta)
        fresh = noise(sigma, sigma_next)
        x = denoised + (x - denoised) * (sigma_down / sigma) + fresh * sigma_up
    return x / sqrt(1 + levels[-1] ** 2)


def ddim_cfgpp(x: Tensor, sigmas: Tensor, noise: NoiseBetween, *, eta: float = 0.0) -> GuidedSamplerSteps:
    """DDIM CFG++: Algorithm 2 of Chung et al. (2024), arXiv:2406.08070: guided prediction, unguided way back.

    The clean latents come from guidance, the noise that is put back from the unconditional prediction.

    Args: as `ddim`.

    Returns: as `ddim`.
    """
    levels = sigmas.tolist()
    for step, (sigma, sigma_next) in enumerate(pairwise(levels)):
        denoised, unconditional = yield DenoiseAt(
            x=x,
            sigma=sigma,
            step=step,
            progress=step / (len(levels) - 1),
            guidance_factor=CFGPP_GUIDANCE_FACTOR,
            needs_unconditional=True,
        )
        sigma_down, sigma_up = ancestral_split(sigma, sigma_next, eta)
        fresh = noise(sigma, sigma_next)
        x = denoised + (x - unconditional) * (sigma_down / sigma) + fresh * sigma_up
    return x / sqrt(1 + levels[-1] ** 2)


def lcm(x: Tensor, sigmas: Tensor, noise: NoiseBetween, *, timesteps: Sequence[float]) -> SamplerSteps:
    """Latent consistency: Algorithm 3 of Luo et al. (2023), arXiv:2310.04378: jump to the end, add noise, repeat.

    The boundary scaling c_skip, c_out is the reference's, with sigma_data 0.5 and timesteps times 10; as in A1111 it
    acts on the latents in variance-exploding scaling.

    Args:
        x: start latents [1, C, h, w], noise included.
        sigmas: noise levels, falling to 0.
        noise: source of the fresh noise; not asked when the step ends at 0.
        timesteps: the nearest time on the 50-step grid that the model was distilled on, for each level
            (`model_sigmas.ConsistencyGrid`); the last one, for sigma 0, is not used.
    """
    steps = len(sigmas) - 1
    for step, (sigma, sigma_next) in enumerate(pairwise(sigmas.tolist())):
        time = timesteps[step]
        denoised = yield DenoiseAt(x=x, sigma=sigma, step=step, progress=step / steps, timestep=time)
        scaled = time * LCM_TIMESTEP_SCALING
        c_skip = LCM_SIGMA_DATA**2 / (scaled**2 + LCM_SIGMA_DATA**2)
        c_out = scaled / sqrt(scaled**2 + LCM_SIGMA_DATA**2)
        x = denoised * c_out + x * c_skip
        if sigma_next > 0:
            x = x + noise(sigma, sigma_next) * sigma_next
    return x
