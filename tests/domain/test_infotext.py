"""Infotexts: written in A1111's form, read from everyone, and the same after a round trip."""

from __future__ import annotations

import json
import sys
from dataclasses import fields
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from sdwebui.domain import infotext
from sdwebui.domain.errors import InvalidRequest
from sdwebui.domain.infotext import (
    a1111_parameters,
    check_prompt_lines,
    infotext_params,
    parse_infotext,
    paste_problems,
    render_infotext,
    request_fields,
)
from sdwebui.domain.requests import CheckpointRef, ResolvedRequest, Txt2ImgRequest, check_request

INFOTEXTS = Path(__file__).parents[3] / "shared/data/metadata/infotexts.jsonl"

TYPICAL = """girl with an artist's beret, ((eyeshadow)), <lora:ink:0.8>
second line
Negative prompt: ugly, (((deformed))), [blurry]
more negative
Steps: 20, Sampler: Euler a, Schedule type: Automatic, CFG scale: 7.5, Seed: 965400086, Size: 512x768, \
Model hash: 45dee52b, Model: guofeng, VAE: x.vae, Lora hashes: "ink: 0123456789ab, two: ba9876543210", \
Hires prompt: "a, \\"b\\"\\nc", Version: v1.10.1"""


def a_request(**changes: Any) -> ResolvedRequest:
    values: dict[str, Any] = {
        "kind": "txt2img",
        "prompt": "a (cat:1.2)",
        "negative_prompt": "bad",
        "checkpoint": CheckpointRef(
            name="anime/mini v1", path="/m/mini.safetensors", family="sd1", size_bytes=1, mtime_ns=2
        ),
        "sampler": "DPM++ 2M",
        "schedule_type": "Karras",
        "automatic_schedule": True,
        "steps": 20,
        "cfg_scale": 7.0,
        "width_px": 256,
        "height_px": 320,
        "batch_size": 1,
        "batch_count": 2,
        "seed": 42,
        "clip_skip": 1,
        "emphasis": "Original",
        "pad_conds": False,
        "comma_backtrack": 20,
        "save_images": True,
        "previews_every_steps": 5,
    }
    return ResolvedRequest(**{**values, **changes})


def params_of(request: ResolvedRequest, image_index: int = 0, **facts: str) -> dict[str, object]:
    return infotext_params(request, image_index=image_index, model_hash="0123456789", facts=facts, version="0.1.0")


def test_a_typical_infotext_is_read_whole():
    parsed = parse_infotext(TYPICAL)
    assert parsed.prompt == "girl with an artist's beret, ((eyeshadow)), <lora:ink:0.8>\nsecond line"
    assert parsed.negative_prompt == "ugly, (((deformed))), [blurry]\nmore negative"
    assert parsed.params["Size"] == "512x768"
    assert parsed.params["Lora hashes"] == "ink: 0123456789ab, two: ba9876543210"
    assert parsed.params["Hires prompt"] == 'a, "b"\nc'
    assert parsed.params["Version"] == "v1.10.1"


def test_rendering_what_was_read_gives_the_same_text():
    parsed = parse_infotext(TYPICAL)
    assert render_infotext(parsed.prompt, parsed.negative_prompt, parsed.params) == TYPICAL


def test_the_keys_of_a_picture_stand_in_the_order_of_a1111():
    request = a_request(clip_skip=2, emphasis="No norm", pad_conds=True)
    assert list(params_of(request, Accelerator="fused", Precision="bf16").items()) == [
        ("Steps", 20),
        ("Sampler", "DPM++ 2M"),
        ("Schedule type", "Automatic"),
        ("CFG scale", "7"),
        ("Seed", 42),
        ("Size", "256x320"),
        ("Model hash", "0123456789"),
        ("Model", "mini v1"),
        ("Clip skip", 2),
        ("RNG", "CPU"),
        ("Emphasis", "No norm"),
        ("Pad conds", True),
        ("Accelerator", "fused"),
        ("Precision", "bf16"),
        ("Version", "sdwebui 0.1.0"),
    ]


def test_values_that_are_the_default_are_left_out():
    params = params_of(a_request())
    assert not {"Clip skip", "Emphasis", "Pad conds"} & set(params)
    assert "Emphasis" not in params_of(a_request(prompt="a cat", emphasis="No norm"))
    assert "Model hash" not in infotext_params(a_request(), image_index=0, model_hash="", facts={}, version="1")


def test_each_picture_has_its_own_seed_and_a_chosen_schedule_is_named():
    params = params_of(a_request(automatic_schedule=False, cfg_scale=5.25), image_index=1)
    assert (params["Seed"], params["Schedule type"], params["CFG scale"]) == (43, "Karras", "5.25")


def test_pasting_a_picture_restores_its_request():
    request = a_request(automatic_schedule=False, clip_skip=2, emphasis="Ignore", cfg_scale=6.5)
    text = render_infotext(request.prompt, request.negative_prompt, params_of(request))
    pasted = Txt2ImgRequest(**request_fields(parse_infotext(text)))  # type: ignore[arg-type]  # spread of fields
    check_request(pasted)
    assert pasted == Txt2ImgRequest(
        prompt=request.prompt,
        negative_prompt=request.negative_prompt,
        sampler_name="DPM++ 2M",
        schedule_type="Karras",
        steps=20,
        cfg_scale=6.5,
        width_px=256,
        height_px=320,
        seed=42,
        clip_skip=2,
        emphasis="Ignore",
    )


@pytest.mark.parametrize(
    ("sampler", "schedule", "expected"),
    [
        ("DPM++ 2M Karras", None, ("DPM++ 2M", "Automatic")),
        ("Euler Karras", None, ("Euler", "Karras")),
        ("DPM++ 2M SDE Exponential", None, ("DPM++ 2M SDE", "Automatic")),
        ("Euler a", None, ("Euler a", "Automatic")),
        ("euler", "sgm_uniform", ("Euler", "SGM Uniform")),
    ],
)
def test_sampler_names_of_any_age_are_understood(sampler, schedule, expected):
    params = {"Steps": 1, "Seed": 2, "Sampler": sampler, "Schedule type": schedule}
    found = request_fields(parse_infotext(render_infotext("a", "", params)))
    assert (found["sampler_name"], found["schedule_type"]) == expected


def test_the_checkpoint_is_taken_over_only_when_asked():
    parsed = parse_infotext(TYPICAL)
    assert "checkpoint" not in request_fields(parsed)
    assert request_fields(parsed, with_checkpoint=True)["checkpoint"] == "45dee52b"


def test_what_cannot_be_read_is_left_out_and_told():
    parsed = parse_infotext("a\nSteps: many, Sampler: Eular, Size: 5by5, CFG scale: 7, Seed: 1" + "0" * 5000)
    assert set(request_fields(parsed)) == {
        "prompt",
        "negative_prompt",
        "cfg_scale",
        "schedule_type",
        "clip_skip",
        "emphasis",
    }
    problems = paste_problems(parsed)
    assert [sentence.split(" was not")[0] for sentence in problems] == ["Steps", "Sampler", "Seed", "Size"]
    assert "Did you mean 'Euler'" in problems[1]


def test_fields_are_fields_of_the_request():
    known = {field.name for field in fields(Txt2ImgRequest)}
    assert set(request_fields(parse_infotext(TYPICAL), with_checkpoint=True)) <= known


@pytest.mark.parametrize(
    "text", ["", "just a prompt", "a: b, c: d", "Steps: 20, Sampler: Euler", "\n\n", "x" * 100_000]
)
def test_a_last_line_with_fewer_than_three_parameters_is_prompt(text):
    parsed = parse_infotext(text)
    assert parsed.prompt == text.strip()
    assert parsed.params == {}
    assert request_fields(parsed) == {"prompt": text.strip(), "negative_prompt": ""}


@pytest.mark.parametrize(
    "text", ["moon\nNegative prompt: dog", "  Negative prompt:x", "a\r\nNegative prompt: b", "a\rNegative prompt: b"]
)
def test_a_line_that_starts_a_negative_prompt_cannot_be_part_of_a_prompt(text):
    with pytest.raises(InvalidRequest) as caught:
        check_prompt_lines("prompt", text)
    assert "holds a line that starts with 'Negative prompt:', which generation parameters do" in str(caught.value)
    assert str(caught.value).endswith("Press 'Read parameters', or remove that line.")
    assert caught.value.field == "prompt"


@pytest.mark.parametrize("text", ["moon\nSteps: 20, Sampler: Euler, Seed: 5", "Seed: 1, Steps: 2, Size: 64x64\n \n"])
def test_a_last_line_of_parameters_cannot_be_part_of_a_prompt(text):
    with pytest.raises(InvalidRequest, match=r"negative_prompt .* ends in a line of generation parameters"):
        check_prompt_lines("negative_prompt", text)


@pytest.mark.parametrize(
    "text",
    [
        "",
        "a negative prompt: none",
        "a, Negative prompt: b",
        "Steps: 5, Seed: 6",
        "time: noon, place: hill, mood: calm",
        "Steps: 20, Sampler: Euler, Seed: 5\nmoon",
    ],
)
def test_other_lines_are_prompt(text):
    check_prompt_lines("prompt", text)


def test_values_are_quoted_as_a1111_does():
    params = {"Plain": "a b", "Comma": "a, b", "Colon": "a: b", "Lines": "a\nb", "Chinese": "国, 风", "Gone": None}
    assert render_infotext("p", "", params) == (
        'p\nPlain: a b, Comma: "a, b", Colon: "a: b", Lines: "a\\nb", Chinese: "国, 风"'
    )


def test_png_info_parameters_have_the_shape_and_defaults_of_a1111():
    found = a1111_parameters(parse_infotext(TYPICAL))
    assert (found["Size-1"], found["Size-2"]) == ("512", "768")
    assert (found["Clip skip"], found["RNG"], found["Hires sampler"]) == ("1", "GPU", "Use same sampler")
    assert found["Prompt"] == parse_infotext(TYPICAL).prompt
    assert found["Schedule type"] == "Automatic"


KEYS = st.from_regex(r"\A[A-Za-z0-9_][A-Za-z0-9_ \-/]{0,15}[A-Za-z0-9]\Z")
LINES = st.lists(
    st.text(st.characters(exclude_categories=["Cs"], exclude_characters="\n"), max_size=30).map(str.strip)
    .filter(lambda line: not line.startswith("Negative prompt:")),
    max_size=4,
).map(lambda lines: "\n".join(lines).strip())  # fmt: skip


@given(LINES, LINES, st.dictionaries(KEYS, st.text(st.characters(exclude_categories=["Cs"])), min_size=3, max_size=8))
def test_any_prompts_and_values_come_back_equal(prompt, negative, params):
    parsed = parse_infotext(render_infotext(prompt, negative, params))
    assert (parsed.prompt, parsed.negative_prompt) == (prompt, negative)
    assert dict(parsed.params) == params


@given(st.text() | st.lists(st.sampled_from(['"', ",", ":", "ab", " ", "\\", "\n", "Steps: 1, "])).map("".join))
def test_any_text_is_read_and_reading_it_again_changes_nothing(text):
    once = parse_infotext(text)
    again = parse_infotext(render_infotext(once.prompt, once.negative_prompt, once.params))
    if len(once.params) >= 3:  # a key that stands twice counts twice while reading
        assert again == once


@pytest.mark.parametrize("unit", ["ab", "a:", "ab:", 'ab:"', 'ab:"\\"', ",", " ", "ab: c,", 'ab:"c",', "\n", '"'])
def test_work_grows_with_the_length_not_with_its_square(unit):
    few, many = (lines_executed(unit * count) for count in (400, 800))
    assert many <= 2.2 * few + 200
    assert parse_infotext(unit * (1_000_000 // len(unit))).params is not None


def lines_executed(text: str) -> int:
    count = 0

    def trace(frame, event, arg):
        nonlocal count
        if frame.f_code.co_filename != infotext.__file__:
            return None
        count += event == "line"
        return trace

    before = sys.gettrace()
    sys.settrace(trace)
    try:
        parse_infotext(text)
    finally:
        sys.settrace(before)
    return count


@pytest.mark.skipif(not INFOTEXTS.exists(), reason="the collection of real infotexts is not beside this checkout")
def test_all_real_infotexts_come_back_with_the_same_keys_and_values():
    texts = [json.loads(line)["text"] for line in INFOTEXTS.read_text("utf-8").strip().split("\n")]
    assert len(texts) == 221
    with_params = 0
    for text in texts:
        parsed = parse_infotext(text)
        again = parse_infotext(render_infotext(parsed.prompt, parsed.negative_prompt, parsed.params))
        assert (again.prompt, again.negative_prompt, again.params) == (
            parsed.prompt,
            parsed.negative_prompt,
            parsed.params,
        )
        with_params += bool(parsed.params)
    assert with_params == 175


@pytest.mark.skipif(not INFOTEXTS.exists(), reason="the collection of real infotexts is not beside this checkout")
def test_real_infotexts_set_seed_and_size_of_a_request():
    texts = [json.loads(line)["text"] for line in INFOTEXTS.read_text("utf-8").strip().split("\n")]
    found = [request_fields(parse_infotext(text)) for text in texts]
    assert sum("seed" in one for one in found) == 175
    assert sum("width_px" in one for one in found) == 173
