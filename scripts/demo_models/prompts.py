"""Prompt text to token chunks: 75 tokens each, with emphasis weights, as AUTOMATIC1111 packs them."""

from __future__ import annotations

import gzip
import re
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import torch
from tokenizers import Regex, Tokenizer, decoders, models, normalizers, pre_tokenizers

from scripts.demo_models.architecture import CHUNK_TOKENS, END_TOKEN, START_TOKEN
from scripts.demo_models.captions import Tag

VOCABULARY_FILE = Path(__file__).parents[2] / "configs/tokenizers/clip/bpe_simple_vocab_16e6.txt.gz"
CHUNK_CONTENT = CHUNK_TOKENS - 2
WORD_PATTERN = r"<\|startoftext\|>|<\|endoftext\|>|'s|'t|'re|'ve|'m|'ll|'d|[\p{L}]+|[\p{N}]|[^\s\p{L}\p{N}]+"
WEIGHTED_PATTERN = re.compile(r"\(([^():]+):([0-9.]+)\)|([^(),]+)")


@dataclass(frozen=True, kw_only=True)
class TokenChunks:
    """Token ids [chunks, 77] int64 and their emphasis [chunks, 77] float32."""

    ids: torch.Tensor
    weights: torch.Tensor


def load_tokenizer(path: Path = VOCABULARY_FILE) -> Tokenizer:
    """CLIP's byte-pair tokenizer from its merges file (49,408 entries)."""
    merges_text = gzip.decompress(path.read_bytes()).decode("utf-8").split("\n")
    merges = [tuple(row.split()) for row in merges_text[1 : 49152 - 256 - 2 + 1]]
    letters = _byte_letters()
    entries = letters + [letter + "</w>" for letter in letters] + ["".join(merge) for merge in merges]
    vocabulary = {entry: index for index, entry in enumerate([*entries, "<|startoftext|>", "<|endoftext|>"])}
    pairs = [(first, second) for first, second in merges]
    tokenizer = Tokenizer(
        models.BPE(vocabulary, pairs, continuing_subword_prefix="", end_of_word_suffix="</w>", fuse_unk=False)
    )
    tokenizer.normalizer = normalizers.Sequence(
        [normalizers.NFC(), normalizers.Replace(Regex(r"\s+"), " "), normalizers.Lowercase()]
    )
    tokenizer.pre_tokenizer = pre_tokenizers.Sequence(
        [
            pre_tokenizers.Split(Regex(WORD_PATTERN), behavior="removed", invert=True),
            pre_tokenizers.ByteLevel(add_prefix_space=False, use_regex=False),
        ]
    )
    tokenizer.decoder = decoders.ByteLevel()
    return tokenizer


def _byte_letters() -> list[str]:
    """The printable letter of every byte, in CLIP's order."""
    plain = [*range(33, 127), *range(161, 173), *range(174, 256)]
    rest = [byte for byte in range(256) if byte not in plain]
    return [chr(byte) for byte in plain] + [chr(256 + index) for index in range(len(rest))]


def parse_prompt(prompt: str) -> list[Tag]:
    """Comma separated tags with (text:weight) emphasis; no nesting, which the report does not need."""
    found = []
    for match in WEIGHTED_PATTERN.finditer(prompt):
        weighted, weight, plain = match.groups()
        text = (weighted or plain).strip()
        if text:
            found.append(Tag(text=text, weight=float(weight or 1)))
    return found


class TagTokenizer:
    """Tokenizes tags, remembering those seen before."""

    def __init__(self, tokenizer: Tokenizer) -> None:
        self._tokenizer = tokenizer
        self._known: dict[str, list[int]] = {}

    def tokens(self, text: str) -> list[int]:
        """Ids of one tag's words."""
        if text not in self._known:
            self._known[text] = list(self._tokenizer.encode(text, add_special_tokens=False).ids)
        return self._known[text]

    def chunks(self, tags: Sequence[Tag], *, at_least: int = 1, break_at: int | None = None) -> TokenChunks:
        """Packs tags and commas into chunks of 75; a tag that does not fit starts the next chunk.

        Args:
            tags: the prompt's tags with their weights.
            at_least: pad with empty chunks up to this number.
            break_at: start a new chunk before the tag of this index.
        """
        rows: list[list[tuple[int, float]]] = [[]]
        comma = self.tokens(",")[0]
        for index, tag in enumerate(tags):
            items = [(token, tag.weight) for token in self.tokens(tag.text)]
            items += [(comma, 1.0)] if index + 1 < len(tags) else []
            if rows[-1] and (len(rows[-1]) + len(items) > CHUNK_CONTENT or index == break_at):
                rows.append([])
            rows[-1] += items[:CHUNK_CONTENT]
        rows += [[] for _ in range(at_least - len(rows))]
        return _padded(rows)


def _padded(rows: list[list[tuple[int, float]]]) -> TokenChunks:
    ids = torch.full((len(rows), CHUNK_TOKENS), END_TOKEN, dtype=torch.int64)
    weights = torch.ones(len(rows), CHUNK_TOKENS)
    ids[:, 0] = START_TOKEN
    for index, row in enumerate(rows):
        if row:
            ids[index, 1 : len(row) + 1] = torch.tensor([token for token, _ in row])
            weights[index, 1 : len(row) + 1] = torch.tensor([weight for _, weight in row])
    return TokenChunks(ids=ids, weights=weights)
