"""The decoder of a KL autoencoder as one function over fused layers. To add a kind of block: a branch in `_Stage`."""

from __future__ import annotations

from typing import Any

from torch import Tensor

from sdwebui.accelerators.fused.layers import (
    Conv,
    Norm,
    NotRecognised,
    Refreshable,
    Resnet,
    SelfAttention,
    Upsample,
    expect,
    picture_of,
    tokens_of,
)


class FusedDecoder:
    """A diffusers AutoencoderKL's `decode`, computed by fused layers over the same parameters.

    Raises:
        NotRecognised: the module has a part that is not known exactly.
    """

    def __init__(self, module: Any) -> None:
        expect(module, "AutoencoderKL", use_slicing=False, use_tiling=False)
        decoder = module.decoder
        expect(decoder, "Decoder")
        expect(decoder.mid_block, "UNetMidBlock2D")
        if len(decoder.mid_block.attentions) != 1 or len(decoder.mid_block.resnets) != 2:
            raise NotRecognised("a VAE with another middle")
        self._post = Conv(module.post_quant_conv) if module.post_quant_conv is not None else None
        self._conv_in, self._conv_out = Conv(decoder.conv_in), Conv(decoder.conv_out)
        self._norm_out = Norm(decoder.conv_norm_out, silu=True)
        attention = decoder.mid_block.attentions[0]
        self._attention_norm = Norm(attention.group_norm, silu=False)
        self._attention = SelfAttention(attention)
        self._middle = [Resnet(one) for one in decoder.mid_block.resnets]
        self._ups = [_Stage(one) for one in decoder.up_blocks]
        self._derived: list[Refreshable] = [
            *self._attention.derived,
            *(one for stage in self._ups for one in stage.derived),
        ]

    def __call__(self, latents: Tensor) -> Tensor:
        """[B, C, h, w] → [B, 3, 8·h, 8·w] in about −1…1."""
        hidden = self._conv_in(latents if self._post is None else self._post(latents))
        hidden = self._middle[0](hidden)
        attended = self._attention(tokens_of(self._attention_norm(hidden)))
        hidden = hidden + picture_of(attended, hidden.shape[2], hidden.shape[3])
        hidden = self._middle[1](hidden)
        for stage in self._ups:
            hidden = stage(hidden)
        return self._conv_out(self._norm_out(hidden))

    def refresh(self) -> None:
        """Weights have changed in place: compute again what was derived from them."""
        for derived in self._derived:
            derived.refresh()


class _Stage:
    """One level of the decoder: residual blocks, then an enlargement but for the last level."""

    def __init__(self, module: Any) -> None:
        expect(module, "UpDecoderBlock2D")
        self._resnets = [Resnet(one) for one in module.resnets]
        self._up = Upsample(module.upsamplers[0]) if module.upsamplers else None
        self.derived = self._up.derived if self._up else []

    def __call__(self, hidden: Tensor) -> Tensor:
        for resnet in self._resnets:
            hidden = resnet(hidden)
        if self._up is None:
            return hidden
        return self._up(hidden, (hidden.shape[2] * 2, hidden.shape[3] * 2))
