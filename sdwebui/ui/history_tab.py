"""The History tab: the person's pictures, newest first. Everything happens in `static/history.js`."""

from __future__ import annotations

from typing import Any

import gradio as gr


def build_history_tab() -> Any:
    """Place the tab's one element, which the script fills."""
    return gr.HTML("", elem_id="sd-history", js_on_load="sdwebui.history(element)")
