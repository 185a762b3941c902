"""Workers that train together agree on gradients and numbers."""

from __future__ import annotations

from pathlib import Path

import pytest
import torch
from torch import nn

from scripts.demo_models.team import Team, run_in_team


def _work(team: Team, folder: Path) -> None:
    parameter = nn.Parameter(torch.zeros(3))
    parameter.grad = torch.full((3,), float(team.rank + 1))
    team.average_gradients([parameter])
    torch.save({"grad": parameter.grad, "agreed": team.agreed(team.rank + 7)}, folder / f"{team.rank}.pt")


@pytest.mark.parametrize(("size", "mean"), [(1, 1.0), (2, 1.5)])
def test_every_worker_gets_the_mean_gradient_and_the_leaders_number(size: int, mean: float, tmp_path: Path) -> None:
    run_in_team(size, tmp_path / "meeting", _work, tmp_path)
    for rank in range(size):
        result = torch.load(tmp_path / f"{rank}.pt", weights_only=True)
        assert result["grad"].tolist() == [mean] * 3
        assert result["agreed"] == 7


def test_only_the_first_worker_leads() -> None:
    assert Team(rank=0, size=2).leads
    assert not Team(rank=1, size=2).leads
