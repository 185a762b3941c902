"""The tab's widgets and the request's fields are one to one, within the request's rules."""

from __future__ import annotations

import gradio as gr

from sdwebui.domain.catalog import SAMPLERS, SCHEDULES
from sdwebui.domain.requests import MAX_BATCH_SIZE, MAX_IMAGES_PER_JOB, MAX_SIDE_PX, MAX_STEPS, MIN_SIDE_PX
from sdwebui.ui.generation_form import FIELDS
from sdwebui.ui.loops import within_a_loop
from sdwebui.ui.texts import Texts
from sdwebui.ui.txt2img_tab import Txt2ImgTab, build_txt2img_tab, tokens_markup


def build(texts: Texts) -> Txt2ImgTab:
    def place() -> Txt2ImgTab:
        with gr.Blocks(analytics_enabled=False):
            return build_txt2img_tab(texts, gr.Dropdown())

    return within_a_loop(place)


def test_every_field_has_a_widget(texts: Texts):
    assert set(build(texts).form.widgets) == {field.name for field in FIELDS}


def test_every_sampler_and_schedule_can_be_chosen(texts: Texts):
    widgets = build(texts).form.widgets
    assert [value for _, value in widgets["sampler_name"].choices] == [row.name for row in SAMPLERS]
    assert [value for _, value in widgets["schedule_type"].choices] == [row.label for row in SCHEDULES]


def test_sliders_stay_within_the_rules_of_a_request(texts: Texts):
    widgets = build(texts).form.widgets
    rules = {
        "steps": (1, MAX_STEPS),
        "width_px": (MIN_SIDE_PX, MAX_SIDE_PX),
        "height_px": (MIN_SIDE_PX, MAX_SIDE_PX),
        "batch_count": (1, MAX_IMAGES_PER_JOB),
        "batch_size": (1, MAX_BATCH_SIZE),
        "cfg_scale": (1, 30),
        "clip_skip": (1, 12),
    }
    for name, (low, high) in rules.items():
        assert low <= widgets[name].minimum < widgets[name].maximum <= high, name
    assert widgets["width_px"].step == widgets["height_px"].step == 8


def test_the_counter_shows_what_it_is_given_as_text():
    assert tokens_markup("12/75") == '<span class="sd-tokens">12/75</span>'
    assert "<b>" not in tokens_markup("<b>")
