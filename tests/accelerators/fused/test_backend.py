from __future__ import annotations

import logging

import pytest
import torch

from sdwebui.accelerators.fused.backend import FusedAccelerator, FusedPlan


def test_a_known_unet_is_covered_whole_and_an_unknown_module_says_why_not(pipeline, caplog):
    assert FusedAccelerator().prepare(pipeline.unet, "unet").stats().coverage_percent == 100
    with caplog.at_level(logging.WARNING):
        stats = FusedAccelerator().prepare(torch.nn.Linear(1, 1), "other").stats()
    assert stats.coverage_percent == 0
    assert stats.fallbacks == {"Linear is none of UNet2DConditionModel, AutoencoderKL": 1}
    assert "other stays eager" in caplog.text


class Faulty:
    def __call__(self, *_: object) -> None:
        raise RuntimeError("no such kernel")


def test_a_fused_call_that_fails_is_done_eagerly_counted_and_logged_once(pipeline, caplog):
    plan = FusedPlan(pipeline.unet, Faulty())
    arguments = (torch.randn(1, 4, 8, 8), torch.tensor([5.0]), torch.randn(1, 77, 24))
    with torch.inference_mode():
        for _ in range(2):
            assert torch.equal(plan.run(*arguments), pipeline.unet(*arguments).sample)
    assert plan.stats().fallbacks == {"RuntimeError in a fused layer": 2}
    assert caplog.text.count("run eagerly") == 1


def test_running_out_of_memory_is_not_hidden(pipeline):
    class Hungry:
        def __call__(self, *_: object) -> None:
            raise torch.OutOfMemoryError

    with pytest.raises(torch.OutOfMemoryError):
        FusedPlan(pipeline.unet, Hungry()).run(torch.zeros(1))


def test_the_backend_names_itself_and_runs_everywhere():
    assert FusedAccelerator().name == "fused"
    assert FusedAccelerator().probe("cpu").usable
