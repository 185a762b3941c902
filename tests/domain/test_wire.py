"""Frames between processes: what goes in comes out, and what is malformed is refused with a sentence."""

from __future__ import annotations

import io
import json
import typing
from collections.abc import Mapping
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from sdwebui.domain import wire
from sdwebui.domain.errors import ProtocolError, error_from_json
from sdwebui.domain.requests import CheckpointRef, ResolvedRequest
from sdwebui.domain.results import ImageDone, JobFailed, JobFinished, JobStarted, StepDone


def a_request(**changes: Any) -> ResolvedRequest:
    values: dict[str, Any] = {
        "kind": "txt2img",
        "prompt": "a cat 猫 \ud800 \x00",
        "negative_prompt": "",
        "checkpoint": CheckpointRef(
            name="mini", path="/models/mini.safetensors", family="sd1", size_bytes=1, mtime_ns=2
        ),
        "sampler": "Euler",
        "schedule_type": "Uniform",
        "automatic_schedule": True,
        "steps": 20,
        "cfg_scale": 7.0,
        "width_px": 256,
        "height_px": 256,
        "batch_size": 1,
        "batch_count": 1,
        "seed": 2**63 - 1,
        "clip_skip": 1,
        "emphasis": "Original",
        "pad_conds": False,
        "comma_backtrack": 20,
        "save_images": True,
        "previews_every_steps": 5,
    }
    return ResolvedRequest(**{**values, **changes})


EXAMPLES = (
    JobStarted(job_id="a1"),
    StepDone(job_id="a1", image_index=0, step=3, steps=20, progress=0.15, preview=b"\x89PNG\r\n\x1a\n\x00"),
    StepDone(job_id="a1", image_index=0, step=3, steps=20, progress=1),
    ImageDone(job_id="a1", image_index=1, seed=7, width_px=2, height_px=1, rgb=bytes(6), facts={"Precision": "bf16"}),
    JobFinished(job_id="a1", cancelled=True, seconds=1.25, warnings=("one", "两")),
    JobFailed(job_id="a1", error={"error": "OutOfMemory", "detail": "…", "field": "", "errors": [1, None]}),
    wire.Submit(job_id="a1", request=a_request()),
    wire.Cancel(job_id="a1"),
    wire.Skip(job_id="a1"),
    wire.Close(),
    wire.Status(status={"state": "ready", "device": "cpu"}),
)


def frame(header: object, tail: bytes = b"") -> bytes:
    text = header if isinstance(header, bytes) else json.dumps(header).encode()
    return len(text).to_bytes(4, "big") + text + tail


def test_every_message_has_an_example_here():
    assert {type(message) for message in EXAMPLES} == set(wire.MESSAGES)
    assert set(typing.get_args(wire.Message)) == set(wire.MESSAGES)


@pytest.mark.parametrize("message", EXAMPLES, ids=lambda one: type(one).__name__)
def test_a_message_comes_back_equal(message):
    assert wire.decode(wire.encode(message)) == message


@given(st.text(), st.binary(max_size=300), st.floats(0, 1), st.integers(0, 10**9))
def test_any_step_comes_back_equal(job_id, preview, progress, step):
    message = StepDone(job_id=job_id, image_index=0, step=step, steps=step, progress=progress, preview=preview)
    assert wire.decode(wire.encode(message)) == message


def test_messages_are_read_one_by_one_from_a_stream_until_it_ends():
    stream = io.BytesIO(b"".join(wire.encode(message) for message in EXAMPLES))
    assert [wire.read_message(stream.read) for _ in EXAMPLES] == list(EXAMPLES)
    with pytest.raises(EOFError):
        wire.read_message(stream.read)


def test_pixels_travel_as_they_are():
    rgb = bytes(range(256)) * 3 * 256
    sent = wire.encode(ImageDone(job_id="a", image_index=0, seed=1, width_px=256, height_px=256, rgb=rgb))
    assert sent.endswith(rgb)
    assert len(sent) < len(rgb) + 300


def test_the_longest_prompts_that_are_accepted_fit_into_a_frame():
    request = a_request(prompt="🏮" * 100_000, negative_prompt="🏮" * 100_000)
    assert wire.decode(wire.encode(wire.Submit(job_id="a", request=request))) == wire.Submit(
        job_id="a", request=request
    )


@pytest.mark.parametrize("message", EXAMPLES, ids=lambda one: type(one).__name__)
def test_a_frame_that_is_cut_off_anywhere_is_refused(message):
    whole = wire.encode(message)
    for length in range(0, len(whole), max(1, len(whole) // 40)):
        with pytest.raises(ProtocolError):
            wire.decode(whole[:length])


def test_bytes_after_the_end_of_a_frame_are_refused():
    with pytest.raises(ProtocolError, match="3 bytes after its end"):
        wire.decode(wire.encode(wire.Close()) + b"abc")


@pytest.mark.parametrize(
    ("header", "sentence"),
    [
        (b"\xff\xfe{", "not JSON"),
        (b"[" * 100_000, "not JSON"),
        (b"[]", "must be an object"),
        ({"kind": "Popen", "fields": {}, "tails": []}, "unknown kind 'Popen'"),
        ({"kind": "Close", "fields": {}}, "must be a list"),
        ({"kind": "Close", "fields": {}, "tails": [["x", -1]]}, "a name and a size"),
        ({"kind": "Close", "fields": {}, "tails": [["x", True]]}, "a name and a size"),
        ({"kind": "Close", "fields": {}, "tails": [["x", 10**12]]}, "at most"),
        ({"kind": "Close", "fields": {}, "tails": [["x", 9]]}, "0 of 9 bytes of its x"),
        ({"kind": "Close", "fields": None, "tails": []}, "must be an object"),
        ({"kind": "Cancel", "fields": {}, "tails": []}, "Cancel came without its job_id"),
        ({"kind": "Cancel", "fields": {"job_id": 5}, "tails": []}, "Cancel.job_id is 5"),
        ({"kind": "Status", "fields": {"status": {"a": 1}}, "tails": []}, "Status.status"),
        ({"kind": "JobFailed", "fields": {"job_id": "a", "error": []}, "tails": []}, "JobFailed.error"),
        ({"kind": "Submit", "fields": {"job_id": "a", "request": {}}, "tails": []}, "Submit.request"),
        ({"kind": "Submit", "fields": {"job_id": "a", "request": {"checkpoint": 3}}, "tails": []}, "Submit.request"),
    ],
)
def test_a_malformed_frame_is_refused_with_a_sentence(header, sentence):
    with pytest.raises(ProtocolError, match=sentence) as caught:
        wire.decode(frame(header))
    assert len(caught.value.detail) < 400


@pytest.mark.parametrize(
    "fields",
    [
        {"progress": float("nan")},
        {"progress": float("inf")},
        {"progress": True},
        {"progress": 10**400},
        {"step": 1.5},
        {"step": True},
        {"preview": "text"},
    ],
)
def test_a_step_with_a_field_of_a_wrong_type_is_refused(fields):
    good = {"job_id": "a", "image_index": 0, "step": 1, "steps": 2, "progress": 0.5}
    with pytest.raises(ProtocolError, match=f"StepDone.{next(iter(fields))}"):
        wire.decode(frame({"kind": "StepDone", "fields": {**good, **fields}, "tails": []}))


@pytest.mark.parametrize(("width", "height", "sent"), [(2, 2, 11), (2, 2, 13), (-2, -2, 12), (0, 5, 0)])
def test_a_picture_whose_pixels_do_not_fit_its_size_is_refused(width, height, sent):
    fields = {"job_id": "a", "image_index": 0, "seed": 1, "width_px": width, "height_px": height}
    with pytest.raises(ProtocolError, match=r"ImageDone\.rgb"):
        wire.decode(frame({"kind": "ImageDone", "fields": fields, "tails": [["rgb", sent]]}, bytes(sent)))


def test_a_header_larger_than_the_limit_is_refused_before_it_is_read():
    def read(count: int) -> bytes:
        assert count == 4
        return b"\xff\xff\xff\xff"

    with pytest.raises(ProtocolError, match="4294967295 bytes"):
        wire.read_message(read)


def test_a_message_that_json_cannot_say_is_not_sent():
    with pytest.raises(ProtocolError, match="JobFinished cannot be sent"):
        wire.encode(JobFinished(job_id="a", cancelled=False, seconds=float("nan")))
    with pytest.raises(ProtocolError, match="JobFailed cannot be sent"):
        wire.encode(JobFailed(job_id="a", error={"error": object()}))


def test_a_message_over_the_size_limit_is_not_sent():
    with pytest.raises(ProtocolError, match="header"):
        wire.encode(JobFailed(job_id="a", error={"detail": "x" * (wire.MAX_HEADER_BYTES + 1)}))


def test_an_unknown_field_of_a_newer_version_is_ignored():
    assert wire.decode(frame({"kind": "Cancel", "fields": {"job_id": "a", "new": 1}, "tails": []})) == wire.Cancel(
        job_id="a"
    )


@given(st.binary(max_size=200))
def test_random_bytes_never_raise_anything_but_a_protocol_error(data):
    for candidate in (data, frame(data)):
        with pytest.raises(ProtocolError):
            wire.decode(candidate)


def test_a_protocol_error_keeps_its_class_across_a_border():
    facts: Mapping[str, object] = ProtocolError("torn").to_json()
    assert isinstance(error_from_json(facts), ProtocolError)
