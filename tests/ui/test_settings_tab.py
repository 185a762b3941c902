"""The settings tab is its table: shows present values, stores changes all or none, says what it did."""

from __future__ import annotations

from types import SimpleNamespace
from typing import Any

import gradio as gr
import pytest

from sdwebui.domain.options import OPTIONS, find_option
from sdwebui.ports import DeviceStatus
from sdwebui.ui.loops import within_a_loop
from sdwebui.ui.services import PageServices
from sdwebui.ui.settings_tab import SettingsTab, accelerator_markup, build_settings_tab, note_markup
from sdwebui.ui.texts import Texts
from tests.fakes import Services


def person(username: str, language: str = "en") -> Any:
    return SimpleNamespace(username=username, headers={"accept-language": language})


@pytest.fixture
def tab(services: PageServices, texts: Texts) -> SettingsTab:
    def place() -> SettingsTab:
        with gr.Blocks(analytics_enabled=False):
            return build_settings_tab(services, texts)

    return within_a_loop(place)


def form_of(tab: SettingsTab, username: str, **changes: Any) -> dict[Any, Any]:
    values = {**tab.services.options.get(username), **changes}
    return {tab.widgets[key]: value for key, value in values.items()}


@pytest.mark.parametrize("row", OPTIONS, ids=lambda row: row.key)
def test_every_row_has_a_widget_that_takes_its_default(tab: SettingsTab, row: Any):
    widget = tab.widgets[row.key]
    assert widget.preprocess(row.default) == row.default
    if row.choices:
        assert tuple(value for _, value in widget.choices) == row.choices
    if row.minimum is not None and row.maximum is not None:
        assert (widget.minimum, widget.maximum) == (row.minimum, row.maximum)


def test_the_present_values_are_shown(tab: SettingsTab, fakes: Services):
    fakes.options.set("bob", {"default_sampler": "Euler", "sd_model_checkpoint": "other"})
    shown = tab.show(person("bob"))
    assert shown[tab.widgets["default_sampler"]] == "Euler"
    checkpoint = shown[tab.widgets["sd_model_checkpoint"]]
    assert checkpoint.value == "sub/other"
    assert ("—", "") in checkpoint.choices


def test_a_change_is_stored_and_said(tab: SettingsTab, fakes: Services):
    note = tab.save(form_of(tab, "bob", emphasis="No norm", CLIP_stop_at_last_layers=2.0), person("bob"))
    assert 'data-kind="good"' in note
    values = fakes.options.get("bob")
    assert (values["emphasis"], values["CLIP_stop_at_last_layers"]) == ("No norm", 2)


def test_nothing_changed_is_said_in_the_persons_language(tab: SettingsTab):
    assert "没有改动" in tab.save(form_of(tab, "bob"), person("bob", "zh-CN"))


def test_a_bad_value_is_refused_with_its_rule_and_nothing_is_stored(tab: SettingsTab, fakes: Services):
    note = tab.save(form_of(tab, "bob", emphasis="Ignore", CLIP_stop_at_last_layers=99), person("bob"))
    assert 'data-kind="error"' in note
    assert "CLIP_stop_at_last_layers is 99" in note
    assert fakes.options.get("bob")["emphasis"] == "Original"


def test_only_an_administrator_changes_what_concerns_everybody(tab: SettingsTab, fakes: Services):
    changed = {"unet_accelerator_enabled": False}
    assert "administrator" in tab.save(form_of(tab, "bob", **changed), person("bob"))
    assert fakes.options.get("bob")["unet_accelerator_enabled"] is True
    assert 'data-kind="good"' in tab.save(form_of(tab, "ann", **changed), person("ann"))
    assert fakes.options.get("bob")["unet_accelerator_enabled"] is False


def test_the_accelerator_section_is_as_agreed(tab: SettingsTab):
    agreed = "Apply accelerator in UNet to speed up the whole network inference when loading models"
    assert find_option("unet_accelerator_enabled").label == agreed
    assert set(find_option("unet_fallback_backend").choices) <= {"xformers", "sdpa", "split", "plain"}
    assert tab.accelerator is not None


def test_the_state_line_shows_backend_and_reason_as_text():
    line = accelerator_markup(DeviceStatus(state="ready", device="cpu", accelerator="eager", detail="<b>fell back</b>"))
    assert "eager · cpu" in line
    assert "&lt;b&gt;fell back" in line
    assert "starting" in accelerator_markup(DeviceStatus(state="starting"))


def test_a_sentence_cannot_become_markup():
    assert "<script" not in note_markup("<script>alert(1)</script>", kind="error")
