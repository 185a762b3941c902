"""The UNet of SD1-like models as one function over fused layers. To add a kind of block: its name in `_DOWN`, `_UP`."""

from __future__ import annotations

import math
import weakref
from collections.abc import Iterator
from typing import Any

import torch
import torch.nn.functional as F  # noqa: N812 - torch's own convention
from torch import Tensor

from sdwebui.accelerators.fused.layers import (
    Conv,
    Derived,
    Norm,
    NotRecognised,
    Refreshable,
    Resnet,
    Transformer,
    Upsample,
    expect,
)

_DOWN = ("DownBlock2D", "CrossAttnDownBlock2D")
_UP = ("UpBlock2D", "CrossAttnUpBlock2D")
_TEXTS = 16


class _Block:
    """Residual blocks with their transformers, and what follows them."""

    def __init__(self, module: Any) -> None:
        attentions = getattr(module, "attentions", None) or []
        self.resnets = [Resnet(one) for one in module.resnets]
        found: list[Transformer | None] = [Transformer(one) for one in attentions]
        self.transformers = found or [None] * len(self.resnets)
        downs, ups = getattr(module, "downsamplers", None), getattr(module, "upsamplers", None)
        self.down = _downsample(downs[0]) if downs else None
        self.up = Upsample(ups[0]) if ups else None


class FusedUNet:
    """A diffusers UNet2DConditionModel, computed by fused layers over the same parameters.

    Raises:
        NotRecognised: the module has a part that is not known exactly.
    """

    def __init__(self, module: Any) -> None:
        expect(module, "UNet2DConditionModel", add_embedding=None, class_embedding=None, encoder_hid_proj=None)
        expect(module.mid_block, "UNetMidBlock2DCrossAttn")
        if module.config.time_embedding_type != "positional" or module.config.center_input_sample:
            raise NotRecognised("a UNet with another time embedding")
        self._time_channels = module.config.block_out_channels[0]
        self._time = module.time_embedding
        self._conv_in, self._conv_out = Conv(module.conv_in), Conv(module.conv_out)
        self._norm_out = Norm(module.conv_norm_out, silu=True)
        self._downs = [_checked(one, _DOWN) for one in module.down_blocks]
        self._ups = [_checked(one, _UP) for one in module.up_blocks]
        self._middle = _Block(module.mid_block)
        self._join_weights()
        self._texts: dict[int, tuple[weakref.ref[Tensor], list[tuple[Tensor, Tensor]]]] = {}

    def __call__(self, x: Tensor, timestep: Tensor, states: Tensor) -> Tensor:
        """(x [B, 4, h, w], timestep [B], text states [B, n, C]) → [B, 4, h, w]."""
        times = iter(self._times(timestep, x.dtype))
        text = iter(self._keys_and_values(states))
        hidden = self._conv_in(x)
        skips = [hidden]
        for block in self._downs:
            for resnet, transformer in zip(block.resnets, block.transformers, strict=True):
                hidden = resnet(hidden, next(times))
                if transformer is not None:
                    hidden = transformer(hidden, text)
                skips.append(hidden)
            if block.down is not None:
                hidden = block.down(hidden)
                skips.append(hidden)
        hidden = self._run_middle(hidden, times, text)
        for block in self._ups:
            for resnet, transformer in zip(block.resnets, block.transformers, strict=True):
                hidden = resnet(torch.cat([hidden, skips.pop()], dim=1), next(times))
                if transformer is not None:
                    hidden = transformer(hidden, text)
            if block.up is not None:
                hidden = block.up(hidden, skips[-1].shape[2:])
        return self._conv_out(self._norm_out(hidden))

    def refresh(self) -> None:
        """Weights have changed in place: compute again what was derived from them."""
        for derived in self._derived:
            derived.refresh()
        self._texts.clear()

    def _run_middle(self, hidden: Tensor, times: Iterator[Tensor], text: Iterator[tuple[Tensor, Tensor]]) -> Tensor:
        first, *others = self._middle.resnets
        hidden = first(hidden, next(times))
        for resnet, transformer in zip(others, self._middle.transformers, strict=True):
            if transformer is not None:
                hidden = transformer(hidden, text)
            hidden = resnet(hidden, next(times))
        return hidden

    def _join_weights(self) -> None:
        """All time projections as one matrix, all keys and values of the text as another."""
        blocks = [*self._downs, self._middle, *self._ups]
        resnets = [resnet for block in blocks for resnet in block.resnets]
        crosses = [
            one.cross
            for block in blocks
            for transformer in block.transformers
            if transformer
            for one in transformer.blocks
        ]
        if any(resnet.channels == 0 for resnet in resnets) or any(one.key.bias is not None for one in crosses):
            raise NotRecognised("a UNet with other projections")
        self._time_weight = Derived([resnet.time_projection.weight for resnet in resnets])
        self._time_bias = Derived([resnet.time_projection.bias for resnet in resnets])
        self._text_weight = Derived([side.weight for cross in crosses for side in (cross.key, cross.value)])
        self._time_sizes = [resnet.channels for resnet in resnets]
        self._text_sizes = [side.out_features for cross in crosses for side in (cross.key, cross.value)]
        self._crosses = crosses
        own = [
            derived
            for block in blocks
            for transformer in block.transformers
            if transformer
            for one in transformer.blocks
            for derived in one.attention.derived
        ]
        ups = [derived for block in blocks if block.up for derived in block.up.derived]
        self._derived: list[Refreshable] = [self._time_weight, self._time_bias, self._text_weight, *own, *ups]

    def _times(self, timestep: Tensor, dtype: torch.dtype) -> tuple[Tensor, ...]:
        """The projected time of every residual block, [B, C'] each: cosines and sines, two layers, one product."""
        half = self._time_channels // 2
        frequencies = torch.exp(torch.arange(half, device=timestep.device) * (-math.log(10000.0) / half))
        angles = timestep.float()[:, None] * frequencies
        waves = torch.cat([angles.cos(), angles.sin()], dim=1).to(dtype)
        first, second = self._time.linear_1, self._time.linear_2
        hidden = F.silu(F.linear(waves, first.weight, first.bias), inplace=True)
        embedded = F.silu(F.linear(hidden, second.weight, second.bias), inplace=True)
        projected = F.linear(embedded, self._time_weight.value, self._time_bias.value)
        return torch.split(projected, self._time_sizes, dim=1)

    def _keys_and_values(self, states: Tensor) -> list[tuple[Tensor, Tensor]]:
        """Keys and values of every cross-attention, computed once for each tensor object of text states."""
        known = self._texts.get(id(states))
        if known is not None and known[0]() is states:
            return known[1]
        parts = torch.split(F.linear(states, self._text_weight.value), self._text_sizes, dim=2)
        made = [
            (cross.split(keys), cross.split(values))
            for cross, keys, values in zip(self._crosses, parts[::2], parts[1::2], strict=True)
        ]
        self._texts = {key: kept for key, kept in self._texts.items() if kept[0]() is not None}
        if len(self._texts) >= _TEXTS:
            self._texts.pop(next(iter(self._texts)))
        self._texts[id(states)] = (weakref.ref(states), made)
        return made


def _checked(module: Any, names: tuple[str, ...]) -> _Block:
    if type(module).__name__ not in names:
        raise NotRecognised(f"{type(module).__name__} in a UNet")
    return _Block(module)


def _downsample(module: Any) -> Conv:
    expect(module, "Downsample2D", use_conv=True, norm=None, padding=1)
    return Conv(module.conv)
