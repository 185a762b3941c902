"""Which noise levels a picture runs through: sampler, schedule, steps and strength together, by A1111's rules.

Most samplers take a schedule. Those in `OWN_LEVELS` bring their own steps, as in A1111; to add one, add a row there.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field, replace
from math import sqrt

import numpy as np
import torch
from torch import Tensor

from sdwebui.domain.catalog import find_sampler
from sdwebui.domain.errors import InvalidRequest
from sdwebui.engine.model_sigmas import ConsistencyGrid, ModelSigmas
from sdwebui.engine.schedules import ScheduleOptions, scheduled_sigmas


@dataclass(frozen=True, kw_only=True)
class NoiseLevels:
    """The noise levels of one picture, and how it starts.

    Attributes:
        sigmas: float64 [levels] on the CPU, falling; one step between each two.
        noise_scale: factor of the unit noise in the start latents.
        latent_scale: factor of the clean latents in the start latents; 0 when there are none (text to image).
        timesteps: times to tell the model at each level, where they are not simply those of the noise levels.
        calls: model calls that DPM fast spends (DPM adaptive takes its own time); None: one or two a step.
        brownian_range: lowest and highest level between which the Brownian motion of SDE samplers runs.
    """

    sigmas: Tensor
    noise_scale: float
    latent_scale: float = 0.0
    timesteps: tuple[float, ...] | None = None
    calls: int | None = None
    brownian_range: tuple[float, float]

    @property
    def steps(self) -> int:
        """Number of steps, for progress: between the levels, or the calls of DPM fast."""
        return self.calls or len(self.sigmas) - 1

    def start(self, noise: Tensor, latents: Tensor | None = None) -> Tensor:
        """Latents to start from.

        Args:
            noise: unit noise [1, C, h, w], from `ImageNoise.initial`.
            latents: clean latents of the same shape for image to image; None for text to image.
        """
        started = noise * self.noise_scale
        return started if latents is None else started + latents * self.latent_scale


@dataclass(frozen=True, kw_only=True)
class LevelsRequest:
    """What the noise levels depend on, beside the model.

    Attributes:
        sampler: canonical sampler name.
        schedule: canonical schedule label, or "Automatic" for the sampler's default.
        steps: sampling steps as the user gave them, ≥ 1.
        schedule_options: A1111's schedule parameters.
        unit_variance_start: start text to image from noise · √(1 + σ²) instead of noise · σ ("sgm_noise_multiplier").
        extra_noise: noise on top of the start of image to image ("img2img_extra_noise").
    """

    sampler: str
    schedule: str
    steps: int
    schedule_options: ScheduleOptions = field(default_factory=ScheduleOptions)
    unit_variance_start: bool = False
    extra_noise: float = 0.0

    @property
    def discards(self) -> bool:
        """True when the level before the last is left out."""
        by_sampler = "discard_next_to_last_sigma" in find_sampler(self.sampler).options
        return by_sampler or self.schedule_options.always_discard_next_to_last_sigma

    @property
    def schedule_label(self) -> str:
        """The schedule, with "Automatic" resolved."""
        return find_sampler(self.sampler).default_schedule if self.schedule == "Automatic" else self.schedule


def text_to_image_levels(request: LevelsRequest, model: ModelSigmas) -> NoiseLevels:
    """Noise levels from pure noise on.

    Raises:
        InvalidRequest: the sampler needs more steps.
    """
    own = OWN_LEVELS.get(request.sampler)
    if own is not None:
        return own.text_to_image(request, model)
    return _from_pure_noise(_scheduled(request, model), request)


def image_to_image_levels(
    request: LevelsRequest, model: ModelSigmas, *, denoising_strength: float, exact_steps: bool = False
) -> NoiseLevels:
    """Noise levels from a picture on: the last part of a schedule, by A1111's step rule (`image_to_image_steps`).

    Args:
        request: sampler, schedule and steps as the user gave them.
        model: the model's training noise levels.
        denoising_strength: 0 … 1.
        exact_steps: True: run as many steps as asked for, on a longer schedule (hires fix, "img2img_fix_steps").

    Raises:
        InvalidRequest: the sampler needs more steps, or the strength leaves none.
    """
    steps, kept = image_to_image_steps(request.steps, denoising_strength, exact_steps=exact_steps)
    request = replace(request, steps=steps)
    own = OWN_LEVELS.get(request.sampler)
    if own is None:
        return _from_picture(_scheduled(request, model), request, kept)
    if kept < own.fewest_kept:
        rule = f"leaves {request.sampler} no step to run"
        raise InvalidRequest("denoising_strength", denoising_strength, rule, "Raise it or the number of steps.")
    return own.image_to_image(request, model, kept)


def image_to_image_steps(steps: int, denoising_strength: float, *, exact_steps: bool = False) -> tuple[int, int]:
    """A1111's step rule for image to image.

    Returns:
        Length of the whole schedule, and t: the last t + 1 of its steps are run. Without `exact_steps` the schedule
        has `steps` steps and t is int(min(strength, 0.999) · steps); with it, `steps` are run and the schedule has
        int(steps / min(strength, 0.999)).

    Raises:
        InvalidRequest: `exact_steps` with strength 0.
    """
    strength = min(denoising_strength, 0.999)
    if not exact_steps:
        return steps, int(strength * steps)
    if strength <= 0:
        rule = "must be above 0 when the number of steps is exact"
        raise InvalidRequest("denoising_strength", denoising_strength, rule)
    return int(steps / strength), steps - 1


# ----------------------------------------------------------------------------------- samplers that take a schedule


def _scheduled(request: LevelsRequest, model: ModelSigmas) -> Tensor:
    return scheduled_sigmas(
        request.schedule_label,
        request.steps,
        model,
        request.schedule_options,
        discard_next_to_last_sigma=request.discards,
    )


def _from_pure_noise(sigmas: Tensor, request: LevelsRequest) -> NoiseLevels:
    sigma = float(sigmas[0])
    return NoiseLevels(
        sigmas=sigmas,
        noise_scale=sqrt(1 + sigma**2) if request.unit_variance_start else sigma,
        brownian_range=_range(sigmas),
    )


def _from_picture(sigmas: Tensor, request: LevelsRequest, kept: int) -> NoiseLevels:
    """The last steps of a schedule; the Brownian motion runs over all of it, as in A1111."""
    part = sigmas[max(request.steps - kept - 1, 0) :]
    return NoiseLevels(
        sigmas=part,
        noise_scale=float(part[0]) + request.extra_noise,
        latent_scale=1.0,
        brownian_range=_range(sigmas),
    )


def _range(sigmas: Tensor) -> tuple[float, float]:
    return float(sigmas[sigmas > 0].min()), float(sigmas.max())


# ----------------------------------------------------------------------------------- samplers with steps of their own


@dataclass(frozen=True, kw_only=True)
class OwnLevels:
    """How a sampler that brings its own steps makes them.

    Attributes:
        text_to_image: from pure noise.
        image_to_image: from a picture; the number is t of `image_to_image_steps`.
        fewest_kept: smallest t that leaves a model call.
    """

    text_to_image: Callable[[LevelsRequest, ModelSigmas], NoiseLevels]
    image_to_image: Callable[[LevelsRequest, ModelSigmas, int], NoiseLevels]
    fewest_kept: int = 0


def ddim_timesteps(steps: int, model: ModelSigmas, *, discards: bool = False) -> list[int]:
    """A1111's timesteps of DDIM and PLMS, rising: every (1000 // steps)-th from 1 on.

    The sampler goes from the last to the first, so that 20 steps are 19 calls, and 30 steps 30 (the list has 31).

    Raises:
        InvalidRequest: fewer than 2 or more than 1000 steps.
    """
    wanted = steps + 1 if discards else steps
    if not 2 <= wanted <= model.steps:
        raise InvalidRequest("steps", steps, f"must be from 2 to {model.steps} with DDIM, DDIM CFG++, PLMS and UniPC")
    return [min(time + 1, model.steps - 1) for time in range(0, model.steps, model.steps // wanted)]


def _ddim_from_noise(request: LevelsRequest, model: ModelSigmas) -> NoiseLevels:
    return _at_timesteps(ddim_timesteps(request.steps, model, discards=request.discards), model)


def _at_timesteps(times: list[int], model: ModelSigmas) -> NoiseLevels:
    """Levels at rising integer timesteps; A1111 starts these samplers from unit-variance noise."""
    sigmas = model.sigmas[times].flip(0)
    return NoiseLevels(sigmas=sigmas, noise_scale=sqrt(1 + float(sigmas[0]) ** 2), brownian_range=_range(sigmas))


def _ddim_from_picture(request: LevelsRequest, model: ModelSigmas, kept: int) -> NoiseLevels:
    times = ddim_timesteps(request.steps, model, discards=request.discards)
    return _noised_one_step_above(_at_timesteps(times[:kept], model), request, model, times[kept])


def _noised_one_step_above(
    levels: NoiseLevels, request: LevelsRequest, model: ModelSigmas, timestep: int
) -> NoiseLevels:
    """A1111 noises the picture to the timestep above the first one that it denoises; kept, for equal pictures."""
    alpha = float(model.alphas_cumprod[timestep])
    unit_variance = sqrt(1 + float(levels.sigmas[0]) ** 2)
    return replace(
        levels,
        noise_scale=(sqrt(1 - alpha) + request.extra_noise * sqrt(alpha)) * unit_variance,
        latent_scale=sqrt(alpha) * unit_variance,
    )


def _unipc_from_noise(request: LevelsRequest, model: ModelSigmas) -> NoiseLevels:
    times = ddim_timesteps(request.steps, model, discards=request.discards)
    return _unipc_levels(float(model.steps - 1), len(times), model)


def _unipc_from_picture(request: LevelsRequest, model: ModelSigmas, kept: int) -> NoiseLevels:
    times = ddim_timesteps(request.steps, model, discards=request.discards)
    levels = _unipc_levels(float(times[kept - 1]), kept, model)
    return _noised_one_step_above(levels, request, model, times[kept])


def _unipc_levels(first: float, steps: int, model: ModelSigmas) -> NoiseLevels:
    """Evenly spaced float timesteps down to 0 ("time_uniform"); between training steps log √ᾱ is linear, not log σ."""
    times = np.linspace(first, 0.0, steps + 1)
    log_alphas = np.interp(times, np.arange(model.steps), model.alphas_cumprod.log().numpy())
    sigmas = torch.from_numpy(np.sqrt(np.expm1(-log_alphas)))
    return NoiseLevels(
        sigmas=sigmas,
        noise_scale=sqrt(1 + float(sigmas[0]) ** 2),
        timesteps=tuple(float(time) for time in times),
        brownian_range=_range(sigmas),
    )


def _dpm_solver_from_noise(request: LevelsRequest, model: ModelSigmas) -> NoiseLevels:
    """DPM fast and DPM adaptive go from the model's highest level to its lowest; the schedule sets the start alone."""
    start = _from_pure_noise(_scheduled(request, model), request)
    ends = torch.tensor([model.sigma_max, model.sigma_min, 0.0], dtype=torch.float64)
    return replace(start, sigmas=ends, calls=request.steps)


def _dpm_solver_from_picture(request: LevelsRequest, model: ModelSigmas, kept: int) -> NoiseLevels:
    levels = _from_picture(_scheduled(request, model), request, kept)
    ends = torch.cat([levels.sigmas[:-1], torch.zeros(1, dtype=torch.float64)])
    return replace(levels, sigmas=ends, calls=levels.steps)


def _lcm_from_noise(request: LevelsRequest, model: ModelSigmas) -> NoiseLevels:
    grid = ConsistencyGrid(model)
    return _on_grid(_from_pure_noise(_scheduled(request, grid), request), grid)


def _lcm_from_picture(request: LevelsRequest, model: ModelSigmas, kept: int) -> NoiseLevels:
    grid = ConsistencyGrid(model)
    return _on_grid(_from_picture(_scheduled(request, grid), request, kept), grid)


def _on_grid(levels: NoiseLevels, grid: ConsistencyGrid) -> NoiseLevels:
    times = tuple(grid.timestep_at(sigma) if sigma > 0 else 0.0 for sigma in levels.sigmas.tolist())
    return replace(levels, timesteps=times)


_DDIM = OwnLevels(text_to_image=_ddim_from_noise, image_to_image=_ddim_from_picture, fewest_kept=2)
_DPM_SOLVER = OwnLevels(text_to_image=_dpm_solver_from_noise, image_to_image=_dpm_solver_from_picture)

OWN_LEVELS: Mapping[str, OwnLevels] = {
    "DDIM": _DDIM,
    "DDIM CFG++": _DDIM,
    "PLMS": _DDIM,
    "UniPC": OwnLevels(text_to_image=_unipc_from_noise, image_to_image=_unipc_from_picture, fewest_kept=1),
    "DPM fast": _DPM_SOLVER,
    "DPM adaptive": _DPM_SOLVER,
    "LCM": OwnLevels(text_to_image=_lcm_from_noise, image_to_image=_lcm_from_picture),
}
"""Samplers whose noise levels are not simply those of a schedule."""
