"""Stage "unet": the denoiser and the text encoder together, on 16x16 latents first and then on 32x32."""

from __future__ import annotations

import logging
import random
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
import torch.nn.functional as functional

from scripts.demo_models.architecture import DemoArchitecture, build_unet
from scripts.demo_models.captions import caption_of
from scripts.demo_models.diffusion import alphas_cumprod, loss_weight, v_target
from scripts.demo_models.latents import LatentStore, load_latents
from scripts.demo_models.prompts import TagTokenizer, TokenChunks, load_tokenizer
from scripts.demo_models.team import Team
from scripts.demo_models.text import build_started_text_encoder, encode_chunks, insert_unknown_words
from scripts.demo_models.training import Budget, TrainState, save_atomically, train

logger = logging.getLogger(__name__)
EMPTY_CHANCE = 0.1
UNKNOWN_WORD_CHANCE = 0.25
TWO_CHUNK_CHANCE = 0.2


@dataclass(frozen=True, kw_only=True)
class UnetPlan:
    """One run of the stage.

    Args:
        name: of its files: `<name>_state.pt` and `<name>.pt`.
        cells: latent side; 16 pools the cached 32x32 latents.
        start_from: `<name>` of an earlier run, or "" for fresh weights and the warmed-up text encoder.
    """

    name: str
    cells: int
    batch: int
    start_from: str = ""
    unet_rate: float = 1e-3
    text_rate: float = 1e-4
    flat_share: float = 0.5
    average_decay: float = 0.999


def train_unet(
    shape: DemoArchitecture,
    work_dir: Path,
    budget: Budget,
    plan: UnetPlan,
    seed: int,
    device: torch.device,
    *,
    on_save: Callable[[], None] = lambda: None,
    team: Team | None = None,
) -> None:
    """Trains one plan; writes `<name>.pt` with averaged "unet" and "text" weights."""
    unet, text = _starting_modules(shape, work_dir, plan, seed)
    unet.to(device, memory_format=_fastest_format(device))
    text.to(device)
    groups = [
        {"params": list(unet.parameters()), "lr": plan.unet_rate, "weight_decay": 1e-3},
        {"params": list(text.parameters()), "lr": plan.text_rate, "weight_decay": 0.0},
    ]
    optimizer = torch.optim.AdamW(groups, betas=(0.9, 0.99), fused=True)
    state = TrainState(modules={"unet": unet, "text": text}, optimizer=optimizer, average_decay=plan.average_decay)
    batches = BatchSource(load_latents(work_dir, seed), plan, seed, team or Team())
    alphas = alphas_cumprod().to(device)

    def loss_of_step(step: int, _total: int) -> torch.Tensor:
        batch = batches.batch(step).to(device)
        with torch.autocast("cuda", torch.bfloat16, enabled=device.type == "cuda"):
            return diffusion_loss(unet, text, batch, alphas)

    def finish() -> None:
        weights = {name: state.averaged_weights(name) for name in ("unet", "text")}
        save_atomically(weights, work_dir / f"{plan.name}.pt")
        on_save()

    path = work_dir / f"{plan.name}_state.pt"
    train(state, budget, path, loss_of_step, on_save=finish, flat_share=plan.flat_share, team=team)


def _fastest_format(device: torch.device) -> torch.memory_format:
    """Channels last on a GPU; on a CPU the plain order made a step a quarter faster (2026-11-22, 16x16, batch 32)."""
    return torch.channels_last if device.type == "cuda" else torch.contiguous_format


def _starting_modules(shape: DemoArchitecture, work_dir: Path, plan: UnetPlan, seed: int) -> tuple[Any, Any]:
    torch.manual_seed(seed)
    unet, text = build_unet(shape), build_started_text_encoder(shape, seed)
    if plan.start_from:
        weights = torch.load(work_dir / f"{plan.start_from}.pt", map_location="cpu", weights_only=True)
        unet.load_state_dict(weights["unet"])
        text.load_state_dict(weights["text"])
    elif (work_dir / "text.pt").exists():
        text.load_state_dict(torch.load(work_dir / "text.pt", map_location="cpu", weights_only=True))
    return unet, text


@dataclass(frozen=True, kw_only=True)
class Batch:
    """One step's data.

    Args:
        latents: [B, 4, cells, cells] unit variance.
        noise: of the same shape.
        weights: [B, 1, cells, cells] loss weights with mean one.
        timesteps: [B] int64.
        ids: [B, chunks, 77] token ids.
        emphasis: [B, chunks, 77].
    """

    latents: torch.Tensor
    noise: torch.Tensor
    weights: torch.Tensor
    timesteps: torch.Tensor
    ids: torch.Tensor
    emphasis: torch.Tensor

    def to(self, device: torch.device) -> Batch:
        """The batch on another device."""
        return Batch(**{name: tensor.to(device) for name, tensor in vars(self).items()})


class BatchSource:
    """Batches that depend on (seed, plan, step, worker) alone."""

    def __init__(self, store: LatentStore, plan: UnetPlan, seed: int, team: Team) -> None:
        self._store = store
        self._plan = plan
        self._seed = seed
        self._team = team
        self._tokenizer = TagTokenizer(load_tokenizer())

    def batch(self, step: int) -> Batch:
        """This worker's batch of one step; all workers take the same number of chunks."""
        key = f"{self._seed}/{self._plan.name}/{step}"
        chunks = 2 if random.Random(f"{key}/chunks").random() < TWO_CHUNK_CHANCE else 1
        rng = random.Random(f"{key}/{self._team.rank}")
        generator = torch.Generator().manual_seed(rng.randrange(1 << 40))
        indices = [rng.randrange(len(self._store.scenes)) for _ in range(self._plan.batch)]
        latents = self._store.latents[indices].float()
        weights = self._store.weights[indices].float()[:, None]
        if self._plan.cells < latents.shape[-1]:
            factor = latents.shape[-1] // self._plan.cells
            latents, weights = functional.avg_pool2d(latents, factor), functional.avg_pool2d(weights, factor)
        captions = [self._caption(index, rng, chunks) for index in indices]
        spread = (torch.arange(len(indices)) + torch.rand(len(indices), generator=generator)) / len(indices)
        return Batch(
            latents=latents,
            noise=torch.randn(latents.shape, generator=generator),
            weights=weights / weights.mean((1, 2, 3), keepdim=True),
            timesteps=(spread * 1000).long().clamp(max=999),
            ids=torch.stack([caption.ids[:chunks] for caption in captions]),
            emphasis=torch.stack([caption.weights[:chunks] for caption in captions]),
        )

    def _caption(self, index: int, rng: random.Random, chunks: int) -> TokenChunks:
        tags = [] if rng.random() < EMPTY_CHANCE else caption_of(self._store.scenes[index], rng)
        split = chunks > 1 and len(tags) > 3 and rng.random() < 0.7
        break_at = rng.randrange(2, len(tags)) if split else None
        caption = self._tokenizer.chunks(tags, at_least=chunks, break_at=break_at)
        if tags and rng.random() < UNKNOWN_WORD_CHANCE:
            insert_unknown_words(caption, rng)
        return caption


def diffusion_loss(unet: Any, text: Any, batch: Batch, alphas: torch.Tensor) -> torch.Tensor:
    """Weighted squared error of the predicted v."""
    alpha = alphas[batch.timesteps].view(-1, 1, 1, 1)
    noisy = alpha.sqrt() * batch.latents + (1 - alpha).sqrt() * batch.noise
    context = encode_chunks(text, batch.ids, batch.emphasis)
    noisy = noisy.contiguous(memory_format=_fastest_format(noisy.device))
    predicted = unet(noisy, batch.timesteps, encoder_hidden_states=context).sample
    error = (predicted.float() - v_target(batch.latents, batch.noise, alpha)).square()
    loss: torch.Tensor = (error * batch.weights * loss_weight(alpha)).mean()
    return loss
