"""What a demo picture shows. To add an attribute value: add it to its table here and draw it in a `render_*` module."""

from __future__ import annotations

import random
from dataclasses import dataclass

Color = tuple[float, float, float]

ROBES: dict[str, Color] = {
    "red": (204, 30, 44),
    "blue": (42, 86, 200),
    "green": (36, 146, 84),
    "white": (238, 238, 244),
    "black": (42, 40, 50),
    "purple": (128, 58, 176),
    "pink": (246, 142, 176),
    "yellow": (246, 200, 54),
}
HAIR_COLORS: dict[str, Color] = {
    "black": (38, 32, 44),
    "brown": (128, 74, 42),
    "white": (230, 230, 240),
    "blue": (66, 108, 200),
}
EYE_COLORS: dict[str, Color] = {
    "brown": (134, 78, 36),
    "blue": (44, 120, 236),
    "red": (220, 36, 50),
    "green": (34, 168, 84),
}
SUBJECTS = ("1girl", "1boy", "no humans")
HAIR_STYLES = ("long hair", "double bun", "single hair bun", "ponytail", "short hair")
FRAMINGS = ("portrait", "upper body", "full body")
BACKGROUNDS = (
    "dark studio",
    "night",
    "bamboo",
    "mountains",
    "lotus pond",
    "plum blossoms",
    "palace",
    "simple background",
)
HELD_ITEMS = ("none", "fan", "lantern", "umbrella")
ORNAMENTS = ("none", "hair flower", "hairpin")
MOUTHS = ("smile", "open mouth", "closed mouth")
LIGHTS = ("tyndall effect", "rim lighting", "two tone lighting", "bokeh")
WEATHERS = ("none", "falling petals", "snow")
SCENERY_OBJECTS = ("none", "pagoda", "boat", "crane", "lanterns")
DEFECTS = (
    "none",
    "blurry",
    "lowres",
    "worst quality",
    "monochrome",
    "jpeg artifacts",
    "watermark",
    "signature",
    "deformed",
    "cropped",
)
NATIVE_SIZE_PX = 256


@dataclass(frozen=True, kw_only=True)
class Scene:
    """One picture's attributes. Everything that is drawn but not named here comes from `rng`.

    Args:
        seed: decides the unnamed variety (placement, palette, pose, pattern).
        subject: a value of SUBJECTS; person attributes mean nothing for "no humans".
        defect: a value of DEFECTS; "none" for a good picture.
    """

    seed: int
    subject: str = "1girl"
    robe: str = "red"
    hair: str = "black"
    eyes: str = "brown"
    hair_style: str = "long hair"
    framing: str = "upper body"
    background: str = "simple background"
    held: str = "none"
    ornament: str = "none"
    mouth: str = "smile"
    closed_eyes: bool = False
    star_pupils: bool = False
    blush: bool = False
    necklace: bool = False
    lights: tuple[str, ...] = ()
    weather: str = "none"
    scenery_object: str = "none"
    defect: str = "none"

    @property
    def has_person(self) -> bool:
        """True when a girl or a boy is drawn."""
        return self.subject != "no humans"

    def rng(self, part: str) -> random.Random:
        """The random stream of one drawn part; parts do not disturb each other."""
        return random.Random(f"{self.seed}/{part}")

    def strength(self, attribute: str) -> float:
        """How strongly a graded attribute (blush, lights, weather ...) is drawn, 0.6 to 1.4."""
        return self.rng(f"strength/{attribute}").uniform(0.6, 1.4)


def sample_scene(seed: int) -> Scene:
    """Draws a random scene; the same seed always gives the same scene."""
    rng = random.Random(f"{seed}/scene")
    subject = rng.choices(SUBJECTS, [0.62, 0.25, 0.13])[0]
    defect = rng.choice(DEFECTS[1:]) if rng.random() < 0.17 else "none"
    background = rng.choice(BACKGROUNDS)
    lights = tuple(light for light in LIGHTS if rng.random() < 0.28)
    weather = rng.choices(WEATHERS, [0.70, 0.15, 0.15])[0]
    if subject == "no humans":
        return _scenery(rng, seed, background, lights, weather, defect)
    closed_eyes = rng.random() < 0.09
    boy = subject == "1boy"
    return Scene(
        seed=seed,
        subject=subject,
        robe=rng.choice(tuple(ROBES)),
        hair=rng.choices(tuple(HAIR_COLORS), [0.40, 0.20, 0.20, 0.20])[0],
        eyes=rng.choice(tuple(EYE_COLORS)),
        hair_style=rng.choices(HAIR_STYLES, [0.2, 0.0, 0.3, 0.2, 0.3] if boy else [0.27, 0.21, 0.18, 0.19, 0.15])[0],
        framing=rng.choices(FRAMINGS, [0.30, 0.45, 0.25])[0],
        background=background,
        held=rng.choices(HELD_ITEMS, [0.46, 0.18, 0.18, 0.18])[0],
        ornament=rng.choices(ORNAMENTS, [0.55, 0.0, 0.45] if boy else [0.36, 0.36, 0.28])[0],
        mouth=rng.choices(MOUTHS, [0.45, 0.27, 0.28])[0],
        closed_eyes=closed_eyes,
        star_pupils=not closed_eyes and rng.random() < 0.42,
        blush=rng.random() < 0.47,
        necklace=rng.random() < 0.47,
        lights=lights,
        weather=weather,
        defect=defect,
    )


def _scenery(
    rng: random.Random, seed: int, background: str, lights: tuple[str, ...], weather: str, defect: str
) -> Scene:
    empty_background = background in ("dark studio", "simple background")
    shown = SCENERY_OBJECTS[1:] if empty_background else SCENERY_OBJECTS
    return Scene(
        seed=seed,
        subject="no humans",
        framing="scenery",
        background=background,
        scenery_object=rng.choice(shown),
        lights=tuple(light for light in lights if light != "rim lighting"),
        weather=weather,
        defect="none" if defect == "cropped" else defect,
        mouth="none",
        hair_style="none",
    )
