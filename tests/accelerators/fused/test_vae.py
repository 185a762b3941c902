from __future__ import annotations

import pytest
import torch

from sdwebui.accelerators.fused.layers import NotRecognised
from sdwebui.accelerators.fused.vae import FusedDecoder


def test_the_decoder_gives_diffusers_pixels_before_and_after_a_change_of_weights(pipeline):
    fused, vae = FusedDecoder(pipeline.vae), pipeline.vae
    latents = torch.randn(2, 4, 6, 8)
    with torch.inference_mode():
        torch.testing.assert_close(fused(latents), vae.decode(latents).sample, rtol=1e-4, atol=1e-5)
    with torch.no_grad():
        for parameter in vae.parameters():
            parameter.mul_(1.05)
    fused.refresh()
    with torch.inference_mode():
        torch.testing.assert_close(fused(latents), vae.decode(latents).sample, rtol=1e-4, atol=1e-5)


def test_a_change_of_precision_is_followed(pipeline):
    fused = FusedDecoder(pipeline.vae)
    pipeline.vae.to(torch.float64)
    fused.refresh()
    with torch.inference_mode():
        latents = torch.randn(1, 4, 4, 4, dtype=torch.float64)
        torch.testing.assert_close(fused(latents), pipeline.vae.decode(latents).sample)


def test_a_tiled_vae_stays_eager(pipeline):
    pipeline.vae.enable_tiling()
    with pytest.raises(NotRecognised, match="use_tiling = True"):
        FusedDecoder(pipeline.vae)
