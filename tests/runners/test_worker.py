"""The worker's loop on a socket pair in this process."""

from __future__ import annotations

import socket
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager

from sdwebui.domain.errors import ConfigurationError
from sdwebui.domain.results import ImageDone, JobFailed, JobFinished, JobStarted
from sdwebui.domain.wire import Cancel, Close, Message, Status, Submit, encode, read_message
from sdwebui.runners.worker import EXIT_CONFIGURATION, serve
from tests.fakes import FakeEngine
from tests.ports.test_runner_contract import resolved, wait_until


class Parent:
    """The other end of the connection."""

    def __init__(self, connection: socket.socket) -> None:
        self._connection = connection
        self._stream = connection.makefile("rb")

    def send(self, message: Message) -> None:
        self._connection.sendall(encode(message))

    def read(self) -> Message:
        return read_message(self._stream.read)

    def read_until(self, kind: type) -> list[Message]:
        got = [self.read()]
        while not isinstance(got[-1], kind):
            got.append(self.read())
        return got

    def close(self) -> None:
        self._stream.close()
        self._connection.close()


@contextmanager
def worker(make_engine: Callable[[], FakeEngine], ends: list[int]) -> Iterator[Parent]:
    ours, theirs = socket.socketpair()
    statuses: list[int] = []
    thread = threading.Thread(target=lambda: statuses.append(serve(theirs, make_engine, ends.append)))
    thread.start()
    parent = Parent(ours)
    try:
        yield parent
        if not ends:
            thread.join(10)
            ends.extend(statuses)
    finally:
        parent.close()
        theirs.close()


def states(messages: list[Message]) -> list[str]:
    return [message.status["state"] for message in messages if isinstance(message, Status)]


def test_it_says_when_it_is_ready_and_ends_when_told():
    ends: list[int] = []
    with worker(FakeEngine, ends) as parent:
        assert states([parent.read(), parent.read()]) == ["starting", "ready"]
        parent.send(Close())
    assert ends == [0]


def test_a_submitted_job_sends_its_events_back():
    with worker(FakeEngine, []) as parent:
        parent.send(Submit(job_id="j", request=resolved()))
        events = [message for message in parent.read_until(JobFinished) if not isinstance(message, Status)]
        assert isinstance(events[0], JobStarted)
        assert isinstance(events[-2], ImageDone)
        parent.send(Close())


def test_a_cancelled_job_stops():
    with worker(lambda: FakeEngine(step_seconds=0.02), []) as parent:
        parent.send(Submit(job_id="j", request=resolved(steps=1000)))
        parent.read_until(JobStarted)
        parent.send(Cancel(job_id="j"))
        final = parent.read_until(JobFinished)[-1]
        assert isinstance(final, JobFinished)
        assert final.cancelled
        parent.send(Close())


def test_an_engine_that_cannot_start_says_why_and_gives_the_exit_status_of_a_wrong_configuration():
    def fail() -> FakeEngine:
        raise ConfigurationError("There is no device cuda:7.")

    ends: list[int] = []
    with worker(fail, ends) as parent:
        assert states([parent.read()]) == ["starting"]
        last = parent.read()
        assert isinstance(last, Status)
        assert (last.status["state"], last.status["detail"]) == ("dead", "There is no device cuda:7.")
    assert ends[0] == EXIT_CONFIGURATION


def test_an_unexpected_error_of_the_engine_fails_the_job_and_tells_no_secrets():
    class Odd(FakeEngine):
        def submit(self, job_id, request, listener) -> None:
            raise RuntimeError("secret detail")

    with worker(Odd, []) as parent:
        parent.send(Submit(job_id="j", request=resolved()))
        failed = parent.read_until(JobFailed)[-1]
        assert isinstance(failed, JobFailed)
        assert "secret" not in failed.error["detail"]
        parent.send(Close())


def test_it_ends_at_once_when_the_connection_closes_even_while_the_engine_is_being_built():
    building, go_on = threading.Event(), threading.Event()

    def slow() -> FakeEngine:
        building.set()
        go_on.wait(10)
        raise ConfigurationError("too late")

    ends: list[int] = []
    ours, theirs = socket.socketpair()
    thread = threading.Thread(target=serve, args=(theirs, slow, ends.append))
    thread.start()
    assert building.wait(5)
    ours.close()
    wait_until(lambda: ends == [0], 5.0)
    go_on.set()
    thread.join(5)
    theirs.close()
