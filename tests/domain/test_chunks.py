"""Chunks of 75 tokens against A1111's rules, with a tokenizer of one token a word."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from sdwebui.domain.chunks import CHUNK, ChunkedText, EmbeddingMatch, PlacedEmbedding, chunk_pieces, count_tokens
from sdwebui.domain.emphasis import BREAK, Piece, parse_emphasis
from sdwebui.domain.errors import ModelUnusable
from sdwebui.domain.tokenizer import ClipTokenizer

VOCABULARY = Path(__file__).parents[2] / "configs/tokenizers/clip/bpe_simple_vocab_16e6.txt.gz"
COMMA, START, END, EMBEDDED = 1, 901, 902, 77


class WordTokenizer:
    """Word "wN" is token N, a comma is 1, "emb" is 77."""

    start_id = START
    end_id = END
    comma_id = COMMA

    def encode(self, text: str) -> list[int]:
        special = {",": COMMA, "emb": EMBEDDED}
        return [special[word] if word in special else int(word[1:]) for word in text.replace(",", " , ").split()]


class OneEmbedding:
    """Knows the embedding of token 77."""

    def __init__(self, vector_count: int, token_count: int = 1) -> None:
        self.found = EmbeddingMatch(name="emb", token_count=token_count, vector_count=vector_count)

    def match(self, token_ids: Sequence[int], place: int) -> EmbeddingMatch | None:
        return self.found if token_ids[place] == EMBEDDED else None


def words(first: int, count: int) -> str:
    return " ".join(f"w{number}" for number in range(first, first + count))


def chunked(text: str, **options: object) -> ChunkedText:
    return chunk_pieces(parse_emphasis(text), WordTokenizer(), **options)  # type: ignore[arg-type]  # spread of keywords


def text_ids(result: ChunkedText) -> list[list[int]]:
    """Ids of each chunk without start, end and padding."""
    return [chunk.token_ids[1 : chunk.token_ids.index(END)] for chunk in result.chunks]


def test_an_empty_text_is_one_empty_chunk():
    result = chunked("")
    assert [chunk.token_ids for chunk in result.chunks] == [[START] + [END] * 76]
    assert result.chunks[0].weights == [1.0] * 77
    assert result.token_count == 0


def test_exactly_seventy_five_tokens_are_one_chunk_and_one_more_are_two():
    assert len(chunked(words(100, 75)).chunks) == 1
    assert [len(ids) for ids in text_ids(chunked(words(100, 76)))] == [75, 1]


def test_each_token_has_the_weight_of_its_piece():
    result = chunked("w100 (w101 w102:1.3) [w103]")
    assert result.chunks[0].weights[:6] == [1.0, 1.0, 1.3, 1.3, 1 / 1.1, 1.0]


def test_padding_comes_after_the_first_end_token():
    chunk = chunked("w100", pad_id=0).chunks[0]
    assert chunk.token_ids == [START, 100, END] + [0] * 74


def test_text_after_a_near_comma_moves_to_the_next_chunk():
    text = words(100, 60) + "," + words(200, 20)
    assert text_ids(chunked(text)) == [[*range(100, 160), COMMA], [*range(200, 220)]]


@pytest.mark.parametrize(("before", "moves"), [(55, True), (54, False)])
def test_a_comma_counts_as_near_up_to_twenty_tokens_back(before, moves):
    result = chunked(words(100, before) + "," + words(200, 40))
    assert len(text_ids(result)[0]) == (before + 1 if moves else 75)


@pytest.mark.parametrize(("backtrack", "length"), [(0, 75), (5, 75), (15, 61), (74, 61)])
def test_the_distance_is_an_option_and_zero_turns_it_off(backtrack, length):
    result = chunked(words(100, 60) + "," + words(200, 20), comma_backtrack=backtrack)
    assert len(text_ids(result)[0]) == length


def test_a_comma_on_place_seventy_six_opens_the_next_chunk_and_nothing_moves():
    result = chunked(words(100, 70) + "," + words(200, 4) + "," + words(300, 3))
    assert [len(ids) for ids in text_ids(result)] == [75, 4]
    assert text_ids(result)[1] == [COMMA, 300, 301, 302]


def test_moved_tokens_keep_their_weights():
    result = chunked(words(100, 60) + ", (" + words(200, 20) + ":1.5)")
    assert result.chunks[0].weights[62:] == [1.0] * 15
    assert result.chunks[1].weights[1:21] == [1.5] * 20


def test_the_comma_memory_ends_with_its_chunk():
    first = words(100, 74) + ","
    assert [len(ids) for ids in text_ids(chunked(first + words(200, 76)))] == [75, 75, 1]


def test_break_closes_a_chunk_even_an_empty_one():
    assert text_ids(chunked("w100 BREAK w101")) == [[100], [101]]
    assert text_ids(chunked("BREAK w101")) == [[], [101]]
    assert text_ids(chunked("w100 BREAK BREAK w101")) == [[100], [], [101]]
    assert text_ids(chunked("w100 BREAK")) == [[100]]


def test_a_closed_chunk_counts_whole():
    assert chunked("w100 BREAK w101 w102").token_count == 77
    assert chunked("w100 BREAK").token_count == 75


def test_an_embedding_takes_its_vectors_places_with_its_weight():
    result = chunked("w100 (emb:1.2) w101", embeddings=OneEmbedding(3))
    chunk = result.chunks[0]
    assert chunk.token_ids[:7] == [START, 100, 0, 0, 0, 101, END]
    assert chunk.weights[2:5] == [1.2] * 3
    assert chunk.embeddings == (PlacedEmbedding(first=2, name="emb", vector_count=3),)


def test_an_embedding_of_two_name_tokens_replaces_both():
    result = chunked("emb w1 w100", embeddings=OneEmbedding(1, token_count=2))
    assert result.chunks[0].token_ids[:4] == [START, 0, 100, END]


def test_an_embedding_that_does_not_fit_starts_the_next_chunk():
    result = chunked(words(100, 73) + " emb w300", embeddings=OneEmbedding(3))
    assert [len(ids) for ids in text_ids(result)] == [73, 4]
    assert result.chunks[1].embeddings == (PlacedEmbedding(first=1, name="emb", vector_count=3),)


def test_an_embedding_moves_with_the_text_after_the_comma():
    result = chunked(words(100, 60) + "," + words(200, 5) + " emb " + words(300, 8), embeddings=OneEmbedding(3))
    assert [len(ids) for ids in text_ids(result)] == [61, 16]
    assert result.chunks[0].embeddings == ()
    assert result.chunks[1].embeddings == (PlacedEmbedding(first=6, name="emb", vector_count=3),)


def test_an_embedding_larger_than_a_chunk_is_refused_by_name():
    with pytest.raises(ModelUnusable, match="'emb' has 76 vectors"):
        chunked("emb", embeddings=OneEmbedding(76))


TEXTS = st.lists(st.sampled_from(["w100", "w101", ",", "emb", "BREAK"]), max_size=300).map(" ".join)


@given(TEXTS, st.integers(0, 74), st.integers(1, 75))
def test_any_text_is_cut_into_whole_chunks_and_nothing_is_lost(text, backtrack, vector_count):
    lookup = OneEmbedding(vector_count)
    result = chunked(text, comma_backtrack=backtrack, embeddings=lookup)
    for chunk in result.chunks:
        assert (len(chunk.token_ids), len(chunk.weights)) == (77, 77)
        assert chunk.token_ids[0] == START
        for one in chunk.embeddings:
            assert one.first >= 1
            assert one.first + one.vector_count <= 76
            assert chunk.token_ids[one.first : one.first + one.vector_count] == [0] * vector_count
    placed = [token for ids in text_ids(result) for token in ids if token]
    assert placed == [token for token in WordTokenizer().encode(text.replace("BREAK", "")) if token != EMBEDDED]
    assert sum(len(chunk.embeddings) for chunk in result.chunks) == text.split().count("emb")


def test_pieces_are_tokenised_one_by_one():
    tokenizer = ClipTokenizer(VOCABULARY)
    joined = chunk_pieces([Piece("photograph")], tokenizer)
    apart = chunk_pieces([Piece("photo", 1.1), Piece("graph")], tokenizer)
    assert (joined.token_count, apart.token_count) == (1, 2)
    assert chunk_pieces([Piece("a"), BREAK, Piece("b")], tokenizer).chunks[1].token_ids[1] == tokenizer.encode("b")[0]


@pytest.mark.parametrize(
    ("text", "counted"),
    [
        ("", (0, 75)),
        (words(100, 75), (75, 75)),
        (words(100, 76), (76, 150)),
        ("w100 # w101 w102", (1, 75)),
        ("w100 [w101 w102:w103:5]", (3, 75)),
        ("w100 w101 AND w102 AND w103 w104 w105", (3, 75)),
        ("w100 <lora:x:1>", (1, 75)),
        ("w100 BREAK w101", (76, 150)),
    ],
)
def test_the_counter_shows_the_longest_text_of_all_steps(text, counted):
    assert count_tokens(text, WordTokenizer()) == counted


def test_both_prompts_of_the_first_picture_are_longer_than_a_chunk():
    prompt = (
        "best quality, masterpiece, highres, 1girl,blush,(seductive smile:0.8),star-shaped pupils,china hanfu,"
        "hair ornament,necklace, jewelry,Beautiful face,upon_body, tyndall effect,photorealistic, dark studio, "
        "rim lighting, two tone lighting,(high detailed skin:1.2), 8k uhd, dslr, soft lighting, high quality, "
        "volumetric lighting, candid, Photograph, high resolution, 4k, 8k, Bokeh"
    )
    tokenizer = ClipTokenizer(VOCABULARY)
    used, limit = count_tokens(prompt, tokenizer)
    assert CHUNK < used <= limit == 2 * CHUNK
