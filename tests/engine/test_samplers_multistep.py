"""DPM++ 2M and LMS against k-diffusion, PLMS and UniPC against diffusers' classes fed with the same noise levels."""

from __future__ import annotations

from collections.abc import Iterator
from math import sqrt
from typing import Any

import pytest
import torch
from diffusers import PNDMScheduler, UniPCMultistepScheduler

from sdwebui.engine.model_sigmas import ModelSigmas
from sdwebui.engine.noise_levels import LevelsRequest, text_to_image_levels
from sdwebui.engine.samplers_multistep import plms, unipc
from tests.engine.k_diffusion_reference import (
    GaussianMixture,
    ListedNoise,
    Recorder,
    load_k_diffusion,
    relative,
    run_recorded,
    start_latents,
)
from tests.engine.sampler_cases import SCHEDULES, TOLERANCE, assert_equals_k_diffusion, levels

MODEL = ModelSigmas.from_betas()


@pytest.fixture(scope="module")
def k_diffusion() -> Any:
    return load_k_diffusion()


@pytest.fixture
def double_precision() -> Iterator[None]:
    """diffusers builds its small tensors in the default dtype."""
    torch.set_default_dtype(torch.float64)
    yield
    torch.set_default_dtype(torch.float32)


@pytest.mark.parametrize("schedule", SCHEDULES)
@pytest.mark.parametrize(("name", "function"), [("DPM++ 2M", "sample_dpmpp_2m"), ("LMS", "sample_lms")])
def test_every_call_and_the_result_equal_k_diffusion(k_diffusion, name, function, schedule):
    assert assert_equals_k_diffusion(name, getattr(k_diffusion, function), levels(schedule), {}) == 12


@pytest.mark.parametrize("steps", [1, 2, 3, 30])
@pytest.mark.parametrize(("name", "function"), [("DPM++ 2M", "sample_dpmpp_2m"), ("LMS", "sample_lms")])
def test_few_and_many_steps_equal_k_diffusion(k_diffusion, name, function, steps):
    assert assert_equals_k_diffusion(name, getattr(k_diffusion, function), levels("Karras", steps), {}) == steps


class UnitVarianceModel:
    """The toy denoiser as diffusers sees it: predicts noise from unit-variance latents at an integer timestep."""

    def __init__(self, alphas: torch.Tensor) -> None:
        self.alphas = alphas
        self.denoiser = GaussianMixture()

    def __call__(self, sample: torch.Tensor, alpha: float) -> torch.Tensor:
        sigma = sqrt((1 - alpha) / alpha)
        x = sample * sqrt(1 + sigma**2)
        return (x - self.denoiser(x, sigma)) / sigma


@pytest.mark.parametrize("steps", [5, 20, 25])
def test_plms_equals_diffusers(steps):
    found = text_to_image_levels(LevelsRequest(sampler="PLMS", schedule="Uniform", steps=steps), MODEL)
    sample = start_latents(1.0)
    ours = Recorder(GaussianMixture())
    result = run_recorded(plms(found.start(sample), found.sigmas, ListedNoise()), ours)

    scheduler = PNDMScheduler(
        beta_start=0.00085, beta_end=0.012, beta_schedule="scaled_linear", skip_prk_steps=True, steps_offset=1
    )
    scheduler.alphas_cumprod = MODEL.alphas_cumprod
    scheduler.set_timesteps(steps)
    model = UnitVarianceModel(MODEL.alphas_cumprod)
    for timestep in scheduler.timesteps[:-1]:  # diffusers goes one step beyond t = 1, A1111 does not
        sample = scheduler.step(model(sample, float(MODEL.alphas_cumprod[timestep])), timestep, sample).prev_sample
    assert len(ours.calls) == len(scheduler.timesteps) - 1 == steps
    assert relative(result, sample) <= TOLERANCE


@pytest.mark.filterwarnings("ignore:__array__ implementation:DeprecationWarning")  # inside diffusers
@pytest.mark.parametrize("variant", ["bh1", "bh2"])
@pytest.mark.parametrize(("steps", "order"), [(5, 3), (20, 3), (10, 2), (10, 1), (4, 3)])
def test_unipc_equals_diffusers_at_the_same_noise_levels(double_precision, steps, order, variant):
    found = text_to_image_levels(LevelsRequest(sampler="UniPC", schedule="Uniform", steps=steps), MODEL)
    assert found.timesteps is not None
    sample = start_latents(1.0)
    ours = Recorder(GaussianMixture())
    generator = unipc(
        found.start(sample), found.sigmas, ListedNoise(), timesteps=found.timesteps, order=order, variant=variant
    )
    result = run_recorded(generator, ours)

    scheduler = UniPCMultistepScheduler(solver_order=order, solver_type=variant, final_sigmas_type="sigma_min")
    scheduler.set_timesteps(steps)
    scheduler.sigmas = found.sigmas
    model = UnitVarianceModel(MODEL.alphas_cumprod)
    for timestep, sigma in zip(scheduler.timesteps, found.sigmas.tolist(), strict=False):
        sample = scheduler.step(model(sample, 1 / (1 + sigma**2)), timestep, sample).prev_sample
    assert len(ours.calls) == steps
    assert relative(result, sample) <= TOLERANCE


def test_unipc_takes_a_lower_order_when_there_are_fewer_steps_than_its_order():
    found = text_to_image_levels(LevelsRequest(sampler="UniPC", schedule="Uniform", steps=2), MODEL)
    ours = Recorder(GaussianMixture())
    result = run_recorded(unipc(found.start(start_latents(1.0)), found.sigmas, ListedNoise(), order=3), ours)
    assert len(ours.calls) == 2
    assert bool(torch.isfinite(result).all())


def test_unipc_without_lower_order_at_the_end_converges_to_the_same_picture():
    """No class does this for us: the two rules must agree as the steps get small."""
    results = {}
    for lower in (True, False):
        for steps in (25, 100):
            found = text_to_image_levels(LevelsRequest(sampler="UniPC", schedule="Uniform", steps=steps), MODEL)
            generator = unipc(found.start(start_latents(1.0)), found.sigmas, ListedNoise(), lower_order_final=lower)
            results[lower, steps] = run_recorded(generator, Recorder(GaussianMixture()))
    assert 0 < relative(results[True, 100], results[False, 100]) < relative(results[True, 25], results[False, 25])
