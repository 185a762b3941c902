from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
import torch

from sdwebui.domain.chunks import chunk_pieces
from sdwebui.domain.emphasis import parse_emphasis
from sdwebui.domain.errors import InvalidRequest
from sdwebui.domain.tokenizer import ClipTokenizer
from sdwebui.engine.calls import EncodeText
from sdwebui.engine.conditioning import Conditioner, Conditioning, ScheduledStates, encode_chunks, weigh_original
from sdwebui.engine.weights import LoadedModel
from tests.tiny import tiny_request

LONG = ", ".join(["red hanfu"] * 50)


@pytest.fixture
def encode(tiny_checkpoint: Path, tokenizer: ClipTokenizer, model: LoadedModel):
    conditioner = Conditioner(tokenizer)

    def run(prompt: str, negative: str = "", calls: int = 10, **changes) -> Conditioning:
        request = tiny_request(tiny_checkpoint, prompt=prompt, negative_prompt=negative, **changes)
        with torch.inference_mode():
            return conditioner.encode(EncodeText(state=model.state, request=request, calls=calls), model)

    return run


def plain_states(text: str, tokenizer: ClipTokenizer, model: LoadedModel, clip_skip: int = 1) -> np.ndarray:
    """Hidden states of one chunk, straight from the encoder."""
    (chunk,) = chunk_pieces(parse_emphasis(text, "None"), tokenizer).chunks
    with torch.inference_mode():
        return encode_chunks(model.pipeline.text_encoder, [chunk], clip_skip)[0].numpy()


def token_weights(prompt: str, tokenizer: ClipTokenizer) -> np.ndarray:
    (chunk,) = chunk_pieces(parse_emphasis(prompt), tokenizer).chunks
    return np.array(chunk.weights)


def states_of(conditioning: Conditioning) -> np.ndarray:
    (part,) = conditioning.parts
    return part.at(0)[0].numpy()


def test_original_emphasis_multiplies_and_brings_the_mean_back(encode, tokenizer, model):
    plain = plain_states("a red hanfu on a hill", tokenizer, model).astype(np.float64)
    weights = token_weights("a (red hanfu:1.4) on a [hill]", tokenizer)
    assert sorted(set(weights.round(4))) == [0.9091, 1.0, 1.4]
    weighted = plain * weights[:, None]
    expected = weighted * (plain.mean() / weighted.mean())
    np.testing.assert_allclose(states_of(encode("a (red hanfu:1.4) on a [hill]")), expected, rtol=2e-4, atol=1e-5)


def test_no_norm_only_multiplies_and_ignore_drops_weights(encode, tokenizer, model):
    plain = plain_states("a red hanfu", tokenizer, model)
    weights = token_weights("a (red:1.4) hanfu", tokenizer)
    np.testing.assert_allclose(
        states_of(encode("a (red:1.4) hanfu", emphasis="No norm")), plain * weights[:, None], rtol=1e-5
    )
    np.testing.assert_allclose(states_of(encode("a (red:1.4) hanfu", emphasis="Ignore")), plain, rtol=1e-6)


def test_with_emphasis_none_brackets_are_text(encode, tokenizer, model):
    np.testing.assert_allclose(
        states_of(encode("a (red:1.4)", emphasis="None")), plain_states("a (red:1.4)", tokenizer, model), rtol=1e-6
    )


def test_a_mean_of_zero_does_not_make_infinities():
    states = torch.tensor([[[1.0, 1.0], [1.0, 1.0]]])
    assert torch.isfinite(weigh_original(states, torch.tensor([[1.0, -1.0]]))).all()


def test_long_prompts_are_chunks_of_77_joined_and_each_weighed_by_itself(encode, tokenizer, model):
    states = states_of(encode("a BREAK (b:1.5)"))
    assert states.shape == (154, 24)
    np.testing.assert_allclose(states[:77], plain_states("a", tokenizer, model), rtol=1e-5)
    assert states_of(encode(LONG)).shape[0] == 77 * 3


def test_clip_skip_takes_an_earlier_layer_through_the_final_norm(encode, tokenizer, model):
    with torch.inference_mode():
        (chunk,) = chunk_pieces(parse_emphasis("a hill"), tokenizer).chunks
        encoder = model.pipeline.text_encoder
        hidden = encoder(torch.tensor([chunk.token_ids]), output_hidden_states=True).hidden_states
        expected = torch.nn.functional.layer_norm(
            hidden[-2], (24,), encoder.final_layer_norm.weight, encoder.final_layer_norm.bias
        )
    np.testing.assert_allclose(states_of(encode("a hill", clip_skip=2)), expected[0].numpy(), rtol=1e-5)
    assert not np.allclose(states_of(encode("a hill")), expected[0].numpy())


def test_clip_skip_beyond_the_encoder_is_refused(encode):
    with pytest.raises(InvalidRequest, match="clip_skip is 4, but it must be at most 3"):
        encode("a", clip_skip=4)


@pytest.mark.parametrize(
    ("prompt", "sentence"),
    [
        ("red " * (64 * 75 + 1), "takes 65 chunks of 75 tokens, more than the 64 allowed. Shorten it."),
        ("[" + "|".join(["a BREAK b", "BREAK " * 65]) + "]", "takes 65 chunks"),
        (" AND ".join(["BREAK " * 64, *["[a|b] [c|d|e] [f|g|h|i|j]"] * 2]), None),
        (" AND ".join(["BREAK " * 64, *[f"{n} [a|b] [c|d|e]" for n in range(9)]]), "has 55 different texts of up to"),
    ],
    ids=["tokens", "in one step only", "equal texts count once", "many texts"],
)
def test_a_prompt_that_would_take_the_memory_is_refused_before_it_is_encoded(encode, prompt, sentence):
    if sentence is None:
        assert len(encode(prompt).parts) == 3
        return
    with pytest.raises(InvalidRequest, match=f"^prompt is .*{sentence}"):
        encode(prompt)


def test_a_negative_prompt_is_bounded_by_its_own_name(encode):
    with pytest.raises(InvalidRequest, match=r"^negative_prompt is .* takes 65 chunks"):
        encode("a", "red " * (64 * 75 + 1))


def test_padding_to_a_long_negative_prompt_counts(encode):
    parts = " AND ".join(f"{n} [a|b] [c|d|e]" for n in range(9))
    assert encode(parts, "BREAK " * 64)
    with pytest.raises(InvalidRequest, match="has 54 different texts of up to 64 chunks"):
        encode(parts, "BREAK " * 64, pad_conds=True)


def test_a_schedule_switches_after_its_step_counted_as_a1111_counts_calls(encode):
    (part,) = encode("[red:blue:3] hanfu", calls=10).parts
    red, blue = part.at(0), part.at(9)
    assert not torch.equal(red, blue)
    assert [part.at(call) is red for call in range(6)] == [True, True, True, True, False, False]
    assert part.at(50) is red, "A1111 falls back to the first text beyond the end"


def test_alternation_shares_tensors_between_equal_texts(encode):
    (part,) = encode("[a|b]", calls=6).parts
    assert len(part.states) == 6
    assert len({id(one) for one in part.states}) == 2
    assert [part.at(call) is part.states[0] for call in range(5)] == [True, True, False, True, False]


def test_both_texts_of_a_schedule_are_normalised_with_one_mean(encode, tokenizer, model):
    plain = np.stack([plain_states(text, tokenizer, model) for text in ("red", "blue hill")]).astype(np.float64)
    weights = np.stack([token_weights("(red:1.5)", tokenizer), token_weights("blue hill", tokenizer)])
    weighted = plain * weights[..., None]
    expected = weighted * (plain.mean() / weighted.mean())
    (part,) = encode("[(red:1.5):blue hill:3]").parts
    np.testing.assert_allclose(torch.cat(part.states).numpy(), expected, rtol=3e-4, atol=1e-5)


def test_parts_between_and_have_weights_and_are_lengthened_by_their_last_vector(encode):
    first, second = encode(f"red hanfu :1.5 AND {LONG} :-0.5").parts
    assert (first.weight, second.weight) == (1.5, -0.5)
    assert first.tokens == second.tokens == 231
    assert torch.equal(first.at(0)[:, 77:], first.at(0)[:, 76:77].expand(-1, 154, -1))


def test_the_negative_prompt_has_no_and(encode):
    assert encode("a", "b AND c").negative.weight == 1.0


def test_lengths_differ_by_default_and_agree_with_pad_conds(encode):
    plain = encode(LONG, "blurry")
    assert (plain.parts[0].tokens, plain.negative.tokens) == (231, 77)
    padded = encode(LONG, "blurry", pad_conds=True)
    assert padded.parts[0].tokens == padded.negative.tokens == 231
    empty = encode("", "").negative.at(0)
    assert torch.equal(padded.negative.at(0)[:, 77:154], empty)


def test_the_same_request_gives_the_same_objects(encode):
    assert encode("a", "b") is encode("a", "b")
    assert encode("a", "b").negative.at(0) is encode("c", "b").negative.at(0)


def test_states_at_a_call_need_no_search_for_a_single_text():
    states = torch.zeros(1, 77, 2)
    assert ScheduledStates(until=(3,), states=(states,)).at(100) is states
