"""Samplers that remember earlier predictions instead of asking twice: DPM++ 2M, LMS, PLMS and UniPC.

To add one: a generator function here that cites its source, and a row in `samplers.SAMPLER_FUNCTIONS`.
"""

from __future__ import annotations

from collections.abc import Sequence
from itertools import pairwise
from math import exp, expm1, factorial, log, prod, sqrt

import numpy as np
from torch import Tensor

from sdwebui.engine.sampler_calls import DenoiseAt, NoiseBetween, SamplerSteps

LMS_ORDER = 4
ADAMS_BASHFORTH = ((1.0,), (3 / 2, -1 / 2), (23 / 12, -16 / 12, 5 / 12), (55 / 24, -59 / 24, 37 / 24, -9 / 24))
"""Adams-Bashforth weights of order 1 to 4 for even steps: of the newest slope and those before it."""


def dpmpp_2m(x: Tensor, sigmas: Tensor, _noise: NoiseBetween) -> SamplerSteps:
    """DPM-Solver++(2M): Algorithm 2 of Lu et al. (2022), arXiv:2211.01095, in variance-exploding scaling.

    The first step and the one that ends at 0 are of first order.

    Args:
        x: start latents [1, C, h, w], noise included.
        sigmas: noise levels, 1-D, falling.
    """
    levels = sigmas.tolist()
    before: Tensor | None = None
    for step, (sigma, sigma_next) in enumerate(pairwise(levels)):
        denoised = yield DenoiseAt(x=x, sigma=sigma, step=step, progress=step / (len(levels) - 1))
        target = denoised
        if before is not None and sigma_next > 0:
            r = log(levels[step - 1] / sigma) / log(sigma / sigma_next)
            target = denoised + (denoised - before) / (2 * r)
        x = target + (x - target) * (sigma_next / sigma)
        before = denoised
    return x


def lms(x: Tensor, sigmas: Tensor, _noise: NoiseBetween) -> SamplerSteps:
    """Linear multistep of order 4: Adams-Bashforth on uneven noise levels (k-diffusion's LMS).

    The slopes of up to four steps are interpolated by Lagrange's polynomial in sigma, and that is integrated over the
    step; Hairer, Nørsett, Wanner, "Solving Ordinary Differential Equations I", III.5.

    Args: as `dpmpp_2m`.
    """
    levels = sigmas.tolist()
    slopes: list[Tensor] = []
    for step, (sigma, sigma_next) in enumerate(pairwise(levels)):
        denoised = yield DenoiseAt(x=x, sigma=sigma, step=step, progress=step / (len(levels) - 1))
        slopes = [(x - denoised) / sigma, *slopes[: LMS_ORDER - 1]]
        nodes = levels[step - len(slopes) + 1 : step + 1][::-1]
        for weight, slope in zip(_lagrange_integrals(nodes, sigma, sigma_next), slopes, strict=True):
            x = x + slope * weight
    return x


def plms(x: Tensor, sigmas: Tensor, _noise: NoiseBetween) -> SamplerSteps:
    """Pseudo linear multistep: equation 12 of Liu et al. (2022), arXiv:2202.09778, started as CompVis does.

    CompVis starts with one improved Euler step (a second call) instead of the paper's Runge-Kutta steps. In
    variance-exploding scaling the paper's transfer φ is a straight step along the slope (x − x0) / sigma.

    Args:
        x: start latents [1, C, h, w], noise included.
        sigmas: noise levels of the timesteps, falling; the last one is the model's at t = 1, not 0.

    Returns:
        Latents in unit-variance scaling, as A1111 hands them to the VAE: divided by √(1 + σ²) of the last level.
    """
    levels = sigmas.tolist()
    slopes: list[Tensor] = []
    for step, (sigma, sigma_next) in enumerate(pairwise(levels)):
        denoised = yield DenoiseAt(x=x, sigma=sigma, step=step, progress=step / (len(levels) - 1))
        slopes = [(x - denoised) / sigma, *slopes[:3]]
        combined = _weighted(ADAMS_BASHFORTH[len(slopes) - 1], slopes)
        if step == 0:
            x_next = x + slopes[0] * (sigma_next - sigma)
            denoised_next = yield DenoiseAt(x=x_next, sigma=sigma_next, step=0, progress=0.5 / (len(levels) - 1))
            combined = (slopes[0] + (x_next - denoised_next) / sigma_next) / 2
        x = x + combined * (sigma_next - sigma)
    return x / sqrt(1 + levels[-1] ** 2)


def unipc(
    x: Tensor,
    sigmas: Tensor,
    _noise: NoiseBetween,
    *,
    timesteps: Sequence[float] | None = None,
    order: int = 3,
    variant: str = "bh1",
    lower_order_final: bool = True,
) -> SamplerSteps:
    """UniPC: the multistep predictor and corrector of Zhao et al. (2023), arXiv:2302.04867, on data predictions.

    Algorithms 1 (UniC) and 2 (UniP) of the paper with λ = −log sigma: the predictor goes to the next level, the model
    is asked there once, and the corrector repeats the step with that answer. The last step is not corrected, so n
    levels after the first cost n calls.

    Args:
        x: start latents [1, C, h, w], noise included.
        sigmas: n + 1 noise levels, falling; the last one is the model's smallest, not 0.
        timesteps: times to tell the model, one for each level; None: those that belong to the noise levels.
        order: 1, 2 or 3; fewer steps than that lower it.
        variant: B(h) of the paper: "bh1" is h, "bh2" is exp(h) − 1.
        lower_order_final: True: the last steps are of lower order, for stability with few steps.

    Returns:
        Latents in unit-variance scaling, as A1111 hands them to the VAE.
    """
    levels = sigmas.tolist()
    steps = len(levels) - 1
    lambdas = [-log(sigma) for sigma in levels]
    times = list(timesteps) if timesteps is not None else [None] * len(levels)
    predictions = [(yield DenoiseAt(x=x, sigma=levels[0], step=0, progress=0.0, timestep=times[0]))]
    for step in range(1, steps + 1):
        step_order = min(order, step, steps + 1 - step if lower_order_final and step >= order else order)
        update = _UniPCStep(lambdas[step - step_order : step + 1], predictions[:step_order], variant)
        start, x = x, update.predicted(x)
        if step == steps:
            break
        denoised = yield DenoiseAt(x=x, sigma=levels[step], step=step, progress=step / steps, timestep=times[step])
        x = update.corrected(start, denoised)
        predictions = [denoised, *predictions[: order - 1]]
    return x / sqrt(1 + levels[-1] ** 2)


class _UniPCStep:
    """One step of UniPC: UniP-p and UniC-p share everything but the last column of their linear system.

    Args:
        lambdas: −log sigma of the earlier levels, oldest first, then of the level stepped to; order + 1 numbers.
        predictions: the model's predictions at the earlier levels, newest first.
        variant: "bh1" or "bh2".
    """

    def __init__(self, lambdas: Sequence[float], predictions: Sequence[Tensor], variant: str) -> None:
        *earlier, target = lambdas
        here = earlier[-1]
        step = target - here
        self._keep = exp(-step)
        self._phi_1 = expm1(-step)
        self._scale = {"bh1": -step, "bh2": self._phi_1}[variant]
        self._ratios = [(before - here) / step for before in earlier[-2::-1]] + [1.0]
        self._newest = predictions[0]
        self._differences = [
            (before - self._newest) / ratio for before, ratio in zip(predictions[1:], self._ratios[:-1], strict=True)
        ]
        self._right = _unipc_right_side(-step, len(self._ratios), self._scale)

    def predicted(self, x: Tensor) -> Tensor:
        """UniP. Order 2 takes the weight 1/2 for either B(h), as the authors' code does."""
        base = self._base(x)
        if not self._differences:
            return base
        weights = [0.5] if len(self._differences) == 1 else self._weights(len(self._differences))
        return base - _weighted(weights, self._differences) * self._scale

    def corrected(self, x: Tensor, denoised: Tensor) -> Tensor:
        """UniC; `denoised` is the prediction at the predicted latents."""
        weights = [0.5] if not self._differences else self._weights(len(self._ratios))
        return self._base(x) - _weighted(weights, [*self._differences, denoised - self._newest]) * self._scale

    def _base(self, x: Tensor) -> Tensor:
        return x * self._keep - self._newest * self._phi_1

    def _weights(self, size: int) -> list[float]:
        matrix = np.vander(self._ratios[:size], size, increasing=True).T
        return [float(weight) for weight in np.linalg.solve(matrix, self._right[:size])]


def _unipc_right_side(h: float, size: int, scale: float) -> list[float]:
    """Right side of the weights' system: k! · h · φ_{k+1}(h) / B(h) for k = 1 … size, with φ by its recursion."""
    phi = expm1(h) / h - 1
    right = []
    for k in range(1, size + 1):
        right.append(phi * factorial(k) / scale)
        phi = phi / h - 1 / factorial(k + 1)
    return right


def _weighted(weights: Sequence[float], terms: Sequence[Tensor]) -> Tensor:
    total = terms[0] * weights[0]
    for weight, term in zip(weights[1:], terms[1:], strict=True):
        total = total + term * weight
    return total


def _lagrange_integrals(nodes: Sequence[float], start: float, end: float) -> list[float]:
    """∫ of each Lagrange basis polynomial over [start, end]; two Gauss points are exact up to degree 3."""
    middle, half = (start + end) / 2, (end - start) / 2
    points = (middle - half / sqrt(3), middle + half / sqrt(3))

    def basis(j: int, at: float) -> float:
        return prod((at - other) / (nodes[j] - other) for k, other in enumerate(nodes) if k != j)

    return [half * sum(basis(j, point) for point in points) for j in range(len(nodes))]
