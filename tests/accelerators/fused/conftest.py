"""One tiny loaded pipeline for the fused backend's tests."""

from __future__ import annotations

import pytest
import torch

from sdwebui.engine.components import Pipeline, load_pipeline
from tests.tiny import TinySpec, write_tiny_checkpoint


@pytest.fixture
def pipeline(tmp_path) -> Pipeline:
    spec = TinySpec(multipliers=(1, 2, 2), attention_levels=(0, 1), blocks=2)
    return load_pipeline(write_tiny_checkpoint(tmp_path, spec=spec), torch.device("cpu"), torch.float32)
