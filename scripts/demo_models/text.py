"""The text encoder: encoding of weighted chunks, and stage "text", its warm-up on naming the caption's facts."""

from __future__ import annotations

import logging
import random
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import torch
import torch.nn.functional as functional
from torch import nn

from scripts.demo_models import scenes, vocabulary
from scripts.demo_models.architecture import END_TOKEN, VOCABULARY, DemoArchitecture, build_text_encoder
from scripts.demo_models.captions import Tag, caption_of
from scripts.demo_models.prompts import TagTokenizer, TokenChunks, load_tokenizer
from scripts.demo_models.scenes import sample_scene
from scripts.demo_models.training import Budget, TrainState, save_atomically, train

logger = logging.getLogger(__name__)
WARM_UP_BATCH = 48

FACT_VALUES: dict[str, tuple[str, ...]] = {
    "subject": scenes.SUBJECTS,
    "robe": tuple(scenes.ROBES),
    "hair": tuple(scenes.HAIR_COLORS),
    "background": scenes.BACKGROUNDS,
    "framing": scenes.FRAMINGS,
    "held": scenes.HELD_ITEMS,
    "hair style": scenes.HAIR_STYLES,
    "eyes": tuple(scenes.EYE_COLORS),
    "mouth": scenes.MOUTHS,
    "ornament": scenes.ORNAMENTS,
    "weather": scenes.WEATHERS,
    "closed eyes": ("no", "yes"),
    "star pupils": ("no", "yes"),
    "blush": ("no", "yes"),
    "necklace": ("no", "yes"),
    **dict.fromkeys(vocabulary.LIGHT_WORDS, ("no", "yes")),
    "scenery object": scenes.SCENERY_OBJECTS,
}


def encode_chunks(text_encoder: Any, ids: torch.Tensor, weights: torch.Tensor) -> torch.Tensor:
    """Hidden states of token chunks, weighted and concatenated.

    Args:
        text_encoder: the CLIP text model.
        ids: [B, chunks, 77] token ids.
        weights: [B, chunks, 77] emphasis; the mean of each chunk is kept, as AUTOMATIC1111 does.

    Returns:
        [B, chunks * 77, width].
    """
    batch, chunks, length = ids.shape
    states = text_encoder(input_ids=ids.reshape(-1, length)).last_hidden_state
    weighted = states * weights.reshape(-1, length, 1)
    means = states.mean((1, 2), keepdim=True), weighted.mean((1, 2), keepdim=True)
    changed = (weights.reshape(-1, length) != 1).any(1).view(-1, 1, 1)
    restored = torch.where(changed, weighted * (means[0] / means[1]), states)
    return restored.reshape(batch, chunks * length, -1)


def insert_unknown_words(chunk: TokenChunks, rng: random.Random) -> None:
    """Writes 1 to 3 random vocabulary entries over the padding, so that unknown words get ignored."""
    for row in range(chunk.ids.shape[0]):
        used = int((chunk.ids[row] != END_TOKEN).sum())
        free = chunk.ids.shape[1] - 1 - used
        for offset in range(min(free, rng.randint(1, 3))):
            chunk.ids[row, used + offset] = rng.randrange(VOCABULARY - 2)


def build_started_text_encoder(shape: DemoArchitecture, seed: int) -> Any:
    """A new text encoder whose output mean is not near zero, because emphasis divides by that mean."""
    torch.manual_seed(seed)
    encoder = build_text_encoder(shape)
    nn.init.constant_(final_norm(encoder).bias, 0.5)
    return encoder


def final_norm(encoder: Any) -> nn.LayerNorm:
    """The last layer norm, wherever this transformers version keeps it."""
    return next(module for name, module in encoder.named_modules() if name.endswith("final_layer_norm"))  # type: ignore[no-any-return]  # found by name


def warm_up_text(shape: DemoArchitecture, work_dir: Path, budget: Budget, seed: int, device: torch.device) -> None:
    """Teaches the encoder which facts a caption states; writes `text.pt`."""
    encoder = build_started_text_encoder(shape, seed).to(device)
    labels = [(fact, value) for fact, values in FACT_VALUES.items() for value in values]
    head = nn.Linear(shape.text_width, len(labels)).to(device)
    optimizer = torch.optim.AdamW([*encoder.parameters(), *head.parameters()], lr=2e-3, weight_decay=0.0, fused=True)
    state = TrainState(modules={"text": encoder, "head": head}, optimizer=optimizer, average_decay=0.99)
    tokenizer = TagTokenizer(load_tokenizer())

    def loss_of_step(step: int, _total: int) -> torch.Tensor:
        rng = random.Random(f"{seed}/text/{step}")
        captions = [caption_of(sample_scene(rng.randrange(1 << 31)), rng)[:22] for _ in range(WARM_UP_BATCH)]
        chunks = [tokenizer.chunks(caption) for caption in captions]
        ids = torch.stack([chunk.ids[0] for chunk in chunks]).to(device)
        states = encoder(input_ids=ids).last_hidden_state
        ends = (ids == END_TOKEN).int().argmax(1)
        logits = head(states[torch.arange(len(ids)), ends])
        targets = torch.stack([_stated(caption, labels) for caption in captions]).to(device)
        loss: torch.Tensor = functional.binary_cross_entropy_with_logits(logits, targets) * 10
        return loss

    def finish() -> None:
        save_atomically(state.averaged_weights("text"), work_dir / "text.pt")

    train(state, budget, work_dir / "text_state.pt", loss_of_step, on_save=finish)


def _stated(caption: Sequence[Tag], labels: list[tuple[str, str]]) -> torch.Tensor:
    stated = {(tag.attribute, tag.value) for tag in caption}
    return torch.tensor([float(label in stated) for label in labels])
