"""A Brownian motion whose path depends on its seed alone, not on where and in which order it is asked.

The virtual Brownian tree of Li et al. (2020), arXiv:2001.01328, section 4: the interval is halved until the wanted
point is reached, and the value at each midpoint comes from a Brownian bridge with a seed of its own. Seeds, rounding
and halving are those of torchsde's `BrownianTree` (Kidger et al. 2021, arXiv:2105.13493), so that equal seeds give the
noise of k-diffusion and A1111.
"""

from __future__ import annotations

from collections.abc import Callable
from math import sqrt

import numpy as np
import torch
from torch import Tensor

_DIGITS = 6
"""Points are rounded to a tolerance of 1e-6."""

_POOL_SIZE = 24
"""Words of entropy that NumPy's seed sequence mixes."""

SeededNormal = Callable[[int], Tensor]
"""Seed → standard normal tensor of a fixed shape."""


class BrownianTree:
    """Brownian motion on an interval of noise levels.

    Args:
        start: lower end.
        end: upper end, > start.
        seed: the path's seed, ≥ 0.
        normal: draws a tensor of standard normal numbers from a seed.
    """

    def __init__(self, start: float, end: float, *, seed: int, normal: SeededNormal) -> None:
        self._bounds = start, end
        self._seed = seed
        self._normal = normal
        first = int(np.random.SeedSequence(seed, pool_size=_POOL_SIZE).generate_state(1)[0])
        self._total = self._double(normal(first)) * sqrt(end - start)
        self._dtype = normal(first).dtype
        self._known: dict[float, Tensor] = {}
        self._halves: dict[tuple[int, int], Tensor] = {}

    def increment(self, sigma: float, sigma_next: float) -> Tensor:
        """W(sigma_next) − W(sigma), in the dtype of the normal numbers; points outside the interval are moved in."""
        before, after = self._at(sigma), self._at(sigma_next)
        self._known = {self._place(sigma_next): after}
        return (after - before).to(self._dtype)

    def noise(self, sigma: float, sigma_next: float) -> Tensor:
        """The increment scaled to unit variance: what an SDE sampler adds on its way from sigma to sigma_next."""
        return self.increment(sigma, sigma_next) / sqrt(abs(sigma_next - sigma))

    def _place(self, sigma: float) -> float:
        start, end = self._bounds
        return round(min(max(sigma, start), end), _DIGITS)

    def _at(self, sigma: float) -> Tensor:
        """W at a point, 0 at the start: walk down the halves, adding up what lies left of the point."""
        place = self._place(sigma)
        if place in self._known:
            return self._known[place]
        start, end = (round(bound, _DIGITS) for bound in self._bounds)
        reached, inside = torch.zeros_like(self._total), self._total
        index = depth = 0
        halves: dict[tuple[int, int], Tensor] = {}  # of this walk: the next one often starts the same way
        while start < place < end:
            middle = round(0.5 * (start + end), _DIGITS)
            node = index, depth
            known = self._halves.get(node)
            left = halves[node] = self._left_half(inside, (start, middle, end), node) if known is None else known
            is_left = place <= middle
            if not is_left:
                reached = reached + left
            inside, start, end = (left, start, middle) if is_left else (inside - left, middle, end)
            index, depth = 2 * index + (not is_left), depth + 1
        self._halves = halves
        return reached + inside if place >= end else reached

    def _left_half(self, inside: Tensor, points: tuple[float, float, float], node: tuple[int, int]) -> Tensor:
        """Brownian bridge: the increment up to the middle, given the increment over the whole."""
        start, middle, end = points
        sequence = np.random.SeedSequence(self._seed, spawn_key=node, pool_size=_POOL_SIZE)
        seed = int(sequence.generate_state(1)[0])
        left, right, whole = middle - start, end - middle, end - start
        fresh = self._double(self._normal(seed))
        return torch.add(inside * (left / whole), fresh, alpha=sqrt(left * right / whole))

    @staticmethod
    def _double(values: Tensor) -> Tensor:
        """float64, so that sums of many bridges round alike everywhere."""
        return values.to(torch.float64)
