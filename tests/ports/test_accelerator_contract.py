"""What every backend must do. A new one joins by one line in `ACCELERATORS`."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch

from sdwebui.accelerators.eager import EagerAccelerator
from sdwebui.accelerators.fused.backend import FusedAccelerator
from sdwebui.engine.components import load_pipeline
from sdwebui.ports import Accelerator
from tests.tiny import TinySpec, write_tiny_checkpoint

ACCELERATORS: tuple[Callable[[], Accelerator], ...] = (EagerAccelerator, FusedAccelerator)
SIZES = ((1, 8, 8, 77), (2, 8, 8, 77), (2, 16, 8, 154), (3, 9, 15, 77), (1, 8, 8, 231))


@pytest.fixture(params=ACCELERATORS, ids=lambda make: make().name)
def accelerator(request: pytest.FixtureRequest) -> Accelerator:
    backend: Accelerator = request.param()
    availability = backend.probe("cpu")
    if not availability.usable:
        assert availability.reason.endswith(".")
        pytest.skip(availability.reason)
    return backend


@pytest.fixture(scope="module")
def unets(tmp_path_factory: pytest.TempPathFactory) -> tuple[Any, Any]:
    """A UNet for the backend and an equal one that stays untouched."""
    folder: Path = tmp_path_factory.mktemp("models")
    spec = TinySpec(multipliers=(1, 2, 2), attention_levels=(0, 1), blocks=2)
    path = write_tiny_checkpoint(folder, spec=spec)
    first, second = (load_pipeline(path, torch.device("cpu"), torch.float32).unet for _ in range(2))
    return first, second


def inputs(batch: int, height: int, width: int, tokens: int) -> tuple[torch.Tensor, ...]:
    generator = torch.Generator().manual_seed(batch * 1000 + height * 100 + width + tokens)
    x = torch.randn(batch, 4, height, width, generator=generator).contiguous(memory_format=torch.channels_last)
    times = torch.rand(batch, generator=generator) * 999
    return x, times, torch.randn(batch, tokens, 24, generator=generator)


def assert_same(plan: Any, reference: Any, *sizes: tuple[int, int, int, int]) -> None:
    with torch.inference_mode():
        for size in sizes:
            arguments = inputs(*size)
            before = [one.clone() for one in arguments]
            expected = reference(*arguments, return_dict=False)[0]
            torch.testing.assert_close(plan.run(*arguments), expected, rtol=1e-4, atol=1e-4)
            assert all(torch.equal(old, new) for old, new in zip(before, arguments, strict=True)), "inputs stay"


def test_results_equal_the_modules_own_at_any_size(accelerator: Accelerator, unets: tuple[Any, Any]):
    plan = accelerator.prepare(unets[0], "tiny")
    assert_same(plan, unets[1], *SIZES, *SIZES)
    plan.close()


def test_the_same_text_states_with_other_latents_and_times(accelerator: Accelerator, unets: tuple[Any, Any]):
    plan = accelerator.prepare(unets[0], "tiny")
    _, _, states = inputs(2, 8, 8, 77)
    with torch.inference_mode():
        for seed in (1, 2, 3):
            x, times, _ = inputs(2, 8, 8, 77 + seed)
            expected = unets[1](x, times, states, return_dict=False)[0]
            torch.testing.assert_close(plan.run(x, times, states), expected, rtol=1e-4, atol=1e-4)
    plan.close()


def test_weights_changed_in_place_show_after_they_are_reported(accelerator: Accelerator, unets: tuple[Any, Any]):
    plan = accelerator.prepare(unets[0], "tiny")
    assert_same(plan, unets[1], SIZES[1])
    changes = torch.Generator().manual_seed(3)
    with torch.no_grad():
        for (_, mine), (_, reference) in zip(unets[0].named_parameters(), unets[1].named_parameters(), strict=True):
            delta = torch.randn(mine.shape, generator=changes) * 0.02
            mine.add_(delta)
            reference.add_(delta)
    plan.weights_changed([name for name, _ in unets[0].named_parameters()])
    assert_same(plan, unets[1], SIZES[1], SIZES[2])
    plan.close()


def test_stats_are_sensible_and_close_leaves_the_module_as_it_was(accelerator: Accelerator, unets: tuple[Any, Any]):
    addresses = [parameter.data_ptr() for parameter in unets[0].parameters()]
    plan = accelerator.prepare(unets[0], "tiny")
    assert_same(plan, unets[1], SIZES[0])
    stats = plan.stats()
    assert 0 <= stats.coverage_percent <= 100
    assert stats.compiles == 0
    plan.close()
    with torch.inference_mode():
        arguments = inputs(*SIZES[0])
        expected = unets[1](*arguments, return_dict=False)[0]
        torch.testing.assert_close(unets[0](*arguments, return_dict=False)[0], expected)
    assert addresses == [parameter.data_ptr() for parameter in unets[0].parameters()]


def test_the_vaes_decoder_runs_through_a_plan_too(accelerator: Accelerator, tmp_path: Path):
    vae = load_pipeline(write_tiny_checkpoint(tmp_path), torch.device("cpu"), torch.float32).vae
    plan = accelerator.prepare(vae, "tiny vae")
    with torch.inference_mode():
        for height, width in ((8, 8), (5, 9)):
            latents = torch.randn(1, 4, height, width)
            expected = vae.decode(latents, return_dict=False)[0]
            torch.testing.assert_close(plan.run(latents), expected, rtol=1e-4, atol=1e-4)
    plan.close()


def test_a_module_that_nobody_knows_still_runs(accelerator: Accelerator):
    class Unknown(torch.nn.Module):
        def forward(self, x, timestep, states, return_dict):
            return (x + timestep.view(-1, 1, 1, 1),)

    plan = accelerator.prepare(Unknown(), "unknown")
    x, times, states = inputs(2, 8, 8, 77)
    assert torch.equal(plan.run(x, times, states), x + times.view(-1, 1, 1, 1))
