"""Captions of scenes: tags of exactly what is visible, in the many ways people write them."""

from __future__ import annotations

import random
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Protocol

from scripts.demo_models import vocabulary as words
from scripts.demo_models.scenes import Scene

GRADED = ("blush", "necklace", *words.LIGHT_WORDS, *words.WEATHER_WORDS)
DROP_CHANCE = 0.12
WEIGHTED_CHANCE = 0.15


@dataclass(frozen=True, kw_only=True)
class Tag:
    """One tag of a caption.

    Args:
        text: the words as written.
        attribute: what it tells about ("robe", "blush" ...); empty for quality and neutral words.
        value: the told value, "yes" for things that are there or not.
        weight: emphasis, as in (text:1.3).
    """

    text: str
    attribute: str = ""
    value: str = "yes"
    weight: float = 1.0


class _Teller(Protocol):
    """Words an attribute's value: (attribute, value, wordings) -> tags."""

    def __call__(self, attribute: str, value: str, options: Sequence[str]) -> list[Tag]: ...


def facts_of(scene: Scene) -> dict[str, str]:
    """Every visible attribute and its value; things that are there or not are "yes" or "no"."""
    facts = {"subject": scene.subject, "background": scene.background, "weather": scene.weather}
    facts |= {light: "yes" if light in scene.lights else "no" for light in words.LIGHT_WORDS}
    if not scene.has_person:
        return facts | {"scenery object": scene.scenery_object}
    facts |= {
        "robe": scene.robe,
        "hair": scene.hair,
        "hair style": scene.hair_style,
        "framing": scene.framing,
        "held": scene.held,
        "ornament": scene.ornament,
        "mouth": scene.mouth,
        "closed eyes": _yes(scene.closed_eyes),
        "star pupils": _yes(scene.star_pupils),
        "blush": _yes(scene.blush),
        "necklace": _yes(scene.necklace),
    }
    return facts if scene.closed_eyes else facts | {"eyes": scene.eyes}


def _yes(value: bool) -> str:
    return "yes" if value else "no"


def content_tags(scene: Scene, rng: random.Random) -> list[Tag]:
    """One tag (sometimes two) for everything the picture shows; `rng` picks the wording."""

    def told(attribute: str, value: str, options: Sequence[str]) -> list[Tag]:
        return [Tag(text=text, attribute=attribute, value=value) for text in rng.choice(options).split(", ")]

    tags = told("subject", scene.subject, words.SUBJECT_WORDS[scene.subject])
    tags += told("background", scene.background, words.BACKGROUND_WORDS[scene.background])
    if scene.background == "night" and rng.random() < 0.5:
        tags += told("background", "night", ("moon", "night sky"))
    for light in scene.lights:
        tags += told(light, "yes", words.LIGHT_WORDS[light])
    if scene.weather != "none":
        tags += told("weather", scene.weather, words.WEATHER_WORDS[scene.weather])
    if not scene.has_person:
        if scene.scenery_object != "none":
            tags += told("scenery object", scene.scenery_object, words.SCENERY_WORDS[scene.scenery_object])
        return tags
    tags += told("hair style", scene.hair_style, words.HAIR_STYLE_WORDS[scene.hair_style])
    tags += told("framing", scene.framing, words.FRAMING_WORDS[scene.framing])
    tags += told("mouth", scene.mouth, words.MOUTH_WORDS[scene.mouth])
    tags += [Tag(text=f"{scene.hair} hair", attribute="hair", value=scene.hair)]
    return tags + _robe_tags(scene, rng) + _face_tags(scene, told) + _worn_tags(scene, rng, told)


def _robe_tags(scene: Scene, rng: random.Random) -> list[Tag]:
    color = Tag(text=f"{scene.robe} hanfu", attribute="robe", value=scene.robe)
    robe = Tag(text=f"{scene.robe} robe", attribute="robe", value=scene.robe)
    plain = Tag(text=rng.choice(("china hanfu", "china hanfu", "hanfu")))
    return rng.choices(([color], [color, plain], [robe, plain], [plain]), [0.5, 0.22, 0.13, 0.15])[0]


def _face_tags(scene: Scene, told: _Teller) -> list[Tag]:
    if scene.closed_eyes:
        tags = told("closed eyes", "yes", ("closed eyes",))
    else:
        tags = told("eyes", scene.eyes, (f"{scene.eyes} eyes",))
    if scene.star_pupils:
        tags += told("star pupils", "yes", words.STAR_WORDS)
    if scene.blush:
        tags += told("blush", "yes", words.BLUSH_WORDS)
    return tags


def _worn_tags(scene: Scene, rng: random.Random, told: _Teller) -> list[Tag]:
    tags: list[Tag] = []
    if scene.ornament != "none":
        tags += told("ornament", scene.ornament, words.ORNAMENT_WORDS[scene.ornament])
        if rng.random() < 0.6:
            tags += [Tag(text="hair ornament", attribute="any ornament")]
    if scene.necklace:
        tags += told("necklace", "yes", words.NECKLACE_WORDS)
    if scene.held != "none":
        tags += told("held", scene.held, words.HELD_WORDS[scene.held])
    return tags


def caption_of(scene: Scene, rng: random.Random) -> list[Tag]:
    """A training caption: some tags dropped, shuffled, with quality and neutral words and sometimes weights."""
    kept = [tag for tag in content_tags(scene, rng) if rng.random() >= DROP_CHANCE]
    kept += [Tag(text=rng.choice(words.NEUTRAL_WORDS)) for _ in range(rng.choice((0, 0, 1, 2)))]
    quality = _quality_tags(scene, rng)
    if rng.random() < WEIGHTED_CHANCE:
        kept = [_weighted(tag, scene, rng) for tag in kept]
        quality = [_weighted(tag, scene, rng) for tag in quality]
    if rng.random() < 0.75:
        rng.shuffle(kept)
    if rng.random() < 0.4:
        mixed = kept + quality
        rng.shuffle(mixed)
        return mixed
    return quality + kept if rng.random() < 0.7 else kept + quality


def _weighted(tag: Tag, scene: Scene, rng: random.Random) -> Tag:
    name = tag.value if tag.attribute == "weather" else tag.attribute
    if name in GRADED:
        weight = scene.strength(name)
    elif tag.attribute or rng.random() > 0.2:
        return tag
    else:
        weight = rng.uniform(0.7, 1.4)
    return Tag(text=tag.text, attribute=tag.attribute, value=tag.value, weight=round(weight, 2))


def _quality_tags(scene: Scene, rng: random.Random) -> list[Tag]:
    if scene.defect == "none":
        many = rng.random() < 0.25
        count = rng.randint(9, 22) if many else rng.choice((0, 1, 2, 3, 3, 4, 5))
        texts = rng.sample(words.GOOD_WORDS, count)
    else:
        texts = _bad_words(scene.defect, rng)
    return [Tag(text=text) for text in texts]


def _bad_words(defect: str, rng: random.Random) -> list[str]:
    own = words.DEFECT_WORDS[defect]
    texts = [rng.choice(own)]
    if defect == "deformed":
        texts += rng.sample(own, rng.randint(0, 5))
    if rng.random() < 0.5:
        texts += rng.sample(words.GENERAL_BAD_WORDS, rng.randint(1, 3))
    if rng.random() < 0.3:
        every = sorted({word for group in words.DEFECT_WORDS.values() for word in group})
        texts += rng.sample(every, rng.randint(6, 26))
    return list(dict.fromkeys(texts))
