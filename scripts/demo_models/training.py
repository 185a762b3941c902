"""What every training stage shares: resumable state, step budget, learning rate, averaged weights."""

from __future__ import annotations

import logging
import math
import time
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import torch
from torch import nn

from scripts.demo_models.team import Team

logger = logging.getLogger(__name__)


@dataclass(frozen=True, kw_only=True)
class Budget:
    """How long a stage trains.

    Args:
        steps: exact and reproducible; given again with another value it lengthens or shortens a resumed run.
        minutes: turned into steps once, after the first steps have been timed.
        save_every_s: seconds between saves.
    """

    steps: int | None = None
    minutes: float | None = None
    save_every_s: float = 150.0


@dataclass(kw_only=True)
class TrainState:
    """All that is needed to go on after a kill; batches depend on seed and step alone, so no RNG state.

    Args:
        modules: the trained modules by name.
        optimizer: of all their parameters.
        average_decay: decay of the exponential moving average of the weights.
    """

    modules: dict[str, nn.Module]
    optimizer: torch.optim.Optimizer
    average_decay: float = 0.999
    step: int = 0
    total_steps: int = 0
    seconds: float = 0.0
    average: dict[str, torch.Tensor] = field(default_factory=dict)

    def __post_init__(self) -> None:
        if not self.average:
            self.average = {name: tensor.detach().clone() for name, tensor in self.tensors()}

    def tensors(self) -> list[tuple[str, torch.Tensor]]:
        """Every parameter as (module.parameter, tensor)."""
        return [
            (f"{module_name}/{name}", parameter)
            for module_name, module in self.modules.items()
            for name, parameter in module.named_parameters()
        ]

    @torch.no_grad()
    def update_average(self) -> None:
        """Moves the averaged weights towards the current ones."""
        decay = min(self.average_decay, (1 + self.step) / (10 + self.step))
        current = dict(self.tensors())
        names = list(self.average)
        torch._foreach_lerp_([self.average[n] for n in names], [current[n].detach() for n in names], 1 - decay)

    def averaged_weights(self, module_name: str) -> dict[str, torch.Tensor]:
        """The averaged state dict of one module (buffers as they are)."""
        weights = {name: tensor.detach().clone() for name, tensor in self.modules[module_name].state_dict().items()}
        prefix = f"{module_name}/"
        for name, tensor in self.average.items():
            if name.startswith(prefix):
                weights[name.removeprefix(prefix)] = tensor.clone()
        return weights


def save_atomically(content: Any, path: Path) -> None:
    """Writes beside the file and renames, so that a kill never leaves half a file."""
    path.parent.mkdir(parents=True, exist_ok=True)
    partial = path.with_name(path.name + ".tmp")
    torch.save(content, partial)
    partial.replace(path)


def save_state(state: TrainState, path: Path) -> None:
    """Saves modules, optimizer, average and step."""
    content = {
        "modules": {name: module.state_dict() for name, module in state.modules.items()},
        "optimizer": state.optimizer.state_dict(),
        "average": state.average,
        "step": state.step,
        "total_steps": state.total_steps,
        "seconds": state.seconds,
    }
    save_atomically(content, path)


def load_state(state: TrainState, path: Path) -> bool:
    """Goes on from the file if it is there; False if the stage starts afresh."""
    if not path.exists():
        return False
    content = torch.load(path, map_location="cpu", weights_only=True)
    for name, module in state.modules.items():
        module.load_state_dict(content["modules"][name])
    state.optimizer.load_state_dict(content["optimizer"])
    with torch.no_grad():
        for name, tensor in state.average.items():
            tensor.copy_(content["average"][name])
    state.step = content["step"]
    state.total_steps = content["total_steps"]
    state.seconds = content["seconds"]
    logger.info("going on at step %d of %d (%s)", state.step, state.total_steps, path)
    return True


def learning_rate_factor(step: int, total: int, *, warmup: int = 60, flat_share: float = 0.35) -> float:
    """Rises over `warmup` steps, stays flat for `flat_share` of the run, then falls along a cosine to 2 %."""
    rise = min(1.0, (step + 1) / warmup)
    done = (step / max(1, total) - flat_share) / (1 - flat_share)
    fall = 0.5 * (1 + math.cos(math.pi * min(1.0, max(0.0, done))))
    return rise * (0.02 + 0.98 * fall)


def train(
    state: TrainState,
    budget: Budget,
    path: Path,
    loss_of_step: Callable[[int, int], torch.Tensor],
    *,
    on_save: Callable[[], None] = lambda: None,
    flat_share: float = 0.35,
    team: Team | None = None,
) -> None:
    """Runs a stage to its last step.

    Args:
        state: what is trained; resumed from `path` if that exists.
        budget: steps or minutes.
        path: of the state file.
        loss_of_step: (step, total steps) -> loss of that step's batch; must depend on nothing else.
        on_save: called after each save (previews, intermediate exports).
        flat_share: share of the run before the learning rate begins to fall.
        team: the workers that train together; None for one alone.
    """
    team = team or Team()
    load_state(state, path)
    base_rates = [group.get("base_rate", group["lr"]) for group in state.optimizer.param_groups]
    for group, rate in zip(state.optimizer.param_groups, base_rates, strict=True):
        group["base_rate"] = rate
    if budget.steps:
        state.total_steps = budget.steps
    began, last_save, first_step = time.monotonic(), time.monotonic(), state.step
    smoothed = 0.0
    while not state.total_steps or state.step < state.total_steps:
        planned = state.total_steps or 10**9
        for group in state.optimizer.param_groups:
            group["lr"] = group["base_rate"] * learning_rate_factor(state.step, planned, flat_share=flat_share)
        loss = _one_step(state, loss_of_step(state.step, planned), team)
        smoothed = loss if state.step == first_step + 1 else 0.98 * smoothed + 0.02 * loss
        elapsed = time.monotonic() - began
        if not state.total_steps and state.step == first_step + 30 and budget.minutes:
            state.total_steps = team.agreed(max(60, int(budget.minutes * 60 / (elapsed / 30))))
            logger.info("%.3f s a step: %d steps in all", elapsed / 30, state.total_steps)
        if state.step % 100 == 0:
            speed = (state.step - first_step) / elapsed
            logger.info("step %d/%d loss %.4f, %.2f steps/s", state.step, state.total_steps, smoothed, speed)
        if team.leads and time.monotonic() - last_save > budget.save_every_s:
            save_state(state, path)
            on_save()
            last_save = time.monotonic()
    state.seconds += time.monotonic() - began
    if team.leads:
        save_state(state, path)
        on_save()


def _one_step(state: TrainState, loss: torch.Tensor, team: Team) -> float:
    state.optimizer.zero_grad(set_to_none=True)
    loss.backward()  # type: ignore[no-untyped-call]  # torch leaves it unhinted
    parameters = [p for group in state.optimizer.param_groups for p in group["params"]]
    team.average_gradients(parameters)
    nn.utils.clip_grad_norm_(parameters, 1.0)
    state.optimizer.step()
    state.step += 1
    state.update_average()
    return float(loss.detach())
