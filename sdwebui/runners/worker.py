"""The worker process: owns one device, does what frames ask for, and ends when its connection closes.

It imports no torch itself: the engine is built by a function that it is given, after the connection is watched, so that
no orphan survives its parent, not even one that is still importing.
"""

from __future__ import annotations

import dataclasses
import logging
import os
import signal
import socket
import threading
from collections.abc import Callable
from queue import Empty, SimpleQueue

from sdwebui.domain.errors import ConfigurationError, ProtocolError, SdWebuiError
from sdwebui.domain.results import JobEvent, JobFailed, JobFinished, JobStarted
from sdwebui.domain.wire import Cancel, Close, Message, Skip, Status, Submit, encode, read_message
from sdwebui.ports import DeviceStatus, Engine

logger = logging.getLogger(__name__)

EXIT_CONFIGURATION = 78
_STATUS_EVERY_S = 1.0

EngineFactory = Callable[[], Engine]


def run_worker(descriptor: int, make_engine: EngineFactory) -> int:
    """The life of a worker process on an inherited socket; the exit status of the process.

    Signals that the terminal or the service manager sends to the whole group are left to the parent, which decides what
    becomes of running jobs.
    """
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    signal.signal(signal.SIGTERM, signal.SIG_IGN)
    return serve(socket.socket(fileno=descriptor), make_engine)


def serve(connection: socket.socket, make_engine: EngineFactory, end: Callable[[int], None] = os._exit) -> int:
    """Build the engine and do what the frames ask for, until `Close` comes.

    Args:
        connection: a stream socket; frames of `domain/wire.py` go both ways.
        make_engine: builds the engine; slow (it imports torch).
        end: ends the process at once when the connection closes without `Close`, because the parent is gone.

    Returns:
        The exit status: 0, 1 when the engine could not be built, 78 when the configuration is wrong.
    """
    inbox: SimpleQueue[Message] = SimpleQueue()
    threading.Thread(target=_read, args=(connection, inbox, end), name="worker-reader", daemon=True).start()
    outbox = _Outbox(connection)
    outbox.say(DeviceStatus(state="starting"))
    try:
        engine = make_engine()
    except Exception as exc:
        logger.exception("The engine could not be started.")
        detail = exc.detail if isinstance(exc, SdWebuiError) else f"The engine could not be started: {exc}"
        outbox.say(DeviceStatus(state="dead", detail=detail))
        return EXIT_CONFIGURATION if isinstance(exc, ConfigurationError) else 1
    try:
        _obey(engine, inbox, outbox)
    finally:
        engine.close()
    return 0


class _Outbox:
    """Frames to the parent, one at a time, from any thread."""

    def __init__(self, connection: socket.socket) -> None:
        self._connection = connection
        self._lock = threading.Lock()
        self._last: DeviceStatus | None = None

    def send(self, message: Message) -> None:
        """Send a frame. A parent that is gone is the reader's business."""
        frame = encode(message)
        with self._lock:
            try:
                self._connection.sendall(frame)
            except OSError as exc:
                logger.debug("A frame could not be sent: %s", exc)

    def say(self, status: DeviceStatus) -> None:
        """Send the status if it has changed."""
        if status != self._last:
            self._last = status
            self.send(Status(status=dataclasses.asdict(status)))


def _obey(engine: Engine, inbox: SimpleQueue[Message], outbox: _Outbox) -> None:
    outbox.say(engine.status())

    def listen(event: JobEvent) -> None:
        outbox.send(event)
        if isinstance(event, JobStarted | JobFinished | JobFailed):
            outbox.say(engine.status())

    while True:
        try:
            message = inbox.get(timeout=_STATUS_EVERY_S)
        except Empty:
            outbox.say(engine.status())
            continue
        match message:
            case Submit():
                _submit(engine, message, listen)
            case Cancel():
                engine.cancel(message.job_id)
            case Skip():
                engine.skip(message.job_id)
            case Close():
                return
            case _:
                logger.warning("A frame of kind %s is not for workers and is ignored.", type(message).__name__)


def _submit(engine: Engine, message: Submit, listen: Callable[[JobEvent], None]) -> None:
    try:
        engine.submit(message.job_id, message.request, listen)
    except Exception as exc:
        logger.exception("job %s was refused by the engine", message.job_id)
        error = exc if isinstance(exc, SdWebuiError) else SdWebuiError("The engine refused the job; the log says why.")
        listen(JobFailed(job_id=message.job_id, error=error.to_json()))


def _read(connection: socket.socket, inbox: SimpleQueue[Message], end: Callable[[int], None]) -> None:
    with connection.makefile("rb") as stream:
        try:
            while True:
                message = read_message(stream.read)
                inbox.put(message)
                if isinstance(message, Close):
                    return
        except (EOFError, ProtocolError, OSError) as exc:
            logger.info("The connection to the server closed, so this worker ends (%s).", exc)
            end(0)
