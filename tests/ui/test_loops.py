"""Building Gradio objects leaves no event loop open."""

from __future__ import annotations

import asyncio
import gc
import warnings

import gradio as gr

from sdwebui.ui.loops import within_a_loop


def test_a_page_built_here_leaves_no_loop_behind():
    gc.collect()
    with warnings.catch_warnings(record=True) as caught:
        warnings.simplefilter("always")
        within_a_loop(lambda: gr.Blocks(analytics_enabled=False))
        gc.collect()
    assert [one for one in caught if "unclosed" in str(one.message)] == []


def test_the_result_comes_back_and_a_running_loop_is_used():
    async def outside() -> bool:
        running = asyncio.get_running_loop()
        return within_a_loop(lambda: asyncio.get_running_loop() is running)

    assert within_a_loop(lambda: 7) == 7
    assert asyncio.run(outside()) is True
