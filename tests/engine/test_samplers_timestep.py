"""DDIM and LCM against diffusers' classes fed with the same timesteps; DDIM CFG++ against its paper written out."""

from __future__ import annotations

from itertools import pairwise
from math import sqrt

import pytest
import torch
from diffusers import DDIMScheduler, LCMScheduler

from sdwebui.engine.model_sigmas import ConsistencyGrid, ModelSigmas
from sdwebui.engine.noise_levels import LevelsRequest, text_to_image_levels
from sdwebui.engine.samplers_timestep import ddim, ddim_cfgpp, lcm
from tests.engine.k_diffusion_reference import (
    GaussianMixture,
    ListedNoise,
    Recorder,
    relative,
    run,
    run_recorded,
    start_latents,
)
from tests.engine.sampler_cases import TOLERANCE

MODEL = ModelSigmas.from_betas()
ALPHAS = MODEL.alphas_cumprod


def noise_prediction(sample: torch.Tensor, timestep: int, denoiser: GaussianMixture) -> torch.Tensor:
    """What a noise-predicting model says of unit-variance latents."""
    sigma = float(MODEL.sigmas[timestep])
    x = sample * sqrt(1 + sigma**2)
    return (x - denoiser(x, sigma)) / sigma


@pytest.mark.parametrize("eta", [0.0, 0.5, 1.0])
@pytest.mark.parametrize("steps", [2, 20, 30])
def test_ddim_equals_diffusers(steps, eta):
    found = text_to_image_levels(LevelsRequest(sampler="DDIM", schedule="Uniform", steps=steps), MODEL)
    sample = start_latents(1.0)
    ours = Recorder(GaussianMixture())
    result = run_recorded(ddim(found.start(sample), found.sigmas, ListedNoise(), eta=eta), ours)

    scheduler = DDIMScheduler(clip_sample=False, set_alpha_to_one=False)
    scheduler.alphas_cumprod = ALPHAS
    scheduler.set_timesteps(steps)
    noise, denoiser = ListedNoise(), GaussianMixture()
    times = list(range(1, 1000, 1000 // steps))[::-1]
    for timestep in times[:-1]:
        prediction = noise_prediction(sample, timestep, denoiser)
        fresh = noise(0.0, 0.0)
        sample = scheduler.step(prediction, timestep, sample, eta=eta, variance_noise=fresh).prev_sample
    assert len(ours.calls) == len(times) - 1
    assert relative(result, sample) <= TOLERANCE


@pytest.mark.parametrize("eta", [0.0, 0.7])
def test_ddim_cfgpp_equals_the_paper_written_out(eta):
    found = text_to_image_levels(LevelsRequest(sampler="DDIM CFG++", schedule="Uniform", steps=20), MODEL)
    prompt, empty, scale = GaussianMixture(0), GaussianMixture(9), 7.5
    sample = start_latents(1.0)

    def answer(request):
        assert request.needs_unconditional
        uncond = empty(request.x, request.sigma)
        guided = uncond + scale * request.guidance_factor * (prompt(request.x, request.sigma) - uncond)
        return guided, uncond

    result, requests = run(ddim_cfgpp(found.start(sample), found.sigmas, ListedNoise(), eta=eta), answer)

    noise = ListedNoise()
    times = list(range(1, 1000, 50))[::-1]
    for timestep, before in pairwise(times):
        alpha, alpha_next = float(ALPHAS[timestep]), float(ALPHAS[before])
        unguided = noise_prediction(sample, timestep, empty)
        guided = unguided + scale / 12.5 * (noise_prediction(sample, timestep, prompt) - unguided)
        clean = (sample - sqrt(1 - alpha) * guided) / sqrt(alpha)
        spread = eta * sqrt((1 - alpha_next) / (1 - alpha) * (1 - alpha / alpha_next))
        sample = sqrt(alpha_next) * clean + sqrt(1 - alpha_next - spread**2) * unguided + spread * noise(0.0, 0.0)
    assert len(requests) == 19
    assert relative(result, sample) <= TOLERANCE


def test_ddim_cfgpp_at_guidance_1_is_ddim():
    """With λ = 1 both predictions are the prompt's, when prompt and empty prompt agree."""
    found = text_to_image_levels(LevelsRequest(sampler="DDIM CFG++", schedule="Uniform", steps=10), MODEL)
    model, x = GaussianMixture(), found.start(start_latents(1.0))
    guided, _ = run(ddim_cfgpp(x, found.sigmas, ListedNoise()), lambda request: (model(request.x, request.sigma),) * 2)
    plain = run_recorded(ddim(x, found.sigmas, ListedNoise()), Recorder(model))
    assert relative(guided, plain) <= TOLERANCE


TIMES = [999, 759, 499, 259]


def test_lcm_equals_diffusers_on_its_own_timesteps():
    sigmas = torch.cat([MODEL.sigmas[TIMES], torch.zeros(1, dtype=torch.float64)])
    sample = start_latents(1.0)
    x = sample * sqrt(1 + float(sigmas[0]) ** 2)
    result = run_recorded(lcm(x, sigmas, ListedNoise(), timesteps=[*TIMES, 0.0]), Recorder(GaussianMixture()))

    scheduler = LCMScheduler(beta_start=0.00085, beta_end=0.012, clip_sample=False)
    scheduler.alphas_cumprod = ALPHAS
    scheduler.set_timesteps(4)
    assert scheduler.timesteps.tolist() == TIMES
    noise, denoiser = ListedNoise(), GaussianMixture()
    for index, timestep in enumerate(TIMES):
        alpha = float(ALPHAS[timestep])
        c_skip, c_out = scheduler.get_scalings_for_boundary_condition_discrete(
            torch.tensor(timestep, dtype=torch.float64)
        )
        prediction = noise_prediction(sample, timestep, denoiser)
        clean = c_out * (sample - sqrt(1 - alpha) * prediction) / sqrt(alpha) + c_skip * sample
        sample = clean
        if index < 3:
            alpha_next = float(ALPHAS[TIMES[index + 1]])
            sample = sqrt(alpha_next) * clean + sqrt(1 - alpha_next) * noise(0.0, 0.0)
    # A1111 scales c_skip's term in variance-exploding latents, diffusers in unit-variance ones: 4e-8 at t = 259.
    assert relative(result, sample) <= 1e-6


def test_lcm_tells_the_model_the_nearest_time_of_its_grid():
    found = text_to_image_levels(LevelsRequest(sampler="LCM", schedule="Karras", steps=5), MODEL)
    grid = ConsistencyGrid(MODEL)
    model = GaussianMixture()
    steps = lcm(found.start(start_latents(1.0)), found.sigmas, ListedNoise(), timesteps=found.timesteps or ())
    _, requests = run(steps, lambda request: model(request.x, request.sigma))
    assert [request.timestep for request in requests] == [grid.timestep_at(request.sigma) for request in requests]
    assert all(request.timestep is not None and (request.timestep - 19) % 20 == 0 for request in requests)
    assert len(requests) == 5
