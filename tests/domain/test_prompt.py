"""The whole prompt grammar: comments, tags, AND, and the JSON shape that users rely on."""

from __future__ import annotations

import json
import math

import pytest
from hypothesis import given
from hypothesis import strategies as st

from sdwebui.domain.emphasis import MAX_WEIGHT
from sdwebui.domain.errors import InvalidRequest
from sdwebui.domain.prompt import NetworkTag, parse_prompt, split_parts, strip_comments, take_network_tags

ANY_PROMPT = st.lists(
    st.sampled_from(
        [*"[]()<>|:=#\n ab1", "AND", " AND ", "BREAK", "<lora:", "<lyco:x:.5>", ":1.5", "[a:b:2]", "[a|b]", "猫"]
    ),
    max_size=50,
).map("".join)


def texts(prompt: str, **options: object) -> list[str]:
    return [part.schedule[-1].text for part in parse_prompt(prompt, 20, **options).subprompts]  # type: ignore[arg-type]  # spread of keywords


def test_the_json_has_the_fixed_shape():
    parsed = parse_prompt("a (cat:1.2) [b:c:10] AND dog:0.5<lora:ink:0.8>", 20)
    assert parsed.to_json() == {
        "and": [
            {
                "weight": 1.0,
                "schedule": [
                    {"until_step": 10, "text": "a (cat:1.2) b", "attention": [["a ", 1.0], ["cat", 1.2], [" b", 1.0]]},
                    {
                        "until_step": 20,
                        "text": "a (cat:1.2) c",
                        "attention": [["a ", 1.0], ["cat", 1.2], [" c", 1.0]],
                    },
                ],
            },
            {"weight": 0.5, "schedule": [{"until_step": 20, "text": " dog", "attention": [[" dog", 1.0]]}]},
        ],
        "networks": [{"kind": "lora", "name": "ink", "te": 0.8, "unet": 0.8, "named": {}}],
    }


@pytest.mark.parametrize(
    ("prompt", "parts"),
    [
        ("a cat", [("a cat", 1.0)]),
        ("a cat:1.5", [("a cat", 1.5)]),
        ("a cat : 1.5 ", [("a cat", 1.5)]),
        ("a AND b", [("a", 1.0), (" b", 1.0)]),
        ("a :.5 AND b :-1.25 AND c", [("a", 0.5), (" b", -1.25), (" c", 1.0)]),
        ("a:5. AND b", [("a", 5.0), (" b", 1.0)]),
        ("SAND AND HAND", [("SAND", 1.0), (" HAND", 1.0)]),
        ("and And", [("and And", 1.0)]),
        ("a:1.2.3 AND (b:1.2)", [("a:1.2.3", 1.0), (" (b:1.2)", 1.0)]),
        ("a: AND b:x", [("a:", 1.0), (" b:x", 1.0)]),
        ("a:" + "9" * 400, [("a", MAX_WEIGHT)]),
        ("AND", [("", 1.0), ("", 1.0)]),
        ("", [("", 1.0)]),
        ("two\nlines :2", [("two\nlines", 2.0)]),
    ],
)
def test_and_splits_and_its_weights_are_read(prompt, parts):
    parsed = parse_prompt(prompt, 20)
    assert [(part.schedule[0].text, part.weight) for part in parsed.subprompts] == parts


@pytest.mark.parametrize("steps", [0, -5])
def test_schedules_need_at_least_one_step(steps: int):
    with pytest.raises(InvalidRequest, match=f"steps is {steps}, but it must be a whole number from 1"):
        parse_prompt("[a:b:0.5]", steps)


def test_the_parts_of_a_prompt_are_what_stands_between_and_without_comments_and_tags():
    assert split_parts("a # AND\nAND b<lora:AND:1>") == ("a \n", " b")
    assert split_parts("a AND b", is_negative=True) == ("a AND b",)


def test_a_negative_prompt_keeps_and_and_tags_as_text():
    prompt = "bad AND <lora:x:1> hands:2 # note"
    assert texts(prompt, is_negative=True) == ["bad AND <lora:x:1> hands:2 \n"]
    assert parse_prompt(prompt, 20, is_negative=True).networks == ()


@pytest.mark.parametrize(
    ("text", "stripped"),
    [
        ("a # b\nc", "a \nc"),
        ("# all\na", "\na"),
        ("a\n# all\nb", "a\nb"),
        ("a # b", "a \n"),
        ("no comment", "no comment"),
        ("#", "\n"),
    ],
)
def test_comments_are_cut(text, stripped):
    assert strip_comments(text) == stripped


@pytest.mark.parametrize(
    ("tag", "expected"),
    [
        ("<lora:x>", NetworkTag(kind="lora", name="x")),
        ("<lora:x:0.5>", NetworkTag(kind="lora", name="x", te_weight=0.5, unet_weight=0.5)),
        ("<lora:x:0.5:0.25>", NetworkTag(kind="lora", name="x", te_weight=0.5, unet_weight=0.25)),
        ("<lora:x:0.5:0.25:8>", NetworkTag(kind="lora", name="x", te_weight=0.5, unet_weight=0.25, dynamic_rank=8)),
        ("<lora:x:te=0.5>", NetworkTag(kind="lora", name="x", te_weight=0.5, unet_weight=0.5)),
        ("<lora:x:unet=2:te=0>", NetworkTag(kind="lora", name="x", te_weight=0.0, unet_weight=2.0)),
        ("<lora:x:1:dyn=4>", NetworkTag(kind="lora", name="x", dynamic_rank=4)),
        ("<lora:x:1:lbw=MIDD>", NetworkTag(kind="lora", name="x", named={"lbw": "MIDD"})),
        ("<lora:a=b=c:1>", NetworkTag(kind="lora", name="a=b=c")),
        ("<lyco:folder/名 v1.0:-.5>", NetworkTag(kind="lora", name="folder/名 v1.0", te_weight=-0.5, unet_weight=-0.5)),
        ("<hypernet:h:0.3>", NetworkTag(kind="hypernet", name="h", te_weight=0.3, unet_weight=0.3)),
        ("<lora:x: 1 >", NetworkTag(kind="lora", name="x")),
    ],
)
def test_network_tags_are_taken_out_with_their_numbers(tag, expected):
    assert take_network_tags(f"a {tag} b") == ("a  b", (expected,), ())


def test_the_same_network_may_stand_twice():
    assert [tag.te_weight for tag in parse_prompt("<lora:x:1><lora:x:0.5>", 20).networks] == [1.0, 0.5]


def test_a_tag_of_an_unknown_kind_is_removed_and_reported():
    text, tags, warnings = take_network_tags("a <lbw:x> b")
    assert (text, tags) == ("a  b", ())
    assert warnings == ("The tag '<lbw:x>' was removed: 'lbw' is none of lora, lyco, hypernet.",)


@pytest.mark.parametrize(
    "tag", ["<lora:x:abc>", "<lora:x:1.1.2>", "<lora:x:>", "<lora:x:te=nan>", "<lora:x:1_0>", "<lora:x:inf>"]
)
def test_a_tag_with_a_malformed_number_stays_text_and_is_reported(tag):
    text, tags, warnings = take_network_tags(f"a {tag} b")
    assert (text, tags) == (f"a {tag} b", ())
    assert "was left as text" in warnings[0]


@pytest.mark.parametrize("text", ["a < b > c", "<3", "<lora:>", "<lora", "<:x>", "<lora:x", "1 <2: no end"])
def test_what_only_looks_like_a_tag_is_text(text):
    assert take_network_tags(text) == (text, (), ())


def test_many_broken_tags_give_few_warnings():
    assert len(parse_prompt("<a:b>" * 1000, 1).warnings) == 21


def test_second_order_samplers_count_model_calls():
    parsed = parse_prompt("[a:b:0.5] [c:d:10]", 20, calls_per_step=2)
    assert [entry.until_step for entry in parsed.subprompts[0].schedule] == [10, 20, 40]


def test_the_second_pass_has_its_own_schedule():
    parsed = parse_prompt("[a:b:0.5] [c:d:1.5]", 20, hires_steps=10)
    assert [(entry.until_step, entry.text) for entry in parsed.subprompts[0].schedule] == [(5, "b c"), (10, "b d")]


def test_text_at_a_step_is_the_one_that_ends_there_or_later():
    part = parse_prompt("[a:b:3]", 10).subprompts[0]
    assert [part.text_at(step) for step in (1, 3, 4, 10, 11)] == ["a", "a", "b", "b", "b"]


@given(ANY_PROMPT | st.text(), st.integers(1, 8), st.booleans())
def test_any_prompt_is_understood_and_its_json_is_json(prompt, steps, is_negative):
    parsed = parse_prompt(prompt, steps, is_negative=is_negative)
    assert json.loads(json.dumps(parsed.to_json(), allow_nan=False)) == parsed.to_json()
    assert all(math.isfinite(part.weight) for part in parsed.subprompts)


@pytest.mark.parametrize(
    "unit", ["<lora:", "<", "<a:>", " ", "AND", " AND ", ":", ":1", "#", "#\n", "\n", "<lora:x:1>", "("]
)
def test_far_more_than_the_longest_prompt_is_read(unit):
    assert parse_prompt(unit * (300_000 // len(unit)), 1).subprompts
