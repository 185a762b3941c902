from __future__ import annotations

import pytest
import torch
from diffusers.models.attention_processor import Attention
from diffusers.models.resnet import ResnetBlock2D
from diffusers.models.upsampling import Upsample2D

from sdwebui.accelerators.fused.layers import (
    Conv,
    Derived,
    NotRecognised,
    Resnet,
    SelfAttention,
    Upsample,
    expect,
    picture_of,
    tokens_of,
)


def channels_last(*shape: int) -> torch.Tensor:
    return torch.randn(*shape).contiguous(memory_format=torch.channels_last)


@pytest.fixture(autouse=True)
def _inference():
    with torch.inference_mode():
        yield


@pytest.mark.parametrize("size", [(4, 4), (5, 3), (1, 1)])
def test_a_doubling_as_four_small_convolutions_equals_the_large_one(size: tuple[int, int]):
    module = Upsample2D(6, use_conv=True, out_channels=7)
    x = channels_last(2, 6, *size)
    found = Upsample(module)(x, (2 * size[0], 2 * size[1]))
    torch.testing.assert_close(found, module(x), rtol=1e-5, atol=1e-5)
    assert found.is_contiguous(memory_format=torch.channels_last)


def test_another_size_than_the_double_is_enlarged_as_diffusers_does():
    module = Upsample2D(6, use_conv=True)
    x = channels_last(1, 6, 3, 4)
    torch.testing.assert_close(Upsample(module)(x, (5, 7)), module(x, output_size=(5, 7)), rtol=1e-5, atol=1e-5)


@pytest.mark.parametrize("kernel", [1, 3])
@pytest.mark.parametrize("layout", [torch.channels_last, torch.contiguous_format])
def test_convolutions_are_the_same_in_either_layout(kernel: int, layout: torch.memory_format):
    module = torch.nn.Conv2d(5, 6, kernel, padding=kernel // 2)
    x = torch.randn(2, 5, 4, 3).contiguous(memory_format=layout)
    torch.testing.assert_close(Conv(module)(x), module(x), rtol=1e-5, atol=1e-5)


@pytest.mark.parametrize("out", [8, 12])
def test_a_residual_block_equals_diffusers(out: int):
    module = ResnetBlock2D(in_channels=8, out_channels=out, temb_channels=10, groups=4)
    x, time = channels_last(2, 8, 5, 5), torch.randn(2, 10)
    fused = Resnet(module)
    before = x.clone()
    projected = module.time_emb_proj(torch.nn.functional.silu(time))
    torch.testing.assert_close(fused(x, projected), module(x, time), rtol=1e-5, atol=1e-5)
    assert torch.equal(x, before)
    assert fused.channels == out


@pytest.mark.parametrize("bias", [True, False])
def test_q_k_and_v_as_one_product_equal_three(bias: bool):
    module = Attention(query_dim=12, heads=3, dim_head=4, bias=bias)
    tokens = torch.randn(2, 9, 12)
    torch.testing.assert_close(SelfAttention(module)(tokens), module(tokens), rtol=1e-5, atol=1e-5)


def test_tokens_and_pictures_are_views_of_each_other():
    x = channels_last(2, 6, 4, 5)
    tokens = tokens_of(x)
    assert tokens.shape == (2, 20, 6)
    assert tokens.data_ptr() == x.data_ptr()
    assert torch.equal(picture_of(tokens, 4, 5), x)


def test_derived_weights_keep_their_address_when_refreshed():
    sources = [torch.ones(2, 3), torch.zeros(1, 3)]
    derived = Derived(sources)
    address = derived.value.data_ptr()
    sources[1].fill_(7)
    derived.refresh()
    assert derived.value[2, 0] == 7
    assert derived.value.data_ptr() == address


def test_hooked_renamed_or_changed_modules_are_not_recognised():
    hooked = torch.nn.Conv2d(4, 4, 3)
    hooked.register_forward_hook(lambda *_: None)
    with pytest.raises(NotRecognised, match="Conv2d is hooked"):
        Conv(hooked)
    circular = torch.nn.Conv2d(4, 4, 3, padding=1, padding_mode="circular")
    with pytest.raises(NotRecognised, match="padding_mode = 'circular'"):
        Conv(circular)
    with pytest.raises(NotRecognised, match="Linear instead of Conv2d"):
        expect(torch.nn.Linear(1, 1), "Conv2d")
