"""The PNG Info tab: a picture's generation parameters, and "Send to txt2img". It all happens in `static/png_info.js`.

The picture goes to `/sdapi/v1/png-info`, not through Gradio's upload, which would keep it where others could ask.
"""

from __future__ import annotations

from typing import Any

import gradio as gr


def build_png_info_tab() -> Any:
    """Place the tab's one element, which the script fills."""
    return gr.HTML("", elem_id="sd-png-info", js_on_load="sdwebui.pngInfo(element)")
