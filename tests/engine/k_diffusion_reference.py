"""k-diffusion's sampling module as a numeric reference, and a toy model whose exact denoiser is known.

The package's own `__init__` imports training code with further dependencies, so only `sampling` and the `utils` that it
needs are loaded, under a name of their own that does not stay in `sys.modules`.
"""

from __future__ import annotations

import importlib
import sys
from collections.abc import Callable, Generator, Iterator
from contextlib import contextmanager
from importlib.machinery import ModuleSpec
from importlib.util import find_spec, module_from_spec
from typing import Any

import torch
from torch import Tensor

from sdwebui.engine.sampler_calls import DenoiseAt

SHAPE = (1, 4, 8, 8)
_PACKAGE = "k_diffusion_reference_package"


@contextmanager
def _bare_package() -> Iterator[None]:
    found = find_spec("k_diffusion")
    assert found is not None and found.submodule_search_locations is not None
    spec = ModuleSpec(_PACKAGE, None, is_package=True)
    spec.submodule_search_locations = list(found.submodule_search_locations)
    sys.modules[_PACKAGE] = module_from_spec(spec)
    try:
        yield
    finally:
        for name in [name for name in sys.modules if name.split(".")[0] == _PACKAGE]:
            del sys.modules[name]


def load_k_diffusion(module: str = "sampling") -> Any:
    """The module `k_diffusion.sampling`, or "external" with its schedule of training steps."""
    with _bare_package():
        return importlib.import_module(f"{_PACKAGE}.{module}")


class GaussianMixture:
    """Exact denoiser E[x0 | x] for data that is a mixture of five Gaussians in latent space; float64."""

    def __init__(self, seed: int = 0, spread: float = 0.3) -> None:
        generator = torch.Generator().manual_seed(seed)
        self.means = torch.randn((5, *SHAPE[1:]), generator=generator, dtype=torch.float64)
        self.log_weights = torch.tensor([0.1, 0.3, 0.2, 0.25, 0.15], dtype=torch.float64).log()
        self.spread = spread

    def __call__(self, x: Tensor, sigma: float) -> Tensor:
        variance = self.spread**2 + sigma**2
        distances = ((x - self.means) ** 2).flatten(1).sum(1)
        shares = torch.softmax(self.log_weights - distances / (2 * variance), dim=0)
        means = (self.means * shares[:, None, None, None]).sum(0, keepdim=True)
        return means + (x - means) * (self.spread**2 / variance)


class Recorder:
    """Wraps a denoiser for k-diffusion and for our generators and remembers every call (x, sigma)."""

    def __init__(self, denoiser: Callable[[Tensor, float], Tensor]) -> None:
        self.denoiser = denoiser
        self.calls: list[tuple[Tensor, float]] = []

    def __call__(self, x: Tensor, sigma: Tensor | float, **_ignored: Any) -> Tensor:
        level = float(sigma if isinstance(sigma, float) else sigma.flatten()[0])
        self.calls.append((x, level))
        return self.denoiser(x, level)


class ListedNoise:
    """The same noises for both sides, in the order in which they are asked for."""

    def __init__(self, seed: int = 1) -> None:
        self._generator = torch.Generator().manual_seed(seed)
        self.asked: list[tuple[float, float]] = []

    def __call__(self, sigma: Any, sigma_next: Any) -> Tensor:
        self.asked.append((float(sigma), float(sigma_next)))
        return torch.randn(SHAPE, generator=self._generator, dtype=torch.float64)


def run(steps: Generator[DenoiseAt, Any, Tensor], answer: Callable[[DenoiseAt], Any]) -> tuple[Tensor, list[DenoiseAt]]:
    """Drive a sampler to its end; the result and all its requests."""
    requests = []
    try:
        request = next(steps)
        while True:
            requests.append(request)
            request = steps.send(answer(request))
    except StopIteration as done:
        return done.value, requests


def run_recorded(steps: Generator[DenoiseAt, Any, Tensor], recorder: Recorder) -> Tensor:
    """Drive a sampler with a recording denoiser."""
    return run(steps, lambda request: recorder(request.x, request.sigma))[0]


def relative(ours: Tensor, reference: Tensor) -> float:
    """Relative L2 difference."""
    return float(torch.linalg.vector_norm(ours - reference) / torch.linalg.vector_norm(reference))


def start_latents(sigma: float, seed: int = 2) -> Tensor:
    """Noise times sigma, float64."""
    return torch.randn(SHAPE, generator=torch.Generator().manual_seed(seed), dtype=torch.float64) * sigma


def assert_same_trajectory(ours: Recorder, reference: Recorder, tolerance: float = 1e-9) -> None:
    """Every model call happened at the same noise level with the same latents."""
    assert len(ours.calls) == len(reference.calls)
    for (x, sigma), (x_reference, sigma_reference) in zip(ours.calls, reference.calls, strict=True):
        assert abs(sigma - sigma_reference) <= tolerance * sigma_reference
        assert relative(x, x_reference) <= tolerance
