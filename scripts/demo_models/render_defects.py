"""Faults of bad pictures, so that the words of a negative prompt mean something."""

from __future__ import annotations

import random
from collections.abc import Callable

import cv2
import numpy as np
from numpy.typing import NDArray

Pixels = NDArray[np.uint8]


def spoil(pixels: Pixels, defect: str, rng: random.Random) -> Pixels:
    """The picture with the named fault; faults that are drawn (text, cropping) return it unchanged.

    Args:
        pixels: RGB bytes [height, width, 3].
        defect: a value of DEFECTS.
        rng: decides how strong the fault is and where.
    """
    spoiler = SPOILERS.get(defect)
    return pixels if spoiler is None else spoiler(pixels, rng)


def _blurry(pixels: Pixels, rng: random.Random) -> Pixels:
    return np.asarray(cv2.GaussianBlur(pixels, (0, 0), rng.uniform(3.5, 6)), dtype=np.uint8)


def _lowres(pixels: Pixels, rng: random.Random) -> Pixels:
    height, width = pixels.shape[:2]
    coarse = cv2.resize(pixels, (rng.choice([32, 42]),) * 2, interpolation=cv2.INTER_AREA)
    return np.asarray(cv2.resize(coarse, (width, height), interpolation=cv2.INTER_NEAREST), dtype=np.uint8)


def _worst(pixels: Pixels, rng: random.Random) -> Pixels:
    height, width = pixels.shape[:2]
    values = pixels.astype(np.float32)
    gray = values.mean(2, keepdims=True)
    faded = (gray + (values - gray) * 0.45 - 128) * 0.55 + 128
    noise = np.random.default_rng(rng.randrange(1 << 30)).normal(0, 32, (64, 64)).astype(np.float32)
    grain = cv2.resize(noise, (width, height), interpolation=cv2.INTER_NEAREST)
    return np.asarray(np.clip(faded + grain[..., None], 0, 255), dtype=np.uint8)


def _monochrome(pixels: Pixels, _rng: random.Random) -> Pixels:
    gray = (pixels @ np.array([0.3, 0.59, 0.11])).astype(np.uint8)
    return np.asarray(np.repeat(gray[..., None], 3, axis=2), dtype=np.uint8)


def _jpeg(pixels: Pixels, rng: random.Random) -> Pixels:
    coarse = cv2.resize(pixels, (128, 128), interpolation=cv2.INTER_AREA)
    _, packed = cv2.imencode(".jpg", coarse, [cv2.IMWRITE_JPEG_QUALITY, rng.randint(3, 8)])
    decoded = np.asarray(cv2.imdecode(packed, cv2.IMREAD_COLOR), dtype=np.uint8)
    return np.asarray(cv2.resize(decoded, pixels.shape[1::-1], interpolation=cv2.INTER_NEAREST), dtype=np.uint8)


def _deformed(pixels: Pixels, rng: random.Random) -> Pixels:
    height, width = pixels.shape[:2]
    rows, columns = np.mgrid[0:height, 0:width].astype(np.float32)
    reach, period = rng.uniform(12, 20), rng.uniform(60, 100)
    phase = rng.uniform(0, 6.28)
    map_x = columns + reach * np.sin(rows * 6.28 / period + phase)
    map_y = rows + reach * np.sin(columns * 6.28 / period + phase)
    warped = cv2.remap(pixels, map_x, map_y, cv2.INTER_LINEAR, borderMode=cv2.BORDER_REFLECT)
    return np.asarray(warped, dtype=np.uint8)


SPOILERS: dict[str, Callable[[Pixels, random.Random], Pixels]] = {
    "blurry": _blurry,
    "lowres": _lowres,
    "worst quality": _worst,
    "monochrome": _monochrome,
    "jpeg artifacts": _jpeg,
    "deformed": _deformed,
}
