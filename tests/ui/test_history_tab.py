"""The History tab is one element that the page's script fills."""

from __future__ import annotations

import gradio as gr

from sdwebui.ui.history_tab import build_history_tab
from sdwebui.ui.loops import within_a_loop


def test_the_element_calls_the_script():
    def place() -> object:
        with gr.Blocks(analytics_enabled=False):
            return build_history_tab().js_on_load

    assert within_a_loop(place) == "sdwebui.history(element)"
