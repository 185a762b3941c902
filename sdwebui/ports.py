"""One page of Protocols: what the rooms offer each other. `bootstrap.py` alone knows who implements them.

To add a port: a Protocol here, a contract suite in `tests/ports/` that every implementation and every fake passes.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Protocol

from sdwebui.domain.requests import ResolvedRequest
from sdwebui.domain.results import ImageRecord, JobEvent, JobProgress, JobRecord, JobState, ModelFile

EventListener = Callable[[JobEvent], None]


# ------------------------------------------------------------------------------------------------- running jobs


@dataclass(frozen=True, kw_only=True)
class DeviceStatus:
    """What a worker says of itself, for `/readyz`, `doctor` and the settings page.

    Attributes:
        state: "starting", "ready", "dead".
        device: "cpu", "cuda:0" …
        precision: "float32", "bfloat16" or "float16".
        checkpoint: name of the checkpoint in memory, or empty.
        accelerator: name of the UNet backend in use.
        detail: a sentence for people: coverage, reason of a fallback, last exit.
    """

    state: str
    device: str = ""
    precision: str = ""
    checkpoint: str = ""
    accelerator: str = ""
    detail: str = ""


class Engine(Protocol):
    """Owns one device and makes pictures. Lives in the worker process; thread-safe."""

    def submit(self, job_id: str, request: ResolvedRequest, listener: EventListener) -> None:
        """Take a job up; returns at once. `listener` gets every event from the engine's thread, a final one last."""

    def cancel(self, job_id: str) -> None:
        """Stop a job within one step; its finished pictures are kept. Unknown ids are ignored."""

    def skip(self, job_id: str) -> None:
        """Give up the pictures of a job that are in work, within one step; its others go on. Unknown ids are ignored.

        A job that ends without any picture counts as cancelled.
        """

    def status(self) -> DeviceStatus:
        """What the device is doing; never blocks."""

    def close(self) -> None:
        """Cancel everything, free the device, end the thread."""


class Runner(Protocol):
    """Where the control plane sends jobs. The local runner speaks to worker processes; the fake runs in memory.

    A runner delivers for each submitted job exactly one final event (`JobFinished` or `JobFailed`), also when the
    worker dies (then `JobFailed` with `WorkerDied`).
    """

    def start(self) -> None:
        """Start the worker; returns at once, `status` says when it is ready."""

    def submit(self, job_id: str, request: ResolvedRequest, listener: EventListener) -> None:
        """Send a job. `listener` is called from a runner thread."""

    def cancel(self, job_id: str) -> None:
        """Interrupt a job; a worker that does not obey in time is replaced."""

    def skip(self, job_id: str) -> None:
        """Give up the pictures of a job that are in work; its others go on."""

    def capacity(self) -> int:
        """How many jobs more it takes now without queueing them itself."""

    def status(self) -> DeviceStatus:
        """State of the worker; never blocks."""

    def drain(self, timeout_s: float) -> None:
        """Take nothing new, wait for running jobs up to the time-out, then end the worker."""


# -------------------------------------------------------------------------------------------- running a UNet fast


@dataclass(frozen=True, kw_only=True)
class Availability:
    """Whether a backend can run here, and if not, why, in a sentence."""

    usable: bool
    reason: str = ""


@dataclass(frozen=True, kw_only=True)
class PlanStats:
    """What a plan did: shown in the settings and by `doctor`."""

    coverage_percent: float
    compiles: int = 0
    captures: int = 0
    fallbacks: Mapping[str, int] | None = None


class Plan(Protocol):
    """A module made ready to run by one backend."""

    def run(self, *args: Any, **kwargs: Any) -> Any:
        """Call the module: same arguments, same result within the backend's tolerance."""

    def weights_changed(self, names: Sequence[str]) -> None:
        """Parameters of these names have new values at the same addresses."""

    def stats(self) -> PlanStats:
        """Counters since the plan was made."""

    def close(self) -> None:
        """Give everything back; the module is as before `prepare`."""


class Accelerator(Protocol):
    """A way to run a module. `architecture_key` holds class, config and shapes, never the weights."""

    @property
    def name(self) -> str:
        """Stable name ("eager", "fused", …), as in settings and the infotext."""

    def probe(self, device: str) -> Availability:
        """Whether it can run on this device, with a reason if not."""

    def prepare(self, module: Any, architecture_key: str) -> Plan:
        """Make a module ready. Weights may change in place afterwards."""


# ------------------------------------------------------------------------------------------------------- stores


class ModelCatalog(Protocol):
    """Model files by kind. Reads headers only; hashes are computed once and remembered by size and time."""

    def refresh(self) -> None:
        """Look at the folders again. A file that grows, or is young and cut off, is "still copying"."""

    def models(self, kind: str) -> Sequence[ModelFile]:
        """All files of a kind, by name, unusable ones included (with their `problem`)."""

    def find(self, kind: str, name: str) -> ModelFile:
        """By name, file name, title, short or full hash, case-insensitively (A1111's aliases).

        Raises:
            NotFound: no such file; the nearest names are offered.
            ModelUnusable: the file is there but has a `problem`.
        """

    def sha256(self, file: ModelFile) -> str:
        """Full hash of a file, from the cache when size and time are unchanged. May take seconds for big files."""


class JobStore(Protocol):
    """The durable job table. A method has committed to disk when it returns."""

    def add(self, job: JobRecord, idempotency_key: str = "") -> JobRecord:
        """Store a new queued job. The same owner and key give the first job back instead of a second one."""

    def get(self, job_id: str) -> JobRecord:
        """One job with its images. Raises `NotFound`."""

    def list(self, owner: str | None, *, limit: int = 50, active_only: bool = False) -> Sequence[JobRecord]:
        """Newest first; of one owner, or of all for None."""

    def counts(self) -> Mapping[str, int]:
        """Number of jobs by state name, for every state."""

    def queued(self) -> Sequence[JobRecord]:
        """All queued jobs, oldest first."""

    def mark_running(self, job_id: str, started_at: float) -> None:
        """The job was handed to a worker."""

    def finish(
        self,
        job_id: str,
        state: JobState,
        *,
        finished_at: float,
        seconds: float = 0.0,
        warnings: Sequence[str] = (),
        error: Mapping[str, Any] | None = None,
    ) -> None:
        """The job reached a final state."""

    def requeue_running(self, max_attempts: int) -> Sequence[JobRecord]:
        """Put running jobs back after a restart, at their old place, with `attempt + 1`.

        Those that used up their attempts fail with `WorkerDied`. Returns the jobs it touched.
        """

    def requeue(self, job_id: str, max_attempts: int) -> JobRecord:
        """The same for one job whose worker died."""

    def add_image(self, image: ImageRecord) -> None:
        """Record a picture whose file is safely on disk."""

    def image(self, image_id: str) -> ImageRecord:
        """One picture. Raises `NotFound`."""


class ImageStore(Protocol):
    """Picture files: written to a temporary name, fsynced, renamed, folder fsynced."""

    def save(self, png: bytes, *, kind: str, seed: int, created_at: float, in_gallery: bool) -> str:
        """Store a PNG under outputs/<kind>-images/YYYY-MM-DD/ as [number]-[seed].png and return its absolute path.

        With `in_gallery` False it goes to the job's private files instead. Raises `StorageFull`.
        """

    def read(self, path: str) -> bytes:
        """File content of a stored picture. Raises `NotFound` for one that is gone or outside the store."""

    def free_bytes(self) -> int:
        """Free space where pictures go."""


@dataclass(frozen=True, kw_only=True)
class Account:
    """A person who may log in. Roles: "admin" or "user"."""

    username: str
    role: str
    disabled: bool = False


class AccountStore(Protocol):
    """Accounts, sessions and API tokens. Only hashes of secrets are stored."""

    def add(self, username: str, password_hash: str, role: str) -> Account:
        """A new account. Raises `InvalidRequest` when the name is taken or malformed."""

    def accounts(self) -> Sequence[Account]:
        """All accounts by name."""

    def password_hash(self, username: str) -> tuple[Account, str] | None:
        """Account and Argon2id hash, or None for an unknown name (the caller then checks a dummy hash)."""

    def set_password_hash(self, username: str, password_hash: str, *, keep_sessions: bool = False) -> None:
        """Change the password; all sessions of the account end, unless it is the same password hashed anew."""

    def set_disabled(self, username: str, disabled: bool) -> None:
        """Switch an account off or on; switching off ends its sessions and tokens' use."""

    def add_session(self, token_hash: str, username: str, created_at: float, expires_at: float) -> None:
        """Remember a login."""

    def session_account(self, token_hash: str, now: float) -> Account | None:
        """The enabled account of a live session, or None."""

    def end_session(self, token_hash: str) -> None:
        """Log out."""

    def add_token(self, token_hash: str, username: str, label: str, created_at: float) -> None:
        """Remember an API token."""

    def token_account(self, token_hash: str) -> Account | None:
        """The enabled account of a live API token, or None."""

    def tokens(self) -> Sequence[tuple[str, str, float]]:
        """(label, username, created_at) of all tokens."""

    def revoke_token(self, label: str) -> None:
        """Delete a token. Raises `NotFound`."""

    def note_attempt(self, key: str, now: float, *, window_s: float) -> int:
        """Count a failed login under a key (account or address); returns the failures in the window."""

    def attempts(self, key: str, now: float, *, window_s: float) -> int:
        """Failures in the window, without counting one."""


class OptionStore(Protocol):
    """Runtime options and per-user drafts as JSON values, typed by `domain/options.py`."""

    def read(self, scope: str) -> Mapping[str, Any]:
        """All stored values of a scope ("server", or "user:NAME")."""

    def write(self, scope: str, values: Mapping[str, Any]) -> None:
        """Store values, all or none; older generations are kept."""


class ProgressBoard(Protocol):
    """Who wants to know how a job is doing asks here. In memory, in the control plane."""

    def progress(self, job_id: str) -> JobProgress:
        """Newest progress of a queued or running job; zeros when nothing is known."""
