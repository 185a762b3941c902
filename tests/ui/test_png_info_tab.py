"""The PNG Info tab takes files past Gradio's upload."""

from __future__ import annotations

from typing import Any

import gradio as gr

from sdwebui.ui.loops import within_a_loop
from sdwebui.ui.png_info_tab import build_png_info_tab


def test_the_element_calls_the_script_and_nothing_uploads_to_gradio(page: Any):
    def place() -> object:
        with gr.Blocks(analytics_enabled=False):
            return build_png_info_tab().js_on_load

    assert within_a_loop(place) == "sdwebui.pngInfo(element)"
    uploading = (
        gr.File,
        gr.Image,
        gr.Gallery,
        gr.UploadButton,
        gr.ImageEditor,
        gr.Video,
        gr.Audio,
        gr.MultimodalTextbox,
    )
    assert not [block for block in page.blocks.values() if isinstance(block, uploading)]
