"""How well pictures follow prompts: accuracy, chance, ceiling and skill of each prompted attribute."""

from __future__ import annotations

import random
from collections.abc import Sequence
from dataclasses import asdict, dataclass

import numpy as np
from numpy.typing import NDArray

from scripts.demo_models.captions import facts_of
from scripts.demo_models.classifier import PictureReader
from scripts.demo_models.preview import NEGATIVE, PictureOrder, PictureSource
from scripts.demo_models.scenes import Scene, sample_scene

LARGE_FACTS = ("subject", "robe", "hair", "background", "framing", "held")
WORDING: dict[str, str] = {"robe": "{} hanfu", "hair": "{} hair", "eyes": "{} eyes", "held": "holding {}"}
YES_WORDING = {"star pupils": "star-shaped pupils"}
REPORT_SEED = 700_000_000


@dataclass(frozen=True, kw_only=True)
class PromptCase:
    """A random prompt and the facts it asks for."""

    prompt: str
    wanted: dict[str, str]


@dataclass(frozen=True, kw_only=True)
class FactRow:
    """One line of the table; `n` is the number of prompts that asked for the attribute."""

    fact: str
    n: int
    accuracy: float
    chance: float
    ceiling: float

    @property
    def skill(self) -> float:
        """0 for chance, 1 for as good as renders that went through the VAE."""
        room = self.ceiling - self.chance
        return (self.accuracy - self.chance) / room if room > 0.02 else float("nan")

    def as_json(self) -> dict[str, object]:
        """The row with its skill."""
        return asdict(self) | {"skill": round(self.skill, 3)}


def random_case(number: int) -> PromptCase:
    """A prompt of 3 to 6 attributes taken from a random good scene."""
    rng = random.Random(f"{number}/case")
    told: dict[str, str] = {}
    seed = REPORT_SEED + number * 100
    while len(told) < 3:
        scene = sample_scene(seed)
        told = {fact: value for fact, value in facts_of(scene).items() if value not in ("no", "none")}
        seed += 1
    must = [fact for fact in ("subject",) if rng.random() < 0.7]
    others = [fact for fact in told if fact not in must]
    rng.shuffle(others)
    chosen = must + others[: rng.randint(3, 6) - len(must)]
    if "subject" not in chosen and told["subject"] == "no humans":
        chosen[-1] = "subject"
    parts = [wording(fact, told[fact]) for fact in chosen]
    rng.shuffle(parts)
    return PromptCase(
        prompt=", ".join(["best quality", "masterpiece", *parts]), wanted={fact: told[fact] for fact in chosen}
    )


def wording(fact: str, value: str) -> str:
    """The tag a person would write for a fact."""
    if value == "yes":
        return YES_WORDING.get(fact, fact)
    return WORDING.get(fact, "{}").format(value)


def measure_following(
    source: PictureSource, reader: PictureReader, cases: Sequence[PromptCase]
) -> tuple[list[NDArray[np.uint8]], list[dict[str, str]]]:
    """Pictures of all cases and the values read from them."""
    orders = [
        PictureOrder(prompt=case.prompt, negative=NEGATIVE, seed=1000 + index) for index, case in enumerate(cases)
    ]
    pictures = source.pictures(orders)
    return pictures, reader.values(pictures)


def table(
    cases: Sequence[PromptCase],
    read: Sequence[dict[str, str]],
    scenes: Sequence[Scene],
    read_from_renders: Sequence[dict[str, str]],
) -> list[FactRow]:
    """One row per attribute.

    Args:
        cases: the prompts.
        read: values read from the pictures of `cases`.
        scenes: what the renders show that give the ceiling.
        read_from_renders: values read from those renders after a pass through the VAE.
    """
    rows = []
    for fact in dict.fromkeys(fact for case in cases for fact in case.wanted):
        asked = [index for index, case in enumerate(cases) if fact in case.wanted]
        values = [cases[index].wanted[fact] for index in asked]
        hits = [read[index][fact] == value for index, value in zip(asked, values, strict=True)]
        others = [
            read[other][fact] == value
            for index, value in zip(asked, values, strict=True)
            for other in range(len(cases))
            if other != index
        ]
        rows.append(
            FactRow(
                fact=fact,
                n=len(asked),
                accuracy=_share(hits),
                chance=_share(others),
                ceiling=_ceiling(fact, scenes, read_from_renders),
            )
        )
    return sorted(rows, key=lambda row: (row.fact not in LARGE_FACTS, row.fact))


def _ceiling(fact: str, scenes: Sequence[Scene], read: Sequence[dict[str, str]]) -> float:
    """Accuracy on renders, over the values that a prompt would name."""
    pairs = [(facts_of(scene).get(fact), values[fact]) for scene, values in zip(scenes, read, strict=True)]
    return _share([told == seen for told, seen in pairs if told not in (None, "no", "none")])


def _share(hits: Sequence[bool]) -> float:
    return round(sum(hits) / len(hits), 3) if hits else float("nan")


def mean_skill(rows: Sequence[FactRow], large: bool) -> float:
    """Average skill of the large or of the small attributes."""
    skills = [row.skill for row in rows if (row.fact in LARGE_FACTS) == large and row.skill == row.skill]
    return round(float(np.mean(skills)), 3) if skills else float("nan")


def as_markdown(rows: Sequence[FactRow]) -> str:
    """The table for models/README.md."""
    lines = ["| attribute | n | accuracy | chance | ceiling | skill |", "|---|---|---|---|---|---|"]
    lines += [
        f"| {row.fact} | {row.n} | {row.accuracy:.2f} | {row.chance:.2f} | {row.ceiling:.2f} | {row.skill:.2f} |"
        for row in rows
    ]
    return "\n".join(lines)
