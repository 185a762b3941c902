"""The whole page. To add a tab: a row in `TABS` and a file `<name>_tab.py`; the browser test opens every one."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any

import gradio as gr

from sdwebui.ui import settings_tab, txt2img_handlers
from sdwebui.ui.history_tab import build_history_tab
from sdwebui.ui.loops import within_a_loop
from sdwebui.ui.png_info_tab import build_png_info_tab
from sdwebui.ui.quick_row import QuickRow, build_quick_row
from sdwebui.ui.services import PageServices
from sdwebui.ui.settings_tab import build_settings_tab
from sdwebui.ui.texts import Texts, load_texts
from sdwebui.ui.txt2img_handlers import Txt2ImgHandlers
from sdwebui.ui.txt2img_tab import build_txt2img_tab

TITLE = "sdwebui"


@dataclass(frozen=True, kw_only=True)
class PageParts:
    """What the builder of a tab may use."""

    services: PageServices
    texts: Texts
    quick: QuickRow


@dataclass(frozen=True, kw_only=True)
class TabRow:
    """One tab.

    Attributes:
        id: stable name; the tab's label is the text `tab_<id>`.
        build: places the tab's widgets and returns what its events need.
    """

    id: str
    build: Callable[[PageParts], Any]


TABS: tuple[TabRow, ...] = (
    TabRow(id="txt2img", build=lambda parts: build_txt2img_tab(parts.texts, parts.quick.checkpoint)),
    TabRow(id="png_info", build=lambda _parts: build_png_info_tab()),
    TabRow(id="history", build=lambda _parts: build_history_tab()),
    TabRow(id="settings", build=lambda parts: build_settings_tab(parts.services, parts.texts)),
)
"""The tabs from left to right."""


def build_page(services: PageServices, texts: Texts | None = None) -> Any:
    """The page as `gr.Blocks`, ready to be mounted by `mount_page`.

    Args:
        services: what its handlers call.
        texts: the catalogues; None to read them from their files.
    """
    return within_a_loop(lambda: _build(services, texts or load_texts()))


def _build(services: PageServices, texts: Texts) -> Any:
    with gr.Blocks(title=TITLE, analytics_enabled=False, fill_width=True, delete_cache=(3600, 86400)) as blocks:
        quick = build_quick_row(texts)
        parts = PageParts(services=services, texts=texts, quick=quick)
        built: dict[str, Any] = {}
        tabs: dict[str, Any] = {}
        with gr.Tabs(selected=TABS[0].id, elem_id="sd-tabs") as bar:
            for row in TABS:
                with gr.Tab(texts.label(f"tab_{row.id}"), id=row.id, elem_id=f"sd-tab-{row.id}") as tabs[row.id]:
                    built[row.id] = row.build(parts)
        bridge = gr.HTML("", visible="hidden", html_template="", js_on_load="sdwebui.attachBridge(props, trigger)")
        _connect(blocks, parts, built, tabs, bar=bar, bridge=bridge)
    return blocks


def _connect(
    blocks: Any, parts: PageParts, built: Mapping[str, Any], tabs: Mapping[str, Any], *, bar: Any, bridge: Any
) -> None:
    handlers = Txt2ImgHandlers(
        services=parts.services, texts=parts.texts, quick=parts.quick, tab=built["txt2img"], tabs=bar
    )
    txt2img_handlers.connect(handlers, blocks, bridge)
    settings_tab.connect(built["settings"], blocks, tabs["settings"])
