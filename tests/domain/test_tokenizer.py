"""CLIP ids against published ones and against the reference implementation in transformers."""

from __future__ import annotations

import gzip
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from sdwebui.domain.errors import ConfigurationError
from sdwebui.domain.tokenizer import END_TOKEN_ID, START_TOKEN_ID, VOCABULARY_SIZE, ClipTokenizer

VOCABULARY = Path(__file__).parents[2] / "configs/tokenizers/clip/bpe_simple_vocab_16e6.txt.gz"

SAMPLES = (
    "a photo of a cat",
    "best quality, masterpiece, highres, 1girl,blush,star-shaped pupils,china hanfu,  8k uhd, dslr",
    "don't you're we've I'm they'll he'd it's",
    "国风，汉服，一个女孩 ｆｕｌｌｗｉｄｔｈ ①",
    "emoji 🏮🎨 and ümläute é e\u0301 ﬁ",
    "\t tabs\nand \u3000 wide   spaces ",
    "<|startoftext|> inside <|endoftext|> words",
    "under_score C++ 3.14 (((x))) ...!!! a" * 5,
    "supercalifragilisticexpialidocious" * 8,
    "",
    " ",
)


@pytest.fixture(scope="module")
def tokenizer() -> ClipTokenizer:
    return ClipTokenizer(VOCABULARY)


@pytest.fixture(scope="module")
def reference(tokenizer: ClipTokenizer) -> Any:
    """transformers' CLIPTokenizer over the same merges; its vocabulary order is written here independently."""
    transformers = pytest.importorskip("transformers")
    bytes_in_order = [*range(33, 127), *range(161, 173), *range(174, 256)]
    letters = [chr(byte) for byte in bytes_in_order] + [chr(256 + place) for place in range(256 - len(bytes_in_order))]
    lines = gzip.decompress(VOCABULARY.read_bytes()).decode().split("\n")[1 : 49152 - 256 - 2 + 1]
    merges = [tuple(line.split()) for line in lines]
    tokens = [*letters, *(letter + "</w>" for letter in letters), *("".join(pair) for pair in merges)]
    tokens += ["<|startoftext|>", "<|endoftext|>"]
    return transformers.CLIPTokenizer(vocab={token: place for place, token in enumerate(tokens)}, merges=merges)


@pytest.mark.parametrize(
    ("text", "ids"),
    [
        ("a photo of a cat", [320, 1125, 539, 320, 2368]),
        ("Hello, world!", [3306, 267, 1002, 256]),
        (",", [267]),
        ("", []),
    ],
)
def test_known_ids_of_openai_clip(tokenizer, text, ids):
    assert tokenizer.encode(text) == ids


@pytest.mark.parametrize("text", SAMPLES)
def test_ids_are_those_of_transformers(tokenizer, reference, text):
    assert tokenizer.encode(text) == reference(text, add_special_tokens=False)["input_ids"]


# Sigma at the end of a word is lower-cased by CLIP's own code as Python does, by transformers letter for letter.
@settings(max_examples=200, deadline=None)
@given(text=st.text(st.characters(exclude_categories=["Cs", "Cc", "Zl", "Zp"], exclude_characters="Σ"), max_size=40))
def test_any_text_has_the_ids_of_transformers(tokenizer, reference, text):
    assert tokenizer.encode(text) == reference(text, add_special_tokens=False)["input_ids"]


def test_case_and_white_space_do_not_matter(tokenizer):
    assert tokenizer.encode("  A\tPhoto\n of  a CAT ") == tokenizer.encode("a photo of a cat")


def test_every_id_is_inside_the_vocabulary_and_every_byte_can_be_said(tokenizer):
    ids = tokenizer.encode("".join(map(chr, range(1, 0x2FFF))))
    assert 0 <= min(ids) <= max(ids) < VOCABULARY_SIZE


def test_special_ids_are_those_of_the_published_model(tokenizer):
    assert (tokenizer.start_id, tokenizer.end_id, tokenizer.comma_id) == (START_TOKEN_ID, END_TOKEN_ID, 267)
    assert (START_TOKEN_ID, END_TOKEN_ID) == (49406, 49407)


def test_decoding_gives_the_words_back(tokenizer):
    assert tokenizer.decode(tokenizer.encode("A Photo of 猫咪, 8k!")) == "a photo of 猫咪 , 8 k !"
    assert tokenizer.decode([START_TOKEN_ID, 320, 2368, END_TOKEN_ID, END_TOKEN_ID]) == "a cat"


def test_half_a_surrogate_pair_is_a_question_mark_and_never_an_exception(tokenizer):
    assert tokenizer.encode("a \ud800") == tokenizer.encode("a ?")


def test_the_longest_prompt_is_encoded_whole(tokenizer):
    assert len(tokenizer.encode("cat, " * 20_000)) == 40_000
    assert len(tokenizer.encode("a" * 100_000)) > 1000


@pytest.mark.parametrize("content", [b"", b"not gzip", gzip.compress(b"#version\na b\n"), gzip.compress(b"\xff\xfe")])
def test_a_damaged_vocabulary_stops_the_start_with_its_path(tmp_path, content):
    path = tmp_path / "vocabulary.gz"
    path.write_bytes(content)
    with pytest.raises(ConfigurationError, match=r"vocabulary\.gz"):
        ClipTokenizer(path)


def test_a_missing_vocabulary_stops_the_start_with_its_path(tmp_path):
    with pytest.raises(ConfigurationError, match="nowhere"):
        ClipTokenizer(tmp_path / "nowhere.gz")
