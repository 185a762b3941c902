"""The txt2img tab: the form on the left, the viewer on the right. What the buttons do is in `txt2img_handlers.py`.

To add a field: a row in `generation_form.FIELDS`, and a widget of that name in `_form_widgets`.
"""

from __future__ import annotations

import html
from dataclasses import dataclass
from typing import Any

import gradio as gr

from sdwebui.domain.catalog import AUTOMATIC, SAMPLERS, SCHEDULES
from sdwebui.domain.options import find_option
from sdwebui.domain.requests import MAX_BATCH_SIZE, MAX_IMAGES_PER_JOB, MAX_STEPS
from sdwebui.ui.generation_form import GenerationForm
from sdwebui.ui.quick_row import tool_button
from sdwebui.ui.texts import Texts, option_help_key, option_label_key

SIDE_MIN_PX, SIDE_MAX_PX, SIDE_STEP_PX = 64, 2048, 8
"""Range of the size sliders, as in A1111; the API takes larger pictures."""


@dataclass(frozen=True, kw_only=True)
class Txt2ImgTab:
    """The widgets of the tab that have handlers."""

    form: GenerationForm
    generate: Any
    read_parameters: Any
    swap_sides: Any
    native_size: Any
    random_seed: Any
    reuse_seed: Any
    prompt_tokens: Any
    negative_tokens: Any
    click_key: Any
    outcome: Any


def build_txt2img_tab(texts: Texts, checkpoint: Any) -> Txt2ImgTab:
    """Place the tab's widgets inside the open `gr.Tab`.

    Args:
        texts: the catalogues.
        checkpoint: the drop-down of the quick row, which is a field of the form too.
    """
    widgets: dict[str, Any] = {"checkpoint": checkpoint}
    tools: dict[str, Any] = {}
    with gr.Row(elem_id="sd-prompt-row"):
        with gr.Column(scale=6, elem_id="sd-prompts"):
            _prompts(texts, widgets, tools)
        with gr.Column(scale=1, min_width=220, elem_id="sd-buttons"):
            tools["generate"] = gr.Button(
                texts.label("generate"), variant="primary", size="lg", elem_id="sd-generate", min_width=100
            )
            gr.HTML("", elem_id="sd-actions", js_on_load="sdwebui.actions(element)")
            tools["read_parameters"] = gr.Button(
                texts.label("read_parameters"), size="sm", elem_id="sd-read-parameters", min_width=100
            )
    with gr.Row(elem_id="sd-work-row"):
        with gr.Column(scale=1, min_width=320, elem_id="sd-form"):
            _form_widgets(texts, widgets, tools)
        with gr.Column(scale=1, min_width=320, elem_id="sd-results"):
            gr.HTML("", elem_id="sd-viewer", js_on_load="sdwebui.viewer(element)")
    # Made after all other widgets: the browser's script puts the key of a click into the last input of the event.
    tools["click_key"] = gr.Textbox(visible="hidden", elem_id="sd-click-key")
    tools["outcome"] = gr.Textbox(visible="hidden", elem_id="sd-outcome")
    return Txt2ImgTab(form=GenerationForm(widgets), **tools)


def _prompts(texts: Texts, widgets: dict[str, Any], tools: dict[str, Any]) -> None:
    for name, counter in (("prompt", "prompt_tokens"), ("negative_prompt", "negative_tokens")):
        with gr.Group(elem_classes=["sd-prompt-box"]):
            widgets[name] = gr.Textbox(
                label=texts.label(name),
                placeholder=texts.label(f"{name}_hint"),
                lines=3,
                max_lines=12,
                elem_id="sd-" + name.replace("_", "-"),
                elem_classes=["sd-prompt"],
            )
            tools[counter] = gr.HTML(tokens_markup("0/75"), elem_classes=["sd-tokens-box"])


def tokens_markup(count: str) -> str:
    """The counter beside a prompt: "12/75"."""
    return f'<span class="sd-tokens">{html.escape(count)}</span>'


def _form_widgets(texts: Texts, widgets: dict[str, Any], tools: dict[str, Any]) -> None:
    with gr.Row():
        widgets["sampler_name"] = gr.Dropdown(
            choices=[row.name for row in SAMPLERS],
            value=SAMPLERS[0].name,
            label=texts.label("sampler"),
            elem_id="sd-sampler",
            min_width=140,
        )
        widgets["schedule_type"] = gr.Dropdown(
            choices=[row.label for row in SCHEDULES],
            value=AUTOMATIC,
            label=texts.label("schedule_type"),
            elem_id="sd-schedule",
            min_width=140,
        )
    widgets["steps"] = _slider(texts, "steps", 1, MAX_STEPS, 20)
    with gr.Row(elem_classes=["sd-size-row"]):
        with gr.Column(scale=8, min_width=200):
            widgets["width_px"] = _slider(texts, "width", SIDE_MIN_PX, SIDE_MAX_PX, 512, SIDE_STEP_PX)
            widgets["height_px"] = _slider(texts, "height", SIDE_MIN_PX, SIDE_MAX_PX, 512, SIDE_STEP_PX)
        with gr.Column(scale=0, min_width=42, elem_classes=["sd-tool-column"]):
            tools["swap_sides"] = tool_button(texts, "swap_sides", elem_id="sd-swap")
            tools["native_size"] = tool_button(texts, "size_from_model", elem_id="sd-native-size")
    with gr.Row():
        widgets["batch_count"] = _slider(texts, "batch_count", 1, MAX_IMAGES_PER_JOB, 1)
        widgets["batch_size"] = _slider(texts, "batch_size", 1, MAX_BATCH_SIZE, 1)
    widgets["cfg_scale"] = _slider(texts, "cfg_scale", 1.0, 30.0, 7.0, 0.5)
    with gr.Row(elem_id="sd-seed-row", equal_height=True):
        # A text field, because a seed may have 63 bits and a browser's number holds 53.
        widgets["seed"] = gr.Textbox(value="-1", label=texts.label("seed"), max_lines=1, elem_id="sd-seed", scale=1)
        tools["random_seed"] = tool_button(texts, "seed_random", elem_id="sd-random-seed")
        tools["reuse_seed"] = tool_button(texts, "seed_reuse", elem_id="sd-reuse-seed")
    with gr.Accordion(texts.label("more_settings"), open=False, elem_id="sd-more"):
        widgets["clip_skip"] = _slider(texts, "clip_skip", 1, 12, 1, info="clip_skip_help")
        widgets["emphasis"] = gr.Dropdown(
            choices=list(find_option("emphasis").choices),
            value=find_option("emphasis").default,
            label=texts.label(option_label_key("emphasis")),
            info=texts.label(option_help_key("emphasis")),
            elem_id="sd-emphasis",
        )


def _slider(
    texts: Texts, key: str, minimum: float, maximum: float, value: float, step: float = 1, *, info: str = ""
) -> Any:
    return gr.Slider(
        minimum,
        maximum,
        value=value,
        step=step,
        label=texts.label(key),
        info=texts.label(info) if info else None,
        buttons=[],
        elem_id="sd-" + key.replace("_", "-"),
        min_width=140,
    )
