"""The noise levels that a model was trained on: the table of sigmas, and the way between sigma and timestep.

A1111's rules (k-diffusion's discrete schedule): sigma is interpolated log-linearly between training steps, and the
model is told a float timestep.
"""

from __future__ import annotations

from bisect import bisect_right
from functools import cached_property
from math import exp, floor, log

import torch
from torch import Tensor

CONSISTENCY_GRID_STEPS = 50
"""Steps of the teacher that latent consistency models were distilled from, A1111's value."""

_ZERO_SNR_LAST_ALPHA = 4.8973451890853435e-08
"""ᾱ of the last step under zero terminal SNR: not 0, so that sigma stays finite (about 4518.7), A1111's value."""


class ModelSigmas:
    """Training noise levels of a model.

    Args:
        alphas_cumprod: ᾱ of the training steps, 1-D, falling, in (0, 1]. Rounded to float32, as checkpoints hold them.
    """

    def __init__(self, alphas_cumprod: Tensor) -> None:
        self.alphas_cumprod = alphas_cumprod.to(torch.float32).to(torch.float64).cpu()
        self.sigmas = ((1 - self.alphas_cumprod) / self.alphas_cumprod).sqrt()

    @classmethod
    def from_betas(
        cls, *, start: float = 0.00085, end: float = 0.012, steps: int = 1000, kind: str = "scaled_linear"
    ) -> ModelSigmas:
        """From a diffusion config; the defaults are those of SD1, SD2 and SDXL.

        Args:
            start: first β.
            end: last β.
            steps: number of training steps.
            kind: "scaled_linear" (evenly in √β) or "linear".
        """
        power = {"scaled_linear": 2.0, "linear": 1.0}[kind]
        betas = torch.linspace(start ** (1 / power), end ** (1 / power), steps, dtype=torch.float64) ** power
        return cls(torch.cumprod(1 - betas, dim=0))

    def with_half_precision_alphas(self) -> ModelSigmas:
        """ᾱ rounded to float16, as A1111 did before 1.8 ("use_downcasted_alpha_bar")."""
        return ModelSigmas(self.alphas_cumprod.to(torch.float16))

    def with_zero_terminal_snr(self) -> ModelSigmas:
        """Shifted and scaled to end in pure noise: Algorithm 1 of Lin et al. (2023), arXiv:2305.08891."""
        roots = self.alphas_cumprod.sqrt()
        roots = (roots - roots[-1]) * (roots[0] / (roots[0] - roots[-1]))
        alphas = roots**2
        alphas[-1] = _ZERO_SNR_LAST_ALPHA
        return ModelSigmas(alphas)

    @property
    def steps(self) -> int:
        """Number of levels in the table: the training steps, 1000 for Stable Diffusion."""
        return len(self.sigmas)

    @property
    def sigma_min(self) -> float:
        """Noise level of timestep 0."""
        return float(self.sigmas[0])

    @property
    def sigma_max(self) -> float:
        """Noise level of the last timestep."""
        return float(self.sigmas[-1])

    @cached_property
    def _log_sigmas(self) -> list[float]:
        logs: list[float] = self.sigmas.log().tolist()
        return logs

    def timestep_at(self, sigma: float) -> float:
        """Float timestep of a noise level, 0 … steps − 1; levels outside the table get its ends.

        Args:
            sigma: noise level, > 0.
        """
        logs = self._log_sigmas
        wanted = log(sigma)
        low = min(max(bisect_right(logs, wanted) - 1, 0), len(logs) - 2)
        weight = (wanted - logs[low]) / (logs[low + 1] - logs[low])
        return low + min(max(weight, 0.0), 1.0)

    def sigma_at(self, timestep: float) -> float:
        """Noise level of a float timestep in 0 … steps − 1."""
        logs = self._log_sigmas
        low = min(max(floor(timestep), 0), len(logs) - 2)
        weight = timestep - low
        return exp((1 - weight) * logs[low] + weight * logs[low + 1])


class ConsistencyGrid(ModelSigmas):
    """The levels that latent consistency models were distilled on: every 20th training step, 19, 39 … 999.

    The model is told the nearest time of the grid, never one between (A1111's rule; arXiv:2310.04378, section 4.3).

    Args:
        model: the model's training noise levels.
    """

    def __init__(self, model: ModelSigmas) -> None:
        self._skip = model.steps // CONSISTENCY_GRID_STEPS
        super().__init__(model.alphas_cumprod[self._skip - 1 :: self._skip])

    def timestep_at(self, sigma: float) -> float:
        """Time of the grid level whose log sigma is nearest."""
        wanted = log(sigma)
        nearest = min(range(self.steps), key=lambda index: abs(self._log_sigmas[index] - wanted))
        return float(nearest * self._skip + self._skip - 1)

    def sigma_at(self, timestep: float) -> float:
        """Noise level of a time, log-linear between grid levels; times below the grid get its lowest level."""
        place = (timestep - (self._skip - 1)) / self._skip
        return super().sigma_at(min(max(place, 0.0), self.steps - 1.0))
