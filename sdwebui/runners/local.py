"""Jobs run in a worker process on this machine: this side starts it, watches it, and starts it again when it dies.

The worker dies alone: its jobs get `JobFailed` with `WorkerDied`, the web process goes on, a new worker comes.
"""

from __future__ import annotations

import json
import logging
import signal
import socket
import subprocess  # the worker is this program itself
import threading
import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from queue import SimpleQueue
from typing import Any

from sdwebui.domain.errors import ProtocolError, WorkerDied
from sdwebui.domain.requests import ResolvedRequest
from sdwebui.domain.results import JobEvent, JobFailed, JobFinished
from sdwebui.domain.wire import Cancel, Close, Message, Skip, Status, Submit, encode, read_message
from sdwebui.ports import DeviceStatus, EventListener

logger = logging.getLogger(__name__)

_END_S = 10.0


@dataclass(frozen=True, kw_only=True)
class WorkerHabits:
    """How a worker is treated.

    Attributes:
        slots: jobs it gets at once.
        cancel_s: a worker that has not stopped a cancelled job after this time is killed and replaced.
        first_pause_s: pause before a dead worker is started again; doubles while it does not become ready.
        longest_pause_s: the longest such pause.
    """

    slots: int = 4
    cancel_s: float = 30.0
    first_pause_s: float = 0.5
    longest_pause_s: float = 60.0


@dataclass
class _Job:
    frame: bytes
    listener: EventListener
    is_sent: bool = False


class LocalRunner:
    """Implements `ports.Runner` with one worker process. Thread-safe.

    Args:
        command: how to start a worker, such as `[sys.executable, "-m", "sdwebui", "worker"]`; `--fd N` and
            `--settings JSON` are added.
        settings: what the worker must know, JSON values only, no secrets.
        habits: slots and time limits.
    """

    def __init__(self, command: Sequence[str], settings: Mapping[str, Any], habits: WorkerHabits | None = None) -> None:
        self._command = tuple(command)
        self._settings = dict(settings)
        self._habits = habits or WorkerHabits()
        self._changed = threading.Condition()
        self._jobs: dict[str, _Job] = {}
        self._status = DeviceStatus(state="starting")
        self._process: subprocess.Popen[bytes] | None = None
        self._outbox: SimpleQueue[bytes | None] | None = None
        self._is_draining = False
        self._is_over = threading.Event()
        self._thread = threading.Thread(target=self._supervise, name="worker-supervisor", daemon=True)

    def start(self) -> None:
        """Start the worker; returns at once, `status` says when it is ready."""
        self._thread.start()

    def submit(self, job_id: str, request: ResolvedRequest, listener: EventListener) -> None:
        """Send a job. `listener` is called from a runner thread. Without a worker it is sent to the next one.

        Raises:
            ProtocolError: the request is too large to be sent.
        """
        job = _Job(encode(Submit(job_id=job_id, request=request)), listener)
        with self._changed:
            self._jobs[job_id] = job
            self._send_waiting_jobs()

    def cancel(self, job_id: str) -> None:
        """Interrupt a job; a worker that does not obey in time is killed and replaced."""
        with self._changed:
            job, process = self._jobs.get(job_id), self._process
            if job is None:
                return
            if not job.is_sent:
                del self._jobs[job_id]
            elif self._outbox is not None:
                self._outbox.put(encode(Cancel(job_id=job_id)))
        if not job.is_sent:
            job.listener(JobFinished(job_id=job_id, cancelled=True, seconds=0.0))
            return
        timer = threading.Timer(self._habits.cancel_s, self._kill_disobedient, (job_id, job, process))
        timer.daemon = True
        timer.start()

    def skip(self, job_id: str) -> None:
        """Give up the pictures of a job that are in work; its others go on."""
        with self._changed:
            job = self._jobs.get(job_id)
            if job is not None and job.is_sent and self._outbox is not None:
                self._outbox.put(encode(Skip(job_id=job_id)))

    def capacity(self) -> int:
        """How many jobs more it takes now; 0 while the worker is not ready."""
        with self._changed:
            takes_jobs = self._status.state == "ready" and not self._is_draining
            return max(0, self._habits.slots - len(self._jobs)) if takes_jobs else 0

    def status(self) -> DeviceStatus:
        """State of the worker; never blocks."""
        return self._status

    def drain(self, timeout_s: float) -> None:
        """Take nothing new, wait for running jobs up to the time-out, then end the worker."""
        with self._changed:
            self._is_draining = True
            self._changed.wait_for(lambda: not self._jobs, timeout_s)
            self._is_over.set()
            process, outbox = self._process, self._outbox
        if process is not None and outbox is not None:
            outbox.put(encode(Close()))
            try:
                process.wait(_END_S)
            except subprocess.TimeoutExpired:
                process.kill()
        if self._thread.is_alive():
            self._thread.join()

    # ------------------------------------------------------------------------------------------ supervision

    def _supervise(self) -> None:
        pause = self._habits.first_pause_s
        while not self._is_over.is_set():
            was_ready = self._live_once()
            pause = self._habits.first_pause_s if was_ready else min(pause * 2, self._habits.longest_pause_s)
            self._is_over.wait(pause)
        self._fail_jobs("The server is stopping.", only_sent=False)

    def _live_once(self) -> bool:
        """One worker from its start to its end. True when it became ready in between."""
        ours, theirs = socket.socketpair()
        with ours:
            try:
                process = self._spawn(theirs)
            except OSError as exc:
                logger.error("The worker could not be started: %s", exc)  # noqa: TRY400  # the reason says it all
                self._set_status(DeviceStatus(state="dead", detail=f"The worker could not be started: {exc}."))
                return False
            finally:
                theirs.close()
            outbox: SimpleQueue[bytes | None] = SimpleQueue()
            with self._changed:
                self._process, self._outbox = process, outbox
                self._status = DeviceStatus(state="starting")
            if self._is_over.is_set():
                outbox.put(encode(Close()))
            writer = threading.Thread(target=_write, args=(ours, outbox), name="worker-writer", daemon=True)
            writer.start()
            was_ready = self._read(ours)
            self._bury(process, outbox)
            writer.join()
            return was_ready

    def _spawn(self, theirs: socket.socket) -> subprocess.Popen[bytes]:
        descriptor = theirs.fileno()
        arguments = ("--fd", str(descriptor), "--settings", json.dumps(self._settings))
        return subprocess.Popen(  # noqa: S603  # the command is our own
            (*self._command, *arguments), stdin=subprocess.DEVNULL, pass_fds=(descriptor,), start_new_session=True
        )

    def _read(self, ours: socket.socket) -> bool:
        was_ready = False
        with ours.makefile("rb") as stream:
            try:
                while True:
                    message = read_message(stream.read)
                    was_ready = was_ready or (isinstance(message, Status) and message.status.get("state") == "ready")
                    self._take_in(message)
            except (EOFError, OSError):
                return was_ready
            except ProtocolError as exc:
                logger.error("The worker speaks nonsense and is replaced: %s", exc.detail)  # noqa: TRY400  # expected
                return was_ready

    def _take_in(self, message: Message) -> None:
        if isinstance(message, Status):
            self._set_status(DeviceStatus(**message.status))
        elif isinstance(message, Submit | Cancel | Skip | Close):
            logger.warning("The worker sent a frame of kind %s, which is ignored.", type(message).__name__)
        else:
            self._pass_on(message)

    def _pass_on(self, event: JobEvent) -> None:
        is_final = isinstance(event, JobFinished | JobFailed)
        with self._changed:
            job = self._jobs.pop(event.job_id, None) if is_final else self._jobs.get(event.job_id)
            self._changed.notify_all()
        if job is not None:
            job.listener(event)

    def _set_status(self, status: DeviceStatus) -> None:
        with self._changed:
            self._status = status
            self._send_waiting_jobs()

    def _send_waiting_jobs(self) -> None:
        """Call with the lock held."""
        if self._status.state != "ready" or self._outbox is None:
            return
        for job in self._jobs.values():
            if not job.is_sent:
                job.is_sent = True
                self._outbox.put(job.frame)

    def _bury(self, process: subprocess.Popen[bytes], outbox: SimpleQueue[bytes | None]) -> None:
        """The connection has ended: make sure that the process has, too, and answer for its jobs."""
        outbox.put(None)
        started = time.monotonic()
        try:
            process.wait(_END_S if self._is_over.is_set() else 1.0)
        except subprocess.TimeoutExpired:
            process.kill()
            process.wait()
        last_words = self._status.detail if self._status.state == "dead" else ""
        detail = last_words or f"The worker process {_ending(process.returncode)}."
        with self._changed:
            self._process = self._outbox = None
            self._status = replace(self._status, state="dead", checkpoint="", detail=detail)
        if not self._is_over.is_set():
            logger.error("%s A new one is started. (%.1f s to end)", detail, time.monotonic() - started)
        self._fail_jobs(detail, only_sent=True)

    def _fail_jobs(self, detail: str, *, only_sent: bool) -> None:
        with self._changed:
            lost = {job_id: job for job_id, job in self._jobs.items() if job.is_sent or not only_sent}
            for job_id in lost:
                del self._jobs[job_id]
            self._changed.notify_all()
        for job_id, job in lost.items():
            job.listener(JobFailed(job_id=job_id, error=WorkerDied(detail).to_json()))

    def _kill_disobedient(self, job_id: str, job: _Job, process: subprocess.Popen[bytes] | None) -> None:
        with self._changed:
            obeyed = self._jobs.get(job_id) is not job or self._process is not process
        if not obeyed and process is not None:
            logger.error("job %s did not stop in %.0f s, so its worker is killed", job_id, self._habits.cancel_s)
            process.kill()


def _write(ours: socket.socket, outbox: SimpleQueue[bytes | None]) -> None:
    """Send what the outbox gives, so that no caller ever waits for a worker that does not read."""
    while (frame := outbox.get()) is not None:
        try:
            ours.sendall(frame)
        except OSError as exc:
            logger.debug("A frame could not be sent to the worker: %s", exc)


def _ending(returncode: int) -> str:
    if returncode >= 0:
        return f"ended with status {returncode}"
    try:
        name = signal.Signals(-returncode).name
    except ValueError:
        name = str(-returncode)
    hint = " (the machine may have run out of memory)" if name == "SIGKILL" else ""
    return f"was ended by signal {name}{hint}"
