"""From what a person asked for to what exactly will be done. To resolve a new field: add it in `Resolver.resolve`.

After this, nobody reads options, the clock or randomness for the job: the `ResolvedRequest` says it all.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping

from sdwebui.domain.catalog import AUTOMATIC, find_sampler, find_schedule, split_sampler_name
from sdwebui.domain.emphasis import parse_emphasis
from sdwebui.domain.errors import InvalidRequest
from sdwebui.domain.infotext import check_prompt_lines
from sdwebui.domain.options import OptionValue, check_option, find_option
from sdwebui.domain.prompt import split_parts, strip_comments, take_network_tags
from sdwebui.domain.requests import (
    MAX_AND_PARTS,
    MAX_CHUNKS,
    CheckpointRef,
    ResolvedRequest,
    Txt2ImgRequest,
    check_batch_pixels,
    check_request,
)
from sdwebui.domain.results import ModelFile
from sdwebui.ports import ModelCatalog

_NATIVE_SIZES_PX: Mapping[str, int] = {"sd1": 512, "sd2": 768, "sdxl": 1024, "sdxl-refiner": 1024}
_UNKNOWN_SIZE_PX = 512

ACCELERATOR = "fused"
"""The backend behind the accelerator's checkbox."""
BACKENDS: Mapping[str, str] = {"sdpa": "eager"}
"""Backend of each value of the option `unet_fallback_backend`."""
_NETWORK_KINDS: Mapping[str, str] = {"lora": "lora", "hypernet": "hypernetwork"}


def native_size_px(file: ModelFile) -> int:
    """The size a checkpoint was trained at: as its file says, else its family's usual size."""
    return file.native_size_px or _NATIVE_SIZES_PX.get(file.family, _UNKNOWN_SIZE_PX)


def first_usable(catalog: ModelCatalog) -> ModelFile | None:
    """The checkpoint that counts while nobody has chosen one: the first healthy file by name; None without any."""
    return next((file for file in catalog.models("checkpoint") if not file.problem), None)


class Resolver:
    """Fills every field of a request that was left out, and pins every name to what it means now.

    Args:
        catalog: where checkpoints are found.
        random_seed: a fresh seed, 0…2^32 − 1, for requests with seed −1.
        accelerator: the backend of every request; empty for what the options say.
    """

    def __init__(self, catalog: ModelCatalog, random_seed: Callable[[], int], accelerator: str = "") -> None:
        self._catalog = catalog
        self._random_seed = random_seed
        self._accelerator = accelerator

    def resolve(self, request: Txt2ImgRequest, options: Mapping[str, OptionValue]) -> ResolvedRequest:
        """A complete request.

        Args:
            request: what the user gave.
            options: the user's option values, every key present.

        Raises:
            InvalidRequest: a field breaks a rule.
            NotFound: an unknown checkpoint, sampler or schedule; the nearest names are offered.
            ModelUnusable: the checkpoint is damaged or still being copied.
        """
        check_request(request)
        emphasis = str(check_option(find_option("emphasis"), request.emphasis or options["emphasis"]))
        _check_prompt("prompt", request.prompt, emphasis)
        _check_prompt("negative_prompt", request.negative_prompt, emphasis)
        self._check_networks(request.prompt)
        file = self._checkpoint(request.checkpoint or str(options["sd_model_checkpoint"]))
        sampler, schedule = _sampler_and_schedule(request, options)
        side = native_size_px(file)
        width_px = side if request.width_px is None else request.width_px
        height_px = side if request.height_px is None else request.height_px
        check_batch_pixels(width_px, height_px, request.batch_size)
        clip_skip = options["CLIP_stop_at_last_layers"] if request.clip_skip is None else request.clip_skip
        previews = int(options["show_progress_every_n_steps"]) if options["live_previews_enable"] else 0
        return ResolvedRequest(
            kind="txt2img",
            prompt=request.prompt,
            negative_prompt=request.negative_prompt,
            checkpoint=_reference(file),
            sampler=sampler,
            schedule_type=find_sampler(sampler).default_schedule if schedule == AUTOMATIC else schedule,
            automatic_schedule=schedule == AUTOMATIC,
            steps=request.steps,
            cfg_scale=float(request.cfg_scale),
            width_px=width_px,
            height_px=height_px,
            batch_size=request.batch_size,
            batch_count=request.batch_count,
            seed=self._random_seed() if request.seed == -1 else request.seed,
            clip_skip=int(clip_skip),
            emphasis=emphasis,
            pad_conds=bool(options["pad_cond_uncond"]),
            comma_backtrack=int(options["comma_padding_backtrack"]),
            save_images=request.save_images,
            previews_every_steps=previews,
            accelerator=self._accelerator or _accelerator(options),
        )

    def _check_networks(self, prompt: str) -> None:
        """A picture without the network that was asked for would be another picture: refuse it by name."""
        _, tags, _ = take_network_tags(strip_comments(prompt))
        for tag in tags:
            self._catalog.find(_NETWORK_KINDS[tag.kind], tag.name)
            rule = f"asks for {tag.kind} {tag.name!r}, and this version cannot apply networks"
            raise InvalidRequest("prompt", prompt, rule, "Remove the tag.")

    def _checkpoint(self, name: str) -> ModelFile:
        if name:
            return self._catalog.find("checkpoint", name)
        first = first_usable(self._catalog)
        if first is None:
            hint = "Put a .safetensors file into models/Stable-diffusion and refresh."
            raise InvalidRequest("checkpoint", name, "needs a usable checkpoint, and there is none", hint)
        return first


def _check_prompt(field: str, text: str, emphasis: str) -> None:
    _check_text(field, text)
    check_prompt_lines(field, text)
    parts = split_parts(text, is_negative=field == "negative_prompt")
    if len(parts) > MAX_AND_PARTS:
        rule = f"has {len(parts)} parts between AND, more than the {MAX_AND_PARTS} allowed"
        raise InvalidRequest(field, text, rule, "Use fewer.")
    chunks = max(_least_chunks(part, emphasis) for part in parts)
    if chunks > MAX_CHUNKS:
        rule = f"takes at least {chunks} chunks of 75 tokens, more than the {MAX_CHUNKS} allowed"
        raise InvalidRequest(field, text, rule, "Use fewer BREAKs.")


def _least_chunks(text: str, emphasis: str) -> int:
    """Chunks that the BREAKs of a text close.

    Square brackets may hide text for some steps: then, and for tokens, `engine/conditioning.py` counts and refuses.
    """
    return 0 if "[" in text else sum(piece.is_break for piece in parse_emphasis(text, emphasis))


def _check_text(field: str, text: str) -> None:
    """Text must survive UTF-8, the database and a PNG text chunk: no lone surrogates, no NUL."""
    bad = next((letter for letter in text if letter == "\0" or "\ud800" <= letter <= "\udfff"), None)
    if bad is not None:
        rule = f"holds the character U+{ord(bad):04X}, which is not text"
        raise InvalidRequest(field, text, rule, "Remove it.")


def _sampler_and_schedule(request: Txt2ImgRequest, options: Mapping[str, OptionValue]) -> tuple[str, str]:
    """Canonical sampler name and schedule label. A schedule in a joined name counts unless another one is given."""
    sampler, joined = split_sampler_name(request.sampler_name or str(options["default_sampler"]))
    given = find_schedule(request.schedule_type).label if request.schedule_type else ""
    if given in ("", AUTOMATIC) and joined:
        return sampler, joined
    return sampler, given or str(options["default_schedule"])


def _accelerator(options: Mapping[str, OptionValue]) -> str:
    """The UNet backend that the options ask for."""
    return ACCELERATOR if options["unet_accelerator_enabled"] else BACKENDS[str(options["unet_fallback_backend"])]


def _reference(file: ModelFile) -> CheckpointRef:
    return CheckpointRef(
        name=file.name, path=file.path, family=file.family, size_bytes=file.size_bytes, mtime_ns=file.mtime_ns
    )
