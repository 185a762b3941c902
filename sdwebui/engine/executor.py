"""Runs calls on the device, turns torch's errors into ours. To add a kind of call: a row in `Executor._handlers`.

`Denoise` calls have their own way in, `Executor.run_together`: many at once, in pieces that can be stopped between.
"""

from __future__ import annotations

import logging
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from typing import Any

import torch
from torch import Tensor

from sdwebui.domain.errors import OutOfMemory
from sdwebui.engine.calls import Call, Decode, Denoise, EncodeText, ModelState, Prepare
from sdwebui.engine.conditioning import Conditioner
from sdwebui.engine.denoiser import Answer, Denoiser, always
from sdwebui.engine.devices import Device
from sdwebui.engine.preview import preview_png
from sdwebui.engine.weights import LoadedModel, WeightStore

logger = logging.getLogger(__name__)


class Executor:
    """Owns the device: every method is called from the loop's thread.

    Args:
        device: where everything runs.
        store: brings models to the device.
        conditioner: encodes prompts.
        denoiser: runs the UNet.
    """

    def __init__(self, device: Device, store: WeightStore, conditioner: Conditioner, denoiser: Denoiser) -> None:
        self._device = device
        self._store = store
        self._conditioner = conditioner
        self._denoiser = denoiser
        self._handlers: Mapping[type, Callable[[Any, LoadedModel], Any]] = {
            Prepare: lambda _call, model: model,
            EncodeText: conditioner.encode,
            Decode: self._decode,
        }

    def holds(self, state: ModelState) -> bool:
        """True when calls for this state need no loading first."""
        return self._store.holds(state)

    def run_one(self, call: Call) -> Any:
        """The answer to one call of any kind but `Denoise`.

        Raises:
            ModelUnusable: the model cannot be loaded.
            OutOfMemory: the device has too little memory.
        """
        with self._translated(call):
            return self._handlers[type(call)](call, self._bring(call.state))

    def run_together(
        self, calls: Sequence[Denoise], is_wanted: Callable[[Denoise], bool] = always
    ) -> Sequence[Answer | None]:
        """Answers to calls of one state and one latent shape, None for one that is given up; see `Denoiser.run`.

        Raises like `run_one`.
        """
        with self._translated(calls[0]):
            return self._denoiser.run(calls, self._bring(calls[0].state), is_wanted)

    def preview(self, call: Denoise, answer: Answer) -> bytes:
        """A small PNG of the clean latents that a step predicted; empty when there is nothing to see."""
        guided = answer[0] if isinstance(answer, tuple) else answer
        return preview_png(guided, self._bring(call.state).preview)

    def close(self) -> None:
        """Free the device."""
        self._store.close()

    def _bring(self, state: ModelState) -> LoadedModel:
        self._store.bring_to(state)
        model = self._store.current
        if model is None:
            raise AssertionError("bring_to leaves a current model")
        return model

    def _decode(self, call: Decode, model: LoadedModel) -> Tensor | None:
        """Pixels [height, width, 3], uint8, on the CPU; None when they are not finite."""
        vae = model.pipeline.vae
        precision = self._device.precisions[call.precision]
        if vae.dtype != precision:
            logger.warning("decoding with %s in %s", call.state.checkpoint.name, precision)
            vae.to(precision)
            for one in self._store.sharing(model):
                one.decoder.weights_changed([name for name, _ in vae.named_parameters()])
        latents = (call.latents / model.pipeline.facts.scale_factor).to(self._device.torch_device, precision)
        decoded = model.decoder.run(latents.contiguous(memory_format=torch.channels_last))[0]
        if not bool(torch.isfinite(decoded).all()):
            return None
        pixels = decoded.float().add(1).mul(127.5).clamp(0, 255).round().to(torch.uint8)
        picture: Tensor = pixels.permute(1, 2, 0).cpu()
        return picture

    @contextmanager
    def _translated(self, call: Call) -> Iterator[None]:
        try:
            yield
        except (torch.OutOfMemoryError, MemoryError) as error:
            raise self._out_of_memory(call) from error
        except RuntimeError as error:
            # torch's CPU allocator has no class of its own for this.
            if "not enough memory" not in str(error) and "can't allocate memory" not in str(error):
                raise
            raise self._out_of_memory(call) from error

    def _out_of_memory(self, call: Call) -> OutOfMemory:
        if self._device.torch_device.type == "cuda":
            torch.cuda.empty_cache()
        tensor = getattr(call, "x", None) if isinstance(call, Denoise) else getattr(call, "latents", None)
        size = f" at {tensor.shape[-1] * 8}x{tensor.shape[-2] * 8}" if tensor is not None else ""
        step = type(call).__name__
        return OutOfMemory(
            f"{self._device.name} has too little memory for {step} with {call.state.checkpoint.name!r}{size}. "
            "Use a smaller picture or batch size."
        )
