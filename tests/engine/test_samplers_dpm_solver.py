"""DPM fast and DPM adaptive against k-diffusion."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import pytest
import torch

from sdwebui.engine.samplers_dpm_solver import dpm_adaptive, dpm_fast
from tests.engine.k_diffusion_reference import (
    GaussianMixture,
    ListedNoise,
    Recorder,
    assert_same_trajectory,
    load_k_diffusion,
    relative,
    run,
    run_recorded,
    start_latents,
)

SIGMA_MAX, SIGMA_MIN = 14.6146, 0.0292
ENDS = torch.tensor([SIGMA_MAX, SIGMA_MIN, 0.0], dtype=torch.float64)


@pytest.fixture(scope="module")
def k_diffusion() -> Any:
    return load_k_diffusion()


@pytest.fixture(autouse=True)
def double_precision() -> Iterator[None]:
    """k-diffusion turns sigma_min and sigma_max into tensors of the default dtype."""
    torch.set_default_dtype(torch.float64)
    yield
    torch.set_default_dtype(torch.float32)


@pytest.mark.parametrize("eta", [0.0, 0.5, 1.0])
@pytest.mark.parametrize("calls", [1, 2, 3, 4, 5, 6, 20, 21])
def test_dpm_fast_equals_k_diffusion_and_makes_the_calls_it_is_given(k_diffusion, calls, eta):
    x = start_latents(SIGMA_MAX)
    ours, theirs = Recorder(GaussianMixture()), Recorder(GaussianMixture())
    result = run_recorded(dpm_fast(x, ENDS, ListedNoise(), calls=calls, eta=eta), ours)
    expected = k_diffusion.sample_dpm_fast(
        theirs, x, SIGMA_MIN, SIGMA_MAX, calls, disable=True, eta=eta, noise_sampler=ListedNoise()
    )
    assert_same_trajectory(ours, theirs)
    assert relative(result, expected) <= 1e-8  # the last noise is √(rounding), where the step meets sigma_min
    assert len(ours.calls) == calls


@pytest.mark.parametrize("options", [{"eta": 0.0}, {"eta": 1.0}, {"eta": 0.4, "s_noise": 1.02, "rtol": 0.01}])
def test_dpm_adaptive_equals_k_diffusion_also_in_the_steps_it_takes_back(k_diffusion, options):
    x = start_latents(SIGMA_MAX)
    ours, theirs = Recorder(GaussianMixture()), Recorder(GaussianMixture())
    result = run_recorded(dpm_adaptive(x, ENDS, ListedNoise(), **options), ours)
    expected = k_diffusion.sample_dpm_adaptive(
        theirs, x, SIGMA_MIN, SIGMA_MAX, disable=True, noise_sampler=ListedNoise(), **options
    )
    assert_same_trajectory(ours, theirs, tolerance=1e-7)
    assert relative(result, expected) <= 1e-7


def test_dpm_adaptive_rejects_steps_that_are_too_coarse():
    noise = ListedNoise()
    ours = Recorder(GaussianMixture())
    run_recorded(dpm_adaptive(start_latents(SIGMA_MAX), ENDS, noise, rtol=1e-4, atol=1e-4), ours)
    attempts, accepted = len(ours.calls) / 3, len(noise.asked)
    assert accepted < attempts


def test_progress_of_the_adaptive_sampler_follows_the_noise_level():
    model = GaussianMixture()
    steps = dpm_adaptive(start_latents(SIGMA_MAX), ENDS, ListedNoise())
    _, requests = run(steps, lambda request: model(request.x, request.sigma))
    progress = [request.progress for request in requests]
    assert progress[0] == 0.0
    assert progress == sorted(progress)
    assert 0.5 < progress[-1] < 1.0
