"""What the controls do, called as Gradio calls them, over the real services with fakes behind."""

from __future__ import annotations

import json
from types import SimpleNamespace
from typing import Any

import gradio as gr
import pytest

from sdwebui.domain.infotext import parse_infotext
from sdwebui.domain.requests import MAX_PROMPT_CHARACTERS
from sdwebui.ui.generation_form import FIELDS
from sdwebui.ui.loops import within_a_loop
from sdwebui.ui.quick_row import build_quick_row
from sdwebui.ui.services import PageServices
from sdwebui.ui.texts import Texts
from sdwebui.ui.txt2img_handlers import Txt2ImgHandlers
from sdwebui.ui.txt2img_tab import build_txt2img_tab
from tests.fakes import Services

INFOTEXT = (
    "moon over bamboo\nNegative prompt: blurry\nSteps: 33, Sampler: Euler a, Schedule type: Karras, CFG scale: 5.5, "
    "Seed: 9223372036854775000, Size: 320x384, Model: other, Clip skip: 2"
)


def person(username: str, language: str = "en") -> Any:
    return SimpleNamespace(username=username, headers={"accept-language": language})


@pytest.fixture
def handlers(services: PageServices, texts: Texts) -> Txt2ImgHandlers:
    def place() -> Txt2ImgHandlers:
        with gr.Blocks(analytics_enabled=False):
            quick = build_quick_row(texts)
            with gr.Tabs() as tabs, gr.Tab():
                tab = build_txt2img_tab(texts, quick.checkpoint)
        return Txt2ImgHandlers(services=services, texts=texts, quick=quick, tab=tab, tabs=tabs)

    return within_a_loop(place)


def filled(handlers: Txt2ImgHandlers, **changes: Any) -> dict[Any, Any]:
    values = {
        "prompt": "a cat",
        "negative_prompt": "",
        "checkpoint": "guofeng-mini",
        "sampler_name": "Euler",
        "schedule_type": "Automatic",
        "steps": 2,
        "cfg_scale": 7,
        "width_px": 64,
        "height_px": 64,
        "batch_count": 1,
        "batch_size": 1,
        "seed": "5",
        "clip_skip": 1,
        "emphasis": "Original",
        **changes,
    }
    data = {handlers.tab.form.widgets[name]: value for name, value in values.items()}
    return {**data, handlers.tab.click_key: "click-1"}


def by_name(handlers: Txt2ImgHandlers, updates: dict[Any, Any]) -> dict[str, Any]:
    return {name: updates[widget] for name, widget in handlers.tab.form.widgets.items() if widget in updates}


def test_generate_sends_a_job_and_remembers_the_form(handlers: Txt2ImgHandlers, fakes: Services):
    outcome = json.loads(handlers.generate(filled(handlers, prompt="a red hanfu"), person("ann")))
    job = fakes.generation.wait(outcome["job"], 10)
    assert job.state == "done"
    assert job.owner == "ann"
    assert job.request["seed"] == 5
    opened = by_name(handlers, handlers.open_page(person("ann")))
    assert opened["prompt"] == "a red hanfu"
    assert opened["seed"] == "5"


def test_a_repeated_click_makes_one_job(handlers: Txt2ImgHandlers, fakes: Services):
    first, second = (json.loads(handlers.generate(filled(handlers), person("ann"))) for _ in range(2))
    assert first == second
    assert len(fakes.generation.jobs(viewer=fakes.people["ann"])) == 1


@pytest.mark.parametrize(
    ("changes", "words"),
    [
        ({"width_px": 517}, ("width is 517", "520")),
        ({"steps": 0}, ("steps is 0", "1 to 150")),
        ({"seed": "abc"}, ("seed is 'abc'", "whole number")),
        ({"checkpoint": "guofeng-mimi"}, ("guofeng-mimi", "guofeng-mini")),
        ({"prompt": "x" * (MAX_PROMPT_CHARACTERS + 1)}, ("prompt", "100000")),
    ],
)
def test_a_refused_form_answers_with_the_sentence(handlers: Txt2ImgHandlers, changes: Any, words: tuple[str, ...]):
    outcome = json.loads(handlers.generate(filled(handlers, **changes), person("ann")))
    assert set(outcome) == {"error"}
    assert all(word in outcome["error"] for word in words)


def test_a_first_visit_has_the_checkpoints_own_size_and_the_persons_defaults(
    handlers: Txt2ImgHandlers, fakes: Services
):
    fakes.options.set("bob", {"sd_model_checkpoint": "other", "default_sampler": "Euler a"})
    opened = handlers.open_page(person("bob"))
    values = by_name(handlers, opened)
    assert (values["width_px"], values["height_px"], values["sampler_name"]) == (128, 128, "Euler a")
    assert "bob" in opened[handlers.quick.person]
    choices = opened[handlers.quick.checkpoint]
    assert [name for _, name in choices.choices] == ["broken", "guofeng-mini", "sub/other"]
    assert choices.value == "sub/other"


def test_drafts_are_each_persons_own(handlers: Txt2ImgHandlers):
    handlers.generate(filled(handlers, prompt="mine alone"), person("ann"))
    assert "prompt" not in by_name(handlers, handlers.open_page(person("bob")))


def test_choosing_a_checkpoint_brings_an_untouched_size_along(handlers: Txt2ImgHandlers, fakes: Services):
    assert handlers.choose_checkpoint("sub/other", 64, 64, person("ann")) == ("sub/other", 128, 128)
    assert fakes.options.get("ann")["sd_model_checkpoint"] == "sub/other"


def test_choosing_a_checkpoint_leaves_a_size_that_somebody_set(handlers: Txt2ImgHandlers):
    name, width, height = handlers.choose_checkpoint("sub/other", 96, 64, person("ann"))
    assert name == "sub/other"
    assert width == height == gr.skip()


def test_a_broken_checkpoint_is_refused_and_the_list_goes_back(handlers: Txt2ImgHandlers, fakes: Services):
    with pytest.warns(UserWarning, match="the file is cut off"):  # what Gradio makes of a message outside a page
        name, _, _ = handlers.choose_checkpoint("broken", 64, 64, person("ann"))
    assert name == "guofeng-mini"
    assert fakes.options.get("ann")["sd_model_checkpoint"] == ""


def test_refreshing_looks_at_the_folders_and_keeps_the_choice(handlers: Txt2ImgHandlers, fakes: Services):
    assert handlers.refresh("sub/other").value == "sub/other"
    assert fakes.catalog.refreshes == 1


def test_the_native_size_can_be_had_back(handlers: Txt2ImgHandlers):
    assert handlers.native_size("sub/other") == (128, 128)
    with pytest.warns(UserWarning, match="no such"):
        assert handlers.native_size("no such") == (gr.skip(), gr.skip())


def test_prompts_are_counted_and_endless_ones_are_not(handlers: Txt2ImgHandlers):
    assert "2/75" in handlers.count_prompt("a cat")
    assert "0/75" in handlers.count_negative("")
    assert str(MAX_PROMPT_CHARACTERS) in handlers.count_prompt("x" * (MAX_PROMPT_CHARACTERS + 1))


def test_pasted_parameters_fill_the_whole_form(handlers: Txt2ImgHandlers, fakes: Services):
    updates = handlers.read_parameters(INFOTEXT, person("ann"))
    values = by_name(handlers, updates)
    assert values["prompt"] == "moon over bamboo"
    assert values["negative_prompt"] == "blurry"
    assert (values["steps"], values["sampler_name"], values["schedule_type"]) == (33, "Euler a", "Karras")
    assert values["seed"] == "9223372036854775000"
    assert (values["width_px"], values["height_px"], values["clip_skip"]) == (320, 384, 2)
    assert values["checkpoint"] == "sub/other"
    assert fakes.options.get("ann")["sd_model_checkpoint"] == "sub/other"
    assert updates[handlers.tabs].selected == "txt2img"


def test_what_a_picture_says_about_itself_makes_the_same_request_again(handlers: Txt2ImgHandlers, fakes: Services):
    sent = json.loads(handlers.generate(filled(handlers, prompt="(moon:1.2)", emphasis="No norm"), person("ann")))
    first = fakes.generation.wait(sent["job"], 10)
    updates = handlers.read_parameters(first.images[0].infotext, person("bob"))
    again = {**filled(handlers), **{w: v for w, v in updates.items() if w in handlers.tab.form.inputs}}
    second = fakes.generation.wait(json.loads(handlers.generate(again, person("bob")))["job"], 10)
    assert second.request == first.request


def test_parameters_of_an_unknown_checkpoint_keep_the_present_one(handlers: Txt2ImgHandlers, fakes: Services):
    text = INFOTEXT.replace("Model: other", "Model: somebody-elses")
    with pytest.warns(UserWarning, match="somebody-elses"):
        updates = handlers.read_parameters(text, person("ann"))
    assert handlers.quick.checkpoint not in updates
    assert fakes.options.get("ann")["sd_model_checkpoint"] == ""


def test_words_without_parameters_change_nothing(handlers: Txt2ImgHandlers):
    assert parse_infotext("just words").params == {}
    assert handlers.read_parameters("just words", person("ann", "zh-CN")) == {handlers.tabs: gr.skip()}


def test_the_test_fills_every_field(handlers: Txt2ImgHandlers):
    assert len(filled(handlers)) == len(FIELDS) + 1
