"""Whether a .safetensors file is shorter than its own header says. For another format: a function like `is_cut_off`.

A file begins with the length N of its header (8 bytes, little-endian), then N bytes of JSON with the place of each
tensor in the data behind it (github.com/huggingface/safetensors, "Format").
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from pathlib import Path

_LENGTH_BYTES = 8
_MAX_HEADER_BYTES = 100_000_000
"""The format's own limit; a larger "length" is the beginning of something else."""


def is_cut_off(path: Path) -> bool:
    """Whether the file begins as a .safetensors file and ends before the end that its header gives.

    False for whole files, for files of another kind, and for those that are too short to tell. Reads the header alone.
    """
    try:
        size_bytes = path.stat().st_size
        with path.open("rb") as file:
            start = file.read(_LENGTH_BYTES)
            length = int.from_bytes(start, "little")
            if len(start) < _LENGTH_BYTES or not 2 <= length <= _MAX_HEADER_BYTES:
                return False
            header = file.read(length)
    except OSError:
        return False
    if len(header) < length:
        return header[:1] in (b"", b"{")
    return size_bytes - _LENGTH_BYTES - length < _data_bytes(header)


def _data_bytes(header: bytes) -> int:
    """Bytes of data that a header asks for; 0 for one that breaks the format, which more bytes would not mend."""
    try:
        entries = json.loads(header)
        tensors = [entry for name, entry in entries.items() if name != "__metadata__"]
        return max((int(entry["data_offsets"][1]) for entry in tensors if isinstance(entry, Mapping)), default=0)
    except (ValueError, RecursionError, AttributeError, KeyError, IndexError, TypeError):
        return 0
