"""Sampling with the training modules themselves: contact sheets during training, and the report's pictures."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Protocol

import numpy as np
import torch
from numpy.typing import NDArray
from PIL import Image

from scripts.demo_models.architecture import LATENT_CHANNELS, DemoArchitecture, build_text_encoder, build_unet
from scripts.demo_models.diffusion import sample_dpmpp_2m
from scripts.demo_models.latents import LATENT_SCALE, load_vae
from scripts.demo_models.prompts import TagTokenizer, load_tokenizer, parse_prompt
from scripts.demo_models.text import encode_chunks

PREVIEW_PROMPTS = (
    "best quality, masterpiece, 1girl, red hanfu, black hair, long hair, dark studio, upper body, smile, blush",
    "1girl, blue hanfu, white hair, double bun, lotus pond, portrait, star-shaped pupils, necklace, hair flower",
    "1boy, green hanfu, short hair, brown hair, bamboo, full body, closed mouth, holding fan",
    "1girl, china hanfu, night, moon, holding lantern, open mouth, rim lighting, upper body, purple hanfu",
    "1boy, white hanfu, mountains, snow, portrait, blue eyes, black hair",
    "1girl, pink hanfu, plum blossoms, falling petals, holding umbrella, upper body, hairpin, tyndall effect",
    "no humans, scenery, palace, crane, bokeh",
    "1girl, yellow hanfu, palace, two tone lighting, ponytail, blue hair, full body, closed eyes, bokeh",
)
NEGATIVE = "lowres, worst quality, low quality, blurry, jpeg artifacts, watermark, bad anatomy"


@dataclass(frozen=True, kw_only=True)
class PictureOrder:
    """What to draw: prompts, seed and sampler settings of one picture."""

    prompt: str
    negative: str = ""
    seed: int = 0
    steps: int = 20
    cfg_scale: float = 4.0


class PictureSource(Protocol):
    """Anything that turns prompts into pictures: the training modules here, or the product's engine."""

    def pictures(self, orders: Sequence[PictureOrder]) -> list[NDArray[np.uint8]]:
        """RGB bytes [height, width, 3] of each order."""
        ...


class TrainedModules:
    """A PictureSource over the training modules."""

    def __init__(self, vae: Any, unet: Any, text: Any, *, cells: int = 32, batch: int = 4) -> None:
        self._vae = vae
        self._unet = unet
        self._text = text
        self._cells = cells
        self._batch = batch
        self._tokenizer = TagTokenizer(load_tokenizer())

    def pictures(self, orders: Sequence[PictureOrder]) -> list[NDArray[np.uint8]]:
        """RGB bytes of each order, a few at a time."""
        drawn: list[NDArray[np.uint8]] = []
        for start in range(0, len(orders), self._batch):
            drawn += self._draw(orders[start : start + self._batch])
        return drawn

    @torch.no_grad()
    def _draw(self, orders: Sequence[PictureOrder]) -> list[NDArray[np.uint8]]:
        device = next(self._unet.parameters()).device
        positive = [parse_prompt(order.prompt) for order in orders]
        negative = [parse_prompt(order.negative) for order in orders]
        count = max(self._tokenizer.chunks(tags).ids.shape[0] for tags in (*positive, *negative))
        chunks = [self._tokenizer.chunks(tags, at_least=count) for tags in (*positive, *negative)]
        ids = torch.stack([chunk.ids for chunk in chunks]).to(device)
        context = encode_chunks(self._text, ids, torch.stack([chunk.weights for chunk in chunks]).to(device))
        scale = torch.tensor([order.cfg_scale for order in orders], device=device).view(-1, 1, 1, 1)

        def predict_v(x: torch.Tensor, timestep: torch.Tensor) -> torch.Tensor:
            doubled = torch.cat([x, x]).contiguous(memory_format=torch.channels_last)
            times = torch.cat([timestep, timestep]).to(device)
            wanted, avoided = self._unet(doubled, times, encoder_hidden_states=context).sample.chunk(2)
            guided: torch.Tensor = avoided + scale * (wanted - avoided)
            return guided

        noise = torch.stack([self._noise(order.seed) for order in orders]).to(device)
        latents = sample_dpmpp_2m(predict_v, noise, orders[0].steps)
        return decode(self._vae, latents)

    def _noise(self, seed: int) -> torch.Tensor:
        generator = torch.Generator().manual_seed(seed)
        return torch.randn(LATENT_CHANNELS, self._cells, self._cells, generator=generator)


@torch.no_grad()
def decode(vae: Any, latents: torch.Tensor) -> list[NDArray[np.uint8]]:
    """Pictures of unit-variance latents, one at a time to keep memory low."""
    drawn = []
    for latent in latents:
        pixels = vae.decode(latent[None] / LATENT_SCALE).sample[0].clamp(-1, 1)
        drawn.append(((pixels.permute(1, 2, 0).cpu().numpy() + 1) * 127.5).round().astype(np.uint8))
    return drawn


def load_modules(
    shape: DemoArchitecture, work_dir: Path, name: str, *, cells: int, device: torch.device, vae: str = "vae_unit"
) -> TrainedModules:
    """The averaged weights of the run called `name`."""
    weights = torch.load(work_dir / f"{name}.pt", map_location="cpu", weights_only=True)
    unet, text = build_unet(shape), build_text_encoder(shape)
    unet.load_state_dict(weights["unet"])
    text.load_state_dict(weights["text"])
    unet.to(device, memory_format=torch.channels_last).requires_grad_(False).eval()
    text.to(device).requires_grad_(False).eval()
    return TrainedModules(load_vae(shape, work_dir / f"{vae}.pt", device), unet, text, cells=cells)


def contact_sheet(pictures: Sequence[NDArray[np.uint8]], columns: int) -> Image.Image:
    """Pictures of one size in rows."""
    height, width = pictures[0].shape[:2]
    rows = -(-len(pictures) // columns)
    sheet = Image.new("RGB", (columns * width, rows * height), "white")
    for index, picture in enumerate(pictures):
        sheet.paste(Image.fromarray(picture), ((index % columns) * width, (index // columns) * height))
    return sheet


def save_preview(source: PictureSource, path: Path) -> None:
    """Draws the preview prompts twice (seeds 1 and 2) into one PNG."""
    orders = [PictureOrder(prompt=p, negative=NEGATIVE, seed=s) for s in (1, 2) for p in PREVIEW_PROMPTS]
    contact_sheet(source.pictures(orders), columns=len(PREVIEW_PROMPTS)).save(path)
