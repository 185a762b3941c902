"""The shapes of the demo model's three parts, built with diffusers and transformers. Change a size here only."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import torch
from diffusers import AutoencoderKL, UNet2DConditionModel
from torch import nn
from transformers import CLIPTextConfig, CLIPTextModel

LATENT_CHANNELS = 4
VAE_FACTOR = 8
VOCABULARY = 49408
CHUNK_TOKENS = 77
START_TOKEN = 49406
END_TOKEN = 49407
TRAIN_TIMESTEPS = 1000
BETA_START = 0.00085
BETA_END = 0.012


@dataclass(frozen=True, kw_only=True)
class DemoArchitecture:
    """Sizes in the words of the original Stable Diffusion configuration files."""

    vae_channels: int = 16
    vae_multipliers: tuple[int, ...] = (1, 2, 4, 4)
    vae_blocks: int = 1
    vae_groups: int = 4
    text_width: int = 48
    text_layers: int = 3
    text_heads: int = 4
    text_intermediate: int = 192
    unet_channels: int = 32
    unet_multipliers: tuple[int, ...] = (1, 2, 3, 2)
    unet_blocks: int = 1
    unet_attention: tuple[int, ...] = (2, 4)
    unet_heads: int = 4
    unet_groups: int = 8


def build_vae(shape: DemoArchitecture) -> Any:
    """An AutoencoderKL that starts as plain 8x8 averaging and nearest-neighbour enlargement."""
    levels = len(shape.vae_multipliers)
    vae = AutoencoderKL(
        in_channels=3,
        out_channels=3,
        down_block_types=("DownEncoderBlock2D",) * levels,
        up_block_types=("UpDecoderBlock2D",) * levels,
        block_out_channels=tuple(shape.vae_channels * factor for factor in shape.vae_multipliers),
        layers_per_block=shape.vae_blocks,
        latent_channels=LATENT_CHANNELS,
        norm_num_groups=shape.vae_groups,
        sample_size=256,
    )
    start_as_pooling(vae)
    return vae


def build_text_encoder(shape: DemoArchitecture) -> Any:
    """A CLIP text model; its vocabulary is the real CLIP one."""
    return CLIPTextModel(
        CLIPTextConfig(
            vocab_size=VOCABULARY,
            hidden_size=shape.text_width,
            intermediate_size=shape.text_intermediate,
            num_hidden_layers=shape.text_layers,
            num_attention_heads=shape.text_heads,
            max_position_embeddings=CHUNK_TOKENS,
            projection_dim=shape.text_width,
            hidden_act="quick_gelu",
            bos_token_id=START_TOKEN,
            eos_token_id=END_TOKEN,
            pad_token_id=END_TOKEN,
        )
    )


def build_unet(shape: DemoArchitecture) -> Any:
    """A UNet2DConditionModel whose residual outputs start near zero and whose last layer starts at zero."""
    levels = len(shape.unet_multipliers)
    crossed = [2**level in shape.unet_attention for level in range(levels)]
    unet = UNet2DConditionModel(
        sample_size=32,
        in_channels=LATENT_CHANNELS,
        out_channels=LATENT_CHANNELS,
        down_block_types=tuple("CrossAttnDownBlock2D" if cross else "DownBlock2D" for cross in crossed),
        up_block_types=tuple("CrossAttnUpBlock2D" if cross else "UpBlock2D" for cross in reversed(crossed)),
        block_out_channels=tuple(shape.unet_channels * factor for factor in shape.unet_multipliers),
        layers_per_block=shape.unet_blocks,
        attention_head_dim=shape.unet_heads,
        cross_attention_dim=shape.text_width,
        norm_num_groups=shape.unet_groups,
    )
    _start_near_zero(unet)
    return unet


def _start_near_zero(unet: Any) -> None:
    for name, parameter in unet.named_parameters():
        residual_output = any(part in name for part in ("conv2.", "proj_out.", "to_out.0.", "ff.net.2."))
        if residual_output:
            parameter.data.mul_(0.1 if name.endswith("weight") else 0.0)
    nn.init.zeros_(unet.conv_out.weight)
    nn.init.zeros_(unet.conv_out.bias)


@torch.no_grad()
def start_as_pooling(vae: Any) -> None:
    """Sets the weights so that the encoder averages 8x8 pixels and the decoder repeats them.

    Colours travel as pairs (+c, -c), because silu(c) - silu(-c) = c survives the last activation.
    """
    pairs = 2 * 3
    for name, parameter in vae.named_parameters():
        if any(part in name for part in ("conv2.", "to_out.0.")):
            parameter.mul_(0.1 if name.endswith("weight") else 0.0)
        if name.endswith("bias"):
            parameter.zero_()
    for module in vae.modules():
        if type(module).__name__ == "ResnetBlock2D" and module.conv_shortcut is not None:
            _pass_through(module.conv_shortcut.weight, pairs)
        if type(module).__name__ == "Downsample2D":
            _pass_through(module.conv.weight, pairs, taps=((0, 0), (0, 1), (1, 0), (1, 1)))
        if type(module).__name__ == "Upsample2D":
            _pass_through(module.conv.weight, pairs, taps=((1, 1),))
    for coder, inputs in ((vae.encoder, 3), (vae.decoder, LATENT_CHANNELS)):
        _open_pairs(coder.conv_in.weight, inputs)
        _close_pairs(coder.conv_out.weight)
    nn.init.dirac_(vae.quant_conv.weight[:LATENT_CHANNELS])
    vae.quant_conv.weight[LATENT_CHANNELS:].zero_()
    vae.quant_conv.bias[LATENT_CHANNELS:].fill_(-6.0)
    nn.init.dirac_(vae.post_quant_conv.weight)


def _pass_through(weight: torch.Tensor, channels: int, taps: tuple[tuple[int, int], ...] = ((0, 0),)) -> None:
    weight.mul_(0.5)
    weight[:channels] = 0
    for channel in range(channels):
        for row, column in taps:
            weight[channel, channel, row, column] = 1 / len(taps)


def _open_pairs(weight: torch.Tensor, inputs: int) -> None:
    weight[:6] = 0
    for color in range(min(3, inputs)):
        weight[2 * color, color, 1, 1] = 1
        weight[2 * color + 1, color, 1, 1] = -1


def _close_pairs(weight: torch.Tensor) -> None:
    weight.mul_(0.05)
    for color in range(3):
        weight[color] = 0
        weight[color, 2 * color, 1, 1] = 0.6
        weight[color, 2 * color + 1, 1, 1] = -0.6
