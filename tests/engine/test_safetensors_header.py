from __future__ import annotations

import json
import os
from pathlib import Path
from typing import Any

import pytest

from sdwebui.domain.errors import ModelUnusable
from sdwebui.engine.safetensors_header import MAX_HEADER_BYTES, read_header


def file_bytes(header: object, data: bytes = b"", length: int | None = None) -> bytes:
    text = header if isinstance(header, bytes) else json.dumps(header).encode()
    return (len(text) if length is None else length).to_bytes(8, "little") + text + data


def one(shape: Any = (2,), dtype: Any = "F32", offsets: Any = (0, 8)) -> dict[str, Any]:
    return {"a": {"dtype": dtype, "shape": shape, "data_offsets": offsets}}


GOOD = file_bytes({"__metadata__": {"format": "pt"}, **one()}, bytes(8))
NESTED = b'{"a":' + b"[" * 100_000 + b"]" * 100_000 + b"}"

BROKEN: dict[str, tuple[bytes, str]] = {
    "empty": (b"", "0 bytes"),
    "seven bytes": (b"\1" * 7, "7 bytes"),
    "header of no length": (file_bytes({}, bytes(8), 0), "damaged header"),
    "header of 2^63": (file_bytes(one(), bytes(8), 2**63), "header would have"),
    "header above the limit": (file_bytes(one(), bytes(8), MAX_HEADER_BYTES + 1), "header would have"),
    "header longer than the file": (file_bytes(one(), bytes(8), 5000), "incomplete"),
    "html page": (b"<!DOCTYPE html><html><body>404", "HTML page"),
    "html page with a mark": (b"\xef\xbb\xbf  <HTML><body>404 not found", "HTML page"),
    "git-lfs pointer": (b"version https://git-lfs.github.com/spec/v1\noid sha256:1", "git-lfs pointer"),
    "zip": (b"PK\x03\x04" + bytes(60), "zip archive"),
    "pickle": (b"\x80\x02}q\x00." + bytes(60), "pickle"),
    "pickle protocol 5": (b"\x80\x05\x95" + bytes(60), "pickle"),
    "no JSON": (file_bytes(b"{not json}"), "damaged header"),
    "a list": (file_bytes(b"[1, 2, 3]"), "no JSON object"),
    "not UTF-8": (file_bytes(b'{"\xff\xfe": 1}'), "damaged header"),
    "deep JSON": (file_bytes(NESTED), "damaged header"),
    "a name twice": (file_bytes(b'{"a": {}, "a": {}}'), "damaged header"),
    "huge number": (file_bytes(b'{"a": {"shape": [' + b"9" * 5000 + b"]}}"), "damaged header"),
    "metadata of numbers": (file_bytes({"__metadata__": {"a": 1}, **one()}, bytes(8)), "table of strings"),
    "metadata that is a text": (file_bytes({"__metadata__": "x", **one()}, bytes(8)), "table of strings"),
    "entry is a number": (file_bytes({"a": 7}, bytes(8)), "no proper shape"),
    "negative size": (file_bytes(one([-2]), bytes(8)), "no proper shape"),
    "boolean size": (file_bytes(one([True, 2]), bytes(8)), "no proper shape"),
    "three offsets": (file_bytes(one(offsets=[0, 4, 8]), bytes(8)), "no proper shape"),
    "reversed offsets": (file_bytes(one(offsets=[8, 0]), bytes(8)), "wrong size"),
    "unknown dtype": (file_bytes(one(dtype="F33"), bytes(8)), "data type"),
    "dtype is a list": (file_bytes(one(dtype=["F32"]), bytes(8)), "data type"),
    "size overflows": (file_bytes(one([2**62, 4]), bytes(8)), "wrong size"),
    "size does not fit": (file_bytes(one([3]), bytes(8)), "wrong size"),
    "no tensors": (file_bytes({"__metadata__": {}}), "holds no tensors"),
    "gap": (file_bytes(one(offsets=[8, 16]), bytes(16)), "overlap or leave a gap"),
    "overlap": (file_bytes({**one(), "b": one()["a"]}, bytes(16)), "overlap or leave a gap"),
    "cut off": (GOOD[:-3], "3 bytes are missing"),
    "bytes at the end": (GOOD + b"xy", "2 bytes too many"),
}


def test_a_good_file_gives_names_shapes_and_metadata(tmp_path: Path):
    path = tmp_path / "good.safetensors"
    path.write_bytes(GOOD)
    header = read_header(path)
    assert header.shape("a") == (2,)
    assert header.shape("b") is None
    assert header.metadata == {"format": "pt"}


@pytest.mark.parametrize("case", BROKEN)
def test_a_broken_file_is_refused_by_its_name_with_the_reason(case: str, tmp_path: Path):
    content, expected = BROKEN[case]
    path = tmp_path / "model.safetensors"
    path.write_bytes(content)
    with pytest.raises(ModelUnusable, match=expected) as caught:
        read_header(path)
    assert caught.value.detail.startswith("model.safetensors ")
    assert len(caught.value.detail) < 300


@pytest.mark.parametrize("length", range(0, len(GOOD), 7))
def test_a_file_cut_anywhere_is_refused(length: int, tmp_path: Path):
    path = tmp_path / "cut.safetensors"
    path.write_bytes(GOOD[:length])
    with pytest.raises(ModelUnusable):
        read_header(path)


def test_a_missing_file_a_folder_and_a_pipe_are_refused_without_waiting(tmp_path: Path):
    (tmp_path / "folder.safetensors").mkdir()
    os.mkfifo(tmp_path / "pipe.safetensors")
    for name in ("missing", "folder", "pipe"):
        with pytest.raises(ModelUnusable, match=name):
            read_header(tmp_path / f"{name}.safetensors")


def test_fifty_thousand_tensors_are_read(tmp_path: Path):
    entries = {f"t{i}": {"dtype": "U8", "shape": [1], "data_offsets": [i, i + 1]} for i in range(50_000)}
    path = tmp_path / "many.safetensors"
    path.write_bytes(file_bytes(entries, bytes(50_000)))
    assert len(read_header(path).tensors) == 50_000
