"""One-step samplers against k-diffusion, and Restart against its algorithm written out."""

from __future__ import annotations

from itertools import pairwise
from typing import Any

import pytest
import torch

from sdwebui.engine.samplers_one_step import euler, heun, restart, restart_steps
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


@pytest.fixture(scope="module")
def k_diffusion() -> Any:
    return load_k_diffusion()


@pytest.mark.parametrize("schedule", SCHEDULES)
@pytest.mark.parametrize(
    ("name", "function"),
    [
        ("Euler", "sample_euler"),
        ("Euler a", "sample_euler_ancestral"),
        ("Heun", "sample_heun"),
        ("DPM2", "sample_dpm_2"),
        ("DPM2 a", "sample_dpm_2_ancestral"),
        ("DPM++ 2S a", "sample_dpmpp_2s_ancestral"),
    ],
)
def test_every_call_and_the_result_equal_k_diffusion(k_diffusion, name, function, schedule):
    sigmas = levels(schedule)
    calls = assert_equals_k_diffusion(name, getattr(k_diffusion, function), sigmas, {})
    if sigmas[-1] == 0:
        assert calls == (12 if name.startswith("Euler") else 2 * 12 - 1)


@pytest.mark.parametrize("options", [{"eta": 0.0}, {"eta": 0.6}, {"eta": 1.0, "s_noise": 1.02}])
@pytest.mark.parametrize(
    ("name", "function"),
    [
        ("Euler a", "sample_euler_ancestral"),
        ("DPM2 a", "sample_dpm_2_ancestral"),
        ("DPM++ 2S a", "sample_dpmpp_2s_ancestral"),
    ],
)
def test_eta_and_noise_factor_equal_k_diffusion(k_diffusion, name, function, options):
    assert_equals_k_diffusion(name, getattr(k_diffusion, function), levels("Karras"), options)


@pytest.mark.parametrize("options", [{"s_churn": 5.0}, {"s_churn": 9.0, "s_tmin": 0.5, "s_tmax": 6.0, "s_noise": 1.01}])
@pytest.mark.parametrize(
    ("name", "function"), [("Euler", "sample_euler"), ("Heun", "sample_heun"), ("DPM2", "sample_dpm_2")]
)
def test_churn_equals_k_diffusion(k_diffusion, name, function, options):
    sigmas = levels("Karras")
    x = start_latents(float(sigmas[0]))
    result = run_recorded(_samplers(name)(x, sigmas, _GlobalNoise(), **options), Recorder(GaussianMixture()))
    torch.manual_seed(5)
    expected = getattr(k_diffusion, function)(Recorder(GaussianMixture()), x, sigmas, disable=True, **options)
    assert relative(result, expected) <= TOLERANCE


class _GlobalNoise:
    """The numbers that k-diffusion draws with `torch.randn_like` after `torch.manual_seed(5)`."""

    def __init__(self) -> None:
        self._generator = torch.Generator().manual_seed(5)

    def __call__(self, _sigma: float, _sigma_next: float) -> torch.Tensor:
        return torch.randn((1, 4, 8, 8), generator=self._generator, dtype=torch.float64)


def _samplers(name: str) -> Any:
    from sdwebui.engine.samplers import SAMPLER_FUNCTIONS

    return SAMPLER_FUNCTIONS[name]


def test_without_churn_no_noise_is_drawn():
    noise = ListedNoise()
    sigmas = levels("Karras")
    for sampler in (euler, heun):
        run_recorded(sampler(start_latents(float(sigmas[0])), sigmas, noise), Recorder(GaussianMixture()))
    assert noise.asked == []


# ------------------------------------------------------------------------------------------------------- Restart


def karras(count: int, low: float, high: float) -> list[float]:
    ramp = torch.linspace(0, 1, count, dtype=torch.float64)
    found: list[float] = ((high ** (1 / 7) + ramp * (low ** (1 / 7) - high ** (1 / 7))) ** 7).tolist()
    return found


def restart_written_out(x, sigmas, noise, denoise, *, length: int, times: int):
    """The paper's story: the main backward process; at t_min, K times: noise up to t_max, back down to t_min."""
    main = [*karras(len(sigmas) - 1 - length * times, float(sigmas[-2]), float(sigmas[0])), 0.0]
    t_min = min(main, key=lambda sigma: abs(sigma - 0.1))
    t_max = min(main, key=lambda sigma: abs(sigma - 2.0))

    def backward(x, path):
        for here, there in pairwise(path):
            slope = (x - denoise(x, here)) / here
            guess = x + (there - here) * slope
            if there > 0:
                slope = 0.5 * slope + 0.5 * (guess - denoise(guess, there)) / there
            x = x + (there - here) * slope
        return x

    split = main.index(t_min)
    x = backward(x, main[: split + 1])
    for _ in range(times):
        x = x + (t_max**2 - t_min**2) ** 0.5 * noise(t_min, t_max)
        x = backward(x, karras(length + 1, t_min, t_max))
    return backward(x, main[split:])


@pytest.mark.parametrize(("steps", "length", "times"), [(20, 9, 1), (30, 9, 1), (36, 9, 2), (50, 12, 2)])
@pytest.mark.parametrize("schedule", ["Karras", "Uniform"])
def test_restart_equals_the_algorithm_written_out(schedule, steps, length, times):
    sigmas = levels(schedule, steps)
    x = start_latents(float(sigmas[0]))
    result = run_recorded(restart(x, sigmas, ListedNoise()), Recorder(GaussianMixture()))
    expected = restart_written_out(x, sigmas, ListedNoise(), GaussianMixture(), length=length, times=times)
    assert relative(result, expected) <= TOLERANCE


def test_restart_below_20_steps_is_heun():
    sigmas = levels("Karras", 19)
    x = start_latents(float(sigmas[0]))
    ours, plain = Recorder(GaussianMixture()), Recorder(GaussianMixture())
    result = run_recorded(restart(x, sigmas, ListedNoise()), ours)
    assert torch.equal(result, run_recorded(heun(x, sigmas, ListedNoise()), plain))
    assert len(ours.calls) == len(plain.calls) == 37


@pytest.mark.parametrize("steps", [1, 19, 20, 35, 36, 40, 150])
def test_restart_spends_exactly_the_steps_it_is_given(steps):
    plan = restart_steps(levels("Karras", steps).tolist())
    assert len(plan) == steps
    assert all(sigma > sigma_next for sigma, sigma_next in plan)
    assert plan[-1][1] == 0


def test_restart_lifts_the_noise_as_often_as_it_restarts():
    for steps, lifts in ((19, 0), (20, 1), (36, 2)):
        noise = ListedNoise()
        sigmas = levels("Karras", steps)
        run_recorded(restart(start_latents(float(sigmas[0])), sigmas, noise), Recorder(GaussianMixture()))
        assert len(noise.asked) == lifts
