"""Questions about single abilities: the long prompt, colours by pixels, emphasis, negative prompts, variety."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from scripts.demo_models.classifier import PictureReader
from scripts.demo_models.preview import NEGATIVE, PictureOrder, PictureSource

LONG_PROMPT = (
    "best quality, masterpiece, highres, 1girl,blush,(seductive smile:0.8),star-shaped pupils,china hanfu,"
    "hair ornament,necklace, jewelry,Beautiful face,upon_body, tyndall effect,photorealistic, dark studio, "
    "rim lighting, two tone lighting,(high detailed skin:1.2), 8k uhd, dslr, soft lighting, high quality, "
    "volumetric lighting, candid, Photograph, high resolution, 4k, 8k, Bokeh"
)
LONG_NEGATIVE = (
    "NSFW, lowres, bad anatomy, bad hands, text, error, missing fingers, extra digit, fewer digits, cropped, "
    "worst quality, low quality, normal quality, jpeg artifacts, signature, watermark, username, blurry, bad feet,"
    "ugly,duplicate,mutilated,morbid,extra fingers,fused fingers,too many fingers,long neck,mutation,"
    "poorly drawn face,poorly drawn hands,mutated hands,deformed,blurry,bad anatomy,bad proportions,disfigured,"
    "cloned face,extra limbs,malformed limbs,gross proportions,missing arms,missing legs,extra arms,extra legs,"
)
LONG_PROMPT_FACTS: dict[str, tuple[str, tuple[str, ...]]] = {
    "1girl": ("subject", ("1girl",)),
    "hanfu": ("subject", ("1girl", "1boy")),
    "upper body": ("framing", ("upper body",)),
    "dark studio": ("background", ("dark studio",)),
    "hair ornament": ("ornament", ("hair flower", "hairpin")),
    "necklace": ("necklace", ("yes",)),
    "blush": ("blush", ("yes",)),
    "smile": ("mouth", ("smile",)),
    "star-shaped pupils": ("star pupils", ("yes",)),
    "tyndall effect": ("tyndall effect", ("yes",)),
    "rim lighting": ("rim lighting", ("yes",)),
    "two tone lighting": ("two tone lighting", ("yes",)),
    "bokeh": ("bokeh", ("yes",)),
}
BASE_PROMPT = "best quality, 1girl, green hanfu, upper body, simple background, black hair"


@dataclass(frozen=True, kw_only=True)
class ShiftProbe:
    """A paired comparison of one fact's "yes" logit over many seeds.

    Args:
        shift: mean change, in logits.
        p: one-sided p of a paired t-test (normal tail) in the wanted direction.
    """

    name: str
    seeds: int
    shift: float
    p: float


def long_prompt_counts(
    source: PictureSource, reader: PictureReader, seeds: int
) -> tuple[list[NDArray[np.uint8]], list[int], dict[str, int]]:
    """Pictures of the long prompt, how many of its 13 attributes each shows, and how often each is shown."""
    orders = [PictureOrder(prompt=LONG_PROMPT, negative=LONG_NEGATIVE, seed=seed) for seed in range(seeds)]
    pictures = source.pictures(orders)
    read = reader.values(pictures)
    shown = [
        {name: values[fact] in accepted for name, (fact, accepted) in LONG_PROMPT_FACTS.items()} for values in read
    ]
    per_fact = {name: sum(row[name] for row in shown) for name in LONG_PROMPT_FACTS}
    return pictures, [sum(row.values()) for row in shown], per_fact


def red_against_blue(source: PictureSource, seeds: int) -> float:
    """Share of seeds in which the red robe's picture is redder (red minus blue) than the blue robe's."""
    prompt = "best quality, 1girl, {} hanfu, upper body, simple background"
    tints = {
        color: [
            _redness(picture)
            for picture in source.pictures(
                [PictureOrder(prompt=prompt.format(color), negative=NEGATIVE, seed=seed) for seed in range(seeds)]
            )
        ]
        for color in ("red", "blue")
    }
    return float(np.mean([red > blue + 10 for red, blue in zip(tints["red"], tints["blue"], strict=True)]))


def _redness(picture: NDArray[np.uint8]) -> float:
    """Mean red minus blue of the lower middle, where the robe is (0 to 255)."""
    part = picture[picture.shape[0] * 5 // 8 :, picture.shape[1] // 4 : picture.shape[1] * 3 // 4].astype(float)
    return float(part[..., 0].mean() - part[..., 2].mean())


def emphasis_and_negative(
    source: PictureSource, reader: PictureReader, tag: str, fact: str, seeds: int
) -> list[ShiftProbe]:
    """Does (tag:1.4) raise the fact against the plain tag, and does the tag as negative prompt lower it?"""
    plain = _yes_logits(source, reader, f"{BASE_PROMPT}, {tag}", NEGATIVE, fact, seeds)
    strong = _yes_logits(source, reader, f"{BASE_PROMPT}, ({tag}:1.4)", NEGATIVE, fact, seeds)
    avoided = _yes_logits(source, reader, f"{BASE_PROMPT}, {tag}", f"{NEGATIVE}, {tag}", fact, seeds)
    return [
        paired_shift(f"({tag}:1.4)", strong - plain),
        paired_shift(f"negative {tag}", plain - avoided),
    ]


def _yes_logits(
    source: PictureSource, reader: PictureReader, prompt: str, negative: str, fact: str, seeds: int
) -> NDArray[np.float64]:
    orders = [PictureOrder(prompt=prompt, negative=negative, seed=5000 + seed) for seed in range(seeds)]
    logits = reader.logits(source.pictures(orders))[fact]
    return (logits[:, 1] - logits[:, 0]).double().numpy()


def paired_shift(name: str, differences: NDArray[np.float64]) -> ShiftProbe:
    """Mean and one-sided p of differences that should be positive."""
    spread = float(differences.std(ddof=1)) / math.sqrt(len(differences))
    t = float(differences.mean()) / max(spread, 1e-12)
    p = 0.5 * math.erfc(t / math.sqrt(2))
    return ShiftProbe(name=name, seeds=len(differences), shift=round(float(differences.mean()), 3), p=p)


def pairwise_difference(pictures: Sequence[NDArray[np.uint8]]) -> float:
    """Mean absolute difference between pictures of one prompt (0 to 255), coarse: after averaging 16x16 pixels."""
    coarse = [p.reshape(p.shape[0] // 16, 16, p.shape[1] // 16, 16, 3).astype(float).mean((1, 3)) for p in pictures]
    gaps = [np.abs(a - b).mean() for i, a in enumerate(coarse) for b in coarse[i + 1 :]]
    return round(float(np.mean(gaps)), 2)
