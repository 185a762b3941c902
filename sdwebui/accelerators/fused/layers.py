"""Fused forms of diffusers' layers, sharing its parameters. To add a layer: a class with a recognising constructor.

Each class is made from a diffusers module, refuses one that it does not know exactly (`NotRecognised`), and computes
the same function: exact algebra, only the order of additions may differ in the last bits. What is left out against
diffusers: divisions by 1, separate q, k and v products, copies between layouts, one Python call a layer.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from typing import Any, Protocol

import torch
import torch.nn.functional as F  # noqa: N812 - torch's own convention
from torch import Tensor


class NotRecognised(Exception):
    """A module differs from what a fused layer knows; it stays eager. The text says where."""


def expect(module: Any, name: str, **facts: Any) -> None:
    """Check that a module is of the diffusers class `name`, unhooked, with these attribute values.

    Raises:
        NotRecognised: it is not.
    """
    found = type(module).__name__
    if found != name:
        raise NotRecognised(f"{found} instead of {name}")
    for one in module.modules():
        if one._forward_hooks or one._forward_pre_hooks or "forward" in vars(one):
            raise NotRecognised(f"{type(one).__name__} is hooked")
    for key, value in facts.items():
        if getattr(module, key, None) != value:
            raise NotRecognised(f"{name} has {key} = {getattr(module, key, None)!r}")


class Refreshable(Protocol):
    """Something computed from parameters ahead of time."""

    def refresh(self) -> None:
        """The parameters have new values."""


class Derived:
    """Parameters joined on axis 0, kept at one address and refreshed when they change.

    Args:
        sources: the parameters, in order.
    """

    def __init__(self, sources: Sequence[Tensor]) -> None:
        self._sources = sources
        self.value = torch.cat(list(sources)).contiguous()

    def refresh(self) -> None:
        """Compute the value again, in place; at a new address only when the number format has changed."""
        joined = torch.cat(list(self._sources))
        if joined.dtype == self.value.dtype:
            self.value.copy_(joined)
        else:
            self.value = joined


def tokens_of(x: Tensor) -> Tensor:
    """[B, C, h, w] channels-last as [B, h·w, C], without a copy."""
    return x.permute(0, 2, 3, 1).flatten(1, 2)


def picture_of(tokens: Tensor, height: int, width: int) -> Tensor:
    """[B, h·w, C] as [B, C, h, w] channels-last, without a copy."""
    return torch.unflatten(tokens, 1, (height, width)).permute(0, 3, 1, 2)


class Norm:
    """Group norm, with or without SiLU behind it."""

    def __init__(self, module: torch.nn.GroupNorm, *, silu: bool) -> None:
        expect(module, "GroupNorm")
        self._arguments = (module.num_groups, module.weight, module.bias, module.eps)
        self._silu = silu

    def __call__(self, x: Tensor) -> Tensor:
        """Same shape as x."""
        normed = F.group_norm(x, *self._arguments)
        return F.silu(normed, inplace=True) if self._silu else normed


class Conv:
    """A plain convolution; one of 1×1 is a matrix product over the cells."""

    def __init__(self, module: torch.nn.Conv2d) -> None:
        expect(module, "Conv2d", groups=1, dilation=(1, 1), padding_mode="zeros")
        self._weight, self._bias = module.weight, module.bias
        self._stride, self._padding = module.stride, module.padding
        self._is_matrix = module.kernel_size == (1, 1) and module.stride == (1, 1) and module.padding == (0, 0)

    def __call__(self, x: Tensor) -> Tensor:
        """[B, C, h, w] → [B, C', h', w']."""
        if self._is_matrix and x.is_contiguous(memory_format=torch.channels_last):
            product = F.linear(x.permute(0, 2, 3, 1), self._weight.flatten(1), self._bias)
            return product.permute(0, 3, 1, 2)
        return F.conv2d(x, self._weight, self._bias, self._stride, self._padding)


class Resnet:
    """diffusers' ResnetBlock2D. `channels` is the width of its time embedding, 0 without one."""

    def __init__(self, module: Any) -> None:
        expect(module, "ResnetBlock2D", upsample=None, downsample=None, output_scale_factor=1.0)
        # Without a time projection the kind of time embedding does not matter ("group" in VAEs).
        is_plain = module.time_embedding_norm == "default" or module.time_emb_proj is None
        if not is_plain or not isinstance(module.nonlinearity, torch.nn.SiLU):
            raise NotRecognised("ResnetBlock2D with another embedding or activation")
        self._norm1, self._norm2 = Norm(module.norm1, silu=True), Norm(module.norm2, silu=True)
        self._conv1, self._conv2 = Conv(module.conv1), Conv(module.conv2)
        self._shortcut = Conv(module.conv_shortcut) if module.conv_shortcut is not None else None
        self.time_projection = module.time_emb_proj
        self.channels = 0 if self.time_projection is None else self.time_projection.out_features

    def __call__(self, x: Tensor, time: Tensor | None = None) -> Tensor:
        """[B, C, h, w] and the projected time [B, C'] → [B, C', h, w]."""
        hidden = self._conv1(self._norm1(x))
        if time is not None:
            hidden += time[:, :, None, None]
        hidden = self._conv2(self._norm2(hidden))
        hidden += x if self._shortcut is None else self._shortcut(x)
        return hidden


class SelfAttention:
    """Attention of tokens to themselves, q, k and v as one product."""

    def __init__(self, module: Any) -> None:
        _expect_attention(module)
        self.derived = [Derived([module.to_q.weight, module.to_k.weight, module.to_v.weight])]
        if module.to_q.bias is not None:
            self.derived.append(Derived([module.to_q.bias, module.to_k.bias, module.to_v.bias]))
        self._heads = module.heads
        self._out = module.to_out[0]

    def __call__(self, tokens: Tensor) -> Tensor:
        """[B, n, C] → [B, n, C], output projection included."""
        joined = F.linear(tokens, *(one.value for one in self.derived))
        q, k, v = torch.unflatten(joined, 2, (3, self._heads, -1)).permute(2, 0, 3, 1, 4).unbind(0)
        attended = F.scaled_dot_product_attention(q, k, v)
        return F.linear(attended.transpose(1, 2).flatten(2), self._out.weight, self._out.bias)


class CrossAttention:
    """Attention of tokens to text states, whose keys and values come ready-made."""

    def __init__(self, module: Any) -> None:
        _expect_attention(module)
        self._query, self._out, self._heads = module.to_q, module.to_out[0], module.heads
        self.key, self.value = module.to_k, module.to_v

    def split(self, projected: Tensor) -> Tensor:
        """Keys or values [B, n, C] by heads: [B, heads, n, C/heads], contiguous."""
        return torch.unflatten(projected, 2, (self._heads, -1)).transpose(1, 2).contiguous()

    def __call__(self, tokens: Tensor, keys: Tensor, values: Tensor) -> Tensor:
        """[B, n, C] → [B, n, C], output projection included."""
        asked = F.linear(tokens, self._query.weight, self._query.bias)
        q = torch.unflatten(asked, 2, (self._heads, -1)).transpose(1, 2)
        attended = F.scaled_dot_product_attention(q, keys, values)
        return F.linear(attended.transpose(1, 2).flatten(2), self._out.weight, self._out.bias)


class TransformerBlock:
    """diffusers' BasicTransformerBlock: self-attention, cross-attention, GEGLU feed-forward."""

    def __init__(self, module: Any) -> None:
        expect(module, "BasicTransformerBlock", norm_type="layer_norm", pos_embed=None, only_cross_attention=False)
        expect(module.ff.net[0], "GEGLU")
        self._norms = [_layer_norm(norm) for norm in (module.norm1, module.norm2, module.norm3)]
        self.attention, self.cross = SelfAttention(module.attn1), CrossAttention(module.attn2)
        self._up, self._down = module.ff.net[0].proj, module.ff.net[2]

    def __call__(self, tokens: Tensor, keys: Tensor, values: Tensor) -> Tensor:
        """[B, n, C] → [B, n, C]."""
        tokens = tokens + self.attention(self._norms[0](tokens))
        tokens += self.cross(self._norms[1](tokens), keys, values)
        hidden, gate = F.linear(self._norms[2](tokens), self._up.weight, self._up.bias).chunk(2, dim=-1)
        tokens += F.linear(hidden * F.gelu(gate), self._down.weight, self._down.bias)
        return tokens


class Transformer:
    """diffusers' Transformer2DModel over continuous inputs."""

    def __init__(self, module: Any) -> None:
        expect(module, "Transformer2DModel", is_input_continuous=True)
        self._norm = Norm(module.norm, silu=False)
        self._ways = [_matrix(module.proj_in), _matrix(module.proj_out)]
        self.blocks = [TransformerBlock(block) for block in module.transformer_blocks]

    def __call__(self, x: Tensor, text: Iterator[tuple[Tensor, Tensor]]) -> Tensor:
        """[B, C, h, w] and the next blocks' keys and values → [B, C, h, w]."""
        tokens = F.linear(tokens_of(self._norm(x)), *self._ways[0]())
        for block in self.blocks:
            tokens = block(tokens, *next(text))
        return x + picture_of(F.linear(tokens, *self._ways[1]()), x.shape[2], x.shape[3])


class PhaseWeights:
    """A 3×3 convolution behind a nearest-neighbour doubling, as four 2×2 convolutions before it.

    Each output pixel sees only 2×2 different input pixels: weights that meet the same pixel are added up, in float32.
    16 products a pixel instead of 36; the phases stand behind each other as output channels.

    Args:
        module: the convolution.
    """

    def __init__(self, module: torch.nn.Conv2d) -> None:
        self._module = module
        self.refresh()

    def refresh(self) -> None:
        """Compute weight [4·C', C, 2, 2] and bias [4·C'] again."""
        weight = self._module.weight.float()
        rows = (
            (weight[:, :, :1], weight[:, :, 1:].sum(2, keepdim=True)),
            (weight[:, :, :2].sum(2, keepdim=True), weight[:, :, 2:]),
        )
        phases = []
        for upper, lower in rows:
            both = torch.cat([upper, lower], dim=2)
            phases.append(torch.cat([both[..., :1], both[..., 1:].sum(3, keepdim=True)], dim=3))
            phases.append(torch.cat([both[..., :2].sum(3, keepdim=True), both[..., 2:]], dim=3))
        joined = torch.cat(phases).to(self._module.weight.dtype)
        self.weight = joined.contiguous(memory_format=torch.channels_last)
        self.bias = None if self._module.bias is None else self._module.bias.repeat(4)


class Upsample:
    """Nearest-neighbour enlargement and a convolution; an exact doubling runs as four convolutions of the small map."""

    def __init__(self, module: Any) -> None:
        expect(module, "Upsample2D", use_conv=True, use_conv_transpose=False, norm=None)
        expect(module.conv, "Conv2d", kernel_size=(3, 3), padding=(1, 1), stride=(1, 1))
        self._conv = Conv(module.conv)
        self.derived = [PhaseWeights(module.conv)]

    def __call__(self, x: Tensor, size: Sequence[int]) -> Tensor:
        """[B, C, h, w] → [B, C', *size]."""
        batch, _, height, width = x.shape
        if tuple(size) != (2 * height, 2 * width):
            return self._conv(F.interpolate(x, size=list(size), mode="nearest"))
        phases = torch.unflatten(F.conv2d(x, self.derived[0].weight, self.derived[0].bias, padding=1), 1, (4, -1))
        out = x.new_empty(batch, 2 * height, 2 * width, phases.shape[2]).permute(0, 3, 1, 2)
        for number in range(4):
            row, column = divmod(number, 2)
            out[:, :, row::2, column::2] = phases[:, number, :, row : row + height, column : column + width]
        return out


def _expect_attention(module: Any) -> None:
    expect(module, "Attention", spatial_norm=None, norm_q=None, norm_k=None, added_kv_proj_dim=None)
    if type(module.processor).__name__ != "AttnProcessor2_0" or module.norm_cross or module.rescale_output_factor != 1:
        raise NotRecognised(f"Attention with {type(module.processor).__name__}")


def _layer_norm(module: torch.nn.LayerNorm) -> Callable[[Tensor], Tensor]:
    expect(module, "LayerNorm")
    return lambda x: F.layer_norm(x, module.normalized_shape, module.weight, module.bias, module.eps)


def _matrix(module: Any) -> Callable[[], tuple[Tensor, Tensor]]:
    """Weight as a matrix and bias of a 1×1 convolution or a linear layer, as they are at the time of the call."""
    if type(module).__name__ not in ("Conv2d", "Linear") or (module.weight.ndim == 4 and module.weight.shape[2] != 1):
        raise NotRecognised(f"a projection that is a {type(module).__name__}")
    return lambda: (module.weight.flatten(1), module.bias)
