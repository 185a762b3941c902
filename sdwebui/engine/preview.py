"""Small pictures of unfinished latents: one matrix product instead of a VAE decode.

A VAE's decoder is about linear in its latents, cell by cell. For full-size SD1 VAEs the matrix is a table; for any
other VAE it is fitted once at load. To add a family's table: a row in `_TABLES`.
"""

from __future__ import annotations

import io
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import torch
from PIL import Image
from torch import Tensor

from sdwebui.engine.architecture import VaeShape

_ENLARGEMENT = 2
_FIT_PICTURES = 24
_FIT_CELLS = 4


@dataclass(frozen=True, kw_only=True, eq=False)
class PreviewMatrix:
    """rgb = latent cell · `factors` + `offset`, in −1…1.

    Attributes:
        factors: [C, 3], float32, on the CPU.
        offset: [3], float32, on the CPU.
    """

    factors: Tensor
    offset: Tensor


# Least-squares fits over decoded pictures, by the VAE's widths: (factors [C, 3], offset [3]). The SD1 row is the
# "latent RGB factors" fit published for the KL-f8 VAE of Stable Diffusion 1 (facts, no code).
_TABLES: Mapping[tuple[int, ...], tuple[tuple[tuple[float, ...], ...], tuple[float, ...]]] = {
    (128, 256, 512, 512): (
        ((0.3512, 0.2297, 0.3227), (0.3250, 0.4974, 0.2350), (-0.2829, 0.1762, 0.2721), (-0.2120, -0.2616, -0.7177)),
        (0.0, 0.0, 0.0),
    ),
}


def fit_preview(vae: Any, scale_factor: float, shape: VaeShape) -> PreviewMatrix:
    """The preview matrix of a VAE: its table's row, or a least-squares fit over a few decoded random latents.

    Args:
        vae: a diffusers AutoencoderKL.
        scale_factor: latents are the VAE's mean times this.
        shape: its widths, which say whether there is a table row.
    """
    row = _TABLES.get(shape.channels)
    if row is not None and shape.latent_channels == len(row[0]):
        return PreviewMatrix(factors=torch.tensor(row[0]), offset=torch.tensor(row[1]))
    generator = torch.Generator().manual_seed(0)
    base = torch.randn(_FIT_PICTURES, shape.latent_channels, 1, 1, generator=generator)
    detail = torch.randn(_FIT_PICTURES, shape.latent_channels, _FIT_CELLS, _FIT_CELLS, generator=generator)
    latents = base + 0.3 * detail
    parameter = next(vae.parameters())
    with torch.inference_mode():
        pixels = vae.decode((latents / scale_factor).to(parameter.device, parameter.dtype), return_dict=False)[0]
    colours = torch.nn.functional.avg_pool2d(pixels.float().cpu().clamp(-1, 1), shape.downscale)
    cells = latents.permute(0, 2, 3, 1).reshape(-1, shape.latent_channels)
    inputs = torch.cat([cells, torch.ones(len(cells), 1)], dim=1)
    solution = torch.linalg.lstsq(inputs, colours.permute(0, 2, 3, 1).reshape(-1, 3)).solution
    return PreviewMatrix(factors=solution[:-1].contiguous(), offset=solution[-1].contiguous())


def preview_png(latents: Tensor, matrix: PreviewMatrix) -> bytes:
    """A small PNG of latents [1, C, h, w], two pixels a latent cell each way. Empty for latents with NaN."""
    rgb = latents[0].float().cpu().permute(1, 2, 0) @ matrix.factors + matrix.offset
    if not bool(torch.isfinite(rgb).all()):
        return b""
    pixels = ((rgb.clamp(-1, 1) + 1) * 127.5).round().to(torch.uint8).numpy()
    image = Image.fromarray(pixels, "RGB")
    larger = image.resize((image.width * _ENLARGEMENT, image.height * _ENLARGEMENT), Image.Resampling.BICUBIC)
    buffer = io.BytesIO()
    larger.save(buffer, "PNG", compress_level=1)
    return buffer.getvalue()
