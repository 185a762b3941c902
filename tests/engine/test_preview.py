from __future__ import annotations

import io

import torch
from PIL import Image

from sdwebui.engine.architecture import VaeShape
from sdwebui.engine.preview import PreviewMatrix, fit_preview, preview_png
from sdwebui.engine.weights import LoadedModel


class LinearVae(torch.nn.Module):
    """A decoder that really is linear: the fit must find its matrix."""

    def __init__(self) -> None:
        super().__init__()
        self.matrix = torch.nn.Parameter(torch.tensor([[0.1, 0.2, 0.0], [0.0, -0.1, 0.1], [0.05, 0, 0], [0, 0, 0.1]]))

    def decode(self, latents, return_dict):
        rgb = torch.einsum("bchw,cd->bdhw", latents * 0.5, self.matrix) + 0.05
        return (rgb.repeat_interleave(2, 2).repeat_interleave(2, 3),)


def test_the_fit_finds_a_linear_decoder():
    shape = VaeShape(latent_channels=4, channels=(8, 8), layers_per_block=1, norm_groups=4)
    vae = LinearVae()
    found = fit_preview(vae, scale_factor=0.5, shape=shape)
    torch.testing.assert_close(found.factors, vae.matrix.detach(), atol=0.02, rtol=0)
    torch.testing.assert_close(found.offset, torch.full((3,), 0.05), atol=0.02, rtol=0)


def test_the_full_size_sd1_vae_has_a_table_and_is_not_run():
    shape = VaeShape(latent_channels=4, channels=(128, 256, 512, 512), layers_per_block=2, norm_groups=32)
    assert fit_preview(None, scale_factor=0.18215, shape=shape).factors.shape == (4, 3)


def test_a_preview_is_a_small_png_that_shows_the_latents(model: LoadedModel):
    matrix = PreviewMatrix(factors=torch.eye(4)[:, :3].contiguous(), offset=torch.zeros(3))
    latents = torch.zeros(1, 4, 8, 6)
    latents[:, 0, :, :3] = 1.0
    image = Image.open(io.BytesIO(preview_png(latents, matrix)))
    assert image.size == (12, 16)
    assert image.getpixel((1, 8)) == (255, 128, 128)
    assert image.getpixel((10, 8)) == (128, 128, 128)
    assert preview_png(torch.randn(1, 4, 8, 8), model.preview).startswith(b"\x89PNG")


def test_latents_with_nan_have_no_preview():
    matrix = PreviewMatrix(factors=torch.ones(4, 3), offset=torch.zeros(3))
    assert preview_png(torch.full((1, 4, 2, 2), float("nan")), matrix) == b""
