"""Events and commands as frames for a process border. To add a message: a frozen dataclass and a row in MESSAGES.

A frame is 4 bytes of header length (big-endian), a JSON header, then the binary tails that the header announces:

```
00 00 00 7b  {"kind": "ImageDone", "fields": {"job_id": "a1", …}, "tails": [["rgb", 196608]]}  <196608 bytes>
```

Fields of type `bytes` (pixels, previews) travel as tails, never as base64. Nothing is pickled: a worker that reads
foreign model files must not be able to run code in the process that reads its frames. Every field is checked
against the message's own type hints, so that a decoded message is as good as one made here.
"""

from __future__ import annotations

import json
import math
import typing
from collections.abc import Callable, Mapping, Sequence
from dataclasses import MISSING, Field, dataclass, fields
from typing import Any

from sdwebui.domain.errors import ProtocolError, shortened
from sdwebui.domain.requests import ResolvedRequest
from sdwebui.domain.results import ImageDone, JobEvent, JobFailed, JobFinished, JobStarted, StepDone

MAX_HEADER_BYTES = 8 * 2**20
"""Room for two prompts of 100,000 characters outside the basic plane, 12 bytes each when escaped."""

MAX_TAIL_BYTES = 512 * 2**20
"""Room for a picture of 8192 × 8192 pixels and then some."""

_PREFIX_BYTES = 4


@dataclass(frozen=True, kw_only=True)
class Submit:
    """Command: take this job up."""

    job_id: str
    request: ResolvedRequest


@dataclass(frozen=True, kw_only=True)
class Cancel:
    """Command: stop this job within one step."""

    job_id: str


@dataclass(frozen=True, kw_only=True)
class Skip:
    """Command: give up the pictures of this job that are in work, and go on with its others."""

    job_id: str


@dataclass(frozen=True, kw_only=True)
class Close:
    """Command: cancel everything, free the device and end."""


@dataclass(frozen=True, kw_only=True)
class Status:
    """The worker says how it is: the fields of `ports.DeviceStatus` as a mapping."""

    status: Mapping[str, str]


Message = JobEvent | Submit | Cancel | Skip | Close | Status

MESSAGES: tuple[type[Message], ...] = (
    JobStarted,
    StepDone,
    ImageDone,
    JobFinished,
    JobFailed,
    Submit,
    Cancel,
    Skip,
    Close,
    Status,
)
"""Every message that may cross the border."""


def encode(message: Message) -> bytes:
    """One message as one frame.

    Raises:
        ProtocolError: the message is larger than the limits, or holds something that JSON cannot say (NaN, an object).
    """
    kind = type(message).__name__
    values = {field.name: getattr(message, field.name) for field in fields(message)}
    tails = {name: value for name, value in values.items() if isinstance(value, bytes)}
    plain = {name: _plain(value) for name, value in values.items() if name not in tails}
    sizes = [[name, len(tail)] for name, tail in tails.items()]
    try:
        header = json.dumps({"kind": kind, "fields": plain, "tails": sizes}, allow_nan=False).encode("ascii")
    except (TypeError, ValueError, RecursionError) as exc:
        raise ProtocolError(f"{kind} cannot be sent: {exc}.") from exc
    _check_size("header", len(header), MAX_HEADER_BYTES)
    _check_size("tail", sum(map(len, tails.values())), MAX_TAIL_BYTES)
    return b"".join((len(header).to_bytes(_PREFIX_BYTES, "big"), header, *tails.values()))


def decode(frame: bytes) -> Message:
    """The message of one whole frame; `encode` gives an equal frame back.

    Raises:
        ProtocolError: the frame is cut off, too long, not JSON, of an unknown kind, or has a field of a wrong type.
    """
    view = memoryview(frame)
    place = 0

    def read(count: int) -> bytes:
        nonlocal place
        piece = bytes(view[place : place + count])
        place += len(piece)
        return piece

    try:
        message = read_message(read)
    except EOFError as exc:
        raise ProtocolError("The frame is empty.") from exc
    if place != len(frame):
        raise ProtocolError(f"The frame has {len(frame) - place} bytes after its end.")
    return message


def read_message(read: Callable[[int], bytes]) -> Message:
    """Read exactly one frame from a stream and decode it.

    Args:
        read: gives the next n bytes, fewer only where the stream ends (`io.BufferedReader.read` does this).

    Raises:
        EOFError: the stream ended between two frames, as it does when the other side closes it.
        ProtocolError: as `decode`; the stream is then at an unknown place and must be closed.
    """
    prefix = read(_PREFIX_BYTES)
    if not prefix:
        raise EOFError("the stream ended")
    if len(prefix) < _PREFIX_BYTES:
        raise ProtocolError(f"The stream ended inside a frame: {len(prefix)} of {_PREFIX_BYTES} bytes of its length.")
    size = int.from_bytes(prefix, "big")
    _check_size("header", size, MAX_HEADER_BYTES)
    header = _parse_header(_read_exactly(read, size, "header"))
    kind, sizes = _message_type(header), _tail_sizes(header)
    tails = {name: _read_exactly(read, count, name) for name, count in sizes}
    return _build(kind, header.get("fields"), tails)


def _plain(value: object) -> object:
    if isinstance(value, ResolvedRequest):
        return value.to_json()
    return dict(value) if isinstance(value, Mapping) else value


def _check_size(part: str, size: int, limit: int) -> None:
    if size > limit:
        raise ProtocolError(f"The {part} of a frame has {size} bytes, but at most {limit} are allowed.")


def _read_exactly(read: Callable[[int], bytes], count: int, part: str) -> bytes:
    piece = read(count)
    if len(piece) != count:
        raise ProtocolError(f"The stream ended inside a frame: {len(piece)} of {count} bytes of its {part}.")
    return piece


def _parse_header(header: bytes) -> Mapping[str, Any]:
    try:
        parsed = json.loads(header)
    except (ValueError, RecursionError) as exc:
        raise ProtocolError(f"The header of a frame is not JSON: {shortened(header)}.") from exc
    if not isinstance(parsed, dict):
        raise ProtocolError(f"The header of a frame is {shortened(parsed)}, but it must be an object.")
    return parsed


def _message_type(header: Mapping[str, Any]) -> type[Message]:
    for kind in MESSAGES:
        if kind.__name__ == header.get("kind"):
            return kind
    raise ProtocolError(f"A frame of the unknown kind {shortened(header.get('kind'))} came in.")


def _tail_sizes(header: Mapping[str, Any]) -> Sequence[tuple[str, int]]:
    listed = header.get("tails")
    if not isinstance(listed, list):
        raise ProtocolError(f"The tails of a frame are {shortened(listed)}, but they must be a list.")
    sizes = []
    for entry in listed:
        match entry:
            case [str(name), int(size)] if size >= 0 and not isinstance(size, bool):
                sizes.append((name, size))
            case _:
                raise ProtocolError(f"A tail of a frame is {shortened(entry)}, but it must be a name and a size.")
    _check_size("tail", sum(size for _, size in sizes), MAX_TAIL_BYTES)
    return sizes


def _build(kind: type[Message], plain: object, tails: Mapping[str, bytes]) -> Message:
    if not isinstance(plain, dict):
        raise ProtocolError(f"The fields of {kind.__name__} are {shortened(plain)}, but they must be an object.")
    hints = typing.get_type_hints(kind)
    values = {**plain, **tails}
    known = {field.name: field for field in fields(kind)}
    missing = [name for name, field in known.items() if name not in values and _is_required(field)]
    if missing:
        raise ProtocolError(f"{kind.__name__} came without its {missing[0]}.")
    given: dict[str, Any] = {
        name: _value(f"{kind.__name__}.{name}", hints[name], values[name]) for name in known if name in values
    }
    message = kind(**given)
    if isinstance(message, ImageDone):
        _check_pixels(message)
    return message


def _is_required(field: Field[Any]) -> bool:
    return field.default is MISSING and field.default_factory is MISSING


def _value(where: str, hint: object, value: object) -> Any:
    for known, convert in _CONVERTERS:
        if known == hint:
            try:
                return convert(value)
            except (TypeError, ValueError, KeyError, OverflowError) as exc:
                raise ProtocolError(f"{where} is {shortened(value)}, which is not of type {hint}.") from exc
    raise AssertionError(f"{where} has the type {hint}, for which wire.py has no converter")


def _exactly(kind: type) -> Callable[[object], object]:
    def convert(value: object) -> object:
        if type(value) is not kind:
            raise TypeError(kind.__name__)
        return value

    return convert


def _finite(value: object) -> float:
    if isinstance(value, bool) or not isinstance(value, int | float) or not math.isfinite(value):
        raise TypeError("number")
    return float(value)


def _strings(value: object) -> tuple[str, ...]:
    if not isinstance(value, list) or not all(isinstance(one, str) for one in value):
        raise TypeError("list of text")
    return tuple(value)


def _texts(value: object) -> Mapping[str, str]:
    if not isinstance(value, dict) or not all(isinstance(one, str) for one in value.values()):
        raise TypeError("object of text")
    return value


def _request(value: object) -> ResolvedRequest:
    if not isinstance(value, dict):
        raise TypeError("object")
    return ResolvedRequest.from_json(value)


def _check_pixels(image: ImageDone) -> None:
    expected = image.width_px * image.height_px * 3
    if min(image.width_px, image.height_px) < 1 or len(image.rgb) != expected:
        size = f"{image.width_px}×{image.height_px}"
        raise ProtocolError(f"ImageDone.rgb has {len(image.rgb)} bytes, but a picture of {size} has {expected}.")


_CONVERTERS: tuple[tuple[object, Callable[[object], object]], ...] = (
    (str, _exactly(str)),
    (int, _exactly(int)),
    (bool, _exactly(bool)),
    (bytes, _exactly(bytes)),
    (float, _finite),
    (tuple[str, ...], _strings),
    (Mapping[str, str], _texts),
    (Mapping[str, Any], _exactly(dict)),
    (ResolvedRequest, _request),
)
