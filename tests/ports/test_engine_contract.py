"""What every engine must do, by `ports.Engine`. A new one joins by one line in `ENGINES`."""

from __future__ import annotations

import queue
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
import torch

from sdwebui.accelerators.eager import EagerAccelerator
from sdwebui.domain.results import ImageDone, JobFailed, JobFinished, JobStarted, StepDone
from sdwebui.domain.tokenizer import ClipTokenizer
from sdwebui.engine.devices import Device
from sdwebui.engine.engine import Engine
from sdwebui.ports import Engine as EnginePort
from tests.tiny import tiny_request, write_tiny_checkpoint


def eager_engine(root: Path) -> EnginePort:
    tokenizer = ClipTokenizer(root / "configs" / "tokenizers" / "clip" / "bpe_simple_vocab_16e6.txt.gz")
    return Engine(Device(name="cpu", precisions=(torch.float32,)), [EagerAccelerator()], tokenizer)


ENGINES: tuple[Callable[[Path], EnginePort], ...] = (eager_engine,)


@pytest.fixture(params=ENGINES, ids=lambda make: make.__name__)
def engine(request: pytest.FixtureRequest, project_root: Path) -> Iterator[EnginePort]:
    made: EnginePort = request.param(project_root)
    yield made
    made.close()


@pytest.fixture(scope="module")
def checkpoint(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return write_tiny_checkpoint(tmp_path_factory.mktemp("models"))


def drain(events: queue.SimpleQueue[Any]) -> list[Any]:
    seen: list[Any] = []
    while not seen or not isinstance(seen[-1], JobFinished | JobFailed):
        seen.append(events.get(timeout=60))
    return seen


def test_a_job_has_a_first_and_exactly_one_last_event(engine: EnginePort, checkpoint: Path):
    events: queue.SimpleQueue[Any] = queue.SimpleQueue()
    engine.submit("a", tiny_request(checkpoint, batch_size=2, batch_count=2), events.put)
    seen = drain(events)
    assert isinstance(seen[0], JobStarted)
    assert {one.job_id for one in seen} == {"a"}
    assert sorted(one.image_index for one in seen if isinstance(one, ImageDone)) == [0, 1, 2, 3]
    assert [one.seed for one in seen if isinstance(one, ImageDone)] == [7, 8, 9, 10]
    engine.close()
    assert events.empty()


def test_a_job_that_cannot_be_done_fails_with_a_named_error(engine: EnginePort, checkpoint: Path, tmp_path: Path):
    missing = tiny_request(checkpoint)
    Path(tmp_path / "gone.safetensors").write_bytes(checkpoint.read_bytes())
    request = tiny_request(tmp_path / "gone.safetensors")
    (tmp_path / "gone.safetensors").unlink()
    events: queue.SimpleQueue[Any] = queue.SimpleQueue()
    engine.submit("a", request, events.put)
    (failed,) = [one for one in drain(events) if isinstance(one, JobFailed)]
    assert failed.error["error"] == "ModelUnusable"
    engine.submit("b", missing, events.put)
    assert isinstance(drain(events)[-1], JobFinished)


def test_closing_ends_running_jobs_and_the_status_says_so(engine: EnginePort, checkpoint: Path):
    assert engine.status().state == "ready"
    events: queue.SimpleQueue[Any] = queue.SimpleQueue()
    engine.submit("a", tiny_request(checkpoint, steps=150, batch_count=50), events.put)
    engine.cancel("unknown")
    engine.close()
    last = drain(events)[-1]
    assert isinstance(last, JobFinished)
    assert last.cancelled
    assert engine.status().state == "dead"


def test_skip_gives_up_the_picture_in_work_and_makes_the_others(engine: EnginePort, checkpoint: Path):
    events: queue.SimpleQueue[Any] = queue.SimpleQueue()
    engine.submit("a", tiny_request(checkpoint, steps=30, batch_size=1, batch_count=3), events.put)
    seen: list[Any] = []
    while not any(isinstance(one, StepDone) for one in seen):
        seen.append(events.get(timeout=60))
    engine.skip("a")
    engine.skip("unknown")
    seen += drain(events)
    assert [one.image_index for one in seen if isinstance(one, ImageDone)] == [1, 2]
    assert isinstance(seen[-1], JobFinished)
    assert not seen[-1].cancelled


def test_a_job_whose_only_picture_is_skipped_counts_as_cancelled(engine: EnginePort, checkpoint: Path):
    events: queue.SimpleQueue[Any] = queue.SimpleQueue()
    engine.submit("a", tiny_request(checkpoint, steps=30), events.put)
    while not isinstance(events.get(timeout=60), StepDone):
        pass
    engine.skip("a")
    last = drain(events)[-1]
    assert isinstance(last, JobFinished)
    assert last.cancelled
