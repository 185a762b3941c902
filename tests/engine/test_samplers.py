"""The table against the catalogue, and every sampler as the engine runs it."""

from __future__ import annotations

import pytest
import torch

from sdwebui.domain.catalog import SAMPLERS
from sdwebui.engine.model_sigmas import ModelSigmas
from sdwebui.engine.noise import ImageNoise
from sdwebui.engine.noise_levels import LevelsRequest, text_to_image_levels
from sdwebui.engine.samplers import SAMPLER_FUNCTIONS, SAMPLER_OPTIONS, DenoiseAt, SamplerOptions, start_sampler
from tests.engine.k_diffusion_reference import SHAPE, GaussianMixture, relative, run

MODEL = ModelSigmas.from_betas()
NAMES = [row.name for row in SAMPLERS]
CALLS = {
    "DPM++ SDE": 39,
    "DPM++ 2S a": 39,
    "Heun": 39,
    "DPM2": 39,
    "DPM2 a": 39,
    "Restart": 39,
    "DDIM": 19,
    "DDIM CFG++": 19,
}
"""Model calls of 20 steps where they are not 20; DPM adaptive takes as many as it needs."""


def sample(name: str, *, seed: int = 3, steps: int = 20, options: SamplerOptions | None = None):
    """One picture as the engine makes it, with the toy denoiser; float32 like there."""
    levels = text_to_image_levels(LevelsRequest(sampler=name, schedule="Automatic", steps=steps), MODEL)
    noise = ImageNoise(seed, SHAPE[1:])
    model = GaussianMixture()
    model.means, model.log_weights = model.means.float(), model.log_weights.float()

    def answer(request: DenoiseAt):
        denoised = model(request.x, request.sigma)
        return (denoised, denoised) if request.needs_unconditional else denoised

    return run(start_sampler(name, levels.start(noise.initial()), levels, noise, options or SamplerOptions()), answer)


def test_every_sampler_of_the_catalogue_has_a_function_and_no_other_has():
    assert list(SAMPLER_FUNCTIONS) == NAMES
    assert set(SAMPLER_OPTIONS) <= set(NAMES)


@pytest.mark.parametrize("name", NAMES)
def test_every_sampler_cites_its_source(name):
    function = SAMPLER_FUNCTIONS[name]
    text = getattr(function, "func", function).__doc__ or ""
    assert "arXiv:" in text or "k-diffusion" in text


@pytest.mark.parametrize("name", NAMES)
def test_a_picture_ends_on_the_data(name):
    """Unguided and with 20 steps every sampler must come near one of the five clusters of the toy data."""
    result, requests = sample(name)
    assert result.dtype == torch.float32
    assert result.shape == SHAPE
    model = GaussianMixture()
    nearest = min(float((result - mean).pow(2).mean().sqrt()) for mean in model.means)
    assert nearest < 2 * model.spread
    assert all(request.x.dtype == torch.float32 for request in requests)


@pytest.mark.parametrize("name", [name for name in NAMES if name != "DPM adaptive"])
def test_model_calls_of_20_steps_are_a1111s(name):
    _, requests = sample(name)
    assert len(requests) == CALLS.get(name, 20)


@pytest.mark.parametrize("name", NAMES)
def test_progress_rises_from_0_towards_1(name):
    _, requests = sample(name)
    progress = [request.progress for request in requests]
    assert progress[0] == 0
    assert progress == sorted(progress)
    assert 0.5 < progress[-1] < 1
    steps = [request.step for request in requests]
    assert steps == sorted(steps)


@pytest.mark.parametrize("name", NAMES)
def test_a_seed_gives_the_same_picture_again_and_another_seed_another(name):
    first, again, other = sample(name)[0], sample(name)[0], sample(name, seed=4)[0]
    assert torch.equal(first, again)
    assert relative(other, first) > 1e-3


@pytest.mark.parametrize("name", NAMES)
@pytest.mark.parametrize("steps", [2, 3, 37, 150])
def test_few_and_many_steps_stay_finite(name, steps):
    result, _ = sample(name, steps=steps)
    assert bool(torch.isfinite(result).all())


def test_a_single_step_works_wherever_a1111_can_do_one():
    for name in NAMES:
        if name not in {"DDIM", "DDIM CFG++", "PLMS", "UniPC"}:
            assert bool(torch.isfinite(sample(name, steps=1)[0]).all())


@pytest.mark.parametrize("name", ["Euler a", "DPM++ 2M SDE", "DPM2 a", "DPM fast", "DDIM"])
def test_eta_reaches_the_sampler(name):
    changed = SamplerOptions(eta=0.3, eta_ddim=0.3)
    assert relative(sample(name, options=changed)[0], sample(name)[0]) > 1e-3


def test_churn_reaches_euler_and_a_highest_level_of_0_means_none():
    churned = sample("Euler", options=SamplerOptions(s_churn=10.0))[0]
    limited = sample("Euler", options=SamplerOptions(s_churn=10.0, s_tmax=0.001))[0]
    assert relative(churned, sample("Euler")[0]) > 1e-3
    assert torch.equal(limited, sample("Euler")[0])


def test_cfgpp_asks_for_both_predictions_at_a_smaller_guidance():
    _, requests = sample("DDIM CFG++")
    assert all(request.needs_unconditional and request.guidance_factor == 1 / 12.5 for request in requests)
