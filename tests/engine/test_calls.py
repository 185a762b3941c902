from __future__ import annotations

import torch

from sdwebui.engine.calls import ModelState
from tests.engine.fakes import denoise_call
from tests.tiny import checkpoint_ref


def test_equal_checkpoints_and_precisions_are_one_state(tiny_checkpoint):
    ref = checkpoint_ref(tiny_checkpoint)
    assert ModelState(checkpoint=ref) == ModelState(checkpoint=checkpoint_ref(tiny_checkpoint))
    assert len({ModelState(checkpoint=ref), ModelState(checkpoint=ref, precision=1)}) == 2


def test_calls_are_told_apart_by_identity_so_that_tensors_are_never_compared(tiny_checkpoint):
    state = ModelState(checkpoint=checkpoint_ref(tiny_checkpoint))
    x = torch.ones(1, 4, 2, 2)
    assert denoise_call(state, x=x) != denoise_call(state, x=x)
