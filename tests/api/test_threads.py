from __future__ import annotations

import threading

import anyio
import pytest

from sdwebui.api.threads import Threads
from sdwebui.domain.errors import Overloaded

pytestmark = pytest.mark.anyio


async def test_calls_run_off_the_event_loop_and_errors_come_back():
    threads = Threads()
    loop_thread = threading.get_ident()
    assert await threads.quick(threading.get_ident) != loop_thread
    assert await threads.password(lambda number: number + 1, 1) == 2
    with pytest.raises(ZeroDivisionError):
        await threads.quick(lambda: 1 / 0)


async def test_logins_beyond_the_queue_are_refused_and_do_not_hold_up_pages():
    threads = Threads(passwords=1, passwords_queued=1)
    gate = threading.Event()
    async with anyio.create_task_group() as tasks:
        for _ in range(2):
            tasks.start_soon(threads.password, gate.wait)
            await anyio.sleep(0.02)
        with pytest.raises(Overloaded):
            await threads.password(gate.wait)
        assert await threads.quick(lambda: "page") == "page"
        gate.set()
