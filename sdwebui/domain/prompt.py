"""A1111's prompt grammar as data, without a model. To add a tag kind: a row in `_TAG_KINDS`.

One prompt is read in this order (A1111 1.10.1): `#` comments are cut, `<kind:name:numbers>` tags taken out, the rest
is split at AND, each part is expanded over the steps (`prompt_schedule.py`) and each text gets its emphasis
(`emphasis.py`). No text raises and nothing recurses; time is linear in the text for a given number of steps.
"""

from __future__ import annotations

import math
import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

from sdwebui.domain.emphasis import MAX_WEIGHT, Piece, parse_emphasis
from sdwebui.domain.errors import InvalidRequest, shortened
from sdwebui.domain.prompt_schedule import StepCount, expand_schedule

_COMMENT_LINE = re.compile(r"(?:\A|\n)#[^\n]*(?:\n|\Z)")
_COMMENT = re.compile(r"#[^\n]*(?:\n|\Z)")
_TAG_START = re.compile(r"<(\w++):")
_AND = re.compile(r"\bAND\b")
_PART_WEIGHT = re.compile(r"\s*[-+]?(?:\d+\.?|\d*\.\d+)")
_TAG_KINDS = {"lora": "lora", "lyco": "lora", "hypernet": "hypernet"}
_MAX_WARNINGS = 20


@dataclass(frozen=True, kw_only=True)
class NetworkTag:
    """An extra network that the prompt asks for: `<lora:name:te:unet:dyn:key=value>`.

    Attributes:
        kind: "lora" (also for lyco) or "hypernet".
        name: as written.
        te_weight: strength in the text encoder; 1 when not given.
        unet_weight: strength in the UNet; the text encoder's when not given.
        dynamic_rank: LyCORIS dynamic rank, 0 for all of it.
        named: further `key=value` arguments as written ("lbw").
    """

    kind: str
    name: str
    te_weight: float = 1.0
    unet_weight: float = 1.0
    dynamic_rank: int = 0
    named: Mapping[str, str] = field(default_factory=dict)

    def to_json(self) -> dict[str, Any]:
        """The JSON object of `sdwebui prompt --json`."""
        facts: dict[str, Any] = {"kind": self.kind, "name": self.name, "te": self.te_weight, "unet": self.unet_weight}
        return facts | ({"dyn": self.dynamic_rank} if self.dynamic_rank else {}) | {"named": dict(self.named)}


@dataclass(frozen=True, kw_only=True)
class ScheduledText:
    """A text and the last step that uses it (steps count from 1)."""

    until_step: int
    text: str

    def attention(self, emphasis: str = "Original") -> tuple[Piece, ...]:
        """The text in pieces of equal weight; `emphasis` is one of `EMPHASIS_MODES`."""
        return parse_emphasis(self.text, emphasis)


@dataclass(frozen=True, kw_only=True)
class SubPrompt:
    """One part of a prompt with AND: guidance adds weight · cfg · (its prediction − the unconditional one).

    Attributes:
        weight: the number after the part's last ":"; 1 without one.
        schedule: texts in order; the last one ends at the last step.
    """

    weight: float
    schedule: tuple[ScheduledText, ...]

    def text_at(self, step: int) -> str:
        """The text that step (1 …) uses."""
        return next((one.text for one in self.schedule if step <= one.until_step), self.schedule[-1].text)


@dataclass(frozen=True, kw_only=True)
class ParsedPrompt:
    """A prompt as it is understood.

    Attributes:
        subprompts: the parts between AND, at least one.
        networks: the tags in order; the same name may stand twice, then the strengths add up.
        warnings: sentences for the user about tags that were removed or left as text.
    """

    subprompts: tuple[SubPrompt, ...]
    networks: tuple[NetworkTag, ...] = ()
    warnings: tuple[str, ...] = ()

    def to_json(self, emphasis: str = "Original") -> dict[str, Any]:
        """The object that `sdwebui prompt --json` prints. A chunk break is the pair ["BREAK", −1]."""
        pieces: dict[str, list[list[Any]]] = {}

        def attention(one: ScheduledText) -> list[list[Any]]:
            if one.text not in pieces:
                pieces[one.text] = [[piece.text, piece.weight] for piece in one.attention(emphasis)]
            return pieces[one.text]

        def schedule(part: SubPrompt) -> list[dict[str, Any]]:
            return [{"until_step": x.until_step, "text": x.text, "attention": attention(x)} for x in part.schedule]

        parts = [{"weight": part.weight, "schedule": schedule(part)} for part in self.subprompts]
        return {"and": parts, "networks": [tag.to_json() for tag in self.networks]}


def parse_prompt(
    text: str,
    steps: int,
    *,
    is_negative: bool = False,
    calls_per_step: int = 1,
    hires_steps: int = 0,
    old_timelines: bool = False,
) -> ParsedPrompt:
    """Read a prompt. No text raises: what is malformed is text.

    Args:
        text: the prompt as the user wrote it.
        steps: UI steps of the first pass, 1 ….
        is_negative: a negative prompt has no network tags and no AND: they stay text (A1111).
        calls_per_step: 2 for second-order samplers, else 1; `until_step` then counts model calls (A1111).
        hires_steps: UI steps of the second pass, to get that pass's schedule; 0 for the first pass.
        old_timelines: A1111's option "Old prompt editing timelines".

    Raises:
        InvalidRequest: `steps` is less than 1.
    """
    if steps < 1:
        raise InvalidRequest("steps", steps, "must be a whole number from 1")
    count = StepCount(
        steps=(hires_steps or steps) * calls_per_step,
        first_pass_steps=steps * calls_per_step if hires_steps else 0,
        old_timelines=old_timelines,
    )
    plain = strip_comments(text)
    if is_negative:
        return ParsedPrompt(subprompts=(_subprompt(plain, 1.0, count),))
    plain, networks, warnings = take_network_tags(plain)
    parts = tuple(_subprompt(*_part_weight(part), count) for part in _AND.split(plain))
    return ParsedPrompt(subprompts=parts, networks=networks, warnings=warnings)


def split_parts(text: str, *, is_negative: bool = False) -> tuple[str, ...]:
    """The texts between AND, weights included, without comments and network tags; a negative prompt is one text."""
    plain = strip_comments(text)
    return (plain,) if is_negative else tuple(_AND.split(take_network_tags(plain)[0]))


def strip_comments(text: str) -> str:
    """Cut everything from "#" to the end of its line (A1111's option "Enable comments", on by default)."""
    return _COMMENT.sub("\n", _COMMENT_LINE.sub("\n", text)) if "#" in text else text


def take_network_tags(text: str) -> tuple[str, tuple[NetworkTag, ...], tuple[str, ...]]:
    """Take `<kind:name:…>` tags out of a text.

    A tag of an unknown kind is removed and reported, as in A1111. One whose number is malformed or whose name is
    missing stays text and is reported (A1111 fails the generation).

    Returns:
        The text without the tags, the tags in order, and sentences for the user.
    """
    kept: list[str] = []
    tags: list[NetworkTag] = []
    problems: list[str] = []
    place = search_from = 0
    while (match := _TAG_START.search(text, search_from)) is not None:
        end = text.find(">", match.end())
        if end < 0:
            break
        search_from = match.end() if end == match.end() else end + 1
        if search_from == match.end():
            continue
        read = _read_tag(match[1], text[match.end() : end])
        if isinstance(read, NetworkTag):
            tags.append(read)
        else:
            problems.append(f"The tag {shortened(text[match.start() : end + 1])} {read}")
        if isinstance(read, NetworkTag) or match[1] not in _TAG_KINDS:
            kept.append(text[place : match.start()])
            place = end + 1
    kept.append(text[place:])
    return "".join(kept), tuple(tags), _few(problems)


def _read_tag(word: str, arguments: str) -> NetworkTag | str:
    """The tag, or the end of a sentence that says why it is none."""
    kind = _TAG_KINDS.get(word)
    if kind is None:
        return f"was removed: {shortened(word)} is none of {', '.join(_TAG_KINDS)}."
    items = [item.split("=") for item in arguments.split(":")]
    named = {item[0]: item[1] for item in items if len(item) == 2}
    positional = ["=".join(item) for item in items if len(item) != 2]
    if not positional or not positional[0].strip():
        return "was left as text: it has no name."
    try:
        te = _number(named.pop("te", None), positional, 1, 1.0)
        unet = _number(named.pop("unet", None), positional, 2, te)
        rank = int(_number(named.pop("dyn", None), positional, 3, 0.0))
    except ValueError as exc:
        return f"was left as text: {exc} is not a number."
    return NetworkTag(
        kind=kind, name=positional[0], te_weight=te, unet_weight=unet, dynamic_rank=max(0, rank), named=named
    )


def _number(named: str | None, positional: Sequence[str], place: int, default: float) -> float:
    text = named if named is not None else positional[place] if len(positional) > place else None
    if text is None:
        return default
    try:
        value = float(text.replace("_", "x"))
    except ValueError:
        raise ValueError(shortened(text)) from None
    if not math.isfinite(value):
        raise ValueError(shortened(text))
    return max(-MAX_WEIGHT, min(MAX_WEIGHT, value))


def _few(problems: Sequence[str]) -> tuple[str, ...]:
    more = len(problems) - _MAX_WARNINGS
    return (*problems[:_MAX_WARNINGS], *((f"{more} more tags have such problems.",) if more > 0 else ()))


def _part_weight(part: str) -> tuple[str, float]:
    """Cut ":number" off the end of a part. Blanks at the end and before the colon go with it."""
    body, colon, ending = part.rstrip().rpartition(":")
    if not colon or not _PART_WEIGHT.fullmatch(ending):
        return part.rstrip(), 1.0
    return body.rstrip(), max(-MAX_WEIGHT, min(MAX_WEIGHT, float(ending)))


def _subprompt(text: str, weight: float, count: StepCount) -> SubPrompt:
    schedule = tuple(ScheduledText(until_step=until, text=one) for until, one in expand_schedule(text, count))
    return SubPrompt(weight=weight, schedule=schedule)
