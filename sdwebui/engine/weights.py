"""The weight store: brings the device to a `ModelState` and keeps recently used checkpoints in memory.

To add something to the state of a model (a VAE file, LoRAs): a field in `calls.ModelState`, and its place in `_load`.
"""

from __future__ import annotations

import logging
import time
from collections import OrderedDict
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path

import torch

from sdwebui.domain.errors import ModelUnusable, NotFound
from sdwebui.domain.requests import CheckpointRef
from sdwebui.engine.calls import ModelState
from sdwebui.engine.components import Pipeline, load_pipeline
from sdwebui.engine.devices import PRECISION_NAMES, Device
from sdwebui.engine.model_sigmas import ModelSigmas
from sdwebui.engine.preview import PreviewMatrix, fit_preview
from sdwebui.ports import Accelerator, Plan

logger = logging.getLogger(__name__)

Loader = Callable[[Path, torch.device, torch.dtype], Pipeline]


@dataclass(frozen=True, kw_only=True, eq=False)
class LoadedModel:
    """A checkpoint in memory, ready to run.

    Attributes:
        state: the state it was loaded for.
        pipeline: its parts.
        plan: the accelerator's way to run the UNet.
        decoder: its way to run the VAE's decoder.
        accelerator: name of the backend that made the plan.
        sigmas: noise levels that it was trained with.
        preview: latents to small pictures.
        precision: number format of UNet and VAE.
    """

    state: ModelState
    pipeline: Pipeline
    plan: Plan
    decoder: Plan
    accelerator: str
    sigmas: ModelSigmas
    preview: PreviewMatrix
    precision: torch.dtype


@dataclass(frozen=True, kw_only=True)
class Change:
    """What `bring_to` did.

    Attributes:
        loaded: name of the checkpoint that was read from disk; empty when the state was there already.
        dropped: names of checkpoints that left memory to stay within the budget.
        seconds: how long it took.
    """

    loaded: str = ""
    dropped: tuple[str, ...] = ()
    seconds: float = 0.0


class WeightStore:
    """Checkpoints on one device, least recently used ones dropped beyond the budget. Used by one thread.

    Args:
        device: where the weights go.
        accelerators: the backends that a state may name; each makes plans for UNets and decoders.
        budget_bytes: memory for weights; the model in use stays even when it alone is bigger.
        load: reads a checkpoint file.
    """

    def __init__(
        self, device: Device, accelerators: Sequence[Accelerator], budget_bytes: int, load: Loader = load_pipeline
    ) -> None:
        self._device = device
        self._accelerators = {one.name: one for one in accelerators}
        self._budget_bytes = budget_bytes
        self._load_pipeline = load
        self._models: OrderedDict[ModelState, LoadedModel] = OrderedDict()
        self._current: LoadedModel | None = None

    @property
    def current(self) -> LoadedModel | None:
        """The model used last, or None before the first one. May be read by any thread."""
        return self._current

    def holds(self, state: ModelState) -> bool:
        """True when `bring_to` would read nothing from disk."""
        return state in self._models or self._twin(state) is not None

    def bring_to(self, state: ModelState) -> Change:
        """Make `state` the current one. Idempotent; when it fails, the state before it stays.

        Raises:
            ModelUnusable: the file is gone, has changed since the request was resolved, or cannot be used.
        """
        if state in self._models:
            self._models.move_to_end(state)
            self._current = self._models[state]
            return Change()
        started = time.perf_counter()
        self._models[state] = self._current = self._load(state)
        change = Change(
            loaded=state.checkpoint.name,
            dropped=tuple(self._drop_old_ones()),
            seconds=time.perf_counter() - started,
        )
        logger.info("loaded %s in %.2f s, dropped %s", change.loaded, change.seconds, list(change.dropped))
        return change

    def close(self) -> None:
        """Give all memory back."""
        self._current = None
        while self._models:
            _close_plans(self._models.popitem()[1])

    def sharing(self, model: LoadedModel) -> list[LoadedModel]:
        """Every loaded model with the weights of `model`, itself included: what one of them changes, all must know."""
        return [one for one in self._models.values() if one.pipeline is model.pipeline]

    def _load(self, state: ModelState) -> LoadedModel:
        if state.accelerator not in self._accelerators:
            raise NotFound("accelerator", state.accelerator, tuple(self._accelerators), field="accelerator")
        accelerator = self._accelerators[state.accelerator]
        twin = self._twin(state)
        pipeline = twin.pipeline if twin else self._read(state)
        facts, precision = pipeline.facts, self._device.precisions[state.precision]
        return LoadedModel(
            state=state,
            pipeline=pipeline,
            plan=accelerator.prepare(pipeline.unet, architecture_key("UNet", facts.unet, precision)),
            decoder=accelerator.prepare(pipeline.vae, architecture_key("VAE", facts.vae, precision)),
            accelerator=accelerator.name,
            sigmas=ModelSigmas.from_betas(start=facts.beta_start, end=facts.beta_end, steps=facts.train_timesteps),
            preview=twin.preview if twin else fit_preview(pipeline.vae, facts.scale_factor, facts.vae),
            precision=precision,
        )

    def _read(self, state: ModelState) -> Pipeline:
        path = Path(state.checkpoint.path)
        _check_unchanged(path, state.checkpoint)
        precision = self._device.precisions[state.precision]
        pipeline = self._load_pipeline(path, self._device.torch_device, precision)
        _check_unchanged(path, state.checkpoint)
        return pipeline

    def _twin(self, state: ModelState) -> LoadedModel | None:
        """A loaded model that differs from `state` in nothing but its accelerator."""
        return next((model for known, model in self._models.items() if _same_weights(known, state)), None)

    def _drop_old_ones(self) -> list[str]:
        dropped = []
        while len(self._models) > 1 and self._bytes() > self._budget_bytes:
            state, model = self._models.popitem(last=False)
            _close_plans(model)
            dropped.append(state.checkpoint.name)
        return dropped

    def _bytes(self) -> int:
        return sum({id(model.pipeline): model.pipeline.size_bytes for model in self._models.values()}.values())


def architecture_key(part: str, shape: object, precision: torch.dtype) -> str:
    """Kind, shapes and number format of a part, never its weights: equal keys can share a plan's compiled pieces."""
    return f"{part} {shape} {PRECISION_NAMES[precision]}"


def _same_weights(one: ModelState, other: ModelState) -> bool:
    return (one.checkpoint, one.precision) == (other.checkpoint, other.precision)


def _close_plans(model: LoadedModel) -> None:
    model.plan.close()
    model.decoder.close()


def _check_unchanged(path: Path, ref: CheckpointRef) -> None:
    try:
        status = path.stat()
    except OSError as error:
        raise ModelUnusable(f"Checkpoint {ref.name!r} cannot be read: {error.strerror}. Refresh the list.") from error
    if (status.st_size, status.st_mtime_ns) != (ref.size_bytes, ref.mtime_ns):
        raise ModelUnusable(
            f"Checkpoint {ref.name!r} has changed on disk since the request was accepted. Refresh the list, try again."
        )
