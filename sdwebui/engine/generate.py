"""The stories of a generation, told top to bottom. To add a mode: a story here and a row in `STORIES`.

A story yields the model work that it needs (`calls.py`) and is sent the result. It runs one picture; the loop runs the
stories of all pictures and jobs together. Stories hold no device and no lock: they can be dropped at any `yield`.
"""

from __future__ import annotations

from collections.abc import Callable, Generator, Mapping
from dataclasses import dataclass, field
from typing import Any

import torch
from torch import Tensor

from sdwebui.domain.catalog import find_sampler
from sdwebui.domain.errors import NonFiniteResult, NotFound
from sdwebui.domain.prompt import parse_prompt
from sdwebui.domain.requests import ResolvedRequest
from sdwebui.engine.calls import Call, Decode, Denoise, EncodeText, ModelState, Prepare
from sdwebui.engine.conditioning import Conditioning
from sdwebui.engine.devices import PRECISION_NAMES, Device
from sdwebui.engine.noise import ImageNoise
from sdwebui.engine.noise_levels import LevelsRequest, NoiseLevels, text_to_image_levels
from sdwebui.engine.samplers import SamplerOptions, start_sampler
from sdwebui.engine.weights import LoadedModel


@dataclass(frozen=True, kw_only=True)
class Picture:
    """What a story returns.

    Attributes:
        seed: the seed that made it.
        width_px: width in pixels.
        height_px: height in pixels.
        rgb: height × width × 3 bytes, row by row.
        facts: infotext keys that only the engine knows.
        warnings: sentences for the user.
    """

    seed: int
    width_px: int
    height_px: int
    rgb: bytes
    facts: Mapping[str, str] = field(default_factory=dict)
    warnings: tuple[str, ...] = ()


Story = Generator[Call, Any, Picture]
Teller = Callable[[ResolvedRequest, int, Device], Story]


def txt2img(request: ResolvedRequest, index: int, device: Device) -> Story:
    """One picture from text.

    Args:
        request: the job.
        index: which picture of it, 0 …; its seed is `request.image_seed(index)`.
        device: for its precision ladder: latents with NaN or infinity are made again one step further down.

    Raises:
        NotFound: the prompt asks for an extra network that cannot be applied.
        NonFiniteResult: every precision ends in NaN or infinity.
    """
    _refuse_networks(request)
    for precision in range(len(device.precisions)):
        state = ModelState(checkpoint=request.checkpoint, accelerator=request.accelerator, precision=precision)
        model: LoadedModel = yield Prepare(state=state)
        levels = text_to_image_levels(_levels_request(request), model.sigmas)
        conditioning: Conditioning = yield EncodeText(state=state, request=request, calls=_calls(request))
        noise = ImageNoise(request.image_seed(index), _latent_shape(request, model), device=device.name)
        start = levels.start(noise.initial())
        latents = yield from _sample(request, state, start, levels, noise, conditioning)
        if bool(torch.isfinite(latents).all()):
            pixels, decoder_precision = yield from _decode(state, latents, device)
            facts = _facts(model, precision, decoder_precision, device)
            return _picture(request, index, pixels, facts, (*model.pipeline.warnings, *conditioning.warnings))
    raise NonFiniteResult(_non_finite("The UNet", request, device))


STORIES: Mapping[str, Teller] = {"txt2img": txt2img}


def tell(request: ResolvedRequest, index: int, device: Device) -> Story:
    """The story of a request's picture.

    Raises:
        NotFound: there is no story of this kind.
    """
    if request.kind not in STORIES:
        raise NotFound("job kind", request.kind, tuple(STORIES), field="kind")
    return STORIES[request.kind](request, index, device)


def _sample(
    request: ResolvedRequest,
    state: ModelState,
    start: Tensor,
    levels: NoiseLevels,
    noise: ImageNoise,
    conditioning: Conditioning,
) -> Generator[Call, Any, Tensor]:
    """Run the sampler: each of its requests becomes one `Denoise` call. Returns the final latents."""
    sampler = start_sampler(request.sampler, start, levels, noise, SamplerOptions())
    answer: Any = None
    call = 0
    while True:
        try:
            ask = sampler.send(answer)
        except StopIteration as done:
            latents: Tensor = done.value
            return latents
        answer = yield Denoise(
            state=state,
            x=ask.x,
            sigma=ask.sigma,
            timestep=ask.timestep,
            conditioning=conditioning,
            cfg_scale=request.cfg_scale * ask.guidance_factor,
            call=call,
            step=min(ask.step + 1, levels.steps),
            steps=levels.steps,
            needs_unconditional=ask.needs_unconditional,
        )
        call += 1


def _decode(state: ModelState, latents: Tensor, device: Device) -> Generator[Call, Any, tuple[Tensor, int]]:
    """Latents to pixels, further down the precision ladder while the decoder produces NaN or infinity."""
    for precision in range(state.precision, len(device.precisions)):
        pixels: Tensor | None = yield Decode(state=state, latents=latents, precision=precision)
        if pixels is not None:
            return pixels, precision
    raise NonFiniteResult(
        f"The VAE of {state.checkpoint.name!r} produced NaN or infinity in every precision. Try another."
    )


def _levels_request(request: ResolvedRequest) -> LevelsRequest:
    return LevelsRequest(sampler=request.sampler, schedule=request.schedule_type, steps=request.steps)


def _calls(request: ResolvedRequest) -> int:
    """What prompt schedules count: model calls, two a step for second-order samplers (A1111)."""
    return request.steps * (2 if find_sampler(request.sampler).is_second_order else 1)


def _latent_shape(request: ResolvedRequest, model: LoadedModel) -> tuple[int, int, int]:
    vae = model.pipeline.facts.vae
    return (vae.latent_channels, request.height_px // vae.downscale, request.width_px // vae.downscale)


def _refuse_networks(request: ResolvedRequest) -> None:
    for tag in parse_prompt(request.prompt, request.steps).networks:
        raise NotFound(tag.kind, tag.name, field="prompt")


def _picture(
    request: ResolvedRequest, index: int, pixels: Tensor, facts: Mapping[str, str], warnings: tuple[str, ...]
) -> Picture:
    height_px, width_px, _ = pixels.shape
    return Picture(
        seed=request.image_seed(index),
        width_px=width_px,
        height_px=height_px,
        rgb=pixels.contiguous().numpy().tobytes(),
        facts=facts,
        warnings=warnings,
    )


def _facts(model: LoadedModel, precision: int, decoder_precision: int, device: Device) -> Mapping[str, str]:
    """Infotext keys for what can change pixels: a reduced precision, a fallback, an accelerator."""
    names = [PRECISION_NAMES[one] for one in device.precisions]
    facts = {}
    if model.accelerator != "eager":
        facts["Accelerator"] = model.accelerator
    if names[precision] != "float32" or precision:
        facts["Precision"] = names[precision] + (" (auto)" if precision else "")
    if decoder_precision > precision:
        facts["VAE precision"] = f"{names[decoder_precision]} (auto)"
    return facts


def _non_finite(part: str, request: ResolvedRequest, device: Device) -> str:
    tried = ", ".join(PRECISION_NAMES[one] for one in device.precisions)
    return f"{part} of {request.checkpoint.name!r} produced NaN or infinity in {tried}. The file may be damaged."
