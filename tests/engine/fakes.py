"""Fakes of the engine's inner seams: a plan with a known function, a device that answers at once."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import replace
from typing import Any

import torch
from torch import Tensor

from sdwebui.engine.calls import Call, Denoise, ModelState
from sdwebui.engine.conditioning import Conditioning, ScheduledStates
from sdwebui.engine.weights import LoadedModel
from sdwebui.ports import PlanStats


class FormulaPlan:
    """A "UNet" whose output is x · mean(text states) + t / 1000: every row can be checked by hand.

    Attributes:
        batches: (rows, tokens) of each call.
        contexts: the text states of each call.
    """

    def __init__(self) -> None:
        self.batches: list[tuple[int, int]] = []
        self.contexts: list[Tensor] = []

    def run(self, x: Tensor, timestep: Tensor, states: Tensor) -> Tensor:
        self.batches.append((len(x), states.shape[1]))
        self.contexts.append(states)
        return x * states.mean(dim=(1, 2)).view(-1, 1, 1, 1) + timestep.view(-1, 1, 1, 1) / 1000

    def weights_changed(self, names: Sequence[str]) -> None:
        pass

    def stats(self) -> PlanStats:
        return PlanStats(coverage_percent=0.0)

    def close(self) -> None:
        pass


def with_plan(model: LoadedModel, plan: Any, **facts: Any) -> LoadedModel:
    """The model with another plan and, maybe, other facts."""
    return replace(model, plan=plan, pipeline=replace(model.pipeline, facts=replace(model.pipeline.facts, **facts)))


def states(value: float, tokens: int = 77, weight: float = 1.0) -> ScheduledStates:
    """Text states that are one number throughout."""
    return ScheduledStates(until=(1000,), states=(torch.full((1, tokens, 2), value),), weight=weight)


def denoise_call(state: ModelState, **changes: Any) -> Denoise:
    """A call with latents of ones, for one prompt and a negative prompt."""
    fields: dict[str, Any] = {
        "state": state,
        "x": torch.ones(1, 4, 4, 4),
        "sigma": 2.0,
        "timestep": None,
        "conditioning": Conditioning(parts=(states(0.5),), negative=states(0.25)),
        "cfg_scale": 7.0,
        "call": 0,
        "step": 1,
        "steps": 4,
    }
    return Denoise(**{**fields, **changes})


class InstantDevice:
    """A device for loop tests: answers by a function, and notes what ran together.

    Args:
        answer: makes the answer to a call.
        resident: states that need no loading.
    """

    def __init__(self, answer: Callable[[Call], Any], resident: Sequence[ModelState] = ()) -> None:
        self._answer = answer
        self.resident = set(resident)
        self.batches: list[int] = []
        self.loads: list[ModelState] = []
        self.is_closed = False

    def holds(self, state: ModelState) -> bool:
        return state in self.resident

    def run_one(self, call: Call) -> Any:
        self._bring(call.state)
        return self._answer(call)

    def run_together(self, calls: Sequence[Denoise], is_wanted: Callable[[Denoise], bool]) -> Sequence[Any]:
        self._bring(calls[0].state)
        self.batches.append(len(calls))
        return [self._answer(call) if is_wanted(call) else None for call in calls]

    def _bring(self, state: ModelState) -> None:
        if state not in self.resident:
            self.loads.append(state)
            self.resident = {state}

    def preview(self, call: Denoise, answer: Any) -> bytes:
        return b"png"

    def close(self) -> None:
        self.is_closed = True
