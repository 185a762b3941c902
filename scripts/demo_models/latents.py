"""Stage "latents": draws the training pictures and keeps their latents, in shards that survive a kill."""

from __future__ import annotations

import logging
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import torch

from scripts.demo_models.architecture import LATENT_CHANNELS, DemoArchitecture, build_vae
from scripts.demo_models.dataset import render_many
from scripts.demo_models.renderer import weight_map
from scripts.demo_models.scenes import Scene, sample_scene
from scripts.demo_models.training import save_atomically

logger = logging.getLogger(__name__)
SHARD_PICTURES = 2000
LATENT_SCALE = 0.18215


@dataclass(frozen=True, kw_only=True)
class LatentStore:
    """Training latents in memory.

    Args:
        latents: [N, 4, 32, 32] float16, zero mean and unit variance in each channel.
        weights: [N, 32, 32] float16 loss weights.
        scenes: what each picture shows.
    """

    latents: torch.Tensor
    weights: torch.Tensor
    scenes: list[Scene]


def cache_latents(
    shape: DemoArchitecture, work_dir: Path, *, count: int, seed: int, device: torch.device, processes: int = 2
) -> None:
    """Writes shards until `count` pictures are cached."""
    vae = load_vae(shape, work_dir / "vae.pt", device)
    if not (work_dir / "vae_unit.pt").exists():
        _fold_statistics(vae, seed, processes)
        save_atomically(vae.state_dict(), work_dir / "vae_unit.pt")
    vae.load_state_dict(torch.load(work_dir / "vae_unit.pt", map_location=device, weights_only=True))
    for shard in range(-(-count // SHARD_PICTURES)):
        path = work_dir / f"latents_{seed}_{shard:03d}.pt"
        if not path.exists():
            first = seed * 10_000_000 + shard * SHARD_PICTURES
            seeds = list(range(first, first + SHARD_PICTURES))
            save_atomically({"latents": encode(vae, seeds, processes), "seeds": torch.tensor(seeds)}, path)
            logger.info("cached %s", path.name)


def load_vae(shape: DemoArchitecture, path: Path, device: torch.device) -> Any:
    """The trained VAE, not trainable."""
    vae = build_vae(shape)
    vae.load_state_dict(torch.load(path, map_location="cpu", weights_only=True))
    return vae.to(device, memory_format=torch.channels_last).requires_grad_(False).eval()


@torch.no_grad()
def encode(vae: Any, seeds: list[int], processes: int, batch: int = 4) -> torch.Tensor:
    """Latents of the pictures of many seeds, times LATENT_SCALE, float16."""
    pictures = render_many(seeds, processes)
    device = next(vae.parameters()).device
    parts = []
    for start in range(0, len(pictures), batch):
        stack = torch.from_numpy(np.stack(pictures[start : start + batch])).permute(0, 3, 1, 2)
        pixels = stack.to(device).float().div(127.5).sub(1).contiguous(memory_format=torch.channels_last)
        parts.append((vae.encode(pixels).latent_dist.mode() * LATENT_SCALE).half().cpu())
    return torch.cat(parts).contiguous()


@torch.no_grad()
def _fold_statistics(vae: Any, seed: int, processes: int) -> None:
    """Makes each latent channel zero-mean and unit-variance under SD1's usual scale, without changing pictures."""
    sample = encode(vae, [seed * 10_000_000 + 5_000_000 + index for index in range(256)], processes)
    channels = sample.float().transpose(0, 1).flatten(1) / LATENT_SCALE
    mean, gain = channels.mean(1), 1 / (LATENT_SCALE * channels.std(1))
    quant, post = vae.quant_conv, vae.post_quant_conv
    post.bias += (post.weight[:, :, 0, 0] * mean.to(post.weight)).sum(1)
    post.weight /= gain.view(1, -1, 1, 1).to(post.weight)
    quant.weight[:LATENT_CHANNELS] *= gain.view(-1, 1, 1, 1).to(quant.weight)
    quant.bias[:LATENT_CHANNELS] = (quant.bias[:LATENT_CHANNELS] - mean.to(quant.bias)) * gain.to(quant.bias)
    quant.bias[LATENT_CHANNELS:] += 2 * gain.log().to(quant.bias)


def load_latents(work_dir: Path, seed: int) -> LatentStore:
    """Every cached shard of the seed."""
    shards = [torch.load(path, weights_only=True) for path in sorted(work_dir.glob(f"latents_{seed}_*.pt"))]
    scenes = [sample_scene(int(number)) for shard in shards for number in shard["seeds"]]
    maps = np.stack([weight_map(scene, 32) for scene in scenes]).astype(np.float16)
    return LatentStore(
        latents=torch.cat([shard["latents"] for shard in shards]),
        weights=torch.from_numpy(maps),
        scenes=scenes,
    )
