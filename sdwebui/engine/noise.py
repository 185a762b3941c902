"""Where a picture's noise comes from: one seeded stream per picture, by A1111's rules. Start at `ImageNoise`.

A batch equals its single pictures because no two pictures share a stream. To add a random number source: a row in
`NOISE_SOURCES`.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Protocol

import torch
from torch import Tensor

from sdwebui.engine.brownian import BrownianTree
from sdwebui.engine.philox import PhiloxStream
from sdwebui.engine.sampler_calls import NoiseBetween

_NEARLY_PARALLEL = 0.9995


class NormalStream(Protocol):
    """Standard normal tensors from one seed, call after call."""

    def randn(self, shape: Sequence[int]) -> Tensor:
        """The next tensor, float32."""


class TorchStream:
    """A torch generator on one device.

    Args:
        seed: any integer; taken modulo 2^64.
        device: where the generator lives; numbers differ between "cpu" and "cuda".
    """

    def __init__(self, seed: int, device: str) -> None:
        self._generator = torch.Generator(device).manual_seed(seed % 2**64)

    def randn(self, shape: Sequence[int]) -> Tensor:
        """The next tensor, float32, on the generator's device."""
        return torch.randn(tuple(shape), generator=self._generator, device=self._generator.device, dtype=torch.float32)


class CudaLikeStream:
    """The numbers of a CUDA generator, on the CPU.

    Args:
        seed: any integer; taken modulo 2^64.
    """

    def __init__(self, seed: int) -> None:
        self._philox = PhiloxStream(seed)

    def randn(self, shape: Sequence[int]) -> Tensor:
        """The next tensor, float32, on the CPU."""
        return torch.from_numpy(self._philox.randn(shape))


NOISE_SOURCES: Mapping[str, Callable[[int, str], NormalStream]] = {
    "CPU": lambda seed, _device: TorchStream(seed, "cpu"),
    "NV": lambda seed, _device: CudaLikeStream(seed),
    "GPU": TorchStream,
}
"""A1111's "Random number generator source" by name: (seed, device) → stream. CPU and NV give a seed the same picture
on every machine; GPU only on the same kind of device."""


@dataclass(frozen=True, kw_only=True)
class NoiseOptions:
    """What a picture's noise depends on beside its seed.

    Attributes:
        source: "CPU", "NV" or "GPU".
        ensd: "eta noise seed delta": added to the seed for all noise after the first; 0 for none.
        subseed: seed of the variation.
        subseed_strength: 0 … 1, how far the first noise goes towards the variation's.
        resize_from: latent height and width whose noise is pasted into the middle ("seed resize"); None for none.
    """

    source: str = "CPU"
    ensd: int = 0
    subseed: int = 0
    subseed_strength: float = 0.0
    resize_from: tuple[int, int] | None = None


class ImageNoise:
    """All noise of one picture.

    Args:
        seed: the picture's own seed, ≥ 0.
        shape: latent channels, height, width.
        device: where the noise is needed.
        options: source, variation and the like; None for plain CPU noise.
    """

    def __init__(
        self, seed: int, shape: tuple[int, int, int], *, device: str = "cpu", options: NoiseOptions | None = None
    ) -> None:
        self._seed = seed
        self._shape = shape
        self._device = device
        self._options = options or NoiseOptions()
        self._stream = self._new_stream(seed)

    def initial(self) -> Tensor:
        """The first noise [1, C, h, w], float32, unit variance: with variation and seed resize. Call it once, first."""
        noise = self._first_noise()
        if self._options.ensd:
            self._stream = self._new_stream(self._seed + self._options.ensd)
        return self._placed(noise)

    def extra(self) -> Tensor:
        """The next noise [1, C, h, w] from the same stream."""
        return self._placed(self._stream.randn(self._shape))

    def between(self, _sigma: float, _sigma_next: float) -> Tensor:
        """`extra` in the form that samplers take (`sampler_calls.NoiseBetween`)."""
        return self.extra()

    def brownian(self, sigma_min: float, sigma_max: float) -> NoiseBetween:
        """Noise as increments of one Brownian motion over noise levels, seeded with the picture's own seed.

        Args:
            sigma_min: lowest level above 0 of the whole schedule.
            sigma_max: highest level of the whole schedule.
        """

        def normal(seed: int) -> Tensor:
            return self._new_stream(seed).randn(self._shape)

        # One level alone (a single step to 0) has no interval; nothing is asked of the tree then.
        end = sigma_max if sigma_max > sigma_min else sigma_min + 1.0
        tree = BrownianTree(sigma_min, end, seed=self._seed, normal=normal)
        return lambda sigma, sigma_next: self._placed(tree.noise(sigma, sigma_next))

    def _first_noise(self) -> Tensor:
        options = self._options
        resized = options.resize_from is not None and (self._shape[0], *options.resize_from) != self._shape
        shape = (self._shape[0], *options.resize_from) if options.resize_from and resized else self._shape
        # A resized seed draws its own small noise first; the picture's stream then fills what that leaves free.
        stream = self._new_stream(self._seed) if resized else self._stream
        noise = stream.randn(shape)
        if options.subseed_strength:
            noise = slerp(options.subseed_strength, noise, self._new_stream(options.subseed).randn(shape))
        return _pasted_in_the_middle(noise, self._stream.randn(self._shape)) if resized else noise

    def _new_stream(self, seed: int) -> NormalStream:
        return NOISE_SOURCES[self._options.source](seed, self._device)

    def _placed(self, noise: Tensor) -> Tensor:
        return noise.unsqueeze(0).to(self._device)


def slerp(share: float, start: Tensor, end: Tensor) -> Tensor:
    """Spherical interpolation as A1111 does it: along the rows' axis of [C, h, w], one angle per channel and column.

    Shoemake (1985), "Animating rotation with quaternion curves". Nearly parallel noises are mixed linearly, and, as in
    A1111, with the shares exchanged.

    Args:
        share: 0 … 1, how far to go from start to end.
        start: noise [C, h, w].
        end: noise of the same shape.
    """
    cosine = torch.nn.functional.cosine_similarity(start, end, dim=1, eps=0.0).unsqueeze(1)
    if float(cosine.mean()) > _NEARLY_PARALLEL:
        return start * share + end * (1 - share)
    angle = torch.acos(cosine)
    return (torch.sin((1 - share) * angle) * start + torch.sin(share * angle) * end) / torch.sin(angle)


def _pasted_in_the_middle(small: Tensor, fresh: Tensor) -> Tensor:
    """Fresh noise with the centre of `small` in its centre; whichever is larger is cropped, axis by axis."""
    rows, columns = (_overlap(old, new) for old, new in zip(small.shape[1:], fresh.shape[1:], strict=True))
    pasted = fresh.clone()
    pasted[:, rows[1], columns[1]] = small[:, rows[0], columns[0]]
    return pasted


def _overlap(old: int, new: int) -> tuple[slice, slice]:
    """Slices of the old and the new axis that lie over each other; A1111 rounds the offset down, also below 0."""
    offset = (new - old) // 2
    length = old if offset >= 0 else old + 2 * offset
    return slice(max(-offset, 0), max(-offset, 0) + length), slice(max(offset, 0), max(offset, 0) + length)
