"""Prompts cut into chunks of 75 tokens, as A1111 1.10.1 does. To add a cutting rule: a branch in `_Cutter.add`.

Each chunk is start token + 75 + end token = 77 ids with a weight each; chunks are encoded one by one and joined on the
token axis. A full chunk is cut after the last comma when that is at most `comma_backtrack` tokens back. A textual
inversion embedding of n vectors takes n places and is never cut in two.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Protocol

from sdwebui.domain.emphasis import Piece
from sdwebui.domain.errors import ModelUnusable
from sdwebui.domain.prompt import parse_prompt

CHUNK = 75
"""Text tokens in a chunk, without start and end token."""


class TextTokenizer(Protocol):
    """What chunks need of a tokenizer; `domain/tokenizer.py` has it."""

    start_id: int
    end_id: int
    comma_id: int

    def encode(self, text: str) -> list[int]:
        """Ids of a text without start and end token."""


@dataclass(frozen=True, kw_only=True)
class EmbeddingMatch:
    """A textual inversion name that was found in the text.

    Attributes:
        name: name of the embedding.
        token_count: tokens that its name takes in the text, 1 ….
        vector_count: vectors that it puts in their place, 1 … 75.
    """

    name: str
    token_count: int
    vector_count: int


class EmbeddingLookup(Protocol):
    """Which textual inversion names there are, by token ids; the longest name wins."""

    def match(self, token_ids: Sequence[int], place: int) -> EmbeddingMatch | None:
        """The embedding whose name starts at `token_ids[place]`, if any."""


@dataclass(frozen=True, kw_only=True)
class PlacedEmbedding:
    """An embedding's vectors replace the encoder's input at `first`, `first` + 1 … (places in the 77)."""

    first: int
    name: str
    vector_count: int


@dataclass(frozen=True, kw_only=True)
class Chunk:
    """77 token ids with their weights; ids are 0 where an embedding goes.

    Attributes:
        token_ids: start token, text, end token, then padding.
        weights: factor of the encoder's output for each; 1.0 for start, end and padding.
        embeddings: textual inversion embeddings in this chunk.
    """

    token_ids: list[int]
    weights: list[float]
    embeddings: tuple[PlacedEmbedding, ...] = ()


@dataclass(frozen=True, kw_only=True)
class ChunkedText:
    """A text as chunks.

    Attributes:
        chunks: at least one.
        token_count: places used, as A1111's counter shows them: a chunk that was closed early counts whole.
    """

    chunks: tuple[Chunk, ...]
    token_count: int


def chunk_pieces(
    pieces: Sequence[Piece],
    tokenizer: TextTokenizer,
    *,
    pad_id: int | None = None,
    comma_backtrack: int = 20,
    embeddings: EmbeddingLookup | None = None,
) -> ChunkedText:
    """Cut pieces of equal weight into chunks.

    Args:
        pieces: as `parse_emphasis` gives them.
        tokenizer: makes the ids; each piece is tokenised by itself.
        pad_id: id after the first end token; None for the end token itself (CLIP-L), 0 for SD2 and CLIP-bigG.
        comma_backtrack: A1111's option `comma_padding_backtrack`, 0 … 74; 0 cuts at 75 whatever stands there.
        embeddings: textual inversion names; None for none.

    Raises:
        ModelUnusable: an embedding has more than 75 vectors.
    """
    cutter = _Cutter(tokenizer, tokenizer.end_id if pad_id is None else pad_id, comma_backtrack)
    for piece in pieces:
        if piece.is_break:
            cutter.close_chunk()
            continue
        token_ids = tokenizer.encode(piece.text)
        place = 0
        while place < len(token_ids):
            found = embeddings.match(token_ids, place) if embeddings is not None else None
            cutter.make_room(token_ids[place])
            if found is None:
                cutter.add(token_ids[place], piece.weight)
                place += 1
            else:
                cutter.add_embedding(found, piece.weight)
                place += found.token_count
    return cutter.finish()


class _Cutter:
    """The chunk in the making and those that are closed."""

    def __init__(self, tokenizer: TextTokenizer, pad_id: int, comma_backtrack: int) -> None:
        self._tokenizer = tokenizer
        self._pad_id = pad_id
        self._comma_backtrack = comma_backtrack
        self._chunks: list[Chunk] = []
        self._ids: list[int] = []
        self._weights: list[float] = []
        self._embeddings: list[PlacedEmbedding] = []
        self._last_comma = -1

    def make_room(self, token_id: int) -> None:
        """Close a full chunk, after its last comma if that is near and the next token is not a comma itself."""
        if len(self._ids) < CHUNK:
            return
        is_near = self._last_comma >= 0 and CHUNK - self._last_comma <= self._comma_backtrack
        if is_near and token_id != self._tokenizer.comma_id:
            self._close_after_comma(self._last_comma + 1)
        if len(self._ids) == CHUNK:
            self.close_chunk()

    def add(self, token_id: int, weight: float) -> None:
        """Put one token into the chunk, which has room for it."""
        if token_id == self._tokenizer.comma_id:
            self._last_comma = len(self._ids)
        self._ids.append(token_id)
        self._weights.append(weight)

    def add_embedding(self, found: EmbeddingMatch, weight: float) -> None:
        """Put an embedding whole into this chunk or, where it does not fit, into the next."""
        if found.vector_count > CHUNK:
            vectors = f"{found.vector_count} vectors, more than the {CHUNK} of a chunk"
            raise ModelUnusable(f"The embedding '{found.name}' has {vectors}. Take it out of the prompt.")
        if len(self._ids) + found.vector_count > CHUNK:
            self.close_chunk()
        first = len(self._ids) + 1
        self._embeddings.append(PlacedEmbedding(first=first, name=found.name, vector_count=found.vector_count))
        self._ids += [0] * found.vector_count
        self._weights += [weight] * found.vector_count

    def close_chunk(self) -> None:
        """Pad the chunk to 77 and start an empty one."""
        padding = CHUNK - len(self._ids)
        ids = [self._tokenizer.start_id, *self._ids, self._tokenizer.end_id, *[self._pad_id] * padding]
        weights = [1.0, *self._weights, *[1.0] * (padding + 1)]
        self._chunks.append(Chunk(token_ids=ids, weights=weights, embeddings=tuple(self._embeddings)))
        self._ids, self._weights, self._embeddings, self._last_comma = [], [], [], -1

    def finish(self) -> ChunkedText:
        """Close the last chunk; an empty text has one empty chunk."""
        used = len(self._chunks) * CHUNK + len(self._ids)
        if self._ids or not self._chunks:
            self.close_chunk()
        return ChunkedText(chunks=tuple(self._chunks), token_count=used)

    def _close_after_comma(self, place: int) -> None:
        moved_ids, moved_weights = self._ids[place:], self._weights[place:]
        moved = [one for one in self._embeddings if one.first > place]
        del self._ids[place:], self._weights[place:]
        self._embeddings = [one for one in self._embeddings if one.first <= place]
        self.close_chunk()
        self._ids, self._weights = moved_ids, moved_weights
        self._embeddings = [
            PlacedEmbedding(first=one.first - place, name=one.name, vector_count=one.vector_count) for one in moved
        ]


def count_tokens(
    text: str,
    tokenizer: TextTokenizer,
    *,
    steps: int = 20,
    is_negative: bool = False,
    emphasis: str = "Original",
    comma_backtrack: int = 20,
    embeddings: EmbeddingLookup | None = None,
) -> tuple[int, int]:
    """What the page's token counter shows: places used and the next multiple of 75.

    The maximum over the steps of the schedule and the parts of AND, without network tags and comments (A1111).
    """
    parsed = parse_prompt(text, steps, is_negative=is_negative)
    texts = {one.text: one for part in parsed.subprompts for one in part.schedule}
    used = max(
        chunk_pieces(
            one.attention(emphasis), tokenizer, comma_backtrack=comma_backtrack, embeddings=embeddings
        ).token_count
        for one in texts.values()
    )
    return used, CHUNK * max(1, math.ceil(used / CHUNK))
