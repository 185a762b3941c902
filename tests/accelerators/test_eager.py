from __future__ import annotations

import torch

from sdwebui.accelerators.eager import EagerAccelerator


class Doubling(torch.nn.Module):
    def forward(self, x, timestep, states, return_dict):
        assert not return_dict
        return (x * 2 + timestep + states,)


def test_eager_calls_the_module_and_claims_no_coverage():
    plan = EagerAccelerator().prepare(Doubling(), "doubling")
    assert float(plan.run(torch.tensor(1.0), torch.tensor(2.0), torch.tensor(3.0))) == 7
    plan.weights_changed(["x"])
    assert plan.stats().coverage_percent == 0
    plan.close()


def test_eager_is_usable_everywhere():
    assert EagerAccelerator().probe("cuda:0").usable
    assert EagerAccelerator().name == "eager"
