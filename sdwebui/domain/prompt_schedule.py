"""Prompts that change with the step: `[a:b:when]` and `[a|b]`. To add a form: a branch in `_group_of` and its choice.

A1111 1.10.1's grammar (Lark, `modules/prompt_parser.py`) restated for one pass without recursion:

- `[from:to:when]`, `[to:when]`, `[from::when]`; a number with a point is a fraction of the steps, one without is a
  step. The switch happens after that step: a text with `until_step` n is used while step ≤ n; steps count from 1.
- `[a|b|c]` takes turns step by step; options may be empty; no ":" directly inside.
- Groups nest. A group must be well formed inside: an unmatched bracket or a stray ":" within makes its brackets, and
  all that enclose them, ordinary characters.
- "|" outside of a well-formed `[a|b]`, and a backslash at the end of a line, cannot be parsed: then the whole text is
  taken as it is, without any schedule, exactly as A1111 does.
"""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from itertools import pairwise

_TOKEN = re.compile(r"\\.|[\\\[\]():|]|[^\\\[\]():|]+")
_NUMBER = re.compile(r"\s*([+-]?(?:[0-9]+\.[0-9]*|\.[0-9]+|[0-9]+)(?:[eE][+-]?[0-9]+)?)\s*")
_PARTNER = {")": "(", "]": "["}


@dataclass(frozen=True, kw_only=True)
class StepCount:
    """How the steps of a pass are counted.

    Attributes:
        steps: model calls of this pass: UI steps, doubled for second-order samplers.
        first_pass_steps: for the second pass of hires fix, the model calls of the first one; absolute numbers go on
            from there and fractions run from 1.0 to 2.0 (A1111 since 1.6). 0 for a first pass.
        old_timelines: A1111's "Old prompt editing timelines": a number below 1 is a fraction, any other a step, in
            both passes alike.
    """

    steps: int
    first_pass_steps: int = 0
    old_timelines: bool = False

    def switch_step(self, number: str) -> int:
        """Last step before the switch, at most `steps`; below 1 the first text is never used."""
        value = float(number)
        if self.old_timelines:
            value = value * self.steps if value < 1 else value
        elif "." in number:
            value = (value - (1.0 if self.first_pass_steps else 0.0)) * self.steps
        else:
            value -= self.first_pass_steps
        return int(max(-1.0, min(float(self.steps), value)))


def expand_schedule(text: str, count: StepCount) -> list[tuple[int, str]]:
    """The texts of a prompt in order, each with the last step that uses it; the last entry ends at `count.steps`.

    Never raises: what is not a schedule is text.
    """
    if "[" not in text or not (":" in text or "|" in text):
        return [(count.steps, text)]
    tokens = _TOKEN.findall(text)
    groups = _find_groups(tokens, count)
    if not groups:
        return [(count.steps, text)]
    switches = {count.steps, *(group.until for group in groups.values() if not group.alternates and group.until >= 1)}
    if any(group.alternates for group in groups.values()):
        switches.update(range(1, count.steps + 1))
    return [(step, _text_at(step, tokens, groups)) for step in sorted(switches)]


@dataclass(frozen=True, slots=True)
class _Group:
    """A well-formed schedule: `options` are (first token, end token) ranges, `end` the token after the bracket."""

    options: tuple[tuple[int, int], ...]
    end: int
    alternates: bool
    until: int = 0

    def choice(self, step: int) -> tuple[int, int]:
        if self.alternates:
            return self.options[(step - 1) % len(self.options)]
        return self.options[0 if step <= self.until else 1]


@dataclass(slots=True)
class _Open:
    """A bracket that may become a group: its place, its kind and the marks found directly inside."""

    place: int
    kind: str
    colons: list[int] = field(default_factory=list)
    bars: list[int] = field(default_factory=list)


class _CannotParse(Exception):
    """The text is outside A1111's grammar: it is used literally."""


def _find_groups(tokens: Sequence[str], count: StepCount) -> Mapping[int, _Group]:
    """Groups by the place of their opening bracket; none where the text cannot be parsed."""
    groups: dict[int, _Group] = {}
    opened: list[_Open] = []
    try:
        for place, mark in enumerate(tokens):
            if mark in ("(", "["):
                opened.append(_Open(place, mark))
            elif mark in (")", "]"):
                _close(mark, place, tokens, opened, groups, count)
            elif mark == "|":
                _mark_bar(place, opened)
            elif mark == ":" and opened:
                opened[-1].colons.append(place)
            elif mark == "\\":
                raise _CannotParse
        _make_literal(opened)
    except _CannotParse:
        return {}
    return groups


def _mark_bar(place: int, opened: Sequence[_Open]) -> None:
    if not opened or opened[-1].kind == "(":
        raise _CannotParse
    opened[-1].bars.append(place)


def _close(
    mark: str, place: int, tokens: Sequence[str], opened: list[_Open], groups: dict[int, _Group], count: StepCount
) -> None:
    if not opened or opened[-1].kind != _PARTNER[mark]:
        _make_literal(opened)
        return
    inner = opened[-1]
    group = _group_of(inner, place, tokens, count)
    if group is not None:
        groups[inner.place] = group
    elif inner.bars or len(inner.colons) > (1 if mark == ")" else 0):
        _make_literal(opened)
        return
    opened.pop()


def _make_literal(opened: list[_Open]) -> None:
    """All open brackets turn out to be ordinary characters; with a "|" directly inside one, that is no parse at all."""
    if any(one.bars for one in opened):
        raise _CannotParse
    opened.clear()


def _group_of(opened: _Open, place: int, tokens: Sequence[str], count: StepCount) -> _Group | None:
    """The schedule between an opening bracket and the closing one at `place`; None where it is something else."""
    colons, bars, start = opened.colons, opened.bars, opened.place + 1
    if bars and not colons:
        edges = [opened.place, *bars, place]
        options = tuple((left + 1, right) for left, right in pairwise(edges))
        return _Group(options, place + 1, alternates=True)
    is_form = opened.kind == "[" and not bars and len(colons) in (1, 2) and colons[-1] == place - 2
    number = _NUMBER.fullmatch(tokens[place - 1]) if is_form else None
    if number is None:
        return None
    before = (start, colons[0]) if len(colons) == 2 else (start, start)
    after = (colons[0] + 1, colons[1]) if len(colons) == 2 else (start, colons[0])
    return _Group((before, after), place + 1, alternates=False, until=count.switch_step(number[1]))


def _text_at(step: int, tokens: Sequence[str], groups: Mapping[int, _Group]) -> str:
    texts: list[str] = []
    outer: list[tuple[int, int]] = []
    place, end = 0, len(tokens)
    while place < end or outer:
        if place >= end:
            place, end = outer.pop()
        elif place in groups:
            outer.append((groups[place].end, end))
            place, end = groups[place].choice(step)
        else:
            texts.append(tokens[place])
            place += 1
    return "".join(texts)
