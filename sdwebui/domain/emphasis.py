r"""Emphasis: which words of a text get which weight. To add a bracket kind: a family in `_match_brackets`.

A1111 1.10.1's rules: `(x)` is x × 1.1, `[x]` is x ÷ 1.1, `(x:1.3)` is x × 1.3; nesting multiplies; an unclosed bracket
runs to the end; a closing bracket without a partner is text; `\( \) \[ \] \\` are escapes and any other backslash
is dropped; the word BREAK starts a new chunk of 75 tokens. Ours differs in two documented points: BREAK works inside
brackets too (A1111 sends the word to the encoder there), and a malformed number such as `(x:1.1.2)` is text
(A1111 fails the whole generation).

Time is linear in the text, whatever the nesting: one pass finds each bracket's factor, a second one carries the
products along.
"""

from __future__ import annotations

import math
import re
from collections.abc import Iterator, Sequence
from dataclasses import dataclass

EMPHASIS_MODES = ("Original", "No norm", "Ignore", "None")
"""A1111's option `emphasis`. "None" makes brackets ordinary characters; the other three parse alike and differ in how
the encoder's output is weighted."""

MAX_WEIGHT = 1e6
"""Weights are held within ± this, so that nothing downstream can overflow to infinity."""

_ROUND_FACTOR = 1.1
_SQUARE_FACTOR = 1 / 1.1
_EXACT_DEPTH = 16
_MARK = re.compile(r"\\[()\[\]\\]?|[()\[\]]|:\s*+([+-]?[.\d]++)\s*+\)|[^\\()\[\]:]+|:")
_BREAK = re.compile(r"\bBREAK\b")
_BLANKS = re.compile(r"\s*")


@dataclass(frozen=True, slots=True)
class Piece:
    """A run of text with one weight, or a chunk break.

    Attributes:
        text: what is tokenised; "BREAK" for a break.
        weight: factor of the encoder's output; −1 for a break, as A1111 marks it.
        is_break: True when the chunk of 75 tokens ends here.
    """

    text: str
    weight: float = 1.0
    is_break: bool = False


BREAK = Piece("BREAK", -1.0, True)


def parse_emphasis(text: str, mode: str = "Original") -> tuple[Piece, ...]:
    """Split a text into pieces of equal weight; neighbours of equal weight are one piece, as in A1111.

    Never raises: every text has a meaning.

    Args:
        text: a prompt without network tags, AND and schedules.
        mode: one of `EMPHASIS_MODES`.
    """
    if mode == "None":
        return (Piece(text),)
    return tuple(_merged(_weighted(_match_brackets(text)))) or (Piece(""),)


class _Bracket:
    """A pair of brackets; it stands in the item list where it opens and, unless it runs to the end, where it closes."""

    __slots__ = ("closing_order", "factor", "is_round")

    def __init__(self, is_round: bool) -> None:
        self.is_round = is_round
        self.factor = _ROUND_FACTOR if is_round else _SQUARE_FACTOR
        self.closing_order = -1


def _match_brackets(text: str) -> list[str | _Bracket]:
    """Texts and brackets in order, every bracket with its factor and the order in which A1111 applies it."""
    items: list[str | _Bracket] = []
    rounds: list[_Bracket] = []
    squares: list[_Bracket] = []
    closed = 0
    for match in _MARK.finditer(text):
        mark = match[0]
        stack = rounds if mark[-1] in "()" else squares
        if mark[0] == "\\":
            items.append(mark[1:])
        elif mark in ("(", "["):
            stack.append(_Bracket(mark == "("))
            items.append(stack[-1])
        elif stack and (mark in (")", "]") or match[1] is not None):
            bracket = stack.pop()
            bracket.closing_order = closed = closed + 1
            if match[1] is not None and not _set_factor(bracket, match[1]):
                items.append(mark[:-1])
            items.append(bracket)
        else:
            items.append(mark)
    for order, bracket in enumerate((*rounds, *squares), closed + 1):
        bracket.closing_order = order
    return items


def _set_factor(bracket: _Bracket, number: str) -> bool:
    try:
        bracket.factor = _held(float(number))
    except ValueError:
        return False
    return True


def _held(weight: float) -> float:
    return max(-MAX_WEIGHT, min(MAX_WEIGHT, weight))


def _weighted(items: Sequence[str | _Bracket]) -> Iterator[Piece]:
    rounds, squares = _OpenBrackets(), _OpenBrackets()
    weight, is_current = 1.0, True
    for item in items:
        if not isinstance(item, str):
            (rounds if item.is_round else squares).toggle(item)
            is_current = False
            continue
        if not is_current:
            weight, is_current = _product(rounds, squares), True
        yield from _broken(item, weight)


class _OpenBrackets:
    """The brackets of one kind that are open at a place in the text, with the running product of their factors."""

    def __init__(self) -> None:
        self._open: list[_Bracket] = []
        self._products = [1.0]

    def toggle(self, bracket: _Bracket) -> None:
        if self._open and self._open[-1] is bracket:
            self._open.pop()
            self._products.pop()
        else:
            self._open.append(bracket)
            self._products.append(_held(self._products[-1] * bracket.factor))

    def innermost(self) -> list[_Bracket]:
        return self._open[-_EXACT_DEPTH:]

    def outer_product(self) -> float:
        return self._products[max(0, len(self._open) - _EXACT_DEPTH)]


def _product(rounds: _OpenBrackets, squares: _OpenBrackets) -> float:
    """Multiply as A1111 does, in the order of closing, so that rounding and hence merging agree to the last bit.

    Beyond 16 levels of one kind the outer factors come from the running product: equal but for the last bits.
    """
    nearest = rounds.innermost() + squares.innermost()
    if len(nearest) > 1:
        nearest.sort(key=lambda bracket: bracket.closing_order)
    factors = [bracket.factor for bracket in nearest]
    return _held(math.prod(factors, start=1.0) * rounds.outer_product() * squares.outer_product())


def _broken(text: str, weight: float) -> Iterator[Piece]:
    """The text around each word BREAK; blanks beside a BREAK belong to it."""
    place = 0
    if "BREAK" in text:
        for match in _BREAK.finditer(text):
            yield Piece(text[place : match.start()].rstrip(), weight)
            yield BREAK
            blanks = _BLANKS.match(text, match.end())
            place = blanks.end() if blanks else match.end()
    yield Piece(text[place:], weight)


def _merged(pieces: Iterator[Piece]) -> Iterator[Piece]:
    texts: list[str] = []
    weight = 1.0
    for piece in pieces:
        if texts and (piece.is_break or piece.weight != weight):
            yield Piece("".join(texts), weight)
            texts = []
        if piece.is_break:
            yield piece
        else:
            texts.append(piece.text)
            weight = piece.weight
    if texts:
        yield Piece("".join(texts), weight)
