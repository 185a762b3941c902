"""Small in-memory stand-ins for every port: they pass the same contract suites (`tests/ports`) as the real ones.

`make_services()` gives a whole control plane of them, started, for tests of the API and the page.
"""

from __future__ import annotations

import hashlib
import itertools
import json
import threading
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field, replace
from typing import Any

from sdwebui.domain.errors import InvalidRequest, ModelUnusable, NotFound, SdWebuiError, StorageFull, WorkerDied
from sdwebui.domain.requests import ResolvedRequest
from sdwebui.domain.results import (
    ImageDone,
    ImageRecord,
    JobFailed,
    JobFinished,
    JobRecord,
    JobStarted,
    JobState,
    ModelFile,
    StepDone,
)
from sdwebui.ports import Account, DeviceStatus, EventListener
from sdwebui.service.accounts import AccountService
from sdwebui.service.dispatch import Dispatcher
from sdwebui.service.generation import Admission, GenerationService
from sdwebui.service.library import LibraryService
from sdwebui.service.options import OptionsService
from sdwebui.service.passwords import Passwords
from sdwebui.service.recording import PictureRecorder
from sdwebui.service.resolve import Resolver

PASSWORD = "correct horse battery"

_TIMES = {1: "once", 2: "twice"}


# ------------------------------------------------------------------------------------------------------ pictures


def gradient_rgb(request: ResolvedRequest, index: int) -> bytes:
    """The fake picture: a gradient whose colours come from the hash of the request and the picture's seed."""
    facts = json.dumps({**request.to_json(), "seed": request.image_seed(index)}, sort_keys=True, default=str)
    red, green, blue = hashlib.sha256(facts.encode()).digest()[:3]
    width, height = request.width_px, request.height_px
    row = b"".join(bytes(((red + x * 255 // width) % 256, green, blue)) for x in range(width))
    return row * height


# -------------------------------------------------------------------------------------------------------- engine


class FakeEngine:
    """A `ports.Engine` that draws gradients in a thread per job.

    Args:
        step_seconds: how long a step takes.
        failures: a job whose prompt contains a key fails with the key's error after its first step.
    """

    def __init__(self, step_seconds: float = 0.0, failures: Mapping[str, SdWebuiError] | None = None) -> None:
        self._step_seconds = step_seconds
        self._failures = dict(failures or {})
        self._cancelled: dict[str, threading.Event] = {}
        self._skipped: dict[str, threading.Event] = {}
        self._threads: list[threading.Thread] = []
        self.requests: dict[str, ResolvedRequest] = {}

    def submit(self, job_id: str, request: ResolvedRequest, listener: EventListener) -> None:
        self.requests[job_id] = request
        self._cancelled[job_id] = threading.Event()
        self._skipped[job_id] = threading.Event()
        thread = threading.Thread(target=self._draw, args=(job_id, request, listener), daemon=True)
        self._threads.append(thread)
        thread.start()

    def cancel(self, job_id: str) -> None:
        if job_id in self._cancelled:
            self._cancelled[job_id].set()

    def skip(self, job_id: str) -> None:
        if job_id in self._skipped:
            self._skipped[job_id].set()

    def status(self) -> DeviceStatus:
        return DeviceStatus(state="ready", device="cpu", precision="float32", accelerator="eager", detail="fake")

    def close(self) -> None:
        for job_id in list(self._cancelled):
            self.cancel(job_id)
        for thread in self._threads:
            thread.join(timeout=10)

    def _draw(self, job_id: str, request: ResolvedRequest, listener: EventListener) -> None:
        listener(JobStarted(job_id=job_id))
        failure = next((error for text, error in self._failures.items() if text in request.prompt), None)
        total = request.image_count * request.steps
        drawn = 0
        for index in range(request.image_count):
            self._skipped[job_id].clear()
            for step in range(1, request.steps + 1):
                if self._cancelled[job_id].wait(self._step_seconds) or self._cancelled[job_id].is_set():
                    listener(JobFinished(job_id=job_id, cancelled=True, seconds=0.01))
                    return
                if self._skipped[job_id].is_set():
                    break
                listener(self._step(job_id, request, index, step, (index * request.steps + step) / total))
                if failure is not None:
                    listener(JobFailed(job_id=job_id, error=failure.to_json()))
                    return
            if self._skipped[job_id].is_set():
                continue
            drawn += 1
            listener(
                ImageDone(
                    job_id=job_id,
                    image_index=index,
                    seed=request.image_seed(index),
                    width_px=request.width_px,
                    height_px=request.height_px,
                    rgb=gradient_rgb(request, index),
                )
            )
        listener(JobFinished(job_id=job_id, cancelled=drawn == 0, seconds=0.01, warnings=()))

    @staticmethod
    def _step(job_id: str, request: ResolvedRequest, index: int, step: int, progress: float) -> StepDone:
        shows = request.previews_every_steps and step % request.previews_every_steps == 0
        return StepDone(
            job_id=job_id,
            image_index=index,
            step=step,
            steps=request.steps,
            progress=progress,
            preview=b"preview of step %d" % step if shows else b"",
        )


# -------------------------------------------------------------------------------------------------------- runner


class FakeRunner:
    """A `ports.Runner` over a `FakeEngine` in this process.

    Args:
        engine: draws.
        slots: jobs that run at once.
        deaths: a job whose prompt contains a key loses its worker that many times before it runs.
    """

    def __init__(
        self, engine: FakeEngine | None = None, slots: int = 1, deaths: Mapping[str, int] | None = None
    ) -> None:
        self.engine = engine or FakeEngine()
        self._slots = slots
        self._deaths = dict(deaths or {})
        self._running: dict[str, ResolvedRequest] = {}
        self._changed = threading.Condition()
        self._state = "starting"
        self.started_jobs: list[str] = []

    def start(self) -> None:
        self._state = "ready"

    def submit(self, job_id: str, request: ResolvedRequest, listener: EventListener) -> None:
        with self._changed:
            self._running[job_id] = request
            self.started_jobs.append(job_id)
            dying = next((text for text, left in self._deaths.items() if left and text in request.prompt), None)
            if dying is not None:
                self._deaths[dying] -= 1
        if dying is not None:
            threading.Thread(target=self._die, args=(job_id, listener), daemon=True).start()
        else:
            self.engine.submit(job_id, request, lambda event: self._pass_on(event, job_id, listener))

    def cancel(self, job_id: str) -> None:
        self.engine.cancel(job_id)

    def skip(self, job_id: str) -> None:
        self.engine.skip(job_id)

    def capacity(self) -> int:
        with self._changed:
            return self._slots - len(self._running) if self._state == "ready" else 0

    def status(self) -> DeviceStatus:
        return replace(self.engine.status(), state=self._state)

    def drain(self, timeout_s: float) -> None:
        with self._changed:
            self._state = "dead"
            self._changed.wait_for(lambda: not self._running, timeout_s)
        self.engine.close()

    def _die(self, job_id: str, listener: EventListener) -> None:
        error = WorkerDied("The worker process ended (scripted).")
        self._pass_on(JobFailed(job_id=job_id, error=error.to_json()), job_id, listener)

    def _pass_on(self, event: Any, job_id: str, listener: EventListener) -> None:
        if isinstance(event, JobFinished | JobFailed):
            with self._changed:
                self._running.pop(job_id, None)
                self._changed.notify_all()
        listener(event)


# -------------------------------------------------------------------------------------------------------- stores


class MemoryJobStore:
    """A `ports.JobStore` in a dictionary. `full` makes every write raise `StorageFull`."""

    def __init__(self) -> None:
        self._lock = threading.RLock()
        self._jobs: dict[str, JobRecord] = {}
        self._keys: dict[tuple[str, str], str] = {}
        self.full = False

    def add(self, job: JobRecord, idempotency_key: str = "") -> JobRecord:
        with self._writing():
            known = self._keys.get((job.owner, idempotency_key))
            if known is not None:
                return self._jobs[known]
            if idempotency_key:
                self._keys[job.owner, idempotency_key] = job.id
            self._jobs[job.id] = job
            return job

    def get(self, job_id: str) -> JobRecord:
        with self._lock:
            if job_id not in self._jobs:
                raise NotFound("job", job_id)
            return self._jobs[job_id]

    def list(self, owner: str | None, *, limit: int = 50, active_only: bool = False) -> Sequence[JobRecord]:
        with self._lock:
            newest_first = reversed(self._jobs.values())
            fitting = (
                job for job in newest_first if owner in (None, job.owner) and not (active_only and job.state.is_final)
            )
            return list(itertools.islice(fitting, limit))

    def counts(self) -> Mapping[str, int]:
        states = [job.state for job in self._jobs.values()]
        return {state.value: states.count(state) for state in JobState}

    def queued(self) -> Sequence[JobRecord]:
        with self._lock:
            return [job for job in self._jobs.values() if job.state is JobState.QUEUED]

    def mark_running(self, job_id: str, started_at: float) -> None:
        with self._writing():
            job = self._jobs.get(job_id)
            if job is None or job.state is not JobState.QUEUED:
                raise NotFound("queued job", job_id)
            self._jobs[job_id] = replace(job, state=JobState.RUNNING, started_at=started_at)

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
        with self._writing():
            job = self.get(job_id)
            if not job.state.is_final:
                self._jobs[job_id] = replace(
                    job,
                    state=state,
                    finished_at=finished_at,
                    seconds=seconds,
                    warnings=tuple(warnings),
                    error=error,
                )

    def requeue_running(self, max_attempts: int) -> Sequence[JobRecord]:
        with self._writing():
            running = [job.id for job in self._jobs.values() if job.state is JobState.RUNNING]
            return [self.requeue(job_id, max_attempts) for job_id in running]

    def requeue(self, job_id: str, max_attempts: int) -> JobRecord:
        with self._writing():
            job = self.get(job_id)
            if job.state is JobState.RUNNING and job.attempt >= max_attempts:
                times = _TIMES.get(job.attempt, f"{job.attempt} times")
                error = WorkerDied(f"This job crashed the worker {times}, so it is not tried again.")
                job = replace(job, state=JobState.FAILED, error=error.to_json(), finished_at=job.started_at)
            elif job.state is JobState.RUNNING:
                job = replace(job, state=JobState.QUEUED, attempt=job.attempt + 1, started_at=0.0)
            self._jobs[job_id] = job
            return job

    def add_image(self, image: ImageRecord) -> None:
        with self._writing():
            job = self.get(image.job_id)
            if all(known.index != image.index for known in job.images):
                pictures = sorted((*job.images, image), key=lambda one: one.index)
                self._jobs[job.id] = replace(job, images=tuple(pictures))

    def image(self, image_id: str) -> ImageRecord:
        with self._lock:
            for job in self._jobs.values():
                for image in job.images:
                    if image.id == image_id:
                        return image
        raise NotFound("image", image_id)

    @contextmanager
    def _writing(self) -> Iterator[None]:
        with self._lock:
            if self.full:
                raise StorageFull("The disk is full (scripted).")
            yield


class MemoryImageStore:
    """A `ports.ImageStore` in a dictionary. `full` makes `save` raise `StorageFull`; `free` is what is left."""

    def __init__(self) -> None:
        self.files: dict[str, bytes] = {}
        self.full = False
        self.free = 10 * 2**30

    def save(self, png: bytes, *, kind: str, seed: int, created_at: float, in_gallery: bool) -> str:
        if self.full:
            raise StorageFull("The disk is full (scripted).")
        day = time.strftime("%Y-%m-%d", time.localtime(created_at))
        home = "/memory" if in_gallery else "/memory/private"
        path = f"{home}/{kind}-images/{day}/{len(self.files):05d}-{seed}.png"
        self.files[path] = png
        return path

    def read(self, path: str) -> bytes:
        if path not in self.files:
            raise NotFound("picture file", path)
        return self.files[path]

    def free_bytes(self) -> int:
        return self.free


class MemoryAccountStore:
    """A `ports.AccountStore` in dictionaries."""

    def __init__(self, session_idle_s: float = 7 * 86400.0) -> None:
        self._accounts: dict[str, tuple[Account, str]] = {}
        self._sessions: dict[str, tuple[str, float, float]] = {}
        self._tokens: dict[str, tuple[str, str, float]] = {}
        self._attempts: dict[str, list[float]] = {}
        self._session_idle_s = session_idle_s

    def add(self, username: str, password_hash: str, role: str) -> Account:
        if not username or not username.isprintable() or ":" in username:
            raise InvalidRequest("username", username, "must have printable characters and no colon")
        if username.casefold() in self._accounts:
            raise InvalidRequest("username", username, "must not be the name of another account")
        account = Account(username=username, role=role)
        self._accounts[username.casefold()] = (account, password_hash)
        return account

    def accounts(self) -> Sequence[Account]:
        return [account for _, (account, _hash) in sorted(self._accounts.items())]

    def password_hash(self, username: str) -> tuple[Account, str] | None:
        return self._accounts.get(username.casefold())

    def set_password_hash(self, username: str, password_hash: str, *, keep_sessions: bool = False) -> None:
        self._accounts[username.casefold()] = (self._require(username), password_hash)
        if not keep_sessions:
            self._end_sessions(username)

    def set_disabled(self, username: str, disabled: bool) -> None:
        account = replace(self._require(username), disabled=disabled)
        self._accounts[username.casefold()] = (account, self._accounts[username.casefold()][1])
        if disabled:
            self._end_sessions(username)

    def add_session(self, token_hash: str, username: str, created_at: float, expires_at: float) -> None:
        self._sessions[token_hash] = (username.casefold(), expires_at, created_at)

    def session_account(self, token_hash: str, now: float) -> Account | None:
        key, expires_at, seen_at = self._sessions.get(token_hash, ("", 0.0, 0.0))
        if not key or now >= min(expires_at, seen_at + self._session_idle_s):
            return None
        self._sessions[token_hash] = (key, expires_at, now)
        return self._enabled(key)

    def end_session(self, token_hash: str) -> None:
        self._sessions.pop(token_hash, None)

    def add_token(self, token_hash: str, username: str, label: str, created_at: float) -> None:
        if any(label == known for _, known, _ in self._tokens.values()):
            raise InvalidRequest("label", label, "must not be the label of another token")
        self._tokens[token_hash] = (username.casefold(), label, created_at)

    def token_account(self, token_hash: str) -> Account | None:
        return self._enabled(self._tokens.get(token_hash, ("", "", 0.0))[0])

    def tokens(self) -> Sequence[tuple[str, str, float]]:
        found = [(label, self._accounts[key][0].username, at) for key, label, at in self._tokens.values()]
        return sorted(found)

    def revoke_token(self, label: str) -> None:
        kept = {token: row for token, row in self._tokens.items() if row[1] != label}
        if len(kept) == len(self._tokens):
            raise NotFound("token", label)
        self._tokens = kept

    def note_attempt(self, key: str, now: float, *, window_s: float) -> int:
        recent = [at for at in self._attempts.get(key, []) if at > now - window_s]
        self._attempts[key] = [*recent, now]
        return len(self._attempts[key])

    def attempts(self, key: str, now: float, *, window_s: float) -> int:
        return sum(at > now - window_s for at in self._attempts.get(key, []))

    def _require(self, username: str) -> Account:
        if username.casefold() not in self._accounts:
            raise NotFound("account", username)
        return self._accounts[username.casefold()][0]

    def _enabled(self, key: str) -> Account | None:
        account = self._accounts[key][0] if key in self._accounts else None
        return None if account is None or account.disabled else account

    def _end_sessions(self, username: str) -> None:
        self._sessions = {token: row for token, row in self._sessions.items() if row[0] != username.casefold()}


class MemoryOptionStore:
    """A `ports.OptionStore` in a dictionary."""

    def __init__(self) -> None:
        self._values: dict[str, dict[str, Any]] = {}

    def read(self, scope: str) -> Mapping[str, Any]:
        return dict(self._values.get(scope, {}))

    def write(self, scope: str, values: Mapping[str, Any]) -> None:
        self._values[scope] = {**self._values.get(scope, {}), **values}


def checkpoint(name: str, *, family: str = "sd1", native_size_px: int = 64, problem: str = "") -> ModelFile:
    """A catalogue entry without a file."""
    return ModelFile(
        kind="checkpoint",
        name=name,
        path=f"/models/Stable-diffusion/{name}.safetensors",
        size_bytes=1000,
        mtime_ns=1,
        family=family,
        native_size_px=native_size_px,
        problem=problem,
        sha256=hashlib.sha256(name.encode()).hexdigest(),
    )


class FakeCatalog:
    """A `ports.ModelCatalog` over a list. The default has two healthy checkpoints and a damaged one."""

    def __init__(self, files: Sequence[ModelFile] | None = None) -> None:
        default = [
            checkpoint("broken", problem="the file is cut off"),
            checkpoint("guofeng-mini"),
            checkpoint("sub/other", native_size_px=128),
        ]
        self.files = list(default if files is None else files)
        self.refreshes = 0

    def refresh(self) -> None:
        self.refreshes += 1

    def models(self, kind: str) -> Sequence[ModelFile]:
        return [file for file in self.files if file.kind == kind]

    def find(self, kind: str, name: str) -> ModelFile:
        wanted = name.casefold()
        for file in self.models(kind):
            file_name = file.path.rpartition("/")[2]
            names = {file.name, file_name, file.title, file.short_hash, file.sha256, file.name.rpartition("/")[2]}
            if wanted in {one.casefold() for one in names if one}:
                if file.problem:
                    raise ModelUnusable(f"{kind} {file.name!r} cannot be used: {file.problem}.", field=kind)
                return file
        raise NotFound(kind, name, [file.name for file in self.models(kind)], field=kind)

    def sha256(self, file: ModelFile) -> str:
        return hashlib.sha256(file.name.encode()).hexdigest()


# ------------------------------------------------------------------------------------------------- all together


@dataclass
class Services:
    """A control plane made of fakes. Accounts "ann" (admin), "bob" and "eve" exist, all with `PASSWORD`."""

    generation: GenerationService
    library: LibraryService
    options: OptionsService
    accounts: AccountService
    dispatcher: Dispatcher
    runner: FakeRunner
    jobs: MemoryJobStore
    images: MemoryImageStore
    catalog: FakeCatalog
    people: Mapping[str, Account] = field(default_factory=dict)


def fast_passwords() -> Passwords:
    """Argon2id with as little memory as it allows: for tests alone."""
    return Passwords(memory_kib=8, passes=1)


def counted_ids(prefix: str = "id") -> Callable[[], str]:
    """Ids that count up."""
    numbers = itertools.count(1)
    return lambda: f"{prefix}{next(numbers)}"


@contextmanager
def make_services(
    *,
    engine: FakeEngine | None = None,
    slots: int = 1,
    deaths: Mapping[str, int] | None = None,
    admission: Admission | None = None,
    clock: Callable[[], float] = time.time,
) -> Iterator[Services]:
    """A started control plane of fakes; it is closed at the end of the block."""
    jobs, images, catalog, store = MemoryJobStore(), MemoryImageStore(), FakeCatalog(), MemoryAccountStore()
    runner = FakeRunner(engine, slots, deaths)
    accounts = AccountService(store, fast_passwords(), clock=clock)
    people = {
        name: accounts.add(name, PASSWORD, role) for name, role in (("ann", "admin"), ("bob", "user"), ("eve", "user"))
    }
    options = OptionsService(MemoryOptionStore(), catalog, store)
    recorder = PictureRecorder(jobs=jobs, images=images, catalog=catalog, new_id=counted_ids("image"))
    dispatcher = Dispatcher(jobs=jobs, runner=runner, recorder=recorder)
    seeds = itertools.count(1000)
    generation = GenerationService(
        jobs=jobs,
        images=images,
        resolver=Resolver(catalog, lambda: next(seeds)),
        options=options,
        dispatcher=dispatcher,
        new_id=counted_ids("job"),
        admission=admission,
        clock=clock,
    )
    services = Services(
        generation=generation,
        library=LibraryService(catalog, options),
        options=options,
        accounts=accounts,
        dispatcher=dispatcher,
        runner=runner,
        jobs=jobs,
        images=images,
        catalog=catalog,
        people=people,
    )
    generation.start()
    try:
        yield services
    finally:
        generation.close(drain_s=5.0)
