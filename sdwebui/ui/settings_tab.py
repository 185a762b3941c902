"""The Settings tab, made from `domain/options.py`: one widget a row, one heading a section. No option is named here.

To show a new kind of option: a row in `_WIDGETS`.
"""

from __future__ import annotations

import html
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from itertools import groupby
from typing import Any

import gradio as gr

from sdwebui.domain.errors import SdWebuiError
from sdwebui.domain.options import OPTIONS, OptionRow
from sdwebui.ports import DeviceStatus
from sdwebui.ui.quick_row import checkpoint_choices
from sdwebui.ui.services import QUIET, PageServices, locale_of, username_of
from sdwebui.ui.texts import Texts, option_help_key, option_label_key, section_key

ACCELERATOR_SECTION = "Accelerator"
"""The section under which the state of the accelerator stands."""


@dataclass(frozen=True, kw_only=True, eq=False)
class SettingsTab:
    """The tab's widgets and handlers.

    Attributes:
        services: what the handlers call.
        texts: the catalogues.
        widgets: option key → widget.
        accelerator: the line with the accelerator's state.
        message: what "Apply settings" said.
        apply: the button "Apply settings".
        reload: the button "Reload UI".
    """

    services: PageServices
    texts: Texts
    widgets: Mapping[str, Any]
    accelerator: Any
    message: Any
    apply: Any
    reload: Any

    def show(self, request: gr.Request) -> dict[Any, Any]:
        """The present values, the model files to choose from, and the worker's state."""
        values = self.services.options.get(username_of(request))
        shown: dict[Any, Any] = {self.widgets[row.key]: self._shown(row, values[row.key]) for row in OPTIONS}
        return {
            **shown,
            self.accelerator: accelerator_markup(self.services.generation.status()),
            self.message: "",
        }

    def save(self, data: dict[Any, Any], request: gr.Request) -> str:
        """Store what was changed, all or none. Returns the sentence that is shown."""
        username, locale = username_of(request), locale_of(request)
        present = self.services.options.get(username)
        given = {row.key: _given(row, data[self.widgets[row.key]]) for row in OPTIONS}
        changed = {key: value for key, value in given.items() if value != present[key]}
        if not changed:
            return note_markup(self.texts.say(locale, "settings_unchanged"), kind="info")
        try:
            self.services.options.set(username, changed)
        except SdWebuiError as error:
            return note_markup(error.detail, kind="error")
        return note_markup(self.texts.say(locale, "settings_applied"), kind="good")

    def _shown(self, row: OptionRow, value: Any) -> Any:
        if not row.catalog:
            return value
        return gr.Dropdown(choices=[("—", ""), *checkpoint_choices(self.services.library.checkpoints())], value=value)


def build_settings_tab(services: PageServices, texts: Texts) -> SettingsTab:
    """Place the tab's widgets inside the open `gr.Tab`."""
    widgets: dict[str, Any] = {}
    accelerator = None
    with gr.Row(elem_id="sd-settings-buttons"):
        apply = gr.Button(
            texts.label("settings_apply"), variant="primary", elem_id="sd-apply-settings", scale=0, min_width=180
        )
        reload = gr.Button(texts.label("settings_reload"), elem_id="sd-reload-ui", scale=0, min_width=180)
    message = gr.HTML("", elem_id="sd-settings-message")
    for section, rows in groupby(OPTIONS, key=lambda row: row.section):
        with gr.Accordion(texts.label(section_key(section)), open=True, elem_classes=["sd-settings-section"]):
            for row in rows:
                widgets[row.key] = _WIDGETS[type(row.default)](texts, row)
            if section == ACCELERATOR_SECTION:
                accelerator = gr.HTML("", elem_id="sd-accelerator-state")
    return SettingsTab(
        services=services,
        texts=texts,
        widgets=widgets,
        accelerator=accelerator,
        message=message,
        apply=apply,
        reload=reload,
    )


def connect(tab: SettingsTab, blocks: Any, selected: Any) -> None:
    """Join the widgets to the handlers.

    Args:
        tab: the tab.
        blocks: the page.
        selected: the `gr.Tab` that holds it; its values are read again whenever it is opened.
    """
    everything = [*tab.widgets.values(), tab.accelerator, tab.message]
    blocks.load(tab.show, outputs=everything, **QUIET)
    selected.select(tab.show, outputs=everything, **QUIET)
    tab.apply.click(tab.save, set(tab.widgets.values()), tab.message, **QUIET)
    tab.reload.click(None, None, None, js="() => window.location.reload()")


def accelerator_markup(status: DeviceStatus) -> str:
    """The state line under the accelerator's options: backend in use, coverage and reason as the worker says them."""
    facts = " · ".join(one for one in (status.accelerator, status.device, status.precision) if one)
    lines = [one for one in (facts, status.detail) if one] or [status.state]
    return f'<p class="sd-state-line">{"<br>".join(html.escape(line) for line in lines)}</p>'


def note_markup(sentence: str, *, kind: str) -> str:
    """A sentence for the person; `kind` is "good", "info" or "error"."""
    return f'<p class="sd-note" data-kind="{kind}" role="status">{html.escape(sentence)}</p>'


def _given(row: OptionRow, value: Any) -> Any:
    """What a widget holds, in the option's own type where the widget cannot keep it (sliders send 20.0)."""
    if value is None:
        return ""
    is_whole = isinstance(row.default, int) and not isinstance(row.default, bool)
    return int(value) if is_whole and isinstance(value, float) and value % 1 == 0 else value


def _switch(texts: Texts, row: OptionRow) -> Any:
    return gr.Checkbox(label=_label(texts, row), info=_help(texts, row), elem_id=_id(row))


def _number(texts: Texts, row: OptionRow) -> Any:
    labels = {"label": _label(texts, row), "info": _help(texts, row), "elem_id": _id(row)}
    if row.minimum is None or row.maximum is None:
        return gr.Number(**labels)
    step = 1 if isinstance(row.default, int) else 0.01
    return gr.Slider(row.minimum, row.maximum, value=row.default, step=step, buttons=[], **labels)


def _text(texts: Texts, row: OptionRow) -> Any:
    labels = {"label": _label(texts, row), "info": _help(texts, row), "elem_id": _id(row)}
    if row.choices:
        return gr.Dropdown(choices=list(row.choices), **labels)
    if row.catalog:
        return gr.Dropdown(choices=[], allow_custom_value=True, **labels)
    return gr.Textbox(max_lines=1, **labels)


def _label(texts: Texts, row: OptionRow) -> Any:
    return texts.label(option_label_key(row.key))


def _help(texts: Texts, row: OptionRow) -> Any:
    return texts.label(option_help_key(row.key))


def _id(row: OptionRow) -> str:
    return f"sd-option-{row.key.lower().replace('_', '-')}"


_WIDGETS: Mapping[type, Callable[[Texts, OptionRow], Any]] = {bool: _switch, int: _number, float: _number, str: _text}
