"""Our Brownian tree against k-diffusion's, which wraps torchsde's."""

from __future__ import annotations

from itertools import pairwise
from typing import Any

import pytest
import torch

from sdwebui.engine.brownian import BrownianTree
from tests.engine.k_diffusion_reference import load_k_diffusion, relative

SHAPE = (4, 6, 5)
LOW, HIGH = 0.0292, 14.6146


@pytest.fixture(scope="module")
def k_diffusion() -> Any:
    return load_k_diffusion()


def tree(seed: int, dtype: torch.dtype = torch.float64, low: float = LOW, high: float = HIGH) -> BrownianTree:
    def normal(entropy: int) -> torch.Tensor:
        return torch.randn(SHAPE, generator=torch.Generator().manual_seed(entropy), dtype=dtype)

    return BrownianTree(low, high, seed=seed, normal=normal)


def path(k_diffusion: Any, steps: int = 20) -> list[float]:
    sigmas = k_diffusion.get_sigmas_karras(steps, LOW, HIGH).to(torch.float64)
    found: list[float] = sigmas[:-1].clamp(LOW, HIGH).tolist()
    return found


@pytest.mark.parametrize("seed", [0, 7, 2**31 - 1, 2**62 + 11])
@pytest.mark.parametrize(("dtype", "tolerance"), [(torch.float64, 1e-9), (torch.float32, 1e-6)])
def test_noise_of_a_seed_equals_k_diffusions(k_diffusion, seed, dtype, tolerance):
    x = torch.zeros((1, *SHAPE), dtype=dtype)
    low, high = torch.tensor(LOW, dtype=torch.float64), torch.tensor(HIGH, dtype=torch.float64)
    reference = k_diffusion.BrownianTreeNoiseSampler(x, low, high, seed=[seed])
    ours = tree(seed, dtype)
    sigmas = path(k_diffusion)
    for sigma, sigma_next in pairwise(sigmas):
        here, there = (torch.tensor(value, dtype=torch.float64) for value in (sigma, sigma_next))
        noise = ours.noise(sigma, sigma_next)
        assert noise.dtype == dtype
        assert relative(noise.to(torch.float64), reference(here, there)[0].to(torch.float64)) <= tolerance


def test_a_path_does_not_depend_on_where_and_in_which_order_it_is_asked():
    ours = tree(3)
    backwards = tree(3)
    late = backwards.increment(1.0, 0.5)
    early = backwards.increment(9.0, 4.0)
    assert torch.equal(ours.increment(9.0, 4.0), early)
    assert torch.equal(ours.increment(1.0, 0.5), late)


def test_increments_add_up_and_change_sign_with_direction():
    ours = tree(5)
    parts = ours.increment(10.0, 6.0) + ours.increment(6.0, 2.0)
    assert torch.allclose(parts, ours.increment(10.0, 2.0), atol=1e-12)
    assert torch.allclose(ours.increment(2.0, 10.0), -parts, atol=1e-12)


def test_points_outside_the_interval_are_moved_to_its_ends():
    assert torch.equal(tree(1).increment(HIGH + 1e-5, 2.0), tree(1).increment(HIGH, 2.0))
    assert torch.equal(tree(1).increment(2.0, 0.0), tree(1).increment(2.0, LOW))


def test_noise_has_unit_variance_and_separate_steps_are_independent():
    pairs = []
    for seed in range(200):
        ours = tree(seed)
        pairs.append((ours.noise(8.0, 3.0).flatten(), ours.noise(3.0, 1.0).flatten()))
    first, second = (torch.cat([pair[index] for pair in pairs]) for index in (0, 1))
    assert float(first.std()) == pytest.approx(1.0, abs=0.02)
    assert float(second.std()) == pytest.approx(1.0, abs=0.02)
    assert abs(float((first * second).mean())) < 0.03
