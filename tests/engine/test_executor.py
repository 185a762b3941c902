from __future__ import annotations

from pathlib import Path

import pytest
import torch

from sdwebui.accelerators.eager import EagerAccelerator
from sdwebui.domain.errors import OutOfMemory
from sdwebui.engine.calls import Decode, EncodeText, ModelState, Prepare
from sdwebui.engine.conditioning import Conditioner
from sdwebui.engine.denoiser import Denoiser
from sdwebui.engine.devices import Device
from sdwebui.engine.executor import Executor
from sdwebui.engine.weights import WeightStore
from tests.engine.fakes import denoise_call
from tests.tiny import checkpoint_ref, tiny_request


@pytest.fixture
def state(tiny_checkpoint: Path) -> ModelState:
    return ModelState(checkpoint=checkpoint_ref(tiny_checkpoint))


def new_executor(tokenizer, device: Device, load=None) -> Executor:
    options = {"load": load} if load else {}
    store = WeightStore(device, [EagerAccelerator()], 10**9, **options)
    return Executor(device, store, Conditioner(tokenizer), Denoiser(16))


@pytest.fixture
def executor(tokenizer, cpu: Device) -> Executor:
    return new_executor(tokenizer, cpu)


def test_every_kind_of_call_has_its_answer(executor: Executor, state: ModelState, tiny_checkpoint: Path):
    with torch.inference_mode():
        assert not executor.holds(state)
        assert executor.run_one(Prepare(state=state)).state == state
        assert executor.holds(state)
        request = tiny_request(tiny_checkpoint)
        conditioning = executor.run_one(EncodeText(state=state, request=request, calls=4))
        call = denoise_call(state, x=torch.randn(1, 4, 8, 8), conditioning=conditioning)
        (alone,) = executor.run_together([call])
        assert isinstance(alone, torch.Tensor)
        assert alone.shape == (1, 4, 8, 8)
        torch.testing.assert_close(executor.run_together([call, call])[1], alone, rtol=1e-4, atol=1e-4)
        assert executor.preview(call, alone).startswith(b"\x89PNG")
        assert executor.preview(call, (alone, alone)).startswith(b"\x89PNG")
        pixels = executor.run_one(Decode(state=state, latents=torch.randn(1, 4, 8, 6), precision=0))
        assert (pixels.shape, pixels.dtype) == ((64, 48, 3), torch.uint8)
        assert len(torch.unique(pixels)) > 20
        executor.close()
        assert not executor.holds(state)


def test_pixels_are_the_vaes_picture_rounded_to_bytes(executor: Executor, state: ModelState):
    with torch.inference_mode():
        latents = torch.randn(1, 4, 8, 8)
        model = executor.run_one(Prepare(state=state))
        rgb = model.pipeline.vae.decode(latents / 0.18215).sample[0]
        expected = ((rgb.clamp(-1, 1) + 1) / 2 * 255).round().permute(1, 2, 0)
        found = executor.run_one(Decode(state=state, latents=latents, precision=0))
    assert float((found.float() - expected).abs().max()) <= 1


def test_a_decode_that_is_not_finite_has_no_pixels(executor: Executor, state: ModelState):
    with torch.inference_mode():
        latents = torch.full((1, 4, 8, 8), float("nan"))
        assert executor.run_one(Decode(state=state, latents=latents, precision=0)) is None


def test_a_decode_in_another_precision_moves_the_vae_there(tokenizer, state: ModelState):
    device = Device(name="cpu", precisions=(torch.bfloat16, torch.float32))
    executor = new_executor(tokenizer, device)
    with torch.inference_mode():
        model = executor.run_one(Prepare(state=state))
        assert model.pipeline.vae.dtype is torch.bfloat16
        executor.run_one(Decode(state=state, latents=torch.randn(1, 4, 8, 8), precision=1))
        assert model.pipeline.vae.dtype is torch.float32


@pytest.mark.parametrize(
    "error",
    [
        torch.OutOfMemoryError("CUDA out of memory"),
        MemoryError(),
        RuntimeError("DefaultCPUAllocator: not enough memory: you tried to allocate 99 bytes"),
    ],
    ids=["cuda", "python", "cpu"],
)
def test_running_out_of_memory_has_one_name(error: Exception, tokenizer, cpu: Device, state: ModelState):
    def load(*_: object):
        raise error

    with pytest.raises(OutOfMemory, match="cpu has too little memory for Decode with 'tiny' at 64x64"):
        new_executor(tokenizer, cpu, load).run_one(Decode(state=state, latents=torch.zeros(1, 4, 8, 8), precision=0))


def test_other_errors_stay_what_they_are(tokenizer, cpu: Device, state: ModelState):
    def load(*_: object):
        raise RuntimeError("shapes do not fit")

    with pytest.raises(RuntimeError, match="shapes do not fit"):
        new_executor(tokenizer, cpu, load).run_one(Prepare(state=state))
