from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
import torch

from sdwebui.domain.errors import NonFiniteResult, NotFound
from sdwebui.engine.calls import Call, Decode, Denoise, EncodeText, Prepare
from sdwebui.engine.conditioning import Conditioning
from sdwebui.engine.devices import Device
from sdwebui.engine.generate import STORIES, Picture, tell
from sdwebui.engine.noise import ImageNoise
from tests.engine.fakes import states
from tests.tiny import tiny_request

LADDER = Device(name="cpu", precisions=(torch.float16, torch.bfloat16, torch.float32))


def listen(story, model, denoised=lambda call: torch.zeros_like(call.x), decoded=lambda call: 0):
    """Answer a story's calls by functions. Returns the calls and the picture."""
    calls: list[Call] = []
    answer: Any = None
    while True:
        try:
            call = story.send(answer)
        except StopIteration as done:
            return calls, done.value
        calls.append(call)
        if isinstance(call, Prepare):
            answer = model
        elif isinstance(call, EncodeText):
            answer = Conditioning(parts=(states(1.0),), negative=states(0.0), warnings=("a tag was removed",))
        elif isinstance(call, Denoise):
            answer = denoised(call)
        else:
            found = decoded(call)
            answer = torch.full((64, 64, 3), found, dtype=torch.uint8) if found is not None else None


def test_a_picture_is_prepared_encoded_denoised_and_decoded_in_this_order(model, tiny_checkpoint: Path, cpu: Device):
    request = tiny_request(tiny_checkpoint, steps=3)
    calls, picture = listen(tell(request, 2, cpu), model, decoded=lambda call: 9)
    assert [type(call) for call in calls] == [Prepare, EncodeText, Denoise, Denoise, Denoise, Decode]
    assert isinstance(picture, Picture)
    assert (picture.seed, picture.width_px, picture.height_px) == (9, 64, 64)
    assert picture.rgb == b"\x09" * (64 * 64 * 3)
    assert (picture.facts, picture.warnings) == ({}, ("a tag was removed",))


def test_the_first_latents_are_the_seeds_cpu_noise_times_the_first_sigma(model, tiny_checkpoint: Path, cpu: Device):
    calls, _ = listen(tell(tiny_request(tiny_checkpoint, seed=41), 1, cpu), model)
    first = calls[2]
    assert first.sigma == pytest.approx(model.sigmas.sigma_max, rel=1e-6)
    noise = torch.randn(4, 8, 8, generator=torch.Generator().manual_seed(42))
    torch.testing.assert_close(first.x, noise.unsqueeze(0) * first.sigma)
    assert torch.equal(ImageNoise(42, (4, 8, 8)).initial()[0], noise)


def test_a_sampler_with_two_calls_a_step_counts_calls_for_the_prompt_and_steps_for_people(
    model, tiny_checkpoint: Path, cpu: Device
):
    calls, _ = listen(tell(tiny_request(tiny_checkpoint, sampler="Heun", steps=3), 0, cpu), model)
    assert calls[1].calls == 6
    denoise = [call for call in calls if isinstance(call, Denoise)]
    assert [call.call for call in denoise] == list(range(5))
    assert [call.step for call in denoise] == [1, 1, 2, 2, 3]


def test_latents_with_nan_are_made_again_in_a_safer_precision_and_the_picture_says_so(model, tiny_checkpoint: Path):
    def denoised(call: Denoise) -> torch.Tensor:
        return torch.full_like(call.x, float("nan") if call.state.precision == 0 else 0.0)

    calls, picture = listen(tell(tiny_request(tiny_checkpoint), 0, LADDER), model, denoised)
    assert [call.state.precision for call in calls if isinstance(call, Prepare)] == [0, 1]
    assert picture.facts == {"Precision": "bfloat16 (auto)"}


def test_latents_that_are_never_finite_fail_with_the_stage_and_the_precisions(model, tiny_checkpoint: Path):
    story = tell(tiny_request(tiny_checkpoint), 0, LADDER)
    with pytest.raises(NonFiniteResult, match=r"UNet of 'tiny' .* float16, bfloat16, float32"):
        listen(story, model, lambda call: torch.full_like(call.x, float("inf")))


def test_a_decoder_with_nan_is_asked_again_in_a_safer_precision(model, tiny_checkpoint: Path):
    calls, picture = listen(
        tell(tiny_request(tiny_checkpoint), 0, LADDER), model, decoded=lambda call: 5 if call.precision == 2 else None
    )
    assert [call.precision for call in calls if isinstance(call, Decode)] == [0, 1, 2]
    assert picture.facts == {"Precision": "float16", "VAE precision": "float32 (auto)"}


def test_a_decoder_that_is_never_finite_fails_by_name(model, tiny_checkpoint: Path):
    with pytest.raises(NonFiniteResult, match="VAE of 'tiny'"):
        listen(tell(tiny_request(tiny_checkpoint), 0, LADDER), model, decoded=lambda call: None)


def test_another_accelerator_than_eager_is_recorded(model, tiny_checkpoint: Path, cpu: Device):
    _, picture = listen(tell(tiny_request(tiny_checkpoint), 0, cpu), replace(model, accelerator="fused"))
    assert picture.facts == {"Accelerator": "fused"}


def test_an_extra_network_that_cannot_be_applied_fails_instead_of_another_picture(tiny_checkpoint: Path, cpu: Device):
    with pytest.raises(NotFound, match="lora 'ink'"):
        next(tell(tiny_request(tiny_checkpoint, prompt="a <lora:ink:1> hill"), 0, cpu))


def test_an_unknown_kind_of_job_is_refused(tiny_checkpoint: Path, cpu: Device):
    assert "txt2img" in STORIES
    with pytest.raises(NotFound, match="job kind 'img2video'"):
        tell(tiny_request(tiny_checkpoint, kind="img2video"), 0, cpu)
