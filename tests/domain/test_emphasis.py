"""Emphasis against A1111's published examples, its measured quirks, and for any text at all."""

from __future__ import annotations

import math
import sys
from itertools import pairwise

import pytest
from hypothesis import given
from hypothesis import strategies as st

from sdwebui.domain import emphasis
from sdwebui.domain.emphasis import BREAK, MAX_WEIGHT, Piece, parse_emphasis

BRACKET_TEXT = st.lists(
    st.sampled_from([*"()[]:\\ab ", "BREAK", " BREAK ", ":1.2)", ": .5 )", "\\(", ":1.1.2)", ":-2)", "猫"]), max_size=60
).map("".join)


def pairs(text: str, mode: str = "Original") -> list[list[object]]:
    return [[piece.text, piece.weight] for piece in parse_emphasis(text, mode)]


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("normal text", [["normal text", 1.0]]),
        ("an (important) word", [["an ", 1.0], ["important", 1.1], [" word", 1.0]]),
        ("(unbalanced", [["unbalanced", 1.1]]),
        ("\\(literal\\]", [["(literal]", 1.0]]),
        ("(unnecessary)(parens)", [["unnecessaryparens", 1.1]]),
        (
            "a (((house:1.3)) [on] a (hill:0.5), sun, (((sky))).",
            [
                ["a ", 1.0],
                ["house", 1.5730000000000004],
                [" ", 1.1],
                ["on", 1.0],
                [" a ", 1.1],
                ["hill", 0.55],
                [", sun, ", 1.1],
                ["sky", 1.4641000000000006],
                [".", 1.1],
            ],
        ),
        ("", [["", 1.0]]),
        ("(seductive smile:0.8),star", [["seductive smile", 0.8], [",star", 1.0]]),
        ("[a]", [["a", 1 / 1.1]]),
        ("(a: 1.2 )", [["a", 1.2]]),
        ("(a:+.5)", [["a", 0.5]]),
        ("(a:-1)", [["a", -1.0]]),
        ("(a:1.2", [["a:1.2", 1.1]]),
        ("a:1.2)", [["a:1.2)", 1.0]]),
        ("a) b]", [["a) b]", 1.0]]),
        ("back\\slash \\\\", [["backslash \\", 1.0]]),
        ("([crossing)brackets]", [["crossing", 1.0], ["brackets", 1 / 1.1]]),
    ],
)
def test_pieces_are_those_of_a1111(text, expected):
    assert pairs(text) == expected


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("(a:1.1.2) b", [["a:1.1.2", 1.1], [" b", 1.0]]),
        ("(a:.)", [["a:.", 1.1]]),
        ("((a:1.2.3:1.5))", [["a:1.2.3", 1.5 * 1.1]]),
    ],
)
def test_a_malformed_number_is_text_and_its_bracket_still_counts(text, expected):
    assert pairs(text) == expected


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("a BREAK b", [["a", 1.0], ["BREAK", -1.0], ["b", 1.0]]),
        ("BREAK b", [["", 1.0], ["BREAK", -1.0], ["b", 1.0]]),
        ("a\nBREAK\n BREAK b", [["a", 1.0], ["BREAK", -1.0], ["", 1.0], ["BREAK", -1.0], ["b", 1.0]]),
        ("BREAKFAST break aBREAK", [["BREAKFAST break aBREAK", 1.0]]),
        ("(a BREAK b:1.2)", [["a", 1.2], ["BREAK", -1.0], ["b", 1.2]]),
        ("[(BREAK)]", [["", 1.0], ["BREAK", -1.0], ["", 1.0]]),
    ],
)
def test_break_ends_a_chunk_also_inside_brackets(text, expected):
    assert pairs(text) == expected


def test_the_word_break_with_weight_minus_one_is_a_break_and_text_is_never_one():
    assert parse_emphasis("a BREAK b")[1] is BREAK
    assert not Piece("BREAK", -1.0).is_break


@pytest.mark.parametrize("text", ["(a) [b] BREAK \\(", "(a:1.1.2)"])
def test_mode_none_takes_every_character_as_it_is(text):
    assert pairs(text, "None") == [[text, 1.0]]


@pytest.mark.parametrize("mode", ["Original", "No norm", "Ignore"])
def test_the_other_modes_parse_alike(mode):
    assert pairs("(a:1.3) b", mode) == [["a", 1.3], [" b", 1.0]]


@given(BRACKET_TEXT | st.text())
def test_any_text_has_finite_weights_and_no_neighbours_of_equal_weight(text):
    pieces = parse_emphasis(text)
    assert pieces
    assert all(math.isfinite(piece.weight) for piece in pieces)
    for left, right in pairwise(pieces):
        assert left.is_break or right.is_break or left.weight != right.weight


@given(st.text(st.characters(exclude_characters="()[]\\:"), max_size=50).filter(lambda text: "BREAK" not in text))
def test_text_without_marks_is_one_piece_as_it_is(text):
    assert parse_emphasis(text) == (Piece(text),)


@given(st.lists(st.sampled_from([1.2, 0.7, 1.5, -1.1]), min_size=1, max_size=60))
def test_nested_weights_multiply_at_any_depth(weights):
    text = "(" * len(weights) + "x" + "".join(f":{weight})" for weight in weights)
    product = max(-MAX_WEIGHT, min(MAX_WEIGHT, math.prod(weights)))
    assert parse_emphasis(text)[0].weight == pytest.approx(product, rel=1e-9)


def test_deep_nesting_neither_recurses_nor_overflows():
    deepest = parse_emphasis("(" * 100_000 + "x" + ")" * 100_000)
    assert deepest == (Piece("x", MAX_WEIGHT),)
    assert parse_emphasis("(x:" + "9" * 400 + ")") == (Piece("x", MAX_WEIGHT),)


@pytest.mark.parametrize(
    "unit", ["(", "[", ")", "(a", "(a:1.2)", "([", ": ", "BREAK ", " ", "\\", "(a:1.1.2)", "a BREAK"]
)
def test_work_grows_with_the_length_not_with_its_square(unit):
    """Lines that the parser executes, counted: exact and the same on every machine."""
    few, many = (lines_executed(unit * count) for count in (500, 1000))
    assert many <= 2.2 * few + 200


def lines_executed(text: str) -> int:
    count = 0

    def trace(frame, event, arg):
        nonlocal count
        if frame.f_code.co_filename != emphasis.__file__:
            return None
        count += event == "line"
        return trace

    before = sys.gettrace()
    sys.settrace(trace)
    try:
        parse_emphasis(text)
    finally:
        sys.settrace(before)
    return count
