"""What the sampler tests share: noise levels to try, and one comparison with k-diffusion."""

from __future__ import annotations

import inspect
from collections.abc import Mapping
from typing import Any

import torch
from torch import Tensor

from sdwebui.engine.model_sigmas import ModelSigmas
from sdwebui.engine.samplers import SAMPLER_FUNCTIONS
from sdwebui.engine.schedules import scheduled_sigmas
from tests.engine.k_diffusion_reference import (
    GaussianMixture,
    ListedNoise,
    Recorder,
    assert_same_trajectory,
    relative,
    run_recorded,
    start_latents,
)

SCHEDULES = ("Uniform", "Karras", "SGM Uniform", "Exponential", "KL Optimal", "Beta")
TOLERANCE = 1e-9
"""Relative L2; the issue asks for 1e-6, float64 gives some 1e-15."""


def levels(schedule: str, steps: int = 12) -> Tensor:
    """Noise levels of SD1's training table."""
    return scheduled_sigmas(schedule, steps, ModelSigmas.from_betas())


def assert_equals_k_diffusion(
    name: str, reference: Any, sigmas: Tensor, ours: Mapping[str, Any], theirs: Mapping[str, Any] | None = None
) -> int:
    """Our sampler and k-diffusion's: same calls, same noise asked for, same result. Returns the number of calls."""
    theirs = dict(ours if theirs is None else theirs)
    x = start_latents(float(sigmas[0]))
    our_calls, their_calls = Recorder(GaussianMixture()), Recorder(GaussianMixture())
    our_noise, their_noise = ListedNoise(), ListedNoise()
    if "noise_sampler" in inspect.signature(reference).parameters:
        theirs["noise_sampler"] = their_noise
    result = run_recorded(SAMPLER_FUNCTIONS[name](x, sigmas, our_noise, **ours), our_calls)
    expected = reference(their_calls, x, sigmas, disable=True, **theirs)
    assert_same_trajectory(our_calls, their_calls)
    assert relative(result, expected) <= TOLERANCE
    if "noise_sampler" in theirs:
        assert torch.allclose(torch.tensor(our_noise.asked), torch.tensor(their_noise.asked), rtol=1e-6)
    return len(our_calls.calls)
