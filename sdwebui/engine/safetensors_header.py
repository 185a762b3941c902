"""The header of a .safetensors file, read with suspicion: nothing else of the file is touched and no torch is needed.

Every rule that a damaged, cut-off or disguised file can break is one check here. To add one: a function that raises
`ModelUnusable` with a sentence naming the file, what is wrong and what to do, called from `read_header`.
"""

from __future__ import annotations

import json
import math
import stat
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, NoReturn

from sdwebui.domain.errors import ModelUnusable, shortened

MAX_HEADER_BYTES = 100_000_000
_LENGTH_BYTES = 8

DTYPE_BITS: Mapping[str, int] = {
    "BOOL": 8, "U8": 8, "I8": 8, "F8_E5M2": 8, "F8_E4M3": 8, "F8_E8M0": 8,
    "I16": 16, "U16": 16, "F16": 16, "BF16": 16,
    "I32": 32, "U32": 32, "F32": 32,
    "I64": 64, "U64": 64, "F64": 64, "C64": 64,
}  # fmt: skip

# What a file begins with when it is something else, and what to tell the person.
_DISGUISES: tuple[tuple[bytes, str], ...] = (
    (b"<!doctype", "is an HTML page, not a model: the download was answered by a web page. Download it again"),
    (b"<html", "is an HTML page, not a model: the download was answered by a web page. Download it again"),
    (b"version https://git-lfs", "is a git-lfs pointer, not the model itself. Fetch the file with git lfs pull"),
    (b"pk\x03\x04", "is a zip archive (often a .ckpt renamed). Convert it to .safetensors first"),
    (b"\x80\x02", "is a Python pickle, which could run code. Convert it to .safetensors first"),
    (b"\x80\x03", "is a Python pickle, which could run code. Convert it to .safetensors first"),
    (b"\x80\x04", "is a Python pickle, which could run code. Convert it to .safetensors first"),
    (b"\x80\x05", "is a Python pickle, which could run code. Convert it to .safetensors first"),
    (b"gguf", "is a GGUF file, which is not supported. Use the .safetensors version"),
)


@dataclass(frozen=True, kw_only=True)
class TensorEntry:
    """One tensor of a file.

    Attributes:
        dtype: safetensors name ("F16").
        shape: sizes, outermost first.
        begin: first byte, counted from the end of the header.
        end: one past the last byte.
    """

    dtype: str
    shape: tuple[int, ...]
    begin: int
    end: int


@dataclass(frozen=True, kw_only=True)
class SafetensorsHeader:
    """Names, shapes and metadata of a file whose offsets cover it exactly.

    Attributes:
        tensors: entries by name, in the file's order.
        metadata: the `__metadata__` strings.
        size_bytes: size of the whole file.
    """

    tensors: Mapping[str, TensorEntry]
    metadata: Mapping[str, str]
    size_bytes: int

    def shape(self, name: str) -> tuple[int, ...] | None:
        """Shape of a tensor, or None when the file has none of that name."""
        entry = self.tensors.get(name)
        return entry.shape if entry else None


def read_header(path: Path) -> SafetensorsHeader:
    """Read and check the header of a .safetensors file.

    Raises:
        ModelUnusable: the file cannot be read, is something else, is cut off, or its header breaks the format.
    """
    try:
        status = path.stat()
        if not stat.S_ISREG(status.st_mode):
            _refuse(path, "is not a regular file. Put the model file itself here")
        with path.open("rb") as file:
            start = file.read(64)
            header_bytes = _header_length(path, start, status.st_size)
            file.seek(_LENGTH_BYTES)
            text = file.read(header_bytes)
    except OSError as error:
        raise ModelUnusable(f"{path.name} cannot be read: {error.strerror or error}.") from error
    if len(text) < header_bytes:
        _refuse(path, "became shorter while it was read. Wait until the copy is complete and refresh")
    entries, metadata = _parse(path, text)
    _check_coverage(path, entries, status.st_size - _LENGTH_BYTES - header_bytes)
    return SafetensorsHeader(tensors=entries, metadata=metadata, size_bytes=status.st_size)


def _refuse(path: Path, sentence: str) -> NoReturn:
    raise ModelUnusable(f"{path.name} {sentence}.")


def _header_length(path: Path, start: bytes, size_bytes: int) -> int:
    for magic, sentence in _DISGUISES:
        if start.lstrip(b"\xef\xbb\xbf \r\n\t").lower().startswith(magic):
            _refuse(path, sentence)
    if size_bytes < _LENGTH_BYTES + 2:
        _refuse(path, f"has {size_bytes} bytes, too few for a model. Download it again")
    length = int.from_bytes(start[:_LENGTH_BYTES], "little")
    if length > MAX_HEADER_BYTES:
        _refuse(path, f"is not a .safetensors file: its header would have {length} bytes. Download it again")
    if length > size_bytes - _LENGTH_BYTES:
        _refuse(path, f"is incomplete: it has {size_bytes} bytes, its header alone {length}. Download it again")
    if start[_LENGTH_BYTES : _LENGTH_BYTES + 1] != b"{":
        _refuse(path, "is not a .safetensors file: its header is no JSON object. Download it again")
    return length


def _parse(path: Path, text: bytes) -> tuple[dict[str, TensorEntry], dict[str, str]]:
    try:
        plain = json.loads(text.decode("utf-8"), object_pairs_hook=_object_without_doubles)
    except (ValueError, RecursionError) as error:
        raise ModelUnusable(
            f"{path.name} has a damaged header ({shortened(str(error))}). Download it again."
        ) from error
    metadata = plain.pop("__metadata__", {})
    if not isinstance(metadata, dict) or not all(isinstance(value, str) for value in metadata.values()):
        _refuse(path, "has a damaged header: __metadata__ is not a table of strings. Download it again")
    return {name: _entry(path, name, value) for name, value in plain.items()}, metadata


def _object_without_doubles(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    found = dict(pairs)
    if len(found) != len(pairs):
        raise ValueError("a name stands twice")
    return found


def _entry(path: Path, name: str, value: object) -> TensorEntry:
    entry: dict[str, Any] = value if isinstance(value, dict) else {}
    dtype, shape, offsets = (entry.get(key, "") for key in ("dtype", "shape", "data_offsets"))
    if not _is_count_list(shape) or not _is_count_list(offsets) or len(offsets) != 2:
        _refuse(path, f"has a damaged header: tensor {shortened(name)} has no proper shape or place. Download it again")
    if not isinstance(dtype, str) or dtype not in DTYPE_BITS:
        _refuse(path, f"stores tensor {shortened(name)} as {shortened(dtype)}, a data type that is not supported")
    begin, end = offsets
    if (end - begin) * 8 != math.prod(shape) * DTYPE_BITS[dtype]:
        _refuse(path, f"has a damaged header: tensor {shortened(name)} has the wrong size. Download it again")
    return TensorEntry(dtype=dtype, shape=tuple(shape), begin=begin, end=end)


def _is_count_list(value: object) -> bool:
    return isinstance(value, list) and all(type(number) is int and number >= 0 for number in value)


def _check_coverage(path: Path, entries: Mapping[str, TensorEntry], data_bytes: int) -> None:
    if not entries:
        _refuse(path, "holds no tensors")
    expected = 0
    for entry in sorted(entries.values(), key=lambda one: (one.begin, one.end)):
        if entry.begin != expected:
            _refuse(path, "has a damaged header: its tensors overlap or leave a gap. Download it again")
        expected = entry.end
    if expected > data_bytes:
        _refuse(path, f"is incomplete: {expected - data_bytes} bytes are missing at its end. Download it again")
    if expected < data_bytes:
        _refuse(path, f"has {data_bytes - expected} bytes too many at its end. Download it again")
