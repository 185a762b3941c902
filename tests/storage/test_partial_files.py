"""Which files are cut off, by their own header."""

from __future__ import annotations

import json

import pytest

from sdwebui.storage.partial_files import is_cut_off


def safetensors(header: object, data: bytes = b"") -> bytes:
    text = json.dumps(header).encode()
    return len(text).to_bytes(8, "little") + text + data


TWO = {
    "__metadata__": {"format": "pt"},
    "b": {"dtype": "U8", "shape": [4], "data_offsets": [8, 12]},
    "a": {"dtype": "F32", "shape": [2], "data_offsets": [0, 8]},
}


@pytest.mark.parametrize("missing", [1, 12, 13, 40])
def test_a_file_shorter_than_its_header_says_is_cut_off(tmp_path, missing):
    path = tmp_path / "x.safetensors"
    path.write_bytes(safetensors(TWO, b"\0" * 12)[:-missing])
    assert is_cut_off(path)


@pytest.mark.parametrize(
    "content",
    [
        b"",
        b"\x10\0\0",
        b"<!DOCTYPE html>",
        b"PK\x03\x04\x14\0\0\0\0\0",
        (200).to_bytes(8, "little") + b"text",
        (0).to_bytes(8, "little") + b"\0" * 100,
        (4).to_bytes(8, "little") + b"{no}",
        safetensors([1, 2]),
        safetensors({}),
        safetensors({"a": 1}),
        safetensors({"a": {"data_offsets": [0]}}),
        safetensors({"a": {"data_offsets": 7}}),
        safetensors({"a": {}}),
        safetensors(TWO, b"\0" * 12),
        safetensors(TWO, b"\0" * 13),
    ],
)
def test_whole_files_and_files_of_another_kind_are_not(tmp_path, content):
    path = tmp_path / "x.safetensors"
    path.write_bytes(content)
    assert not is_cut_off(path)


def test_a_file_that_is_gone_is_not(tmp_path):
    assert not is_cut_off(tmp_path / "nothing.safetensors")
