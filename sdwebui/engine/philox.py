"""The normal numbers of a CUDA device, on any machine: Philox 4x32-10 in NumPy (RNG source "NV").

Counter-based generator of Salmon et al. (2011), "Parallel random numbers: as easy as 1, 2, 3", and the Box-Muller
transform of cuRAND. Equal to `torch.randn(shape, device="cuda")` up to the last bits for tensors of which each element
has a CUDA thread of its own; beyond that it follows A1111's "NV", which numbers elements on.
"""

from __future__ import annotations

from collections.abc import Sequence
from math import prod

import numpy as np
from numpy.typing import NDArray

_ROUNDS = 10
_MULTIPLIERS = (np.uint64(0xD2511F53), np.uint64(0xCD9E8D57))
_KEY_STEPS = (np.uint32(0x9E3779B9), np.uint32(0xBB67AE85))
_UNIFORM = 2.0**-32
_ANGLE = _UNIFORM * 2 * np.pi


class PhiloxStream:
    """Normal numbers from one seed, as a CUDA generator would give them call after call.

    Args:
        seed: any integer; taken modulo 2^64.
    """

    def __init__(self, seed: int) -> None:
        self._seed = seed % 2**64
        self._calls = 0

    def randn(self, shape: Sequence[int]) -> NDArray[np.float32]:
        """The next tensor of standard normal numbers."""
        count = prod(shape)
        counters = np.zeros((4, count), dtype=np.uint32)
        counters[0] = self._calls
        counters[2] = np.arange(count, dtype=np.uint32)
        self._calls += 1
        return _box_muller(*philox_4x32(counters, self._seed)[:2]).reshape(shape)


def philox_4x32(counters: NDArray[np.uint32], seed: int) -> NDArray[np.uint32]:
    """Ten rounds of Philox 4x32 on every column.

    Args:
        counters: uint32 [4, n].
        seed: the 64-bit key; its low half is the first key word.

    Returns:
        uint32 [4, n], uniform.
    """
    c0, c1, c2, c3 = counters
    key = np.array([seed & 0xFFFFFFFF, seed >> 32], dtype=np.uint32)
    steps = np.array(_KEY_STEPS, dtype=np.uint32)
    for _ in range(_ROUNDS):
        first, second = c0 * _MULTIPLIERS[0], c2 * _MULTIPLIERS[1]
        c0, c1, c2, c3 = _high(second) ^ c1 ^ key[0], _low(second), _high(first) ^ c3 ^ key[1], _low(first)
        key = key + steps
    return np.stack([c0, c1, c2, c3])


def _high(product: NDArray[np.uint64]) -> NDArray[np.uint32]:
    return (product >> np.uint64(32)).astype(np.uint32)


def _low(product: NDArray[np.uint64]) -> NDArray[np.uint32]:
    return product.astype(np.uint32)


def _box_muller(first: NDArray[np.uint32], second: NDArray[np.uint32]) -> NDArray[np.float32]:
    """First normal number of each pair of uniform ones: cuRAND's formula, in float64 until the end, as A1111 does."""
    radius = np.sqrt(-2.0 * np.log(first * _UNIFORM + _UNIFORM / 2))
    angle = second * _ANGLE + _ANGLE / 2
    return np.asarray(radius * np.sin(angle), dtype=np.float32)
