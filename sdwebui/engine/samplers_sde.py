"""Samplers that solve the reverse diffusion SDE: DPM++ SDE, DPM++ 2M SDE, DPM++ 2M SDE Heun, DPM++ 3M SDE.

Their noise must be the increments of one Brownian motion (`noise.ImageNoise.brownian`), so that more steps refine the
same picture. To add one: a generator function here that cites its source, and a row in `samplers.SAMPLER_FUNCTIONS`.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from functools import partial
from itertools import pairwise
from math import exp, expm1, log, sqrt

from torch import Tensor

from sdwebui.engine.sampler_calls import DenoiseAt, NoiseBetween, SamplerSteps, ancestral_split

CORRECTION_WEIGHTS: Mapping[str, Callable[[float], float]] = {
    "midpoint": lambda h: -0.5 * expm1(-h),
    "heun": lambda h: expm1(-h) / h + 1,
}
"""Weight of the second-order term by solver type, for a step of length h = (1 + eta) Δλ."""


def dpmpp_sde(
    x: Tensor, sigmas: Tensor, noise: NoiseBetween, *, eta: float = 1.0, s_noise: float = 1.0, r: float = 0.5
) -> SamplerSteps:
    """DPM++ SDE: Algorithm 1 of Lu et al. (2022), arXiv:2211.01095, with ancestral noise in both half steps.

    k-diffusion's stochastic form: a step to the intermediate level (a share r of the way in λ = −log sigma), the
    model's answer there, then the whole step with both answers combined. Two calls a step, one in the last.

    Args:
        x: start latents [1, C, h, w], noise included.
        sigmas: noise levels, 1-D, falling.
        noise: Brownian noise, asked for (sigma, sigma_mid) and (sigma, sigma_next).
        eta: share of fresh noise, 0 is deterministic.
        s_noise: factor on the fresh noise.
        r: place of the intermediate level.
    """
    steps = len(sigmas) - 1
    for step, (sigma, sigma_next) in enumerate(pairwise(sigmas.tolist())):
        denoised = yield DenoiseAt(x=x, sigma=sigma, step=step, progress=step / steps)
        if sigma_next == 0:
            x = denoised
            continue
        sigma_mid = sigma ** (1 - r) * sigma_next**r
        down, up = ancestral_split(sigma, sigma_mid, eta)
        x_mid = denoised + (x - denoised) * (down / sigma) + noise(sigma, sigma_mid) * (s_noise * up)
        denoised_mid = yield DenoiseAt(x=x_mid, sigma=sigma_mid, step=step, progress=(step + 0.5) / steps)
        target = denoised + (denoised_mid - denoised) / (2 * r)
        down, up = ancestral_split(sigma, sigma_next, eta)
        x = target + (x - target) * (down / sigma) + noise(sigma, sigma_next) * (s_noise * up)
    return x


def dpmpp_2m_sde(
    x: Tensor,
    sigmas: Tensor,
    noise: NoiseBetween,
    *,
    eta: float = 1.0,
    s_noise: float = 1.0,
    solver_type: str = "midpoint",
) -> SamplerSteps:
    """SDE-DPM-Solver++(2M) of Lu et al. (2022), arXiv:2211.01095, with k-diffusion's eta.

    eta 1 is the paper's reverse SDE, eta 0 its probability flow, solved by DPM-Solver++(2M); between them lies the
    family of SDEs with equal marginals of Zhang and Chen (2022), arXiv:2204.13902.

    Args:
        x: start latents [1, C, h, w], noise included.
        sigmas: noise levels, 1-D, falling.
        noise: Brownian noise.
        eta: share of fresh noise.
        s_noise: factor on the fresh noise.
        solver_type: "midpoint" or "heun", how the second-order term is weighted.
    """
    weight = CORRECTION_WEIGHTS[solver_type]
    steps = len(sigmas) - 1
    before: Tensor | None = None
    h_before = 0.0
    for step, (sigma, sigma_next) in enumerate(pairwise(sigmas.tolist())):
        denoised = yield DenoiseAt(x=x, sigma=sigma, step=step, progress=step / steps)
        if sigma_next == 0:
            return denoised
        h = log(sigma / sigma_next)
        x = _decayed(x, denoised, h, eta)
        if before is not None:
            x = x + (denoised - before) * (weight(h * (1 + eta)) * h / h_before)
        x = _with_fresh_noise(x, sigma, sigma_next, noise, (eta, s_noise))
        before, h_before = denoised, h
    return x


dpmpp_2m_sde_heun = partial(dpmpp_2m_sde, solver_type="heun")
"""`dpmpp_2m_sde` with the second-order term weighted as Heun's method does."""


def dpmpp_3m_sde(
    x: Tensor, sigmas: Tensor, noise: NoiseBetween, *, eta: float = 1.0, s_noise: float = 1.0
) -> SamplerSteps:
    """DPM++ 3M SDE: the third-order multistep form of SDE-DPM-Solver++ (arXiv:2211.01095).

    Newton's divided differences of the last three predictions in λ give the first and second derivative, weighted by
    φ2 and φ3 of the step (1 + eta) Δλ; k-diffusion's rule.

    Args: as `dpmpp_2m_sde`.
    """
    steps = len(sigmas) - 1
    past: list[tuple[Tensor, float]] = []
    for step, (sigma, sigma_next) in enumerate(pairwise(sigmas.tolist())):
        denoised = yield DenoiseAt(x=x, sigma=sigma, step=step, progress=step / steps)
        if sigma_next == 0:
            return denoised
        h = log(sigma / sigma_next)
        x = _decayed(x, denoised, h, eta) + _higher_orders(denoised, past, h, h * (1 + eta))
        x = _with_fresh_noise(x, sigma, sigma_next, noise, (eta, s_noise))
        past = [(denoised, h), *past[:1]]
    return x


def _decayed(x: Tensor, denoised: Tensor, h: float, eta: float) -> Tensor:
    """First-order part of a step: what is left of x after the decay exp(−(1 + eta) h), the rest from `denoised`."""
    return denoised + (x - denoised) * exp(-h * (1 + eta))


def _with_fresh_noise(
    x: Tensor, sigma: float, sigma_next: float, noise: NoiseBetween, eta_and_s_noise: tuple[float, float]
) -> Tensor:
    """Add the noise of the SDE's step: variance sigma_next² (1 − exp(−2 eta h))."""
    eta, s_noise = eta_and_s_noise
    if eta == 0:
        return x
    spread = sqrt(-expm1(-2 * eta * log(sigma / sigma_next)))
    return x + noise(sigma, sigma_next) * (sigma_next * spread * s_noise)


def _higher_orders(denoised: Tensor, past: list[tuple[Tensor, float]], h: float, h_eta: float) -> Tensor | float:
    """φ2 · first derivative − φ3 · second derivative (in units of h), as far as the past reaches."""
    if not past:
        return 0.0
    phi_2 = expm1(-h_eta) / h_eta + 1
    before, r0 = past[0][0], past[0][1] / h
    slope = (denoised - before) / r0
    if len(past) == 1:
        return slope * phi_2
    r1 = past[1][1] / h
    bend = (slope - (before - past[1][0]) / r1) / (r0 + r1)
    return (slope + bend * r0) * phi_2 - bend * (phi_2 / h_eta - 0.5)
