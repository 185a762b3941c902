from __future__ import annotations

import pytest
import torch

from sdwebui.accelerators.fused.layers import NotRecognised
from sdwebui.accelerators.fused.unet import FusedUNet


def test_text_keys_and_values_are_computed_once_for_each_text(pipeline):
    fused = FusedUNet(pipeline.unet)
    states = torch.randn(2, 77, 24)
    with torch.inference_mode():
        first = fused._keys_and_values(states)
        assert fused._keys_and_values(states) is first
        assert fused._keys_and_values(states.clone()) is not first
        assert len(first) == 11, "one pair for each cross-attention: 2 + 2 down, 1 in the middle, 3 + 3 up"
        fused.refresh()
        assert fused._keys_and_values(states) is not first


def test_texts_that_are_gone_are_forgotten(pipeline):
    fused = FusedUNet(pipeline.unet)
    with torch.inference_mode():
        for _ in range(40):
            fused._keys_and_values(torch.randn(1, 77, 24))
    assert len(fused._texts) <= 16


def test_a_unet_with_another_part_is_not_recognised(pipeline):
    pipeline.unet.mid_block.attentions[0].transformer_blocks[0].attn1.set_processor(lambda *_: None)
    with pytest.raises(NotRecognised, match="Attention with function"):
        FusedUNet(pipeline.unet)
