"""Runs the `Denoise` calls of many pictures as few UNet batches: CFG, AND, k-diffusion's scaling, precision.

A call becomes rows: one for each part of the prompt, one for the negative prompt. Rows whose text states have the same
length share a batch, whatever picture, step or sampler they belong to; prompts and negative prompts of different
length therefore run as two batches, as in A1111. To add a prediction type: a row in `PREDICTIONS`.
"""

from __future__ import annotations

from collections import OrderedDict
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from itertools import groupby

import torch
from torch import Tensor

from sdwebui.engine.calls import Denoise
from sdwebui.engine.weights import LoadedModel

_STACKS = 16


def denoised_from_epsilon(x: Tensor, output: Tensor, sigma: Tensor) -> Tensor:
    """Clean latents when the UNet predicts the noise: x − σ·ε (equation 9 of Ho et al. 2020, x = x0 + σ·ε)."""
    return x - output * sigma


def denoised_from_v(x: Tensor, output: Tensor, sigma: Tensor) -> Tensor:
    """Clean latents when the UNet predicts v: x/(σ²+1) − v·σ/√(σ²+1) (Salimans & Ho 2022, arXiv:2202.00512, app. D)."""
    return x / (sigma**2 + 1) - output * (sigma / (sigma**2 + 1) ** 0.5)


PREDICTIONS: Mapping[str, Callable[[Tensor, Tensor, Tensor], Tensor]] = {
    "epsilon": denoised_from_epsilon,
    "v": denoised_from_v,
}

Answer = Tensor | tuple[Tensor, Tensor]


def always(_call: Denoise) -> bool:
    """Every call is wanted until it is done."""
    return True


@dataclass(frozen=True, kw_only=True, eq=False)
class _Row:
    """One UNet row: what it denoises, and the text states [1, 77·k, C] that guide it."""

    call: Denoise
    states: Tensor


class Denoiser:
    """Runs calls against one model at a time. Used by one thread.

    Args:
        max_rows: most rows of one UNet batch; what is more runs one batch after another.
    """

    def __init__(self, max_rows: int) -> None:
        self._max_rows = max_rows
        self._stacks: OrderedDict[tuple[int, ...], tuple[Tensor, tuple[Tensor, ...]]] = OrderedDict()

    def run(
        self, calls: Sequence[Denoise], model: LoadedModel, is_wanted: Callable[[Denoise], bool] = always
    ) -> list[Answer | None]:
        """Answers to calls that all need `model` and have latents of one shape, in order.

        Args:
            calls: what to denoise.
            model: what to run.
            is_wanted: asked for every call before each UNet batch: the rows of a call that is not wanted any more
                are left out, and its answer is None unless all were done by then.
        """
        rows = [row for call in calls for row in _rows(call)]
        by_length = sorted(range(len(rows)), key=lambda number: rows[number].states.shape[1])
        denoised: dict[int, Tensor] = {}
        for _, group in groupby(by_length, key=lambda number: rows[number].states.shape[1]):
            waiting = list(group)
            while waiting := [number for number in waiting if is_wanted(rows[number].call)]:
                batch, waiting = waiting[: self._max_rows], waiting[self._max_rows :]
                outputs = self._run_batch([rows[number] for number in batch], model)
                denoised.update(zip(batch, outputs, strict=True))
        ordered = iter([denoised.get(number) for number in range(len(rows))])
        return [_answer(call, [next(ordered) for _ in _rows(call)]) for call in calls]

    def _run_batch(self, rows: Sequence[_Row], model: LoadedModel) -> Sequence[Tensor]:
        """Denoised latents [1, C, h, w] of each row, float32, on the device."""
        context = self._stacked(rows, model.precision)
        x = torch.cat([row.call.x for row in rows]).to(context.device, torch.float32)
        sigmas = [row.call.sigma for row in rows]
        times = [
            model.sigmas.timestep_at(row.call.sigma) if row.call.timestep is None else row.call.timestep for row in rows
        ]
        sigma = torch.tensor(sigmas, device=x.device).view(-1, 1, 1, 1)
        scaled = (x * torch.rsqrt(sigma**2 + 1)).to(model.precision).contiguous(memory_format=torch.channels_last)
        timestep = torch.tensor(times, device=x.device, dtype=torch.float32)
        output = model.plan.run(scaled, timestep, context)
        denoised = PREDICTIONS[model.pipeline.facts.prediction_type](x, output.float(), sigma)
        return torch.chunk(denoised, len(rows))

    def _stacked(self, rows: Sequence[_Row], precision: torch.dtype) -> Tensor:
        """The rows' text states as one tensor [rows, 77·k, C]; the same object for the same states, step after step."""
        states = tuple(row.states for row in rows)
        key = tuple(id(one) for one in states)
        if key not in self._stacks:
            # The states are kept beside the stack: while they live, no other tensor can have their ids.
            self._stacks[key] = (torch.cat(states).to(precision), states)
            if len(self._stacks) > _STACKS:
                self._stacks.popitem(last=False)
        self._stacks.move_to_end(key)
        return self._stacks[key][0]


def _rows(call: Denoise) -> list[_Row]:
    parts = [_Row(call=call, states=part.at(call.call)) for part in call.conditioning.parts]
    return parts if _is_plain(call) else [*parts, _Row(call=call, states=call.conditioning.negative.at(call.call))]


def _is_plain(call: Denoise) -> bool:
    """True when guidance cancels out exactly: uncond + 1 · (cond − uncond) = cond, so one row is enough."""
    parts = call.conditioning.parts
    return not call.needs_unconditional and len(parts) == 1 and parts[0].weight * call.cfg_scale == 1


def _answer(call: Denoise, denoised: Sequence[Tensor | None]) -> Answer | None:
    done = [one for one in denoised if one is not None]
    return _guided(call, done) if len(done) == len(denoised) else None


def _guided(call: Denoise, denoised: Sequence[Tensor]) -> Answer:
    """The guided prediction: uncond + Σ weight · cfg · (cond − uncond).

    Equation 6 of Ho & Salimans (2022), arXiv:2207.12598; several parts as in Liu et al. (2022), arXiv:2206.01714.
    """
    denoised = [one.to(call.x.device) for one in denoised]
    if _is_plain(call):
        return denoised[0]
    *parts, unconditional = denoised
    guided = unconditional
    for part, states in zip(parts, call.conditioning.parts, strict=True):
        guided = guided + (part - unconditional) * (states.weight * call.cfg_scale)
    return (guided, unconditional) if call.needs_unconditional else guided
