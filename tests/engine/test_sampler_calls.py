"""The split of an ancestral step."""

from __future__ import annotations

import pytest

from sdwebui.engine.sampler_calls import ancestral_split


@pytest.mark.parametrize(("sigma", "sigma_next", "eta"), [(14.6, 10.0, 1.0), (3.0, 0.5, 0.3), (1.0, 0.99, 1.0)])
def test_both_parts_of_a_step_add_up_to_the_next_noise_level(sigma, sigma_next, eta):
    down, up = ancestral_split(sigma, sigma_next, eta)
    assert down**2 + up**2 == pytest.approx(sigma_next**2, rel=1e-12)
    assert 0 < up < sigma_next


def test_eta_1_is_the_posterior_variance_of_ddpm():
    _, up = ancestral_split(3.0, 2.0, 1.0)
    alpha, alpha_next = 1 / (1 + 3.0**2), 1 / (1 + 2.0**2)
    variance = (1 - alpha_next) / (1 - alpha) * (1 - alpha / alpha_next)  # equation 16 of arXiv:2010.02502, squared
    assert up == pytest.approx((variance / alpha_next) ** 0.5, rel=1e-12)


def test_eta_0_adds_no_noise():
    assert ancestral_split(3.0, 2.0, 0.0) == (2.0, 0.0)


def test_noise_never_exceeds_the_next_level_however_large_eta_is():
    assert ancestral_split(3.0, 2.0, 5.0) == (0.0, 2.0)
