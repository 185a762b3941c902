"""The training noise levels against k-diffusion's discrete schedule and known numbers."""

from __future__ import annotations

import pytest
import torch

from sdwebui.engine.model_sigmas import ConsistencyGrid, ModelSigmas
from tests.engine.k_diffusion_reference import load_k_diffusion

MODEL = ModelSigmas.from_betas()


def test_the_ends_of_stable_diffusions_table_are_the_known_ones():
    assert MODEL.steps == 1000
    assert MODEL.sigma_min == pytest.approx(0.029167, rel=1e-4)
    assert MODEL.sigma_max == pytest.approx(14.614641, rel=1e-6)


def test_linear_betas_of_the_first_diffusion_models():
    model = ModelSigmas.from_betas(start=1e-4, end=0.02, kind="linear")
    assert float(model.alphas_cumprod[0]) == pytest.approx(0.9999, abs=1e-7)
    assert float(model.alphas_cumprod[-1]) == pytest.approx(4.0358e-05, rel=1e-4)


def test_sigma_and_timestep_equal_k_diffusion_between_training_steps():
    reference = load_k_diffusion("external").DiscreteSchedule(MODEL.sigmas, quantize=False)
    for timestep in (0.0, 0.25, 17.9, 500.5, 998.75, 999.0):
        expected = float(reference.t_to_sigma(torch.tensor(timestep, dtype=torch.float64)))
        assert MODEL.sigma_at(timestep) == pytest.approx(expected, rel=1e-6)  # k-diffusion rounds t to float32
        assert MODEL.timestep_at(MODEL.sigma_at(timestep)) == pytest.approx(timestep, abs=1e-8)
    for sigma in (0.001, 0.03, 0.5, 3.3, 14.0, 80.0):
        expected = float(reference.sigma_to_t(torch.tensor(sigma, dtype=torch.float64)))
        assert MODEL.timestep_at(sigma) == pytest.approx(expected, abs=1e-9)


@pytest.mark.parametrize("timestep", range(0, 1000, 37))
def test_training_steps_have_whole_timesteps(timestep):
    assert MODEL.timestep_at(float(MODEL.sigmas[timestep])) == pytest.approx(timestep, abs=1e-9)


def test_zero_terminal_snr_keeps_the_first_level_and_ends_in_noise():
    model = MODEL.with_zero_terminal_snr()
    assert model.sigma_min == pytest.approx(MODEL.sigma_min, rel=1e-5)
    assert model.sigma_max == pytest.approx(4518.7, rel=1e-4)
    assert bool((model.sigmas.diff() > 0).all())
    roots, old = model.alphas_cumprod.sqrt(), MODEL.alphas_cumprod.sqrt()
    expected = (old[500] - old[-1]) * old[0] / (old[0] - old[-1])  # Algorithm 1 of arXiv:2305.08891
    assert float(roots[500]) == pytest.approx(float(expected), rel=1e-6)


def test_half_precision_alphas_change_the_levels_a_little():
    model = MODEL.with_half_precision_alphas()
    assert model.sigma_min != MODEL.sigma_min
    assert float((model.sigmas / MODEL.sigmas - 1).abs().max()) < 0.2
    assert torch.equal(model.alphas_cumprod, model.alphas_cumprod.to(torch.float16).to(torch.float64))


def test_the_consistency_grid_is_every_20th_training_step():
    grid = ConsistencyGrid(MODEL)
    assert torch.equal(grid.sigmas, MODEL.sigmas[19::20])
    assert [grid.timestep_at(sigma) for sigma in grid.sigmas.tolist()] == [float(t) for t in range(19, 1000, 20)]
    assert grid.timestep_at(100.0) == 999.0
    assert grid.timestep_at(0.001) == 19.0
    assert grid.sigma_at(999.0) == pytest.approx(MODEL.sigma_max)
    assert grid.sigma_at(3.0) == pytest.approx(float(MODEL.sigmas[19]))
