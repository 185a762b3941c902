"""Captions say exactly what is visible, and pack into chunks of 75 tokens."""

from __future__ import annotations

import pytest
import torch

from scripts.demo_models import vocabulary
from scripts.demo_models.captions import GRADED, caption_of, content_tags, facts_of
from scripts.demo_models.probes import LONG_NEGATIVE, LONG_PROMPT
from scripts.demo_models.prompts import TagTokenizer, load_tokenizer, parse_prompt
from scripts.demo_models.scenes import Scene, sample_scene


@pytest.fixture(scope="module")
def tokenizer() -> TagTokenizer:
    return TagTokenizer(load_tokenizer())


@pytest.mark.parametrize("seed", range(60))
def test_content_tags_state_every_visible_fact_and_nothing_else(seed: int) -> None:
    scene = sample_scene(seed)
    facts = facts_of(scene)
    tags = content_tags(scene, scene.rng("caption"))
    stated = {tag.attribute: tag.value for tag in tags if tag.attribute not in ("", "any ornament")}
    assert all(facts[fact] == value for fact, value in stated.items())
    visible = {fact for fact, value in facts.items() if value not in ("no", "none")}
    assert visible - set(stated) <= {"robe"}  # "china hanfu" may stand alone, without its colour


def test_bad_pictures_carry_their_own_bad_word() -> None:
    for defect, own in vocabulary.DEFECT_WORDS.items():
        texts = {tag.text for tag in caption_of(Scene(seed=1, defect=defect), Scene(seed=1).rng("caption"))}
        assert texts & set(own)


def test_good_pictures_carry_no_bad_word() -> None:
    bad = {word for group in vocabulary.DEFECT_WORDS.values() for word in group}
    for seed in range(80):
        scene = sample_scene(seed)
        if scene.defect == "none":
            assert not bad & {tag.text for tag in caption_of(scene, Scene(seed=seed).rng("caption"))}


def test_emphasis_follows_the_drawn_strength() -> None:
    scene = Scene(seed=9, blush=True)
    for seed in range(200):
        for tag in caption_of(scene, Scene(seed=seed).rng("caption")):
            if tag.attribute == "blush" and tag.weight != 1:
                assert tag.weight == round(scene.strength("blush"), 2)
    assert "blush" in GRADED


@pytest.mark.parametrize("prompt", [LONG_PROMPT, LONG_NEGATIVE])
def test_every_word_of_the_long_prompt_is_taught(prompt: str) -> None:
    taught = {*vocabulary.GOOD_WORDS, *vocabulary.GENERAL_BAD_WORDS, "china hanfu", "hair ornament"}
    taught |= {word for group in vocabulary.DEFECT_WORDS.values() for word in group}
    for table in (vocabulary.SUBJECT_WORDS, vocabulary.FRAMING_WORDS, vocabulary.BACKGROUND_WORDS):
        taught |= {word for group in table.values() for word in group}
    for table in (vocabulary.MOUTH_WORDS, vocabulary.LIGHT_WORDS):
        taught |= {word for group in table.values() for word in group}
    taught |= {*vocabulary.BLUSH_WORDS, *vocabulary.STAR_WORDS, *vocabulary.NECKLACE_WORDS}
    missing = {tag.text.lower() for tag in parse_prompt(prompt)} - taught
    assert not missing


def test_clip_tokens_are_the_published_ones(tokenizer: TagTokenizer) -> None:
    words = "a photo of an astronaut riding a horse"
    assert tokenizer.tokens(words) == [320, 1125, 539, 550, 18376, 6765, 320, 4558]


def test_long_prompts_become_chunks_of_77_with_weights(tokenizer: TagTokenizer) -> None:
    chunks = tokenizer.chunks(parse_prompt(LONG_PROMPT))
    assert chunks.ids.shape == (2, 77)
    assert (chunks.ids[:, 0] == 49406).all()
    assert (chunks.ids[:, -1] == 49407).all()
    assert chunks.weights.unique().tolist() == pytest.approx([0.8, 1.0, 1.2])


def test_an_empty_prompt_is_one_empty_chunk(tokenizer: TagTokenizer) -> None:
    ids = tokenizer.chunks([]).ids
    assert ids.shape == (1, 77)
    assert torch.equal(ids[0, 1:], torch.full((76,), 49407))
