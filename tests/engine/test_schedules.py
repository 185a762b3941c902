"""Every schedule against k-diffusion, scipy, or its rule written out; and the table against the catalogue."""

from __future__ import annotations

from math import atan, exp, log, tan

import numpy as np
import pytest
import torch
from scipy import stats

from sdwebui.domain.catalog import AUTOMATIC, SCHEDULES
from sdwebui.engine.model_sigmas import ModelSigmas
from sdwebui.engine.schedules import (
    ALIGN_YOUR_STEPS_SD1,
    ALIGN_YOUR_STEPS_SDXL,
    SCHEDULE_FUNCTIONS,
    ScheduleOptions,
    scheduled_sigmas,
)
from tests.engine.k_diffusion_reference import load_k_diffusion

MODEL = ModelSigmas.from_betas()
STEPS = (1, 2, 7, 20, 30, 150)
LOW, HIGH = MODEL.sigma_min, MODEL.sigma_max


def close(ours: torch.Tensor, expected: object, tolerance: float = 1e-6) -> bool:
    """k-diffusion and A1111 compute their schedules in float32."""
    return torch.allclose(ours, torch.as_tensor(expected, dtype=torch.float64), rtol=tolerance, atol=1e-12)


def test_the_table_and_the_catalogue_name_the_same_schedules():
    assert [row.label for row in SCHEDULES if row.label != AUTOMATIC] == list(SCHEDULE_FUNCTIONS)


@pytest.mark.parametrize("steps", STEPS)
@pytest.mark.parametrize("label", SCHEDULE_FUNCTIONS)
def test_levels_fall_and_end_in_0(label, steps):
    sigmas = scheduled_sigmas(label, steps, MODEL)
    assert sigmas.dtype == torch.float64
    assert bool((sigmas.diff() < 0).all())
    assert (float(sigmas[-1]) == 0) == (label != "KL Optimal")
    if label != "DDIM":
        assert len(sigmas) == steps + 1


@pytest.mark.parametrize("steps", STEPS)
def test_karras_exponential_and_polyexponential_equal_k_diffusion(steps):
    reference = load_k_diffusion()
    for label, function in (
        ("Karras", reference.get_sigmas_karras),
        ("Exponential", reference.get_sigmas_exponential),
        ("Polyexponential", reference.get_sigmas_polyexponential),
    ):
        assert close(scheduled_sigmas(label, steps, MODEL), function(steps, LOW, HIGH), 2e-6)


@pytest.mark.parametrize("steps", STEPS)
def test_uniform_and_normal_equal_k_diffusions_own_schedule(steps):
    reference = load_k_diffusion("external").DiscreteSchedule(MODEL.sigmas, quantize=False)
    expected = reference.get_sigmas(steps)
    assert close(scheduled_sigmas("Uniform", steps, MODEL), expected, 2e-6)
    assert close(scheduled_sigmas("Normal", steps, MODEL), expected, 2e-6)


@pytest.mark.parametrize("steps", STEPS)
def test_sgm_uniform_is_the_longer_list_of_timesteps_without_its_last(steps):
    times = np.linspace(999, 0, steps + 1)[:-1]
    assert close(scheduled_sigmas("SGM Uniform", steps, MODEL), [*(MODEL.sigma_at(t) for t in times), 0.0])


@pytest.mark.parametrize("steps", STEPS)
def test_kl_optimal_is_even_in_arctan_and_ends_at_the_lowest_level(steps):
    share = [step / steps for step in range(steps + 1)]
    expected = [tan(part * atan(LOW) + (1 - part) * atan(HIGH)) for part in share]
    sigmas = scheduled_sigmas("KL Optimal", steps, MODEL)
    assert close(sigmas, expected)
    assert float(sigmas[-1]) == pytest.approx(LOW)


@pytest.mark.parametrize(("is_sdxl", "table"), [(False, ALIGN_YOUR_STEPS_SD1), (True, ALIGN_YOUR_STEPS_SDXL)])
def test_align_your_steps_is_its_table_at_11_levels_and_log_linear_between(is_sdxl, table):
    options = ScheduleOptions(is_sdxl=is_sdxl)
    assert close(scheduled_sigmas("Align Your Steps", 11, MODEL, options), [*table, 0.0])
    finer = scheduled_sigmas("Align Your Steps", 21, MODEL, options)
    assert close(finer[:-1:2], table)
    assert float(finer[1]) == pytest.approx(exp((log(table[0]) + log(table[1])) / 2))


@pytest.mark.parametrize("steps", STEPS)
def test_simple_takes_every_nth_training_level_from_the_top(steps):
    expected = [float(MODEL.sigmas[999 - int(index * 1000 / steps)]) for index in range(steps)]
    assert close(scheduled_sigmas("Simple", steps, MODEL), [*expected, 0.0])


@pytest.mark.parametrize(("steps", "count"), [(1, 1), (20, 20), (30, 31), (150, 167)])
def test_ddim_takes_every_nth_training_level_from_index_1(steps, count):
    sigmas = scheduled_sigmas("DDIM", steps, MODEL)
    assert len(sigmas) == count + 1
    assert float(sigmas[-2]) == float(MODEL.sigmas[1])
    assert float(sigmas[0]) == float(MODEL.sigmas[1 + (count - 1) * (1000 // steps)])


@pytest.mark.parametrize("steps", (2, 7, 20))
@pytest.mark.parametrize("shape", [(0.6, 0.6), (1.0, 1.0), (0.5, 0.8)])
def test_beta_is_linear_in_the_quantiles_of_the_beta_distribution(steps, shape):
    quantiles = stats.beta.ppf(1 - np.linspace(0, 1, steps), *shape)
    options = ScheduleOptions(beta_alpha=shape[0], beta_beta=shape[1])
    expected = [*(LOW + quantiles * (HIGH - LOW)), 0.0]
    assert close(scheduled_sigmas("Beta", steps, MODEL, options), expected)


def test_a_discarded_level_is_the_one_before_the_last_of_a_longer_list():
    longer = scheduled_sigmas("Karras", 21, MODEL)
    expected = torch.cat([longer[:-2], longer[-1:]])
    assert torch.equal(scheduled_sigmas("Karras", 20, MODEL, discard_next_to_last_sigma=True), expected)
    always = ScheduleOptions(always_discard_next_to_last_sigma=True)
    assert torch.equal(scheduled_sigmas("Karras", 20, MODEL, always), expected)


def test_range_and_rho_can_be_set():
    options = ScheduleOptions(sigma_min=0.1, sigma_max=10.0, rho=5.0)
    expected = load_k_diffusion().get_sigmas_karras(20, 0.1, 10.0, rho=5.0)
    assert close(scheduled_sigmas("Karras", 20, MODEL, options), expected, 2e-6)
    expected = load_k_diffusion().get_sigmas_polyexponential(20, 0.1, 10.0, rho=5.0)
    assert close(scheduled_sigmas("Polyexponential", 20, MODEL, options), expected, 2e-6)
    assert torch.equal(scheduled_sigmas("Uniform", 20, MODEL, options), scheduled_sigmas("Uniform", 20, MODEL))


def test_the_old_range_goes_from_10_to_a_tenth():
    sigmas = scheduled_sigmas("Exponential", 20, MODEL, ScheduleOptions(old_karras_range=True))
    assert [float(sigmas[0]), float(sigmas[-2])] == pytest.approx([10.0, 0.1])
