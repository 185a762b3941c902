"""SDE samplers against k-diffusion, with listed noise and with each side's own Brownian motion."""

from __future__ import annotations

from typing import Any

import pytest
import torch

from sdwebui.engine.noise import ImageNoise
from sdwebui.engine.samplers import SAMPLER_FUNCTIONS
from tests.engine.k_diffusion_reference import (
    SHAPE,
    GaussianMixture,
    ListedNoise,
    Recorder,
    load_k_diffusion,
    relative,
    run_recorded,
    start_latents,
)
from tests.engine.sampler_cases import SCHEDULES, assert_equals_k_diffusion, levels

SAMPLERS = [
    ("DPM++ SDE", "sample_dpmpp_sde", {}),
    ("DPM++ 2M SDE", "sample_dpmpp_2m_sde", {}),
    ("DPM++ 2M SDE Heun", "sample_dpmpp_2m_sde", {"solver_type": "heun"}),
    ("DPM++ 3M SDE", "sample_dpmpp_3m_sde", {}),
]


@pytest.fixture(scope="module")
def k_diffusion() -> Any:
    return load_k_diffusion()


@pytest.mark.parametrize("schedule", SCHEDULES)
@pytest.mark.parametrize(("name", "function", "theirs"), SAMPLERS, ids=lambda value: str(value))
def test_every_call_and_the_result_equal_k_diffusion(k_diffusion, name, function, theirs, schedule):
    sigmas = levels(schedule)
    calls = assert_equals_k_diffusion(name, getattr(k_diffusion, function), sigmas, {}, theirs)
    if sigmas[-1] == 0:
        assert calls == (2 * 12 - 1 if name == "DPM++ SDE" else 12)


@pytest.mark.parametrize("options", [{"eta": 0.0}, {"eta": 0.5, "s_noise": 1.03}])
@pytest.mark.parametrize(("name", "function", "theirs"), SAMPLERS, ids=lambda value: str(value))
def test_eta_and_noise_factor_equal_k_diffusion(k_diffusion, name, function, theirs, options):
    sigmas = levels("Exponential")
    assert_equals_k_diffusion(name, getattr(k_diffusion, function), sigmas, options, {**theirs, **options})


@pytest.mark.parametrize("steps", [2, 3, 4])
@pytest.mark.parametrize(("name", "function", "theirs"), SAMPLERS, ids=lambda value: str(value))
def test_few_steps_equal_k_diffusion(k_diffusion, name, function, theirs, steps):
    assert_equals_k_diffusion(name, getattr(k_diffusion, function), levels("Karras", steps), {}, theirs)


@pytest.mark.parametrize("name", [name for name, _, _ in SAMPLERS])
def test_one_step_is_the_denoised_picture_where_k_diffusion_fails(name):
    sigmas = levels("Karras", 1)
    x = start_latents(float(sigmas[0]))
    result = run_recorded(SAMPLER_FUNCTIONS[name](x, sigmas, ListedNoise()), Recorder(GaussianMixture()))
    assert torch.equal(result, GaussianMixture()(x, float(sigmas[0])))


@pytest.mark.filterwarnings("ignore:Should have t")  # torchsde about the last bit of the interval's end
@pytest.mark.parametrize(("name", "function", "theirs"), SAMPLERS, ids=lambda value: str(value))
def test_with_the_brownian_motion_of_a_seed_the_picture_is_k_diffusions(k_diffusion, name, function, theirs):
    sigmas = levels("Karras", 15)
    x = start_latents(float(sigmas[0])).to(torch.float32)
    low, high = float(sigmas[-2]), float(sigmas[0])
    noise = ImageNoise(1234, SHAPE[1:]).brownian(low, high)
    result = run_recorded(SAMPLER_FUNCTIONS[name](x, sigmas, noise), Recorder(GaussianMixture()))
    sampler = k_diffusion.BrownianTreeNoiseSampler(x, sigmas[-2], sigmas[0], seed=[1234])
    reference = getattr(k_diffusion, function)
    expected = reference(Recorder(GaussianMixture()), x, sigmas, disable=True, noise_sampler=sampler, **theirs)
    assert relative(result, expected) <= 1e-6
