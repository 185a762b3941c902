"""Builds Gradio objects without leaving event loops behind."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from typing import TypeVar

Built = TypeVar("Built")


def within_a_loop(build: Callable[[], Built]) -> Built:
    """Call `build` while an event loop runs in this thread.

    Without one, Gradio 6.31 makes a loop for each of its locks and never closes it: three file descriptors each, and a
    warning whenever one is collected. The locks themselves do not keep to a loop (Python 3.10 and newer).
    """

    async def call() -> Built:
        return build()

    try:
        asyncio.get_running_loop()
    except RuntimeError:
        with asyncio.Runner() as runner:
            return runner.run(call())
    return build()
