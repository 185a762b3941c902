"""Schedules by their A1111 labels: how n steps spread over the noise levels. To add one: a function and a row here.

Labels, names and aliases stand in `domain/catalog.py`; which samplers bring their own steps, in `noise_levels.py`.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from math import atan, exp, log, tan

import numpy as np
import torch
from scipy.special import betaincinv
from torch import Tensor

from sdwebui.engine.model_sigmas import ModelSigmas

ALIGN_YOUR_STEPS_SD1 = (14.615, 6.475, 3.861, 2.697, 1.886, 1.396, 0.963, 0.652, 0.399, 0.152, 0.029)
ALIGN_YOUR_STEPS_SDXL = (14.615, 6.315, 3.771, 2.181, 1.342, 0.862, 0.555, 0.380, 0.234, 0.113, 0.029)
"""Optimised 10-step lists of Sabour et al. (2024), arXiv:2404.14507, from the authors' how-to page."""

OLD_KARRAS_RANGE = (0.1, 10.0)
"""Noise levels that A1111 used before February 2023 ("use_old_karras_scheduler_sigmas")."""


@dataclass(frozen=True, kw_only=True)
class ScheduleOptions:
    """A1111's schedule parameters, with its defaults.

    Attributes:
        sigma_min: lowest noise level ("Schedule min sigma"); 0 for the model's.
        sigma_max: highest noise level ("Schedule max sigma"); 0 for the model's.
        rho: ρ of Karras and Polyexponential ("Schedule rho"); 0 for their own, 7 and 1.
        old_karras_range: noise levels 0.1 … 10 instead of the model's.
        always_discard_next_to_last_sigma: leave the level before 0 out for every sampler.
        beta_alpha: α of the Beta schedule.
        beta_beta: β of the Beta schedule.
        is_sdxl: the model is an SDXL one (Align Your Steps has a list for each).
    """

    sigma_min: float = 0.0
    sigma_max: float = 0.0
    rho: float = 0.0
    old_karras_range: bool = False
    always_discard_next_to_last_sigma: bool = False
    beta_alpha: float = 0.6
    beta_beta: float = 0.6
    is_sdxl: bool = False


@dataclass(frozen=True, kw_only=True)
class ScheduleRequest:
    """What a schedule function gets.

    Attributes:
        n: number of steps, ≥ 1.
        model: the model's training noise levels.
        sigma_min: lowest noise level above 0.
        sigma_max: highest noise level.
        options: A1111's parameters.
    """

    n: int
    model: ModelSigmas
    sigma_min: float
    sigma_max: float
    options: ScheduleOptions


ScheduleFunction = Callable[[ScheduleRequest], Sequence[float]]


def uniform(ask: ScheduleRequest) -> list[float]:
    """Timesteps evenly from the last to the first, whatever the sigma range: k-diffusion's own schedule."""
    model = ask.model
    times = _linspace(model.timestep_at(model.sigma_max), model.timestep_at(model.sigma_min), ask.n)
    return [model.sigma_at(t) for t in times] + [0.0]


def karras(ask: ScheduleRequest) -> list[float]:
    """Evenly in sigma^(1/ρ), ρ = 7: equation 5 of Karras et al. (2022), arXiv:2206.00364."""
    rho = ask.options.rho or 7.0
    roots = _linspace(ask.sigma_max ** (1 / rho), ask.sigma_min ** (1 / rho), ask.n)
    return [root**rho for root in roots] + [0.0]


def exponential(ask: ScheduleRequest) -> list[float]:
    """Evenly in log sigma."""
    return [exp(value) for value in _linspace(log(ask.sigma_max), log(ask.sigma_min), ask.n)] + [0.0]


def polyexponential(ask: ScheduleRequest) -> list[float]:
    """A ramp from 1 to 0 to the power ρ, in log sigma; ρ = 1 is Exponential."""
    rho = ask.options.rho or 1.0
    low, high = log(ask.sigma_min), log(ask.sigma_max)
    return [exp(low + ramp**rho * (high - low)) for ramp in _linspace(1.0, 0.0, ask.n)] + [0.0]


def sgm_uniform(ask: ScheduleRequest) -> list[float]:
    """One timestep more than steps, evenly over the sigma range, and the last left out: as Stability's SGM code."""
    times = _linspace(ask.model.timestep_at(ask.sigma_max), ask.model.timestep_at(ask.sigma_min), ask.n + 1)
    return [ask.model.sigma_at(t) for t in times[:-1]] + [0.0]


def kl_optimal(ask: ScheduleRequest) -> list[float]:
    """Evenly in arctan sigma: the closed form for Gaussian data in Sabour et al. (2024), arXiv:2404.14507.

    As in A1111 the n steps end at the lowest noise level, not at 0.
    """
    return [tan(angle) for angle in _linspace(atan(ask.sigma_max), atan(ask.sigma_min), ask.n + 1)]


def align_your_steps(ask: ScheduleRequest) -> list[float]:
    """The optimised lists of Sabour et al. (2024), arXiv:2404.14507, log-linearly resampled to n levels."""
    table = ALIGN_YOUR_STEPS_SDXL if ask.options.is_sdxl else ALIGN_YOUR_STEPS_SD1
    places = np.linspace(0.0, 1.0, len(table))
    # A1111 resamples the reversed list, so that one step gets the lowest level, not the highest.
    levels = np.exp(np.interp(np.linspace(0.0, 1.0, ask.n), places, np.log(table[::-1])))[::-1]
    return [*(float(level) for level in levels), 0.0]


def simple(ask: ScheduleRequest) -> list[float]:
    """Every (1000 / n)-th level of the training table from the top."""
    table, stride = ask.model.sigmas, ask.model.steps / ask.n
    return [float(table[-(1 + int(index * stride))]) for index in range(ask.n)] + [0.0]


def normal(ask: ScheduleRequest) -> list[float]:
    """Timesteps evenly over the sigma range; Uniform when the range is the model's."""
    times = _linspace(ask.model.timestep_at(ask.sigma_max), ask.model.timestep_at(ask.sigma_min), ask.n)
    return [ask.model.sigma_at(t) for t in times] + [0.0]


def ddim(ask: ScheduleRequest) -> list[float]:
    """Every (1000 // n)-th level of the training table from index 1, which can be a few more than n."""
    stride = max(ask.model.steps // ask.n, 1)
    levels: list[float] = ask.model.sigmas[1::stride].flip(0).tolist()
    return [*levels, 0.0]


def beta(ask: ScheduleRequest) -> list[float]:
    """Quantiles of the Beta distribution, linearly in sigma: Lee et al. (2024), arXiv:2407.12173."""
    shares = betaincinv(ask.options.beta_alpha, ask.options.beta_beta, 1 - np.linspace(0.0, 1.0, ask.n))
    return [ask.sigma_min + float(share) * (ask.sigma_max - ask.sigma_min) for share in shares] + [0.0]


SCHEDULE_FUNCTIONS: Mapping[str, ScheduleFunction] = {
    "Uniform": uniform,
    "Karras": karras,
    "Exponential": exponential,
    "Polyexponential": polyexponential,
    "SGM Uniform": sgm_uniform,
    "KL Optimal": kl_optimal,
    "Align Your Steps": align_your_steps,
    "Simple": simple,
    "Normal": normal,
    "DDIM": ddim,
    "Beta": beta,
}
"""One function for each row of `domain/catalog.SCHEDULES` but Automatic, which stands for a sampler's default."""


def scheduled_sigmas(
    label: str,
    n: int,
    model: ModelSigmas,
    options: ScheduleOptions | None = None,
    *,
    discard_next_to_last_sigma: bool = False,
) -> Tensor:
    """Noise levels of a schedule, falling, float64 on the CPU.

    Args:
        label: a row of `SCHEDULE_FUNCTIONS`.
        n: number of steps, ≥ 1.
        model: the model's training noise levels.
        options: A1111's parameters; None for its defaults.
        discard_next_to_last_sigma: ask for n + 1 steps and leave the level before the last out (DPM2, DPM++ 3M SDE).

    Returns:
        Mostly n + 1 levels that end in 0. KL Optimal ends at the lowest level; DDIM may have some more.
    """
    options = options or ScheduleOptions()
    discard = discard_next_to_last_sigma or options.always_discard_next_to_last_sigma
    low, high = OLD_KARRAS_RANGE if options.old_karras_range else (model.sigma_min, model.sigma_max)
    levels = SCHEDULE_FUNCTIONS[label](
        ScheduleRequest(
            n=n + 1 if discard else n,
            model=model,
            sigma_min=options.sigma_min or low,
            sigma_max=options.sigma_max or high,
            options=options,
        )
    )
    kept = [*levels[:-2], levels[-1]] if discard else levels
    return torch.tensor(kept, dtype=torch.float64)


def _linspace(start: float, end: float, count: int) -> list[float]:
    """`count` numbers evenly from start to end, both included; one number is the start."""
    return [float(value) for value in np.linspace(start, end, count)]
