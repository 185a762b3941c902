"""What the engine's tests share: one tiny checkpoint, one tokenizer, one loaded model."""

from __future__ import annotations

from pathlib import Path

import pytest
import torch

from sdwebui.accelerators.eager import EagerAccelerator
from sdwebui.domain.tokenizer import ClipTokenizer
from sdwebui.engine.calls import ModelState
from sdwebui.engine.devices import Device
from sdwebui.engine.weights import LoadedModel, WeightStore
from tests.tiny import checkpoint_ref, write_tiny_checkpoint


@pytest.fixture(scope="session")
def tiny_checkpoint(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return write_tiny_checkpoint(tmp_path_factory.mktemp("models"))


@pytest.fixture(scope="session")
def tokenizer(project_root: Path) -> ClipTokenizer:
    return ClipTokenizer(project_root / "configs" / "tokenizers" / "clip" / "bpe_simple_vocab_16e6.txt.gz")


@pytest.fixture(scope="session")
def cpu() -> Device:
    return Device(name="cpu", precisions=(torch.float32,))


@pytest.fixture(scope="session")
def model(tiny_checkpoint: Path, cpu: Device) -> LoadedModel:
    """The tiny checkpoint, loaded."""
    store = WeightStore(cpu, [EagerAccelerator()], budget_bytes=10**9)
    store.bring_to(ModelState(checkpoint=checkpoint_ref(tiny_checkpoint)))
    assert store.current is not None
    return store.current
