"""The page is put together from its table of tabs, and every event keeps Gradio's progress veils away."""

from __future__ import annotations

from typing import Any

from sdwebui.domain.options import OPTIONS
from sdwebui.ui.page import TABS, build_page
from sdwebui.ui.services import PageServices
from sdwebui.ui.texts import Texts


def components(page: Any) -> dict[str, Any]:
    return {block.elem_id: block for block in page.blocks.values() if getattr(block, "elem_id", None)}


def test_every_tab_of_the_table_is_on_the_page_with_its_text(page: Any, texts: Texts):
    found = components(page)
    for row in TABS:
        assert f"sd-tab-{row.id}" in found
        assert f"tab_{row.id}" in texts.catalogues["en"]


def test_the_page_reads_its_texts_itself_when_none_are_given(services: PageServices):
    assert components(build_page(services))


def test_every_option_has_a_widget_in_the_settings(page: Any):
    found = components(page)
    assert {f"sd-option-{row.key.lower().replace('_', '-')}" for row in OPTIONS} <= set(found)


def test_no_handler_is_a_public_api_and_none_veils_the_page(page: Any):
    for event in page.fns.values():
        if event.fn is not None:
            assert event.api_visibility == "private"
            assert event.show_progress == "hidden"


def test_the_click_key_is_the_last_input_of_generate(page: Any):
    """The page's script puts the key of a click into the last input; Gradio sorts inputs by the order of creation."""
    found = components(page)
    event = next(event for event in page.fns.values() if getattr(event.fn, "__name__", "") == "generate")
    assert event.inputs[-1] is found["sd-click-key"]


def test_building_the_page_sends_nothing_anywhere(page: Any):
    assert page.analytics_enabled is False
