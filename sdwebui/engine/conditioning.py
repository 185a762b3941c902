"""From prompts to text states. To add an emphasis mode: a function and a row in `EMPHASIS`.

The rules are A1111 1.10.1's, so that a prompt means the same here: chunks of 77 tokens are encoded one by one and
joined on the token axis; all texts of one schedule are encoded in one call with equally many chunks; parts between
AND are brought to one length by repeating their last vector.
"""

from __future__ import annotations

from collections import OrderedDict
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, TypeVar

import torch
from torch import Tensor

from sdwebui.domain.chunks import Chunk, TextTokenizer, chunk_pieces
from sdwebui.domain.emphasis import parse_emphasis
from sdwebui.domain.errors import InvalidRequest
from sdwebui.domain.prompt import SubPrompt, parse_prompt
from sdwebui.domain.requests import MAX_CHUNKS, MAX_ENCODED_CHUNKS
from sdwebui.engine.calls import EncodeText
from sdwebui.engine.weights import LoadedModel

_ENCODER_ROWS = 32
_CACHE_ENTRIES = 64


@dataclass(frozen=True, kw_only=True, eq=False)
class ScheduledStates:
    """Text states that may change from call to call.

    Attributes:
        until: for each text the last call number that uses it (see `at`).
        states: for each text [1, 77·k, C], float32; all of one length.
        weight: factor of this part's guidance (AND).
    """

    until: tuple[int, ...]
    states: tuple[Tensor, ...]
    weight: float = 1.0

    def at(self, call: int) -> Tensor:
        """States for the 0-based UNet call `call`: the first text with call ≤ until.

        A1111 counts the calls from 0 when it looks (`CFGDenoiser.step`) but writes schedules from 1, so a text until
        step 10 serves calls 0 … 10. Pictures agree only with the same rule.
        """
        if len(self.states) == 1:
            return self.states[0]
        return next((s for end, s in zip(self.until, self.states, strict=True) if call <= end), self.states[0])

    @property
    def tokens(self) -> int:
        """Length on the token axis."""
        return self.states[0].shape[1]


@dataclass(frozen=True, kw_only=True, eq=False)
class Conditioning:
    """Everything that guides one picture. The tensors of one text are the same objects in every call.

    Attributes:
        parts: the prompt's parts between AND, of equal length.
        negative: the negative prompt.
        warnings: sentences for the user about the prompt.
    """

    parts: tuple[ScheduledStates, ...]
    negative: ScheduledStates
    warnings: tuple[str, ...] = ()


def weigh_original(states: Tensor, weights: Tensor) -> Tensor:
    """Multiply each token's vector by its weight, then bring the mean over everything back to what it was.

    Args:
        states: [n, 77, C]: the same chunk of all texts of a schedule.
        weights: [n, 77].
    """
    weighted = weigh_no_norm(states, weights)
    ratio = states.mean() / weighted.mean()
    return weighted * ratio if bool(torch.isfinite(ratio)) else weighted


def weigh_no_norm(states: Tensor, weights: Tensor) -> Tensor:
    """Multiply each token's vector by its weight."""
    return states * weights.unsqueeze(-1)


def leave_as_is(states: Tensor, weights: Tensor) -> Tensor:  # noqa: ARG001 - one signature for all modes
    """Weights are not used."""
    return states


EMPHASIS: Mapping[str, Callable[[Tensor, Tensor], Tensor]] = {
    "Original": weigh_original,
    "No norm": weigh_no_norm,
    "Ignore": leave_as_is,
    "None": leave_as_is,
}

_Key = TypeVar("_Key")
_Value = TypeVar("_Value")


class Conditioner:
    """Makes `Conditioning`s and remembers the last ones, by text. Used by one thread.

    Args:
        tokenizer: makes CLIP token ids.
    """

    def __init__(self, tokenizer: TextTokenizer) -> None:
        self._tokenizer = tokenizer
        self._encoded: OrderedDict[Any, tuple[Tensor, ...]] = OrderedDict()
        self._finished: OrderedDict[Any, Conditioning] = OrderedDict()

    def encode(self, call: EncodeText, model: LoadedModel) -> Conditioning:
        """Encode the prompts of a request.

        Raises:
            InvalidRequest: clip skip is more than the encoder has layers, or a prompt has more chunks than allowed.
        """
        request = call.request
        _check_clip_skip(request.clip_skip, model)
        key = (call.state, request.prompt, request.negative_prompt, request.pad_conds, call.calls, *_options(call))
        return _remembered(self._finished, key, lambda: self._encode(call, model))

    def _encode(self, call: EncodeText, model: LoadedModel) -> Conditioning:
        request = call.request
        parsed = parse_prompt(request.prompt, call.calls)
        (negative,) = parse_prompt(request.negative_prompt, call.calls, is_negative=True).subprompts
        padding = self._checked_chunks("negative_prompt", (negative,), call)
        self._checked_chunks("prompt", parsed.subprompts, call, padding if request.pad_conds else 1)
        parts = [self._scheduled(part, call, model) for part in parsed.subprompts]
        length = max(part.tokens for part in parts)
        conditioning = Conditioning(
            parts=tuple(_with_states(part, lambda one: _repeat_last(one, length)) for part in parts),
            negative=self._scheduled(negative, call, model),
            warnings=parsed.warnings,
        )
        return self._padded(conditioning, call, model) if request.pad_conds else conditioning

    def _checked_chunks(self, field: str, parts: Sequence[SubPrompt], call: EncodeText, at_least: int = 1) -> int:
        """Chunks of the longest text of a prompt, at least `at_least`, as which all its texts will be stored.

        Raises:
            InvalidRequest: a text alone, or all together, have more than the allowed number.
        """
        prompt = getattr(call.request, field)
        texts = {one.text for part in parts for one in part.schedule}
        longest = at_least
        for text in texts:
            longest = max(longest, len(self._chunks(text, call.request.emphasis, call.request.comma_backtrack)))
            if longest > MAX_CHUNKS:
                rule = f"takes {longest} chunks of 75 tokens, more than the {MAX_CHUNKS} allowed"
                raise InvalidRequest(field, prompt, rule, "Shorten it.")
            if longest * len(texts) > MAX_ENCODED_CHUNKS:
                rule = f"has {len(texts)} different texts of up to {longest} chunks of 75 tokens"
                hint = f"Shorten it: texts times chunks may be at most {MAX_ENCODED_CHUNKS}."
                raise InvalidRequest(field, prompt, rule, hint)
        return longest

    def _padded(self, conditioning: Conditioning, call: EncodeText, model: LoadedModel) -> Conditioning:
        """Bring prompt and negative prompt to one length with copies of the empty prompt (option "Pad conds")."""
        (empty,) = self._states(("",), call, model)
        length = max(conditioning.negative.tokens, *(part.tokens for part in conditioning.parts))

        def pad(one: Tensor) -> Tensor:
            return torch.cat([one, *[empty] * ((length - one.shape[1]) // empty.shape[1])], dim=1)

        return Conditioning(
            parts=tuple(_with_states(part, pad) for part in conditioning.parts),
            negative=_with_states(conditioning.negative, pad),
            warnings=conditioning.warnings,
        )

    def _scheduled(self, part: SubPrompt, call: EncodeText, model: LoadedModel) -> ScheduledStates:
        texts = tuple(one.text for one in part.schedule)
        return ScheduledStates(
            until=tuple(one.until_step for one in part.schedule),
            states=self._states(texts, call, model),
            weight=part.weight,
        )

    def _states(self, texts: tuple[str, ...], call: EncodeText, model: LoadedModel) -> tuple[Tensor, ...]:
        key = (call.state, texts, *_options(call))
        return _remembered(self._encoded, key, lambda: self._encode_texts(texts, call, model))

    def _encode_texts(self, texts: tuple[str, ...], call: EncodeText, model: LoadedModel) -> tuple[Tensor, ...]:
        request = call.request
        unique = list(dict.fromkeys(texts))
        chunked = [self._chunks(text, request.emphasis, request.comma_backtrack) for text in unique]
        count = max(len(chunks) for chunks in chunked)
        (empty,) = self._chunks("", request.emphasis, 0)
        places = torch.tensor([unique.index(text) for text in texts])
        joined = []
        for number in range(count):
            column = [chunks[number] if number < len(chunks) else empty for chunks in chunked]
            states = encode_chunks(model.pipeline.text_encoder, column, request.clip_skip)
            weights = torch.tensor([chunk.weights for chunk in column], device=states.device)
            joined.append(EMPHASIS[request.emphasis](states[places], weights[places]))
        whole = torch.cat(joined, dim=1)
        # Equal texts share one tensor, so that later stages can recognise them.
        first = {text: whole[texts.index(text)].unsqueeze(0) for text in unique}
        return tuple(first[text] for text in texts)

    def _chunks(self, text: str, emphasis: str, comma_backtrack: int) -> Sequence[Chunk]:
        pieces = parse_emphasis(text, emphasis)
        return chunk_pieces(pieces, self._tokenizer, comma_backtrack=comma_backtrack).chunks


def encode_chunks(text_encoder: Any, chunks: Sequence[Chunk], clip_skip: int) -> Tensor:
    """Hidden states [n, 77, C] of chunks, float32, without emphasis.

    Args:
        text_encoder: a transformers CLIPTextModel.
        chunks: token ids, 77 each.
        clip_skip: 1 for the last layer, N for the N-th from the end; the final layer norm follows in any case (SD1).
    """
    device = next(text_encoder.parameters()).device
    rows = []
    for first in range(0, len(chunks), _ENCODER_ROWS):
        ids = torch.tensor([chunk.token_ids for chunk in chunks[first : first + _ENCODER_ROWS]], device=device)
        if clip_skip == 1:
            rows.append(text_encoder(ids).last_hidden_state)
        else:
            hidden = text_encoder(ids, output_hidden_states=True).hidden_states[-clip_skip]
            rows.append(text_encoder.final_layer_norm(hidden))
    return torch.cat(rows).float()


def _options(call: EncodeText) -> tuple[object, ...]:
    request = call.request
    return (request.clip_skip, request.emphasis, request.comma_backtrack)


def _check_clip_skip(clip_skip: int, model: LoadedModel) -> None:
    layers = model.pipeline.text_encoder.config.num_hidden_layers
    if clip_skip > layers:
        name = model.state.checkpoint.name
        raise InvalidRequest("clip_skip", clip_skip, f"must be at most {layers}, the text encoder's layers in {name}")


def _with_states(part: ScheduledStates, change: Callable[[Tensor], Tensor]) -> ScheduledStates:
    changed = {id(one): change(one) for one in part.states}
    return ScheduledStates(until=part.until, states=tuple(changed[id(one)] for one in part.states), weight=part.weight)


def _repeat_last(states: Tensor, length: int) -> Tensor:
    missing = length - states.shape[1]
    return torch.cat([states, states[:, -1:].expand(-1, missing, -1)], dim=1) if missing else states


def _remembered(cache: OrderedDict[Any, _Value], key: object, make: Callable[[], _Value]) -> _Value:
    if key not in cache:
        cache[key] = make()
        if len(cache) > _CACHE_ENTRIES:
            cache.popitem(last=False)
    cache.move_to_end(key)
    return cache[key]
