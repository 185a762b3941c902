"""The noise schedule in SD1's words, v-prediction, and a DPM++ 2M Karras sampler for previews and reports."""

from __future__ import annotations

import math
from collections.abc import Callable

import torch

from scripts.demo_models.architecture import BETA_END, BETA_START, TRAIN_TIMESTEPS


def alphas_cumprod() -> torch.Tensor:
    """Products of (1 - beta) of SD1's "scaled linear" schedule [1000]."""
    betas = torch.linspace(BETA_START**0.5, BETA_END**0.5, TRAIN_TIMESTEPS, dtype=torch.float64).square()
    return (1 - betas).cumprod(0).float()


def v_target(latents: torch.Tensor, noise: torch.Tensor, alpha: torch.Tensor) -> torch.Tensor:
    """Equation 12 of Salimans & Ho (2022), arXiv:2202.00512: sqrt(alpha) noise - sqrt(1 - alpha) latents."""
    return alpha.sqrt() * noise - (1 - alpha).sqrt() * latents


def loss_weight(alpha: torch.Tensor, limit: float = 5.0) -> torch.Tensor:
    """Min-SNR weighting for v-prediction, Hang et al. (2023), arXiv:2303.09556, here min(SNR, limit) + 1."""
    snr = alpha / (1 - alpha)
    return (snr.clamp(max=limit) + 1) / (snr + 1)


def karras_sigmas(steps: int, low: float, high: float, rho: float = 7.0) -> torch.Tensor:
    """Equation 5 of Karras et al. (2022), arXiv:2206.00364, with a final zero [steps + 1]."""
    ramp = torch.linspace(0, 1, steps)
    sigmas = (high ** (1 / rho) + ramp * (low ** (1 / rho) - high ** (1 / rho))) ** rho
    return torch.cat([sigmas, torch.zeros(1)])


Predictor = Callable[[torch.Tensor, torch.Tensor], torch.Tensor]


@torch.no_grad()
def sample_dpmpp_2m(predict_v: Predictor, noise: torch.Tensor, steps: int) -> torch.Tensor:
    """DPM-Solver++(2M), Lu et al. (2022), arXiv:2211.01095, in the sigma form of k-diffusion.

    Args:
        predict_v: (scaled noisy latents, timestep) -> v.
        noise: unit noise [B, 4, h, w].
        steps: number of model evaluations.
    """
    alphas = alphas_cumprod()
    table = ((1 - alphas) / alphas).sqrt()
    sigmas = karras_sigmas(steps, float(table[0]), float(table[-1]))
    x, previous = noise * float(sigmas[0]), noise
    for index in range(steps):
        sigma, following = float(sigmas[index]), float(sigmas[index + 1])
        denoised = _denoise(predict_v, x, sigma, table)
        if following == 0:
            return denoised
        ratio, step = following / sigma, math.log(sigma / following)
        guess = denoised
        if index > 0:
            last = math.log(float(sigmas[index - 1]) / sigma)
            guess = (1 + step / (2 * last)) * denoised - step / (2 * last) * previous
        x = ratio * x - (ratio - 1) * guess
        previous = denoised
    return x


def _denoise(predict_v: Predictor, x: torch.Tensor, sigma: float, table: torch.Tensor) -> torch.Tensor:
    scale = 1 / math.sqrt(sigma * sigma + 1)
    timestep = _timestep(sigma, table).expand(x.shape[0])
    v = predict_v(x * scale, timestep)
    return x * scale * scale - v * sigma * scale


def _timestep(sigma: float, table: torch.Tensor) -> torch.Tensor:
    """The fractional timestep of a sigma, by interpolating log sigma."""
    logs = table.log()
    value = math.log(sigma)
    low = int((logs <= value).sum().clamp(1, len(logs) - 1)) - 1
    share = (value - float(logs[low])) / float(logs[low + 1] - logs[low])
    return torch.tensor(low + min(1.0, max(0.0, share)))
