"""`sdwebui verify`: makes a picture again from the parameters that it carries, and says how far apart the two are."""

from __future__ import annotations

import io
from collections.abc import Mapping
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray
from PIL import Image

from sdwebui.bootstrap import build_catalog, build_engine, build_resolver
from sdwebui.domain.errors import InvalidRequest, NotFound
from sdwebui.domain.image_metadata import read_parameters
from sdwebui.domain.infotext import ParsedInfotext, parse_infotext, paste_problems, request_fields
from sdwebui.domain.options import option_defaults
from sdwebui.domain.requests import Txt2ImgRequest
from sdwebui.domain.settings import Settings
from sdwebui.one_picture import run_job

SAME_WITHIN = 2
"""Largest difference of a channel, of 255, that rounding on another machine explains."""

_UNDERSTOOD = frozenset(
    [
        "Steps",
        "Sampler",
        "Schedule type",
        "CFG scale",
        "Seed",
        "Size",
        "Clip skip",
        "Emphasis",
        "Model",
        "Model hash",
        "Pad conds",
        "Accelerator",
        "Precision",
        "VAE precision",
        "Version",
        "User",
    ]
)


@dataclass(frozen=True, kw_only=True)
class Outcome:
    """How a picture and its repetition compare.

    Attributes:
        is_same: no channel of any pixel differs by more than `SAME_WITHIN`.
        largest: largest difference of a channel, 0…255.
        mean: mean difference of a channel, 0…255.
        seconds: engine time of the repetition.
    """

    is_same: bool
    largest: int
    mean: float
    seconds: float

    @property
    def sentence(self) -> str:
        """For people."""
        if self.largest == 0:
            return f"The same picture, pixel for pixel ({self.seconds:.2f} s)."
        verdict = "The same picture within rounding" if self.is_same else "Another picture"
        return f"{verdict}: channels differ by at most {self.largest} of 255, {self.mean:.3f} on average."

    def to_json(self) -> dict[str, Any]:
        """For programs."""
        return asdict(self)


def verify(path: Path, settings: Settings) -> Outcome:
    """Make the picture of a file again and compare.

    Raises:
        NotFound: there is no such file, or the model that it names is not here.
        InvalidRequest: no parameters in it, or parameters that this version cannot follow.
    """
    content = _content(path)
    parsed = parse_infotext(read_parameters(content))
    _refuse_what_cannot_be_followed(path, parsed)
    catalog = build_catalog(settings)
    catalog.refresh()
    for file in catalog.models("checkpoint"):
        if not file.problem:
            catalog.sha256(file)  # the parameters name the model by its hash
    fields: Any = request_fields(parsed, with_checkpoint=True)
    resolved = build_resolver(catalog, settings).resolve(Txt2ImgRequest(**fields), _options(parsed.params))
    engine = build_engine(settings.device)
    try:
        drawn = run_job(engine, resolved)
    finally:
        engine.close()
    again = drawn.images[0]
    pixels = np.frombuffer(again.rgb, dtype=np.uint8).reshape(again.height_px, again.width_px, 3)
    return _compared(path, _pixels(content), pixels, drawn.seconds)


def _content(path: Path) -> bytes:
    try:
        return path.read_bytes()
    except OSError as exc:
        raise NotFound("picture", str(path)) from exc


def _refuse_what_cannot_be_followed(path: Path, parsed: ParsedInfotext) -> None:
    if "Seed" not in parsed.params:
        raise InvalidRequest(
            "image", path.name, "carries no generation parameters", "Choose a file that was not edited."
        )
    unknown = [key for key in parsed.params if key not in _UNDERSTOOD and (key, parsed.params[key]) != ("RNG", "CPU")]
    problems = [*paste_problems(parsed), *(f"{key} is not supported." for key in unknown)]
    if problems:
        rule = "carries parameters that cannot be followed here: " + " ".join(problems)
        raise InvalidRequest("image", path.name, rule)


def _options(params: Mapping[str, str]) -> dict[str, Any]:
    """Option values that the picture was made with."""
    return {
        **option_defaults(),
        "pad_cond_uncond": params.get("Pad conds") == "True",
        "unet_accelerator_enabled": "Accelerator" in params,
    }


def _pixels(content: bytes) -> NDArray[np.uint8]:
    with Image.open(io.BytesIO(content)) as picture:
        return np.asarray(picture.convert("RGB"), dtype=np.uint8)


def _compared(path: Path, first: NDArray[np.uint8], second: NDArray[np.uint8], seconds: float) -> Outcome:
    if first.shape != second.shape:
        sizes = f"is {first.shape[1]}x{first.shape[0]}, but its parameters make {second.shape[1]}x{second.shape[0]}"
        raise InvalidRequest("image", path.name, sizes, "It was scaled or cut after it was made.")
    difference = np.abs(first.astype(np.int16) - second.astype(np.int16))
    largest = int(difference.max())
    return Outcome(
        is_same=largest <= SAME_WITHIN,
        largest=largest,
        mean=round(float(difference.mean()), 4),
        seconds=round(seconds, 3),
    )
