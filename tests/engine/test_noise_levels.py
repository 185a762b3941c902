"""A1111's step rules: which noise levels a picture runs through, and how it starts."""

from __future__ import annotations

from math import sqrt

import pytest
import torch

from sdwebui.domain.catalog import SAMPLERS
from sdwebui.domain.errors import InvalidRequest
from sdwebui.engine.model_sigmas import ModelSigmas
from sdwebui.engine.noise_levels import (
    OWN_LEVELS,
    LevelsRequest,
    ddim_timesteps,
    image_to_image_levels,
    image_to_image_steps,
    text_to_image_levels,
)
from sdwebui.engine.schedules import ScheduleOptions, scheduled_sigmas

MODEL = ModelSigmas.from_betas()


def ask(sampler: str, schedule: str = "Automatic", steps: int = 20, **more: object) -> LevelsRequest:
    return LevelsRequest(sampler=sampler, schedule=schedule, steps=steps, **more)  # type: ignore[arg-type]


@pytest.mark.parametrize("row", SAMPLERS, ids=lambda row: row.name)
def test_automatic_is_the_samplers_default_schedule(row):
    found = text_to_image_levels(ask(row.name), MODEL)
    named = text_to_image_levels(ask(row.name, row.default_schedule), MODEL)
    assert torch.equal(found.sigmas, named.sigmas)


@pytest.mark.parametrize("name", ["DPM2", "DPM2 a", "DPM++ 3M SDE"])
def test_samplers_that_discard_a_level_ask_for_one_more(name):
    found = text_to_image_levels(ask(name, "Karras"), MODEL)
    longer = scheduled_sigmas("Karras", 21, MODEL)
    assert torch.equal(found.sigmas, torch.cat([longer[:-2], longer[-1:]]))


def test_text_to_image_starts_at_noise_times_sigma_or_with_unit_variance():
    noise = torch.randn((1, 4, 8, 8), generator=torch.Generator().manual_seed(0))
    plain = text_to_image_levels(ask("Euler"), MODEL)
    assert torch.allclose(plain.start(noise), noise * MODEL.sigma_max)
    unit = text_to_image_levels(ask("Euler", unit_variance_start=True), MODEL)
    assert unit.noise_scale / plain.noise_scale == pytest.approx(1 / 0.99767, rel=1e-5)


@pytest.mark.parametrize(("steps", "count", "first"), [(20, 20, 951), (30, 31, 991), (50, 50, 981), (7, 8, 995)])
def test_ddim_timesteps_are_a1111s(steps, count, first):
    times = ddim_timesteps(steps, MODEL)
    assert (len(times), times[0], times[-1]) == (count, 1, first)


def test_ddim_timesteps_never_leave_the_table():
    assert ddim_timesteps(1000, MODEL)[-2:] == [999, 999]


@pytest.mark.parametrize("steps", [1, 1001])
@pytest.mark.parametrize("name", ["DDIM", "PLMS", "DDIM CFG++", "UniPC"])
def test_too_few_or_too_many_steps_for_timestep_samplers_are_refused(name, steps):
    with pytest.raises(InvalidRequest, match=f"steps is {steps}, but it must be from 2 to 1000"):
        text_to_image_levels(ask(name, steps=steps), MODEL)


@pytest.mark.parametrize("name", ["DDIM", "PLMS", "DDIM CFG++"])
def test_timestep_samplers_start_with_unit_variance_at_their_highest_timestep(name):
    found = text_to_image_levels(ask(name), MODEL)
    sigma = float(MODEL.sigmas[951])
    assert float(found.sigmas[0]) == sigma
    assert found.noise_scale == pytest.approx(sqrt(1 + sigma**2))
    assert found.steps == 19


def test_unipc_goes_evenly_from_timestep_999_to_0():
    found = text_to_image_levels(ask("UniPC", steps=25), MODEL)
    assert found.timesteps == pytest.approx([999 * (25 - index) / 25 for index in range(26)])
    assert float(found.sigmas[0]) == pytest.approx(MODEL.sigma_max)
    assert float(found.sigmas[-1]) == pytest.approx(MODEL.sigma_min)
    # Between training steps √ᾱ is interpolated log-linearly: at a whole timestep both rules agree.
    at_999 = text_to_image_levels(ask("UniPC", steps=4), MODEL)
    assert float(at_999.sigmas[2]) == pytest.approx(MODEL.sigma_at(499.5), rel=1e-5)


def test_lcm_runs_on_its_grid():
    found = text_to_image_levels(ask("LCM", steps=4), MODEL)
    assert found.timesteps == (999.0, 679.0, 339.0, 19.0, 0.0)
    assert float(found.sigmas[0]) == pytest.approx(MODEL.sigma_max)
    assert float(found.sigmas[3]) == pytest.approx(float(MODEL.sigmas[19]))


@pytest.mark.parametrize("name", ["DPM fast", "DPM adaptive"])
def test_dpm_solvers_go_from_end_to_end_of_the_model_whatever_the_schedule(name):
    for schedule in ("Automatic", "SGM Uniform"):
        found = text_to_image_levels(ask(name, schedule, steps=15), MODEL)
        assert found.sigmas.tolist() == [MODEL.sigma_max, MODEL.sigma_min, 0.0]
        assert found.calls == found.steps == 15


# ------------------------------------------------------------------------------------------------- image to image


@pytest.mark.parametrize(
    ("steps", "strength", "expected"), [(20, 0.75, (20, 15)), (20, 1.0, (20, 19)), (20, 0.0, (20, 0)), (1, 0.5, (1, 0))]
)
def test_image_to_image_runs_a_share_of_the_steps(steps, strength, expected):
    assert image_to_image_steps(steps, strength) == expected


@pytest.mark.parametrize(
    ("steps", "strength", "expected"), [(20, 0.7, (28, 19)), (20, 1.0, (20, 19)), (10, 0.25, (40, 9))]
)
def test_exact_steps_run_on_a_longer_schedule(steps, strength, expected):
    assert image_to_image_steps(steps, strength, exact_steps=True) == expected


def test_exact_steps_with_strength_0_are_refused():
    with pytest.raises(InvalidRequest, match=r"denoising_strength is 0\.0, but it must be above 0"):
        image_to_image_steps(20, 0.0, exact_steps=True)


@pytest.mark.parametrize("strength", [0.0, 0.3, 0.75, 1.0])
def test_image_to_image_takes_the_end_of_the_schedule(strength):
    whole = scheduled_sigmas("Karras", 20, MODEL)
    found = image_to_image_levels(ask("DPM++ 2M", steps=20), MODEL, denoising_strength=strength)
    assert found.steps == int(min(strength, 0.999) * 20) + 1
    assert torch.equal(found.sigmas, whole[-found.steps - 1 :])
    assert (found.noise_scale, found.latent_scale) == (float(found.sigmas[0]), 1.0)


def test_hires_fix_runs_exactly_its_steps():
    found = image_to_image_levels(ask("Euler", steps=12), MODEL, denoising_strength=0.4, exact_steps=True)
    assert found.steps == 12
    assert torch.equal(found.sigmas, scheduled_sigmas("Uniform", 30, MODEL)[-13:])


def test_the_brownian_motion_runs_over_the_whole_schedule_also_for_a_part_of_it():
    found = image_to_image_levels(ask("DPM++ 2M SDE", steps=20), MODEL, denoising_strength=0.3)
    assert found.brownian_range == pytest.approx((MODEL.sigma_min, MODEL.sigma_max))


def test_extra_noise_is_added_to_the_start():
    found = image_to_image_levels(ask("Euler", extra_noise=0.2), MODEL, denoising_strength=0.5)
    latents, noise = torch.ones(1, 4, 2, 2), torch.full((1, 4, 2, 2), 2.0)
    expected = latents + noise * (float(found.sigmas[0]) + 0.2)
    assert torch.allclose(found.start(noise, latents), expected)


def test_ddim_noises_a_picture_one_timestep_above_its_first_call():
    found = image_to_image_levels(ask("DDIM", steps=20), MODEL, denoising_strength=0.5)
    times = ddim_timesteps(20, MODEL)[:10]
    assert torch.equal(found.sigmas, MODEL.sigmas[times].flip(0))
    alpha = float(MODEL.alphas_cumprod[501])
    latents, noise = torch.full((1, 4, 2, 2), 0.7), torch.full((1, 4, 2, 2), -0.4)
    unit = latents * sqrt(alpha) + noise * sqrt(1 - alpha)
    assert torch.allclose(found.start(noise, latents), unit * sqrt(1 + float(MODEL.sigmas[451]) ** 2))


def test_unipc_starts_a_picture_at_the_last_kept_timestep():
    found = image_to_image_levels(ask("UniPC", steps=20), MODEL, denoising_strength=0.5)
    assert found.timesteps is not None
    assert (found.steps, found.timesteps[0], found.timesteps[-1]) == (10, 451.0, 0.0)


@pytest.mark.parametrize(("name", "strength"), [("DDIM", 0.05), ("PLMS", 0.0), ("DDIM CFG++", 0.05), ("UniPC", 0.0)])
def test_a_strength_that_leaves_a_timestep_sampler_nothing_to_do_is_refused(name, strength):
    with pytest.raises(InvalidRequest, match=r"leaves .* no step to run"):
        image_to_image_levels(ask(name), MODEL, denoising_strength=strength)


@pytest.mark.parametrize("row", SAMPLERS, ids=lambda row: row.name)
def test_every_sampler_has_levels_for_image_to_image(row):
    found = image_to_image_levels(ask(row.name), MODEL, denoising_strength=0.5)
    assert bool(torch.isfinite(found.sigmas).all())
    assert found.latent_scale > 0
    assert found.steps >= 1


def test_own_levels_are_samplers_of_the_catalogue():
    assert set(OWN_LEVELS) < {row.name for row in SAMPLERS}


def test_always_discard_reaches_the_timestep_samplers_too():
    options = ScheduleOptions(always_discard_next_to_last_sigma=True)
    found = text_to_image_levels(ask("DDIM", steps=19, schedule_options=options), MODEL)
    assert torch.equal(found.sigmas, text_to_image_levels(ask("DDIM", steps=20), MODEL).sigmas)
