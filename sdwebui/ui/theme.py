"""How the page looks: a Gradio theme of local fonts only, and the style sheet and scripts beside it.

To change colours: `page_theme`; to change the layout: `static/page.css`. Nothing here may name another host.
"""

from __future__ import annotations

from pathlib import Path
from typing import Any

import gradio as gr

from sdwebui.ui.texts import Texts

SCRIPTS = ("core", "jobs", "lightbox", "viewer", "history", "png_info", "status", "tips", "keys")
"""The page's own scripts in the order in which they need each other."""

_STATIC = Path(__file__).parent / "static"
_SANS = (
    "system-ui",
    "Segoe UI",
    "Roboto",
    "Noto Sans",
    "Noto Sans CJK SC",
    "PingFang SC",
    "Microsoft YaHei",
    "sans-serif",
)
_MONO = ("ui-monospace", "SF Mono", "Consolas", "DejaVu Sans Mono", "Noto Sans Mono", "monospace")


def page_theme() -> Any:
    """The theme: A1111's orange on calm greys, in a light and a dark version, with the system's own fonts."""
    theme = gr.themes.Base(
        primary_hue=gr.themes.colors.orange,
        secondary_hue=gr.themes.colors.amber,
        neutral_hue=gr.themes.colors.zinc,
        text_size=gr.themes.sizes.text_md,
        spacing_size=gr.themes.sizes.spacing_md,
        radius_size=gr.themes.sizes.radius_md,
        font=[gr.themes.Font(name) for name in _SANS],
        font_mono=[gr.themes.Font(name) for name in _MONO],
    )
    return theme.set(
        body_text_color_subdued="*neutral_500",
        body_text_color_subdued_dark="*neutral_400",
        block_info_text_color="*neutral_500",
        block_info_text_color_dark="*neutral_400",
        input_placeholder_color="*neutral_500",
        input_placeholder_color_dark="*neutral_400",
        body_background_fill="*neutral_50",
        body_background_fill_dark="*neutral_950",
        block_background_fill="white",
        block_background_fill_dark="*neutral_900",
        block_border_width="1px",
        block_label_text_weight="500",
        block_title_text_weight="500",
        block_title_text_size="*text_sm",
        block_title_text_color="*neutral_600",
        block_title_text_color_dark="*neutral_300",
        input_background_fill="*neutral_50",
        input_background_fill_dark="*neutral_800",
        input_border_width="1px",
        input_border_color="*neutral_200",
        input_border_color_dark="*neutral_700",
        input_border_color_focus="*primary_500",
        input_border_color_focus_dark="*primary_500",
        button_primary_background_fill="*primary_700",
        button_primary_background_fill_hover="*primary_600",
        button_primary_background_fill_dark="*primary_700",
        button_primary_background_fill_hover_dark="*primary_600",
        button_primary_text_color="white",
        button_secondary_background_fill="*neutral_100",
        button_secondary_background_fill_hover="*neutral_200",
        button_secondary_background_fill_dark="*neutral_800",
        button_secondary_background_fill_hover_dark="*neutral_700",
        slider_color="*primary_500",
        slider_color_dark="*primary_500",
    )


def page_style() -> str:
    """The page's own style sheet."""
    return (_STATIC / "page.css").read_text(encoding="utf-8")


def page_head(texts: Texts) -> str:
    """What goes into the page's <head>: the texts and the scripts, inline, so that no further address is needed."""
    scripts = [texts.script(), *((_STATIC / f"{name}.js").read_text(encoding="utf-8") for name in SCRIPTS)]
    return _VIEWPORT + "".join(f"<script>{script}</script>" for script in scripts)


_VIEWPORT = '<meta name="color-scheme" content="light dark">'
