"""A small CNN that reads the facts of a picture, to measure what a model draws. It is trained on renders.

It looks at the picture through the demo model's own frozen encoder: that makes it cheap enough for a CPU, and a
detail the encoder cannot see is a detail that no picture of the model can hold either. Its accuracy on renders that
went through the VAE (the ceiling) is part of every report.
"""

from __future__ import annotations

import logging
import random
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
import torch
import torch.nn.functional as functional
from numpy.typing import NDArray
from torch import nn

from scripts.demo_models.captions import facts_of
from scripts.demo_models.latents import LATENT_SCALE, load_latents
from scripts.demo_models.scenes import Scene
from scripts.demo_models.text import FACT_VALUES
from scripts.demo_models.training import Budget, TrainState, save_atomically, train

UNKNOWN = -100
BATCH = 64
logger = logging.getLogger(__name__)


class FactClassifier(nn.Module):
    """Latents [B, 4, 32, 32] to logits of every fact."""

    def __init__(self, width: int = 24) -> None:
        super().__init__()
        channels = (4, width, width, 2 * width, 2 * width, 3 * width, 3 * width)
        strides = (1, 1, 2, 1, 2, 1)
        layers: list[nn.Module] = []
        for inputs, outputs, stride in zip(channels, channels[1:], strides, strict=False):
            layers += [nn.Conv2d(inputs, outputs, 3, stride, 1), nn.GroupNorm(8, outputs), nn.ReLU()]
        self.features = nn.Sequential(*layers)
        self.mix = nn.Sequential(nn.Dropout(0.2), nn.Linear(6 * width, 8 * width), nn.ReLU())
        self.heads = nn.ModuleDict(
            {_key(fact): nn.Linear(8 * width, len(values)) for fact, values in FACT_VALUES.items()}
        )

    def forward(self, latents: torch.Tensor) -> dict[str, torch.Tensor]:
        """Logits [B, number of values] of each fact."""
        maps = self.features(latents)
        pooled = self.mix(torch.cat([maps.mean((2, 3)), maps.amax((2, 3))], dim=1))
        return {fact: self.heads[_key(fact)](pooled) for fact in FACT_VALUES}


def _key(fact: str) -> str:
    return fact.replace(" ", "_")


def targets_of(scenes: Sequence[Scene]) -> dict[str, torch.Tensor]:
    """Class index of each fact [N]; UNKNOWN where a scene says nothing about it."""
    rows = [facts_of(scene) for scene in scenes]
    return {
        fact: torch.tensor([values.index(row[fact]) if fact in row else UNKNOWN for row in rows])
        for fact, values in FACT_VALUES.items()
    }


def train_classifier(work_dir: Path, budget: Budget, seed: int, device: torch.device) -> None:
    """Trains on the cached latents of good pictures; writes `classifier.pt`."""
    store = load_latents(work_dir, seed)
    good = [index for index, scene in enumerate(store.scenes) if scene.defect == "none"]
    targets = targets_of(store.scenes)
    torch.manual_seed(seed)
    model = FactClassifier().to(device)
    optimizer = torch.optim.AdamW(model.parameters(), lr=2e-3, weight_decay=0.02, fused=True)
    state = TrainState(modules={"classifier": model}, optimizer=optimizer, average_decay=0.99)

    def loss_of_step(step: int, _total: int) -> torch.Tensor:
        rng = random.Random(f"{seed}/classifier/{step}")
        torch.manual_seed(rng.randrange(1 << 40))
        indices = [rng.choice(good) for _ in range(BATCH)]
        latents = store.latents[indices].float()
        latents = latents + 0.15 * rng.random() * torch.randn_like(latents)
        logits = model(latents.to(device))
        losses = []
        for fact, values in logits.items():
            wanted = targets[fact][indices].to(device)
            if bool((wanted != UNKNOWN).any()):
                losses.append(functional.cross_entropy(values, wanted, ignore_index=UNKNOWN))
        return torch.stack(losses).mean()

    def finish() -> None:
        save_atomically(state.averaged_weights("classifier"), work_dir / "classifier.pt")

    train(state, budget, work_dir / "classifier_state.pt", loss_of_step, on_save=finish, flat_share=0.3)


class PictureReader:
    """Reads facts from pictures: the VAE's encoder, then the classifier."""

    def __init__(self, vae: Any, classifier: FactClassifier) -> None:
        self._vae = vae
        self._classifier = classifier.eval()

    @torch.no_grad()
    def logits(self, pictures: Sequence[NDArray[np.uint8]]) -> dict[str, torch.Tensor]:
        """Logits [N, values] of each fact."""
        parts = []
        for start in range(0, len(pictures), 4):
            stack = torch.from_numpy(np.stack(pictures[start : start + 4])).permute(0, 3, 1, 2)
            pixels = stack.float().div(127.5).sub(1).contiguous(memory_format=torch.channels_last)
            parts.append(self._classifier(self._vae.encode(pixels).latent_dist.mode() * LATENT_SCALE))
        return {fact: torch.cat([part[fact] for part in parts]) for fact in FACT_VALUES}

    def values(self, pictures: Sequence[NDArray[np.uint8]]) -> list[dict[str, str]]:
        """The most likely value of each fact of each picture."""
        best = {fact: logits.argmax(1).tolist() for fact, logits in self.logits(pictures).items()}
        return [
            {fact: FACT_VALUES[fact][chosen[index]] for fact, chosen in best.items()} for index in range(len(pictures))
        ]
