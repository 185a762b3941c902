"""Form values become a request by name, exactly, and bad ones say which field."""

from __future__ import annotations

from dataclasses import fields
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from sdwebui.domain.errors import InvalidRequest
from sdwebui.domain.requests import MAX_SEED, Txt2ImgRequest
from sdwebui.ui.generation_form import DRAFT_FIELDS, FIELDS, GenerationForm, draft_of, read_request, usable_draft

FILLED: dict[str, Any] = {
    "prompt": "a cat",
    "negative_prompt": "",
    "checkpoint": "guofeng-mini",
    "sampler_name": "Euler a",
    "schedule_type": "Karras",
    "steps": 20.0,
    "cfg_scale": 7,
    "width_px": 256,
    "height_px": 320.0,
    "batch_count": 2,
    "batch_size": 1,
    "seed": "-1",
    "clip_skip": 1,
    "emphasis": "Original",
}


def test_every_field_is_one_of_the_request():
    names = {field.name for field in fields(Txt2ImgRequest)}
    assert {field.name for field in FIELDS} <= names
    assert set(FILLED) == {field.name for field in FIELDS}


def test_form_values_become_a_request():
    request = read_request(FILLED)
    assert request == Txt2ImgRequest(
        prompt="a cat",
        checkpoint="guofeng-mini",
        sampler_name="Euler a",
        schedule_type="Karras",
        steps=20,
        cfg_scale=7.0,
        width_px=256,
        height_px=320,
        batch_count=2,
        seed=-1,
        clip_skip=1,
        emphasis="Original",
    )
    assert isinstance(request.steps, int)


@given(st.integers(min_value=0, max_value=MAX_SEED))
def test_a_seed_of_63_bits_survives_exactly(seed: int):
    assert read_request({**FILLED, "seed": f" {seed} "}).seed == seed


@pytest.mark.parametrize("empty", ["", "  ", None])
def test_an_empty_seed_means_random(empty: str | None):
    assert read_request({**FILLED, "seed": empty}).seed == -1


@pytest.mark.parametrize(
    ("name", "value", "label"),
    [
        ("seed", "abc", "seed"),
        ("seed", "1.5", "seed"),
        ("steps", 20.5, "steps"),
        ("steps", None, "steps"),
        ("width_px", float("inf"), "width"),
        ("height_px", float("nan"), "height"),
        ("cfg_scale", "x", "cfg_scale"),
        ("cfg_scale", float("nan"), "cfg_scale"),
        ("batch_count", [], "n_iter"),
    ],
)
def test_a_value_of_the_wrong_kind_names_its_field(name: str, value: object, label: str):
    with pytest.raises(InvalidRequest) as caught:
        read_request({**FILLED, name: value})
    assert caught.value.field == label


def test_a_draft_keeps_everything_but_the_checkpoint():
    draft = draft_of(FILLED)
    assert set(draft) == set(DRAFT_FIELDS) == set(FILLED) - {"checkpoint"}


def test_a_bad_value_of_a_stored_draft_costs_only_itself():
    draft = {**draft_of(FILLED), "steps": "many", "unknown": 3}
    usable = usable_draft(draft)
    assert "steps" not in usable
    assert "unknown" not in usable
    assert usable["height_px"] == 320


def test_the_form_speaks_of_widgets_by_name():
    form = GenerationForm({field.name: f"widget of {field.name}" for field in FIELDS})
    assert form.values({"widget of steps": 9, "another widget": 1}) == {"steps": 9}
    assert form.updates({"seed": 2**60, "unknown": 1}) == {"widget of seed": str(2**60)}
    assert len(form.inputs) == len(FIELDS)


def test_a_form_without_one_of_its_widgets_is_refused():
    with pytest.raises(ValueError, match="steps"):
        GenerationForm({field.name: field.name for field in FIELDS if field.name != "steps"})
