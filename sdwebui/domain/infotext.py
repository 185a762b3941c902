"""The "parameters" text of a picture in A1111 1.10.1's format. To add a key: `infotext_params` and `_READERS`.

```
prompt, any number of lines
Negative prompt: negative prompt, any number of lines
Steps: 20, Sampler: Euler a, Schedule type: Automatic, CFG scale: 7, Seed: 1, Size: 512x512, …, Version: sdwebui 0.1.0
```

A value with a comma, colon or line break is a JSON string. Reading follows A1111: the last line holds parameters only
if it has at least three; a key is two or more word characters, blanks, "-" or "/". Differences, both so that what was
written can be read again: a value that starts with a quote or has blanks at its ends is quoted too, and a key whose
value equals its name is written like any other. Reading takes linear time and never raises.
"""

from __future__ import annotations

import json
import re
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass

from sdwebui.domain.catalog import AUTOMATIC, find_sampler, find_schedule, split_sampler_name
from sdwebui.domain.emphasis import EMPHASIS_MODES
from sdwebui.domain.errors import InvalidRequest, NotFound, shortened
from sdwebui.domain.requests import ResolvedRequest

_NEGATIVE = "Negative prompt:"
_MIN_PARAMS = 3
_KEY_RUN = re.compile(r"[\w \-/]++")
_BLANKS = re.compile(r"\s*")
_QUOTED = re.compile(r'"(?:\\.|[^\\"])++"(?=,|$)')
_SIZE = re.compile(r"(\d{1,9})x(\d{1,9})")


@dataclass(frozen=True, kw_only=True)
class ParsedInfotext:
    """An infotext taken apart.

    Attributes:
        prompt: the prompt, lines joined by line feeds.
        negative_prompt: the negative prompt likewise.
        params: keys and values of the last line in order, values unquoted ("Size" is "512x512"); empty when the
            text has no such line.
    """

    prompt: str
    negative_prompt: str
    params: Mapping[str, str]


def render_infotext(prompt: str, negative_prompt: str, params: Mapping[str, object]) -> str:
    """Write an infotext. Values are written by `str`; None is left out, as in A1111."""
    lines = [prompt]
    if negative_prompt:
        lines.append(f"{_NEGATIVE} {negative_prompt}")
    values = ((key, str(value)) for key, value in params.items() if value is not None)
    lines.append(", ".join(f"{key}: {_quoted(value)}" for key, value in values))
    return "\n".join(lines).strip()


def infotext_params(
    request: ResolvedRequest, *, image_index: int, model_hash: str, facts: Mapping[str, str], version: str
) -> dict[str, object]:
    """Keys and values of one picture in A1111's order.

    Args:
        request: the job.
        image_index: 0-based picture of the job.
        model_hash: first 10 hex digits of the checkpoint's SHA-256; empty leaves the key out.
        facts: what only the engine knows (accelerator, precision …), written before Version.
        version: this program's version number.
    """
    texts = request.prompt + request.negative_prompt
    has_emphasis = request.emphasis != "Original" and ("(" in texts or "[" in texts)
    return {
        "Steps": request.steps,
        "Sampler": request.sampler,
        "Schedule type": AUTOMATIC if request.automatic_schedule else request.schedule_type,
        "CFG scale": _number_text(request.cfg_scale),
        "Seed": request.image_seed(image_index),
        "Size": f"{request.width_px}x{request.height_px}",
        **({"Model hash": model_hash} if model_hash else {}),
        "Model": request.checkpoint.name.rpartition("/")[2],
        **({"Clip skip": request.clip_skip} if request.clip_skip > 1 else {}),
        "RNG": "CPU",
        **({"Emphasis": request.emphasis} if has_emphasis else {}),
        **({"Pad conds": True} if request.pad_conds else {}),
        **facts,
        "Version": f"sdwebui {version}",
    }


def parse_infotext(text: str) -> ParsedInfotext:
    """Take an infotext apart; a text in another format is all prompt."""
    *lines, last = text.strip().split("\n")
    params = list(_params(last))
    if len(params) < _MIN_PARAMS:
        lines.append(last)
        params = []
    sides: tuple[list[str], list[str]] = ([], [])
    side = 0
    for line in lines:
        one = line.strip()
        if one.startswith(_NEGATIVE):
            side = 1
            one = one.removeprefix(_NEGATIVE).strip()
        if one or sides[side]:
            sides[side].append(one)
    prompt, negative_prompt = ("\n".join(side) for side in sides)
    return ParsedInfotext(prompt=prompt, negative_prompt=negative_prompt, params=dict(params))


def check_prompt_lines(field: str, text: str) -> None:
    """Refuse a prompt that no reader could find again in an infotext: pasted parameters, most of the time.

    Args:
        field: "prompt" or "negative_prompt".
        text: what stands in it. Any kind of line break counts, as other programs' readers know them all.

    Raises:
        InvalidRequest: a line starts like the negative prompt of an infotext, or the last one is its parameters.
    """
    lines = [line.strip() for line in text.splitlines() if line.strip()]
    hint = "Press 'Read parameters', or remove that line."
    if any(line.startswith(_NEGATIVE) for line in lines):
        rule = f"holds a line that starts with '{_NEGATIVE}', which generation parameters do"
        raise InvalidRequest(field, text, rule, hint)
    params = list(_params(lines[-1])) if lines else []
    if len(params) >= _MIN_PARAMS and {"Steps", "Seed"} <= {key for key, _ in params}:
        raise InvalidRequest(field, text, "ends in a line of generation parameters", hint)


def a1111_parameters(parsed: ParsedInfotext) -> dict[str, object]:
    """What A1111's `/sdapi/v1/png-info` answers as `parameters`: sizes in two, missing keys with defaults."""
    found: dict[str, object] = {"Prompt": parsed.prompt, "Negative prompt": parsed.negative_prompt}
    for key, value in parsed.params.items():
        size = _SIZE.fullmatch(value)
        found |= {f"{key}-1": size[1], f"{key}-2": size[2]} if size else {key: value}
    return found | {key: value for key, value in _A1111_DEFAULTS.items() if key not in found}


def request_fields(parsed: ParsedInfotext, *, with_checkpoint: bool = False) -> dict[str, object]:
    """The fields of `Txt2ImgRequest` that a pasted infotext sets; what cannot be read is left out.

    A text without parameters sets only the prompts. With parameters, a missing "Schedule type", "Clip skip" or
    "Emphasis" means A1111's default and is set as such.

    Args:
        parsed: the infotext.
        with_checkpoint: set `checkpoint` too, by hash or else by name (A1111 does not by default).
    """
    return _read_fields(parsed, with_checkpoint)[0]


def paste_problems(parsed: ParsedInfotext) -> tuple[str, ...]:
    """Sentences for the user about the values that `request_fields` had to leave out."""
    return _read_fields(parsed, with_checkpoint=False)[1]


def _params(line: str) -> Iterator[tuple[str, str]]:
    place = 0
    while (run := _KEY_RUN.search(line, place)) is not None:
        place = run.end()
        key = run[0].lstrip(" -/")
        if len(key) < 2 or not line.startswith(":", place):
            continue
        blanks = _BLANKS.match(line, place + 1)
        start = blanks.end() if blanks else place + 1
        quoted = _QUOTED.match(line, start)
        comma = line.find(",", start)
        end = quoted.end() if quoted else comma if comma >= 0 else len(line)
        yield key, _unquoted(line[start:end])
        place = end + 1


def _quoted(value: str) -> str:
    is_plain = not any(mark in value for mark in ",:\n") and not value.startswith('"') and value == value.strip()
    return value if is_plain else json.dumps(value, ensure_ascii=False)


def _unquoted(value: str) -> str:
    if len(value) < 2 or value[0] != '"' or value[-1] != '"':
        return value
    try:
        return str(json.loads(value))
    except ValueError:
        return value


def _number_text(value: float) -> str:
    return str(int(value)) if value == int(value) else repr(float(value))


def _read_fields(parsed: ParsedInfotext, with_checkpoint: bool) -> tuple[dict[str, object], tuple[str, ...]]:
    fields: dict[str, object] = {"prompt": parsed.prompt, "negative_prompt": parsed.negative_prompt}
    problems: list[str] = []
    if not parsed.params:
        return fields, ()
    fields |= {"schedule_type": AUTOMATIC, "clip_skip": 1, "emphasis": "Original"}
    for key, read in _READERS.items():
        if key in parsed.params:
            try:
                fields |= read(parsed.params[key])
            except NotFound as exc:
                problems.append(f"{key} was not taken over: {exc.detail}")
            except ValueError:
                problems.append(f"{key} was not taken over: {shortened(parsed.params[key])} cannot be read.")
    if with_checkpoint and (checkpoint := parsed.params.get("Model hash") or parsed.params.get("Model")):
        fields["checkpoint"] = checkpoint
    return fields, tuple(problems)


def _sampler_fields(value: str) -> dict[str, object]:
    sampler, schedule = split_sampler_name(value)
    is_default = schedule == find_sampler(sampler).default_schedule
    return {"sampler_name": sampler, **({"schedule_type": AUTOMATIC if is_default else schedule} if schedule else {})}


def _size_fields(value: str) -> dict[str, object]:
    size = _SIZE.fullmatch(value.strip())
    if size is None:
        raise ValueError(value)
    return {"width_px": int(size[1]), "height_px": int(size[2])}


def _emphasis_fields(value: str) -> dict[str, object]:
    if value not in EMPHASIS_MODES:
        raise ValueError(value)
    return {"emphasis": value}


_READERS: Mapping[str, Callable[[str], dict[str, object]]] = {
    "Steps": lambda value: {"steps": int(value)},
    "Sampler": _sampler_fields,
    "Schedule type": lambda value: {"schedule_type": find_schedule(value).label},
    "CFG scale": lambda value: {"cfg_scale": float(value)},
    "Seed": lambda value: {"seed": int(value)},
    "Size": _size_fields,
    "Clip skip": lambda value: {"clip_skip": int(value)},
    "Emphasis": _emphasis_fields,
}

_A1111_DEFAULTS: Mapping[str, object] = {
    "Clip skip": "1",
    "Hires resize-1": 0,
    "Hires resize-2": 0,
    "Hires sampler": "Use same sampler",
    "Hires schedule type": "Use same scheduler",
    "Hires checkpoint": "Use same checkpoint",
    "Hires prompt": "",
    "Hires negative prompt": "",
    "Mask mode": "Inpaint masked",
    "Masked content": "original",
    "Inpaint area": "Whole picture",
    "Masked area padding": 32,
    "RNG": "GPU",
    "Schedule type": AUTOMATIC,
    "Schedule max sigma": 0,
    "Schedule min sigma": 0,
    "Schedule rho": 0,
    "VAE Encoder": "Full",
    "VAE Decoder": "Full",
    "FP8 weight": "Disable",
}
