"""CLIP's byte-pair tokenizer. To support another vocabulary: another class with the same four members.

Source: Radford et al. (2021), arXiv:2103.00020, section 2.4, and the vocabulary file of its release: 49,152 − 256 − 2
merges, one a line in order of rank. Ids are: 256 bytes, the same 256 at the end of a word ("</w>"), one a merge, then
the start and the end token, 49,408 in all. Every encoder of SD1, SD2 and SDXL uses these ids.
"""

from __future__ import annotations

import gzip
import unicodedata
import zlib
from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import Final

from tokenizers import AddedToken, Regex, Tokenizer, models, pre_tokenizers

from sdwebui.domain.errors import ConfigurationError

VOCABULARY_SIZE: Final = 49_408
START_TOKEN_ID: Final = 49_406
END_TOKEN_ID: Final = 49_407

_MERGES = VOCABULARY_SIZE - 2 * 256 - 2
_START, _END = "<|startoftext|>", "<|endoftext|>"
_END_OF_WORD = "</w>"
_WORDS = r"""'s|'t|'re|'ve|'m|'ll|'d|[\p{L}]+|[\p{N}]|[^\s\p{L}\p{N}]+"""


class ClipTokenizer:
    """Text to CLIP token ids and back. Made once from its vocabulary file (about 0.2 s); may be shared by threads.

    Attributes:
        start_id: the token before each chunk, 49406.
        end_id: the token after each chunk, 49407; also CLIP-L's padding.
        comma_id: the token of "," as a word, where long prompts are preferably cut.

    Args:
        path_to_bpe_gz: `bpe_simple_vocab_16e6.txt.gz`.

    Raises:
        ConfigurationError: the file is missing, damaged or another one.
    """

    start_id: int = START_TOKEN_ID
    end_id: int = END_TOKEN_ID

    def __init__(self, path_to_bpe_gz: Path) -> None:
        merges = _read_merges(path_to_bpe_gz)
        self._tokens = _vocabulary(merges)
        ids = {token: number for number, token in enumerate(self._tokens)}
        self._backend = _make_backend(ids, merges)
        self.comma_id = ids["," + _END_OF_WORD]
        self._byte_of = {character: byte for byte, character in enumerate(_byte_alphabet())}

    def encode(self, text: str) -> list[int]:
        """Ids of a text of any length, without start and end token.

        The text is put into Unicode form C, its white space joined to single spaces, and lower-cased. As in A1111,
        the literal words "<|startoftext|>" and "<|endoftext|>" become the tokens of that name.
        """
        whole = text.encode("utf-8", "replace").decode("utf-8")
        cleaned = " ".join(unicodedata.normalize("NFC", whole).split()).lower()
        ids: list[int] = self._backend.encode(cleaned, add_special_tokens=False).ids
        return ids

    def decode(self, token_ids: Iterable[int]) -> str:
        """The text of some ids, words parted by single spaces; start and end tokens are left out.

        Ids that are only a part of a character become U+FFFD.
        """
        data = b"".join(self._bytes_of(token_id) for token_id in token_ids if token_id < START_TOKEN_ID)
        return data.decode("utf-8", "replace").rstrip(" ")

    def _bytes_of(self, token_id: int) -> bytes:
        token = self._tokens[token_id]
        ends = token.endswith(_END_OF_WORD)
        return bytes(self._byte_of[one] for one in token.removesuffix(_END_OF_WORD)) + (b" " if ends else b"")


def _read_merges(path: Path) -> list[tuple[str, str]]:
    try:
        lines = gzip.decompress(path.read_bytes()).decode("utf-8").split("\n")
    except (OSError, EOFError, zlib.error, UnicodeDecodeError) as exc:
        raise ConfigurationError(f"The CLIP vocabulary {path} cannot be read: {exc}. Restore it.") from exc
    pairs = [tuple(line.split()) for line in lines[1 : _MERGES + 1]]
    merges = [(pair[0], pair[1]) for pair in pairs if len(pair) == 2]
    if len(merges) != _MERGES:
        raise ConfigurationError(f"The CLIP vocabulary {path} has {len(merges)} merges, but it must have {_MERGES}.")
    return merges


def _byte_alphabet() -> list[str]:
    """The visible character that stands for each byte: itself, or one from U+0100 on for blanks and controls."""
    visible = {*range(ord("!"), ord("~") + 1), *range(ord("¡"), ord("¬") + 1), *range(ord("®"), ord("ÿ") + 1)}
    substitutes = iter(range(256, 512))
    return [chr(byte) if byte in visible else chr(next(substitutes)) for byte in range(256)]


def _vocabulary(merges: Sequence[tuple[str, str]]) -> list[str]:
    alphabet = sorted(_byte_alphabet())
    return [
        *alphabet,
        *(letter + _END_OF_WORD for letter in alphabet),
        *(first + second for first, second in merges),
        _START,
        _END,
    ]


def _make_backend(ids: dict[str, int], merges: list[tuple[str, str]]) -> Tokenizer:
    backend = Tokenizer(models.BPE(vocab=ids, merges=merges, end_of_word_suffix=_END_OF_WORD))
    backend.pre_tokenizer = pre_tokenizers.Sequence(
        [
            pre_tokenizers.Split(Regex(_WORDS), behavior="removed", invert=True),
            pre_tokenizers.ByteLevel(add_prefix_space=False, use_regex=False),
        ]
    )
    backend.add_special_tokens([AddedToken(one, special=True, normalized=False) for one in (_START, _END)])
    return backend
