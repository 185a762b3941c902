"""Samplers that look at one step at a time: Euler, Heun, DPM2, their ancestral forms, DPM++ 2S a and Restart.

To add one: a generator function here that cites its source, and a row in `samplers.SAMPLER_FUNCTIONS`.
"""

from __future__ import annotations

from itertools import pairwise
from math import inf, sqrt

from torch import Tensor

from sdwebui.engine.sampler_calls import DenoiseAt, NoiseBetween, SamplerSteps, ancestral_split


def euler(
    x: Tensor,
    sigmas: Tensor,
    noise: NoiseBetween,
    *,
    s_churn: float = 0.0,
    s_tmin: float = 0.0,
    s_tmax: float = inf,
    s_noise: float = 1.0,
) -> SamplerSteps:
    """Euler steps with optional churn: Algorithm 2 of Karras et al. (2022), arXiv:2206.00364, without its correction.

    Args:
        x: start latents [1, C, h, w], noise included.
        sigmas: noise levels, 1-D, falling; one step between each two.
        noise: source of the churn's noise; asked at every step when `s_churn` is set, as k-diffusion does.
        s_churn: noise added back over the whole run (S_churn of the paper).
        s_tmin: lowest noise level that is churned.
        s_tmax: highest noise level that is churned.
        s_noise: factor on the churn's noise.
    """
    churn = _Churn(s_churn, s_tmin, s_tmax, s_noise, len(sigmas) - 1)
    for step, (sigma, sigma_next) in enumerate(pairwise(sigmas.tolist())):
        x, sigma_hat = churn.apply(x, sigma, sigma_next, noise)
        denoised = yield DenoiseAt(x=x, sigma=sigma_hat, step=step, progress=step / churn.steps)
        x = x + _slope(x, sigma_hat, denoised) * (sigma_next - sigma_hat)
    return x


def euler_ancestral(
    x: Tensor, sigmas: Tensor, noise: NoiseBetween, *, eta: float = 1.0, s_noise: float = 1.0
) -> SamplerSteps:
    """Euler steps to a lower noise level than asked, then fresh noise up to it: `ancestral_split`; k-diffusion's rule.

    Args:
        x: start latents [1, C, h, w], noise included.
        sigmas: noise levels, 1-D, falling.
        noise: source of the fresh noise; not asked when the step ends at 0.
        eta: share of fresh noise, 0 is Euler.
        s_noise: factor on the fresh noise.
    """
    steps = len(sigmas) - 1
    for step, (sigma, sigma_next) in enumerate(pairwise(sigmas.tolist())):
        denoised = yield DenoiseAt(x=x, sigma=sigma, step=step, progress=step / steps)
        sigma_down, sigma_up = ancestral_split(sigma, sigma_next, eta)
        x = x + _slope(x, sigma, denoised) * (sigma_down - sigma)
        if sigma_next > 0:
            x = x + noise(sigma, sigma_next) * (s_noise * sigma_up)
    return x


def heun(
    x: Tensor,
    sigmas: Tensor,
    noise: NoiseBetween,
    *,
    s_churn: float = 0.0,
    s_tmin: float = 0.0,
    s_tmax: float = inf,
    s_noise: float = 1.0,
) -> SamplerSteps:
    """Heun's method: Algorithm 2 of Karras et al. (2022), arXiv:2206.00364; two calls a step, one in the last.

    Args: as `euler`.
    """
    churn = _Churn(s_churn, s_tmin, s_tmax, s_noise, len(sigmas) - 1)
    for step, (sigma, sigma_next) in enumerate(pairwise(sigmas.tolist())):
        x, sigma_hat = churn.apply(x, sigma, sigma_next, noise)
        x = yield from _heun_step(x, sigma_hat, sigma_next, step, churn.steps)
    return x


def dpm2(
    x: Tensor,
    sigmas: Tensor,
    noise: NoiseBetween,
    *,
    s_churn: float = 0.0,
    s_tmin: float = 0.0,
    s_tmax: float = inf,
    s_noise: float = 1.0,
) -> SamplerSteps:
    """Midpoint steps in log sigma: DPM-Solver-2 of Lu et al. (2022), arXiv:2206.00927, with the churn of `euler`.

    The slope at the geometric mean of both noise levels carries the whole step (the first-order form of Algorithm 1
    with r1 = 1/2 in k-diffusion's variance-exploding scaling).

    Args: as `euler`.
    """
    churn = _Churn(s_churn, s_tmin, s_tmax, s_noise, len(sigmas) - 1)
    for step, (sigma, sigma_next) in enumerate(pairwise(sigmas.tolist())):
        x, sigma_hat = churn.apply(x, sigma, sigma_next, noise)
        x = yield from _midpoint_step(x, sigma_hat, sigma_next, step, churn.steps)
    return x


def dpm2_ancestral(
    x: Tensor, sigmas: Tensor, noise: NoiseBetween, *, eta: float = 1.0, s_noise: float = 1.0
) -> SamplerSteps:
    """`dpm2` steps down to `sigma_down` and fresh noise on top; k-diffusion's ancestral form of DPM-Solver-2.

    Args: as `euler_ancestral`.
    """
    steps = len(sigmas) - 1
    for step, (sigma, sigma_next) in enumerate(pairwise(sigmas.tolist())):
        sigma_down, sigma_up = ancestral_split(sigma, sigma_next, eta)
        x = yield from _midpoint_step(x, sigma, sigma_down, step, steps)
        if sigma_down > 0:
            x = x + noise(sigma, sigma_next) * (s_noise * sigma_up)
    return x


def dpmpp_2s_ancestral(
    x: Tensor, sigmas: Tensor, noise: NoiseBetween, *, eta: float = 1.0, s_noise: float = 1.0
) -> SamplerSteps:
    """DPM-Solver++(2S), Algorithm 1 of Lu et al. (2022), arXiv:2211.01095, with r = 1/2, and fresh noise on top.

    In variance-exploding scaling exp(−λ) is sigma, so the exponential integrator keeps sigma_to / sigma of x and takes
    the rest from the prediction at the geometric mean of both noise levels.

    Args: as `euler_ancestral`.
    """
    steps = len(sigmas) - 1
    for step, (sigma, sigma_next) in enumerate(pairwise(sigmas.tolist())):
        sigma_down, sigma_up = ancestral_split(sigma, sigma_next, eta)
        denoised = yield DenoiseAt(x=x, sigma=sigma, step=step, progress=step / steps)
        if sigma_down > 0:
            sigma_mid = sqrt(sigma * sigma_down)
            x_mid = denoised + (x - denoised) * (sigma_mid / sigma)
            denoised = yield DenoiseAt(x=x_mid, sigma=sigma_mid, step=step, progress=(step + 0.5) / steps)
        x = denoised + (x - denoised) * (sigma_down / sigma)
        if sigma_next > 0:
            x = x + noise(sigma, sigma_next) * (s_noise * sigma_up)
    return x


def restart(x: Tensor, sigmas: Tensor, noise: NoiseBetween, *, s_noise: float = 1.0) -> SamplerSteps:
    """Restart sampling of Xu et al. (2023), arXiv:2306.14878, section 3.1, with Heun steps.

    Args:
        x: start latents [1, C, h, w], noise included.
        sigmas: noise levels, 1-D, falling; `restart_steps` spends their number.
        noise: source of the noise that lifts the picture back to the restart interval's upper end.
        s_noise: factor on that noise.
    """
    plan = restart_steps(sigmas.tolist())
    sigma_before = plan[0][0]
    for step, (sigma, sigma_next) in enumerate(plan):
        if sigma > sigma_before * (1 + 1e-6):  # not for the rounding between two equal levels
            x = x + noise(sigma_before, sigma) * (s_noise * sqrt(sigma**2 - sigma_before**2))
        x = yield from _heun_step(x, sigma, sigma_next, step, len(plan))
        sigma_before = sigma_next
    return x


def restart_steps(sigmas: list[float]) -> list[tuple[float, float]]:
    """How "Restart" spends n steps in A1111 1.10.1: the pairs (from, to) in order; a lift stands between two of them.

    Below 20 steps there is no restart. From 20 steps on 9 steps, from 36 on twice a quarter of all, go into repeating
    the interval from sigma 2 down to sigma 0.1 (the nearest levels); the others are spread anew by Karras with ρ 7.
    """
    steps = len(sigmas) - 1
    if steps < 20:
        return list(pairwise(sigmas))
    length, times = (steps // 4, 2) if steps >= 36 else (9, 1)
    main = _karras(steps - length * times, sigmas[-2], sigmas[0])
    low, high = _nearest(main, 0.1), _nearest(main, 2.0)
    once = list(pairwise(_karras(length + 1, main[low], main[high])[:-1])) if high < low else []
    pairs = list(pairwise(main))
    return pairs[:low] + once * times + pairs[low:]


class _Churn:
    """The noise that Algorithm 2 of Karras et al. (2022) adds back before a step (lines 4 to 6)."""

    def __init__(self, s_churn: float, s_tmin: float, s_tmax: float, s_noise: float, steps: int) -> None:
        self.steps = steps
        self._gamma = min(s_churn / steps, sqrt(2) - 1) if steps else 0.0
        self._range = (s_tmin, s_tmax)
        self._s_noise = s_noise

    def apply(self, x: Tensor, sigma: float, sigma_next: float, noise: NoiseBetween) -> tuple[Tensor, float]:
        """Latents and noise level after churning; unchanged outside [s_tmin, s_tmax] or without churn."""
        if self._gamma <= 0:
            return x, sigma
        fresh = noise(sigma, sigma_next)
        if not self._range[0] <= sigma <= self._range[1]:
            return x, sigma
        sigma_hat = sigma * (1 + self._gamma)
        return x + fresh * (self._s_noise * sqrt(sigma_hat**2 - sigma**2)), sigma_hat


def _slope(x: Tensor, sigma: float, denoised: Tensor) -> Tensor:
    """dx/dσ of the probability flow: equations 1 and 3 of Karras et al. (2022) with σ(t) = t."""
    return (x - denoised) / sigma


def _heun_step(x: Tensor, sigma: float, sigma_next: float, step: int, steps: int) -> SamplerSteps:
    denoised = yield DenoiseAt(x=x, sigma=sigma, step=step, progress=step / steps)
    slope = _slope(x, sigma, denoised)
    x_next = x + slope * (sigma_next - sigma)
    if sigma_next == 0:
        return x_next
    denoised_next = yield DenoiseAt(x=x_next, sigma=sigma_next, step=step, progress=(step + 0.5) / steps)
    slope_next = _slope(x_next, sigma_next, denoised_next)
    return x + (slope + slope_next) * (0.5 * (sigma_next - sigma))


def _midpoint_step(x: Tensor, sigma: float, sigma_next: float, step: int, steps: int) -> SamplerSteps:
    denoised = yield DenoiseAt(x=x, sigma=sigma, step=step, progress=step / steps)
    slope = _slope(x, sigma, denoised)
    if sigma_next == 0:
        return x + slope * (sigma_next - sigma)
    sigma_mid = sqrt(sigma * sigma_next)
    x_mid = x + slope * (sigma_mid - sigma)
    denoised_mid = yield DenoiseAt(x=x_mid, sigma=sigma_mid, step=step, progress=(step + 0.5) / steps)
    return x + _slope(x_mid, sigma_mid, denoised_mid) * (sigma_next - sigma)


def _karras(count: int, sigma_min: float, sigma_max: float) -> list[float]:
    """Equation 5 of Karras et al. (2022) with ρ = 7, and 0 at the end."""
    high, low = sigma_max ** (1 / 7), sigma_min ** (1 / 7)
    last = max(count - 1, 1)
    return [(high + index / last * (low - high)) ** 7 for index in range(count)] + [0.0]


def _nearest(sigmas: list[float], wanted: float) -> int:
    return min(range(len(sigmas)), key=lambda index: abs(sigmas[index] - wanted))
