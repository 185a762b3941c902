"""DPM-Solver on noise predictions with its own steps: DPM fast (fixed) and DPM adaptive (error-controlled).

To add one: a generator function here that cites its source, and a row in `samplers.SAMPLER_FUNCTIONS`.
"""

from __future__ import annotations

from collections.abc import Generator
from dataclasses import dataclass
from itertools import pairwise
from math import atan, exp, expm1, log, sqrt

import torch
from torch import Tensor

from sdwebui.engine.sampler_calls import DenoiseAt, NoiseBetween, SamplerSteps, ancestral_split


def dpm_fast(
    x: Tensor,
    sigmas: Tensor,
    noise: NoiseBetween,
    *,
    calls: int | None = None,
    eta: float = 1.0,
    s_noise: float = 1.0,
) -> SamplerSteps:
    """DPM-Solver-fast of Lu et al. (2022), arXiv:2206.00927, section 3.4, with k-diffusion's eta.

    Steps of order 3 evenly spread in λ = −log sigma, the last ones of lower order, so that the calls add up.

    Args:
        x: start latents [1, C, h, w], noise included.
        sigmas: noise levels; only the first and the last above 0 count. The result keeps the noise of the latter.
        noise: source of the ancestral noise.
        calls: model calls to spend; None: the number of steps in `sigmas`.
        eta: share of fresh noise (A1111 gives 1).
        s_noise: factor on the fresh noise.
    """
    calls = len(sigmas) - 1 if calls is None else calls
    orders = _fast_orders(calls)
    start, end = _lambda_range(sigmas)
    edges = [start + (end - start) * index / len(orders) for index in range(len(orders) + 1)]
    done = 0
    for order, (here, target) in zip(orders, pairwise(edges), strict=True):
        reached, sigma_up = _ancestral_target(here, target, end, eta)
        solver = _Step(here, reached, done, done / calls)
        slope = yield from solver.noise_prediction(x, here)
        x = yield from _ORDERS[order](solver, x, slope)
        x = x + noise(exp(-here), exp(-target)) * (s_noise * sigma_up)
        done += order
    return x


def dpm_adaptive(
    x: Tensor,
    sigmas: Tensor,
    noise: NoiseBetween,
    *,
    eta: float = 1.0,
    s_noise: float = 1.0,
    rtol: float = 0.05,
    atol: float = 0.0078,
) -> SamplerSteps:
    """DPM-Solver-23 with step size control: Appendix C of Lu et al. (2022), arXiv:2206.00927.

    Every step is done with order 2 and with order 3 from the same calls; their difference decides whether it counts
    and how long the next one is. The controller is k-diffusion's integral one with a limiter (Söderlind 2003).

    Of all samplers this one alone does not promise that a batch equals its single pictures. The steps are each
    picture's own, but a UNet batch of another size rounds differently (about 1e-6); that changes the error, the error
    all later step lengths and with them what the fresh noise is multiplied by. Measured in batches of 3 with a
    trained model, single pixels differ by 1 of 255 at CFG scale 3 and by up to 15 at 7. Alone, a seed gives the same
    picture every time.

    Args:
        x: start latents [1, C, h, w], noise included.
        sigmas: noise levels; only the first and the last above 0 count. The result keeps the noise of the latter.
        noise: source of the ancestral noise, asked for accepted steps only.
        eta: share of fresh noise (A1111 gives 1).
        s_noise: factor on the fresh noise.
        rtol: relative tolerance of one step.
        atol: absolute tolerance of one step, in latent units.
    """
    start, end = _lambda_range(sigmas)
    here, before = start, x
    control = _StepSize(0.05, order=1.5 if eta else 3.0)
    step = 0
    while here < end - 1e-5:
        target = min(end, here + control.h)
        reached, sigma_up = _ancestral_target(here, target, end, eta)
        solver = _Step(here, reached, step, (here - start) / (end - start))
        slope = yield from solver.noise_prediction(x, here)
        x_low, x_high = yield from _orders_2_and_3(solver, x, slope)
        tolerance = torch.clamp(rtol * torch.maximum(x_low.abs(), before.abs()), min=atol)
        error = float(torch.linalg.vector_norm((x_low - x_high) / tolerance)) / sqrt(x.numel())
        if control.accepts(error):
            before = x_low
            x = x_high + noise(exp(-here), exp(-target)) * (s_noise * sigma_up)
            here = target
        step += 1
    return x


_NoisePredictionSteps = Generator[DenoiseAt, Tensor, Tensor]


@dataclass(frozen=True)
class _Step:
    """One step from λ `start` to λ `end`: asks the model for noise predictions on the way."""

    start: float
    end: float
    index: int
    progress: float

    @property
    def h(self) -> float:
        return self.end - self.start

    def noise_prediction(self, x: Tensor, at: float) -> _NoisePredictionSteps:
        sigma = exp(-at)
        denoised = yield DenoiseAt(x=x, sigma=sigma, step=self.index, progress=self.progress)
        return (x - denoised) / sigma

    def to(self, share: float, x: Tensor, slope: Tensor) -> Tensor:
        """First-order result after a share of the step: equation 3.7 of the paper."""
        length = share * self.h
        return x - slope * (exp(-(self.start + length)) * expm1(length))


def _first_order(solver: _Step, x: Tensor, slope: Tensor) -> SamplerSteps:
    yield from ()
    return solver.to(1.0, x, slope)


def _second_order(solver: _Step, x: Tensor, slope: Tensor) -> SamplerSteps:
    """DPM-Solver-2, Algorithm 1 with r1 = 1/2."""
    slope_1 = yield from solver.noise_prediction(solver.to(0.5, x, slope), solver.start + 0.5 * solver.h)
    return _second_order_result(solver, x, (slope, slope_1), 0.5)


def _third_order(solver: _Step, x: Tensor, slope: Tensor) -> SamplerSteps:
    """DPM-Solver-3, Algorithm 2 with r1 = 1/3, r2 = 2/3."""
    _, x_3 = yield from _orders_2_and_3(solver, x, slope)
    return x_3


def _orders_2_and_3(solver: _Step, x: Tensor, slope: Tensor) -> Generator[DenoiseAt, Tensor, tuple[Tensor, Tensor]]:
    """The results of order 2 (r1 = 1/3) and order 3 (r1 = 1/3, r2 = 2/3), which share their calls."""
    h, r1, r2 = solver.h, 1 / 3, 2 / 3
    slope_1 = yield from solver.noise_prediction(solver.to(r1, x, slope), solver.start + r1 * h)
    s2 = solver.start + r2 * h
    bend = exp(-s2) * (r2 / r1) * (expm1(r2 * h) / (r2 * h) - 1)
    slope_2 = yield from solver.noise_prediction(solver.to(r2, x, slope) - (slope_1 - slope) * bend, s2)
    bend = exp(-solver.end) / r2 * (expm1(h) / h - 1)
    third = solver.to(1.0, x, slope) - (slope_2 - slope) * bend
    return _second_order_result(solver, x, (slope, slope_1), r1), third


def _second_order_result(solver: _Step, x: Tensor, slopes: tuple[Tensor, Tensor], r1: float) -> Tensor:
    bend = exp(-solver.end) * expm1(solver.h) / (2 * r1)
    return solver.to(1.0, x, slopes[0]) - (slopes[1] - slopes[0]) * bend


_ORDERS = {1: _first_order, 2: _second_order, 3: _third_order}


class _StepSize:
    """Integral step size control with a smooth limiter; a step that shrinks below 81 % is done again."""

    def __init__(self, h: float, order: float) -> None:
        self.h = h
        self._order = order

    def accepts(self, error: float) -> bool:
        factor = 1 + atan((1 / (error + 1e-8)) ** (1 / self._order) - 1)
        self.h *= factor
        return factor >= 0.81


def _fast_orders(calls: int) -> list[int]:
    """Orders of the steps of DPM-Solver-fast, which add up to `calls`."""
    thirds, rest = divmod(calls, 3)
    return [3] * thirds + [rest] if rest else [3] * (thirds - 1) + [2, 1]


def _lambda_range(sigmas: Tensor) -> tuple[float, float]:
    above_zero = sigmas[sigmas > 0]
    return -log(float(above_zero[0])), -log(float(above_zero[-1]))


def _ancestral_target(here: float, target: float, end: float, eta: float) -> tuple[float, float]:
    """Where (λ) the deterministic part of a step goes, at most `end`, and the noise that then leads to `target`."""
    if eta == 0.0:
        return target, 0.0
    down, _ = ancestral_split(exp(-here), exp(-target), eta)
    reached = min(end, -log(down)) if down > 0 else end
    return reached, sqrt(max(0.0, exp(-2 * target) - exp(-2 * reached)))
