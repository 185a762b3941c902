"""Schedules against A1111's published examples and grammar."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from sdwebui.domain.prompt_schedule import StepCount, expand_schedule

GRAMMAR_TEXT = st.lists(
    st.sampled_from([*"[]()|:\\ab ", ":3]", ":.5]", "[a:b:2]", "[a|b]", "\n", "-1"]), max_size=40
).map("".join)


def schedule(text: str, steps: int = 10) -> list[tuple[int, str]]:
    return expand_schedule(text, StepCount(steps=steps))


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("test", [(10, "test")]),
        ("a [b:3]", [(3, "a "), (10, "a b")]),
        ("a [b: 3]", [(3, "a "), (10, "a b")]),
        ("a [b: 3 ]", [(3, "a "), (10, "a b")]),
        ("a [[[b]]:2]", [(2, "a "), (10, "a [[b]]")]),
        ("[(a:2):3]", [(3, ""), (10, "(a:2)")]),
        ("a [b : c : 1] d", [(1, "a b  d"), (10, "a  c  d")]),
        ("a[b:[c:d:2]:1]e", [(1, "abe"), (2, "ace"), (10, "ade")]),
        ("a [unbalanced", [(10, "a [unbalanced")]),
        ("a [b:.5] c", [(5, "a  c"), (10, "a b c")]),
        ("a [b::4] c", [(4, "a b c"), (10, "a  c")]),
        ("((a][:b:c [d:3]", [(3, "((a][:b:c "), (10, "((a][:b:c d")]),
        ("[a|(b:1.1)]", [(step, "a" if step % 2 else "(b:1.1)") for step in range(1, 11)]),
        ("[fe|]male", [(step, "female" if step % 2 else "male") for step in range(1, 11)]),
        ("[fe|||]male", [(step, "female" if step % 4 == 1 else "male") for step in range(1, 11)]),
        ("[[a|b]:c:2]", [(1, "a"), (2, "b"), *((step, "c") for step in range(3, 11))]),
    ],
)
def test_schedules_are_those_of_a1111(text, expected):
    assert schedule(text) == expected


@pytest.mark.parametrize(
    ("when", "first_until"),
    [
        ("3", 3),
        ("0.3", 3),
        (".35", 3),
        ("1.0", 10),
        ("1", 1),
        ("12", 10),
        ("1.3", 10),
        ("1e0", 1),
        ("+4", 4),
        ("1e99", 10),
    ],
)
def test_numbers_with_a_point_are_fractions_and_others_are_steps(when, first_until):
    assert schedule(f"[a:b:{when}]")[0] == (first_until, "a")


@pytest.mark.parametrize("when", ["0", "-2", "0.05", "-0.5", "-1e99"])
def test_a_switch_before_the_first_step_leaves_the_first_text_out(when):
    assert schedule(f"[a:b:{when}]") == [(10, "b")]


@pytest.mark.parametrize(
    "text",
    [
        "[a]",
        "[a:b]",
        "[a:b:c]",
        "[a:b:1.2.3]",
        "[a:b:c:3]",
        "[a (b:3]",
        "[a ]b:3)",
        "[x [a:b] y:3]",
        "[a:b:３]",
        "\\[a:b:3]",
        "(a:3)",
        "\\",
    ],
)
def test_what_is_no_schedule_is_text(text):
    assert schedule(text) == [(10, text)]


@pytest.mark.parametrize("text", ["a | b [c:d:3]", "(a|b) [c:d:3]", "[a|b [c:d:3]", "[a|b:3] [c:d:3]", "[c:d:3] \\"])
def test_a_text_outside_the_grammar_is_taken_whole_as_a1111_does(text):
    assert schedule(text) == [(10, text)]


@pytest.mark.parametrize("text", ["style: [a:b:3]", "x) [a:b:3]", "((x) [a:b:3]", "[[a:b:3]", "[a:b:3]]"])
def test_stray_brackets_and_colons_beside_a_schedule_do_not_disturb_it(text):
    assert [step for step, _ in schedule(text)] == [3, 10]


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("a [b:.5] c", [(10, "a b c")]),
        ("a [b:1.5] c", [(5, "a  c"), (10, "a b c")]),
        ("a [b:12]", [(2, "a "), (10, "a b")]),
        ("[a::20]", [(10, "a")]),
    ],
)
def test_the_second_pass_of_hires_fix_counts_on_from_the_first(text, expected):
    assert expand_schedule(text, StepCount(steps=10, first_pass_steps=10)) == expected


def test_old_timelines_take_numbers_below_one_as_fractions_in_both_passes():
    for first_pass_steps in (0, 10):
        count = StepCount(steps=10, first_pass_steps=first_pass_steps, old_timelines=True)
        assert expand_schedule("[a:b:0.5]", count) == [(5, "a"), (10, "b")]
        assert expand_schedule("[a:b:2.0]", count) == [(2, "a"), (10, "b")]


@given(GRAMMAR_TEXT | st.text(), st.integers(1, 12))
def test_any_text_has_a_schedule_that_rises_to_the_last_step(text, steps):
    entries = schedule(text, steps)
    ends = [step for step, _ in entries]
    assert ends == sorted(set(ends))
    assert ends[0] >= 1
    assert ends[-1] == steps


@given(st.text(st.characters(exclude_characters="[]()|:\\")))
def test_text_without_marks_is_itself(text):
    assert schedule(text) == [(10, text)]


@pytest.mark.parametrize("unit", ["[", "(", "]", "[a:", ":3]", "[a|", "|b]", "\\", "[a:b:3]", "([", "])", "[(a:b):"])
def test_far_more_than_the_longest_prompt_is_read_without_recursion(unit):
    text = unit * (300_000 // len(unit))
    assert expand_schedule(text, StepCount(steps=1))[-1][0] == 1


def test_schedules_nested_a_thousand_deep_resolve_to_the_innermost_text():
    depth = 10_000
    assert schedule("[" * depth + "x" + ":y:5]" * depth) == [(5, "x"), (10, "y")]
