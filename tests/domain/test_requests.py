"""Rules of a request, and the resolved request's way through JSON."""

from __future__ import annotations

import json
from dataclasses import replace

import pytest

from sdwebui.domain.errors import InvalidRequest
from sdwebui.domain.requests import (
    MAX_SEED,
    CheckpointRef,
    ResolvedRequest,
    Txt2ImgRequest,
    check_batch_pixels,
    check_request,
)

RESOLVED = ResolvedRequest(
    kind="txt2img",
    prompt="a moon, 月",
    negative_prompt="",
    checkpoint=CheckpointRef(name="a/b", path="/models/a/b.safetensors", family="sd1", size_bytes=1, mtime_ns=2),
    sampler="Euler",
    schedule_type="Karras",
    automatic_schedule=False,
    steps=20,
    cfg_scale=7.0,
    width_px=256,
    height_px=256,
    batch_size=2,
    batch_count=3,
    seed=MAX_SEED - 1,
    clip_skip=1,
    emphasis="Original",
    pad_conds=False,
    comma_backtrack=20,
    save_images=True,
    previews_every_steps=5,
)


def test_a_resolved_request_round_trips_through_json():
    assert ResolvedRequest.from_json(json.loads(json.dumps(RESOLVED.to_json()))) == RESOLVED


def test_a_row_written_by_a_newer_version_can_be_read():
    assert ResolvedRequest.from_json({**RESOLVED.to_json(), "later": 1}) == RESOLVED


def test_seeds_count_up_and_wrap_where_torch_ends():
    assert [RESOLVED.image_seed(i) for i in range(3)] == [MAX_SEED - 1, MAX_SEED, 0]
    assert RESOLVED.image_count == 6


@pytest.mark.parametrize(
    ("changes", "sentence"),
    [
        ({"width_px": 517}, "width is 517, but it must be a multiple of 8. The nearest is 520."),
        ({"height_px": 8_000}, "height is 8000, but it must be a whole number from 64 to 4096."),
        ({"steps": 0}, "steps is 0, but it must be a whole number from 1 to 150."),
        ({"steps": 10**9}, "steps is 1000000000, but it must be a whole number from 1 to 150."),
        ({"steps": True}, "steps is True, but it must be a whole number from 1 to 150."),
        ({"cfg_scale": float("nan")}, "cfg_scale is nan, but it must be a number from 1 to 30."),
        ({"cfg_scale": 10**400}, "but it must be a number from 1 to 30."),
        ({"seed": -2}, f"seed is -2, but it must be a whole number from -1 to {MAX_SEED}."),
        ({"batch_size": 17}, "batch_size is 17, but it must be a whole number from 1 to 16."),
        ({"batch_size": 16, "batch_count": 7}, "makes 112 pictures, more than 100 a job."),
        ({"clip_skip": 0}, "clip_skip is 0, but it must be a whole number from 1 to 12."),
        ({"prompt": "x" * 1_000_000}, "has 1000000 characters, more than the 100000 allowed. Shorten it."),
    ],
)
def test_a_broken_rule_names_field_value_rule(changes: dict[str, object], sentence: str):
    with pytest.raises(InvalidRequest) as caught:
        check_request(replace(Txt2ImgRequest(prompt="x"), **changes))  # type: ignore[arg-type]  # wrong types on purpose
    assert sentence in str(caught.value)


def test_a_plain_request_passes():
    check_request(Txt2ImgRequest(prompt="a moon", width_px=512, height_px=768))


@pytest.mark.parametrize("size", [(4096, 4096, 1), (1024, 1024, 16), (2048, 1024, 8)])
def test_a_batch_may_have_as_many_pixels_as_the_largest_picture(size: tuple[int, int, int]):
    check_batch_pixels(*size)


def test_a_larger_batch_is_refused_with_the_batch_size_that_would_fit():
    with pytest.raises(InvalidRequest) as caught:
        check_batch_pixels(2048, 2048, 16)
    assert str(caught.value) == (
        "batch_size is 16, but it makes 67108864 pixels at once of pictures of 2048x2048, more than 16777216. "
        "Use at most 4, or smaller pictures."
    )
