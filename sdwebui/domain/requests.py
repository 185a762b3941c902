"""What a person asked for, and what exactly will be done.

`Txt2ImgRequest` is what the user gave: every field may be left out. `ResolvedRequest` is complete, frozen and
serialisable: after it is made nobody reads settings, the clock or randomness. To add a field: add it to both, to
`check_request` when it has a rule, and to `domain/infotext.py` when it can change pixels.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import asdict, dataclass, fields
from typing import Any

from sdwebui.domain.errors import InvalidRequest

MAX_PROMPT_CHARACTERS = 100_000
MAX_STEPS = 150
MAX_SIDE_PX = 4096
MIN_SIDE_PX = 64
MAX_IMAGES_PER_JOB = 100
MAX_BATCH_SIZE = 16
MAX_BATCH_PIXELS = MAX_SIDE_PX**2
"""Pixels of the pictures that are made at once."""
MAX_AND_PARTS = 32
"""Parts of a prompt: each is a row of every UNet call."""
MAX_CHUNKS = 64
"""Chunks of 75 tokens of a text, of every part and at every step."""
MAX_ENCODED_CHUNKS = 2048
"""Chunks of all different texts of a prompt together, which are in memory at once: 236 KB each for SD1."""
MAX_SEED = 2**63 - 1


@dataclass(frozen=True, kw_only=True)
class Txt2ImgRequest:
    """A picture from text, as the user gave it. None means "the default": of the options, or of the checkpoint.

    Attributes:
        prompt: A1111 prompt grammar.
        negative_prompt: the same grammar without AND and network tags.
        checkpoint: name, title, hash or file name of a checkpoint; None for the current one.
        sampler_name: A1111 sampler name ("DPM++ 2M"); joined old names ("DPM++ 2M Karras") are understood.
        schedule_type: A1111 schedule label or name ("Karras"); None or "Automatic" for the sampler's default.
        steps: sampling steps, 1…150.
        cfg_scale: classifier-free guidance scale, 1…30 (1 turns the negative prompt off).
        width_px: width in pixels, a multiple of 8; None for the checkpoint's native size.
        height_px: height in pixels, a multiple of 8; None for the checkpoint's native size.
        batch_size: pictures made at once.
        batch_count: batches, one after another (A1111 `n_iter`).
        seed: −1 for a random one; picture i of the job uses seed + i.
        clip_skip: 1 is the text encoder's last layer; None for the option.
        emphasis: "Original", "No norm", "Ignore" or "None"; None for the option.
        save_images: False keeps the pictures out of the output folders (they still belong to the job).
    """

    prompt: str = ""
    negative_prompt: str = ""
    checkpoint: str | None = None
    sampler_name: str | None = None
    schedule_type: str | None = None
    steps: int = 20
    cfg_scale: float = 7.0
    width_px: int | None = None
    height_px: int | None = None
    batch_size: int = 1
    batch_count: int = 1
    seed: int = -1
    clip_skip: int | None = None
    emphasis: str | None = None
    save_images: bool = True


@dataclass(frozen=True, kw_only=True)
class CheckpointRef:
    """One checkpoint file, pinned: the worker refuses a file whose size or time has changed since.

    Attributes:
        name: catalogue name: path below `models/Stable-diffusion` without the ending.
        path: absolute path of the file.
        family: "sd1", "sd2", "sdxl" …, as `engine/checkpoints.py` detects it.
        size_bytes: size of the file when the request was resolved.
        mtime_ns: modification time of the file when the request was resolved.
    """

    name: str
    path: str
    family: str
    size_bytes: int
    mtime_ns: int


@dataclass(frozen=True, kw_only=True)
class ResolvedRequest:
    """Everything that decides the pixels of a job, complete. See `Txt2ImgRequest` for the meaning of shared fields.

    Attributes:
        kind: "txt2img" (more kinds come with their stories).
        sampler: canonical sampler name, a row of `engine/samplers.py`.
        schedule_type: canonical schedule label; "Automatic" has become the sampler's own default here.
        automatic_schedule: True when the user left the schedule to the sampler (the infotext then says "Automatic").
        seed: the first picture's seed, never negative.
        accelerator: name of the UNet backend ("fused", "eager"), from the options.
        previews_every_steps: a preview is sent at every so many steps; 0 for none. Does not change pixels.
    """

    kind: str
    prompt: str
    negative_prompt: str
    checkpoint: CheckpointRef
    sampler: str
    schedule_type: str
    automatic_schedule: bool
    steps: int
    cfg_scale: float
    width_px: int
    height_px: int
    batch_size: int
    batch_count: int
    seed: int
    clip_skip: int
    emphasis: str
    pad_conds: bool
    comma_backtrack: int
    save_images: bool
    previews_every_steps: int
    accelerator: str = "eager"

    @property
    def image_count(self) -> int:
        """Number of pictures that the job makes."""
        return self.batch_size * self.batch_count

    def image_seed(self, index: int) -> int:
        """Seed of picture `index` (0 …): seeds count up, wrapping at 2^63 as torch's generators require."""
        return (self.seed + index) % (MAX_SEED + 1)

    def to_json(self) -> dict[str, Any]:
        """A plain JSON object; `from_json` gives an equal request back."""
        return asdict(self)

    @classmethod
    def from_json(cls, data: Mapping[str, Any]) -> ResolvedRequest:
        """Inverse of `to_json`. Unknown keys of a newer version are ignored, so that an old job row can be read."""
        known = {field.name for field in fields(cls)}
        plain = {key: value for key, value in data.items() if key in known}
        return cls(**{**plain, "checkpoint": CheckpointRef(**data["checkpoint"])})


def check_request(request: Txt2ImgRequest) -> None:
    """Refuse a request whose numbers or lengths break a rule, naming field, value, rule and next step.

    Raises:
        InvalidRequest: for the first rule that is broken.
    """
    _check_length("prompt", request.prompt)
    _check_length("negative_prompt", request.negative_prompt)
    _check_integer("steps", request.steps, 1, MAX_STEPS)
    _check_number("cfg_scale", request.cfg_scale, 1.0, 30.0)
    for field, side in (("width", request.width_px), ("height", request.height_px)):
        if side is not None:
            _check_side(field, side)
    _check_integer("batch_size", request.batch_size, 1, MAX_BATCH_SIZE)
    _check_integer("batch_count", request.batch_count, 1, MAX_IMAGES_PER_JOB)
    if request.batch_size * request.batch_count > MAX_IMAGES_PER_JOB:
        images = request.batch_size * request.batch_count
        raise InvalidRequest(
            "batch_count", request.batch_count, f"makes {images} pictures, more than {MAX_IMAGES_PER_JOB} a job"
        )
    _check_integer("seed", request.seed, -1, MAX_SEED)
    if request.clip_skip is not None:
        _check_integer("clip_skip", request.clip_skip, 1, 12)


def check_batch_pixels(width_px: int, height_px: int, batch_size: int) -> None:
    """Refuse a batch that is too large to be made at once.

    Raises:
        InvalidRequest: its pictures together have more pixels than `MAX_BATCH_PIXELS`.
    """
    pixels = width_px * height_px * batch_size
    if pixels > MAX_BATCH_PIXELS:
        size = f"pixels at once of pictures of {width_px}x{height_px}, more than {MAX_BATCH_PIXELS}"
        hint = f"Use at most {MAX_BATCH_PIXELS // (width_px * height_px)}, or smaller pictures."
        raise InvalidRequest("batch_size", batch_size, f"makes {pixels} {size}", hint)


def _check_length(field: str, text: str) -> None:
    if len(text) > MAX_PROMPT_CHARACTERS:
        rule = f"has {len(text)} characters, more than the {MAX_PROMPT_CHARACTERS} allowed"
        raise InvalidRequest(field, text, rule, "Shorten it.")


def _check_integer(field: str, value: object, low: int, high: int) -> None:
    if not isinstance(value, int) or isinstance(value, bool) or not low <= value <= high:
        raise InvalidRequest(field, value, f"must be a whole number from {low} to {high}")


def _check_number(field: str, value: object, low: float, high: float) -> None:
    # A comparison with NaN is false, so NaN and infinity are refused by the range.
    if not isinstance(value, int | float) or isinstance(value, bool) or not low <= value <= high:
        raise InvalidRequest(field, value, f"must be a number from {low:g} to {high:g}")


def _check_side(field: str, value: object) -> None:
    _check_integer(field, value, MIN_SIDE_PX, MAX_SIDE_PX)
    if isinstance(value, int) and value % 8:
        nearest = round(value / 8) * 8
        raise InvalidRequest(field, value, "must be a multiple of 8", f"The nearest is {nearest}.")
