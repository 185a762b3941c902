"""Pictures for the report from the product's own engine: prompts go the whole way that a user's prompts go."""

from __future__ import annotations

import threading
from collections.abc import Sequence
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from scripts.demo_models.preview import PictureOrder
from sdwebui.bootstrap import build_engine
from sdwebui.domain.errors import error_from_json
from sdwebui.domain.requests import CheckpointRef, ResolvedRequest
from sdwebui.domain.results import ImageDone, JobEvent, JobFailed, JobFinished
from sdwebui.engine.checkpoints import read_facts


class EnginePictures:
    """A PictureSource over `sdwebui.engine`: DPM++ 2M Karras at the checkpoint's native size.

    Args:
        checkpoint: a checkpoint file.
        together: jobs that share batches.
    """

    def __init__(self, checkpoint: Path, together: int = 4) -> None:
        self._engine = build_engine("auto", jobs_at_once=together)
        self._together = together
        self._side_px = read_facts(checkpoint).native_size_px
        status = checkpoint.stat()
        self._reference = CheckpointRef(
            name=checkpoint.stem,
            path=str(checkpoint),
            family=read_facts(checkpoint).family,
            size_bytes=status.st_size,
            mtime_ns=status.st_mtime_ns,
        )

    def pictures(self, orders: Sequence[PictureOrder]) -> list[NDArray[np.uint8]]:
        """RGB bytes [side, side, 3] of each order. Raises what made a job fail."""
        found: list[NDArray[np.uint8]] = []
        for first in range(0, len(orders), self._together):
            jobs = [_Job() for _ in orders[first : first + self._together]]
            for number, (order, job) in enumerate(zip(orders[first:], jobs, strict=False)):
                self._engine.submit(f"{first + number}", self._request(order), job.listen)
            found += [job.picture() for job in jobs]
        return found

    def close(self) -> None:
        """End the engine."""
        self._engine.close()

    def _request(self, order: PictureOrder) -> ResolvedRequest:
        return ResolvedRequest(
            kind="txt2img",
            prompt=order.prompt,
            negative_prompt=order.negative,
            checkpoint=self._reference,
            sampler="DPM++ 2M",
            schedule_type="Karras",
            automatic_schedule=False,
            steps=order.steps,
            cfg_scale=order.cfg_scale,
            width_px=self._side_px,
            height_px=self._side_px,
            batch_size=1,
            batch_count=1,
            seed=order.seed,
            clip_skip=1,
            emphasis="Original",
            pad_conds=False,
            comma_backtrack=20,
            save_images=False,
            previews_every_steps=0,
            accelerator="fused",
        )


class _Job:
    """Waits for the one picture of a job."""

    def __init__(self) -> None:
        self._ended = threading.Event()
        self._events: list[JobEvent] = []

    def listen(self, event: JobEvent) -> None:
        """Called by the engine's thread."""
        self._events.append(event)
        if isinstance(event, JobFinished | JobFailed):
            self._ended.set()

    def picture(self) -> NDArray[np.uint8]:
        """The picture, when it is there. Raises what made the job fail."""
        self._ended.wait()
        for event in self._events:
            if isinstance(event, JobFailed):
                raise error_from_json(event.error)
            if isinstance(event, ImageDone):
                pixels = np.frombuffer(event.rgb, dtype=np.uint8)
                return pixels.reshape(event.height_px, event.width_px, 3).copy()
        raise AssertionError("a finished job has a picture")
