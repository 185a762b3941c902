"""What comes back: job states, the events of a running job, and pictures. Plain data for any process."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from enum import StrEnum
from typing import Any


class JobState(StrEnum):
    """The life of a job. Only `QUEUED` and `RUNNING` can still change."""

    QUEUED = "queued"
    RUNNING = "running"
    DONE = "done"
    FAILED = "failed"
    CANCELLED = "cancelled"

    @property
    def is_final(self) -> bool:
        """True when nothing more will happen to the job."""
        return self in (JobState.DONE, JobState.FAILED, JobState.CANCELLED)


@dataclass(frozen=True, kw_only=True)
class JobStarted:
    """The engine took the job up."""

    job_id: str


@dataclass(frozen=True, kw_only=True)
class StepDone:
    """One sampling step of one picture is done.

    Attributes:
        job_id: the job.
        image_index: 0-based picture of the job.
        step: steps done, 1…steps.
        steps: steps of this picture, as the sampler runs them.
        progress: 0…1 over the whole job.
        preview: small PNG file content, or empty when this step has none.
    """

    job_id: str
    image_index: int
    step: int
    steps: int
    progress: float
    preview: bytes = b""


@dataclass(frozen=True, kw_only=True)
class ImageDone:
    """One finished picture.

    Attributes:
        job_id: the job.
        image_index: 0-based picture of the job.
        seed: the seed that made it.
        width_px: width in pixels.
        height_px: height in pixels.
        rgb: height × width × 3 bytes, row by row, sRGB.
        facts: infotext keys that only the engine knows, in order (accelerator, precision fallback, warnings' keys …).
    """

    job_id: str
    image_index: int
    seed: int
    width_px: int
    height_px: int
    rgb: bytes
    facts: Mapping[str, str] = field(default_factory=dict)


@dataclass(frozen=True, kw_only=True)
class JobFinished:
    """The last event of a job that went well (or was interrupted: its finished pictures are kept).

    Attributes:
        job_id: the job.
        cancelled: True when it was interrupted before all pictures were done.
        seconds: time from the first model call to the last pixel.
        warnings: sentences for the user, also stored with the job.
    """

    job_id: str
    cancelled: bool
    seconds: float
    warnings: tuple[str, ...] = ()


@dataclass(frozen=True, kw_only=True)
class JobFailed:
    """The last event of a job that could not be done as asked. `error` is `SdWebuiError.to_json()`."""

    job_id: str
    error: Mapping[str, Any]


JobEvent = JobStarted | StepDone | ImageDone | JobFinished | JobFailed


@dataclass(frozen=True, kw_only=True)
class ImageRecord:
    """A stored picture.

    Attributes:
        id: opaque id, the last part of `/api/v1/images/{id}`.
        job_id: the job that made it.
        index: 0-based place in the job.
        seed: the seed that made it.
        width_px: width in pixels.
        height_px: height in pixels.
        infotext: the A1111 "parameters" text, as it is in the file.
        path: absolute path of the PNG file.
        created_at: seconds since 1970.
    """

    id: str
    job_id: str
    index: int
    seed: int
    width_px: int
    height_px: int
    infotext: str
    path: str
    created_at: float


@dataclass(frozen=True, kw_only=True)
class JobRecord:
    """One row of the job table, as viewers see it.

    Attributes:
        id: opaque id.
        owner: user name.
        kind: "txt2img" …
        state: where it is in its life.
        request: `ResolvedRequest.to_json()`.
        attempt: 1 for the first run; a crash under it makes 2; a third is refused.
        created_at: seconds since 1970; `started_at`, `finished_at` likewise, 0.0 while not reached.
        seconds: engine time of a finished job.
        warnings: sentences for the user.
        error: `SdWebuiError.to_json()` of a failed job, or None.
        images: stored pictures in order.
    """

    id: str
    owner: str
    kind: str
    state: JobState
    request: Mapping[str, Any]
    attempt: int
    created_at: float
    started_at: float = 0.0
    finished_at: float = 0.0
    seconds: float = 0.0
    warnings: tuple[str, ...] = ()
    error: Mapping[str, Any] | None = None
    images: tuple[ImageRecord, ...] = ()


@dataclass(frozen=True, kw_only=True)
class JobProgress:
    """Where a job is right now, for viewers: kept in memory, never in the database.

    Attributes:
        job_id: the job.
        progress: 0…1.
        step: steps done of the picture in work.
        steps: its steps in all.
        image_index: picture in work, 0-based.
        eta_s: seconds left by the pace so far; 0.0 when unknown.
        position: jobs before it in the queue; 0 when it runs.
        preview: newest small PNG, or empty.
        preview_number: counts previews up, so that a viewer can tell a new one.
    """

    job_id: str
    progress: float = 0.0
    step: int = 0
    steps: int = 0
    image_index: int = 0
    eta_s: float = 0.0
    position: int = 0
    preview: bytes = b""
    preview_number: int = 0


@dataclass(frozen=True, kw_only=True)
class ModelFile:
    """One file of the catalogue.

    Attributes:
        kind: "checkpoint", "vae", "lora", "embedding", "controlnet", "upscaler", "hypernetwork".
        name: path below the kind's folder without the ending, with "/" between folders.
        path: absolute path.
        size_bytes: file size.
        mtime_ns: modification time.
        family: "sd1", "sd2", "sdxl", "sdxl-refiner" …; empty when unknown.
        native_size_px: the size the model was trained at; 0 when unknown.
        problem: why the file cannot be used, a sentence; empty for a healthy file.
        sha256: full hash, or empty while it has not been computed.
    """

    kind: str
    name: str
    path: str
    size_bytes: int
    mtime_ns: int
    family: str = ""
    native_size_px: int = 0
    problem: str = ""
    sha256: str = ""

    @property
    def short_hash(self) -> str:
        """First 10 hex digits of the hash, as A1111 shows it; empty while unknown."""
        return self.sha256[:10]

    @property
    def title(self) -> str:
        """A1111's title: "name.safetensors [hash10]", or the file name alone while the hash is unknown."""
        file_name = self.name + "." + self.path.rpartition(".")[2]
        return f"{file_name} [{self.short_hash}]" if self.sha256 else file_name
