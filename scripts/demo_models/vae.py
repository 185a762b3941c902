"""Stage "vae" (encoder and decoder together) and stage "decoder" (decoder alone, latents stay valid)."""

from __future__ import annotations

import logging
import random
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import torch
import torch.nn.functional as functional
from numpy.typing import NDArray

from scripts.demo_models.architecture import DemoArchitecture, build_vae
from scripts.demo_models.dataset import render_pool
from scripts.demo_models.renderer import regions_of
from scripts.demo_models.scenes import sample_scene
from scripts.demo_models.training import Budget, TrainState, save_atomically, train

logger = logging.getLogger(__name__)
VALIDATION_SEED = 900_000_000


@dataclass(frozen=True, kw_only=True)
class CropPlan:
    """Crop size and batch of one phase; `until` is the share of the run it lasts to."""

    until: float
    size_px: int
    batch: int


CROP_PLANS = (
    CropPlan(until=0.64, size_px=64, batch=8),
    CropPlan(until=0.88, size_px=128, batch=3),
    CropPlan(until=1.0, size_px=256, batch=1),
)


class CropSource:
    """Crops of rendered pictures with loss weights; half of them lie on the face."""

    def __init__(self, seeds: list[int], pictures: NDArray[np.uint8], seed: int) -> None:
        self._seeds = seeds
        self._pictures = pictures
        self._seed = seed

    def batch(self, step: int, plan: CropPlan) -> tuple[torch.Tensor, torch.Tensor]:
        """Pixels [B, 3, size, size] in -1..1 and weights [B, 1, size, size] of one step."""
        rng = random.Random(f"{self._seed}/crops/{step}")
        crops, weights = zip(*(self._crop(rng, plan.size_px) for _ in range(plan.batch)), strict=True)
        pixels = torch.from_numpy(np.stack(crops)).permute(0, 3, 1, 2).float().div_(127.5).sub_(1)
        return pixels.contiguous(memory_format=torch.channels_last), torch.from_numpy(np.stack(weights))[:, None]

    def _crop(self, rng: random.Random, size: int) -> tuple[NDArray[np.uint8], NDArray[np.float32]]:
        index = rng.randrange(len(self._seeds))
        picture = self._pictures[index]
        regions = regions_of(sample_scene(self._seeds[index]))
        limit = picture.shape[0] - size
        x, y = rng.randint(0, limit), rng.randint(0, limit)
        if regions and rng.random() < 0.55:
            region = rng.choice(regions)
            x = min(limit, max(0, int(region.x + rng.uniform(-0.7, 0.7) * region.half - size / 2)))
            y = min(limit, max(0, int(region.y + rng.uniform(-0.7, 0.7) * region.half - size / 2)))
        weights = np.ones(picture.shape[:2], dtype=np.float32)
        for region in regions:
            top, left = max(0, int(region.y - region.half)), max(0, int(region.x - region.half))
            part = weights[top : int(region.y + region.half), left : int(region.x + region.half)]
            np.maximum(part, region.weight, out=part)
        return picture[y : y + size, x : x + size], weights[y : y + size, x : x + size]


def picture_loss(output: torch.Tensor, target: torch.Tensor, weights: torch.Tensor) -> torch.Tensor:
    """L1 + squared error + L1 of the gradients at two scales, weighted by region."""
    error = output - target
    loss = _weighted(error.abs() + 2 * error.square(), weights)
    for scale in (1, 2):
        if scale > 1:
            error, weights = functional.avg_pool2d(error, 2), functional.avg_pool2d(weights, 2)
        loss = loss + 0.5 * _weighted((error[..., 1:] - error[..., :-1]).abs(), weights[..., 1:])
        loss = loss + 0.5 * _weighted((error[..., 1:, :] - error[..., :-1, :]).abs(), weights[..., 1:, :])
    return loss


def _weighted(values: torch.Tensor, weights: torch.Tensor) -> torch.Tensor:
    return (values * weights).mean() / weights.mean().clamp(min=1.0).sqrt()


def train_vae(shape: DemoArchitecture, work_dir: Path, budget: Budget, seed: int, device: torch.device) -> None:
    """Trains encoder and decoder; writes `vae.pt` with the averaged weights."""
    seeds, pictures = render_pool(work_dir, first_seed=seed * 10_000_000, count=3000)
    torch.manual_seed(seed)
    vae = build_vae(shape).to(device, memory_format=torch.channels_last)
    optimizer = torch.optim.AdamW(vae.parameters(), lr=1.5e-3, betas=(0.9, 0.98), weight_decay=1e-4)
    state = TrainState(modules={"vae": vae}, optimizer=optimizer, average_decay=0.997)
    source = CropSource(seeds, pictures, seed)

    def loss_of_step(step: int, total: int) -> torch.Tensor:
        plan = next(plan for plan in CROP_PLANS if step < plan.until * total or plan is CROP_PLANS[-1])
        pixels, weights = (tensor.to(device) for tensor in source.batch(step, plan))
        torch.manual_seed(seed * 1_000_003 + step)
        posterior = vae.encode(pixels).latent_dist
        divergence: torch.Tensor = posterior.kl().mean() / posterior.mean[0].numel()
        return picture_loss(vae.decode(posterior.sample()).sample, pixels, weights) + 1e-4 * divergence

    train(state, budget, work_dir / "vae_state.pt", loss_of_step, on_save=lambda: _finish(state, work_dir, "vae"))


def train_decoder(shape: DemoArchitecture, work_dir: Path, budget: Budget, seed: int, device: torch.device) -> None:
    """Goes on with the decoder alone, from slightly noisy latents; reads `vae_unit.pt`, writes `decoder.pt`."""
    seeds, pictures = render_pool(work_dir, first_seed=seed * 10_000_000, count=3000)
    vae = build_vae(shape).to(device, memory_format=torch.channels_last)
    vae.load_state_dict(torch.load(work_dir / "vae_unit.pt", map_location=device, weights_only=True))
    trained = [*vae.decoder.parameters(), *vae.post_quant_conv.parameters()]
    vae.encoder.requires_grad_(False)
    vae.quant_conv.requires_grad_(False)
    optimizer = torch.optim.AdamW(trained, lr=8e-4, betas=(0.9, 0.98), weight_decay=1e-4)
    state = TrainState(modules={"vae": vae}, optimizer=optimizer, average_decay=0.998)
    source = CropSource(seeds, pictures, seed + 1)

    def loss_of_step(step: int, _total: int) -> torch.Tensor:
        pixels, weights = (tensor.to(device) for tensor in source.batch(step, CROP_PLANS[-1]))
        generator = torch.Generator().manual_seed(seed * 1_000_003 + step)
        with torch.no_grad():
            latents = vae.encode(pixels).latent_dist.mode()
        noise = torch.randn(latents.shape, generator=generator).to(device)
        noisy = latents + 0.06 * latents.std() * noise
        return picture_loss(vae.decode(noisy).sample, pixels, weights)

    train(
        state, budget, work_dir / "decoder_state.pt", loss_of_step, on_save=lambda: _finish(state, work_dir, "decoder")
    )


def _finish(state: TrainState, work_dir: Path, name: str) -> None:
    weights = state.averaged_weights("vae")
    save_atomically(weights, work_dir / f"{name}.pt")
    logger.info("validation PSNR %s", measure(state.modules["vae"], weights, work_dir))


@torch.no_grad()
def measure(vae: Any, weights: dict[str, torch.Tensor], work_dir: Path, count: int = 16) -> str:
    """PSNR in dB over whole pictures and over faces, of the given weights."""
    seeds, pictures = render_pool(work_dir, first_seed=VALIDATION_SEED, count=64)
    trained = {name: tensor.clone() for name, tensor in vae.state_dict().items()}
    vae.load_state_dict(weights)
    device = next(vae.parameters()).device
    whole, face = [], []
    for index in range(count):
        pixels = torch.from_numpy(pictures[index]).permute(2, 0, 1)[None].float().div(127.5).sub(1).to(device)
        output = vae.decode(vae.encode(pixels).latent_dist.mode()).sample.clamp(-1, 1)
        squared = (output - pixels).div(2).square().mean(1)[0].cpu()
        whole.append(float(squared.mean()))
        for region in regions_of(sample_scene(seeds[index])):
            if region.name == "face":
                top, left = max(0, int(region.y - region.half)), max(0, int(region.x - region.half))
                part = squared[top : int(region.y + region.half), left : int(region.x + region.half)]
                face.append(float(part.mean()))
    vae.load_state_dict(trained)
    return f"{_decibel(whole):.2f} dB whole, {_decibel(face):.2f} dB faces"


def _decibel(errors: list[float]) -> float:
    return float(np.mean(-10 * np.log10(np.maximum(errors, 1e-9))))
