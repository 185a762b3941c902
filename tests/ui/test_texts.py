"""Both catalogues are complete, used, and safe to put into a page."""

from __future__ import annotations

import re
from pathlib import Path
from string import Formatter

import pytest

from sdwebui.domain.options import OPTIONS
from sdwebui.ui.texts import Texts, option_help_key, option_label_key, pick_locale, section_key

UI = Path(__file__).resolve().parents[2] / "sdwebui" / "ui"


def names_in(text: str) -> set[str]:
    return {name for _, name, _, _ in Formatter().parse(text) if name}


def test_both_catalogues_have_the_same_keys(texts: Texts):
    assert set(texts.catalogues["en"]) == set(texts.catalogues["zh"])


def test_a_text_has_the_same_names_to_fill_in_in_both_languages(texts: Texts):
    english, chinese = texts.catalogues["en"], texts.catalogues["zh"]
    assert {key: names_in(text) for key, text in english.items()} == {
        key: names_in(text) for key, text in chinese.items()
    }


def test_no_text_is_empty_and_chinese_texts_are_chinese(texts: Texts):
    assert all(text.strip() for catalogue in texts.catalogues.values() for text in catalogue.values())
    same = {key for key, text in texts.catalogues["zh"].items() if text == texts.catalogues["en"][key]}
    assert same == {"app_title", "section_stable_diffusion"}


def test_every_option_and_section_of_the_settings_has_its_texts(texts: Texts):
    for row in OPTIONS:
        for key in (option_label_key(row.key), option_help_key(row.key), section_key(row.section)):
            assert texts.catalogues["en"][key]


def test_the_accelerator_checkbox_has_its_agreed_label(texts: Texts):
    label = "Apply accelerator in UNet to speed up the whole network inference when loading models"
    assert texts.catalogues["en"][option_label_key("unet_accelerator_enabled")] == label
    assert texts.catalogues["en"]["settings_apply"] == "Apply settings"
    assert texts.catalogues["en"]["settings_reload"] == "Reload UI"


def test_every_text_is_used_and_every_text_that_is_used_exists(texts: Texts):
    sources = "\n".join(path.read_text(encoding="utf-8") for path in [*UI.glob("*.py"), *UI.glob("static/*.js")])
    own = {key for key in texts.catalogues["en"] if not key.startswith(("option_", "section_"))}
    built = ("tab_", "state_", "worker_")  # put together from a name at run time
    exact = {"interrupt_help", "skip_help", "prompt_hint", "negative_prompt_hint"}
    unused = {key for key in own - exact if f'"{key}"' not in sources and not key.startswith(built)}
    assert unused == set()
    said = set(re.findall(r'\bsay\("([a-z0-9_]+)"[,)]', sources)) | set(
        re.findall(r'\.label\("([a-z0-9_]+)"\)', sources)
    )
    assert said <= own


@pytest.mark.parametrize(
    ("header", "locale"),
    [
        ("zh-CN,zh;q=0.9,en;q=0.8", "zh"),
        ("zh", "zh"),
        ("en-US,en;q=0.9,zh-CN;q=0.8", "en"),
        ("fr-FR", "en"),
        ("", "en"),
        ("zho-Latn", "en"),
    ],
)
def test_the_browsers_first_language_decides(header: str, locale: str):
    assert pick_locale(header) == locale


def test_a_text_is_filled_in(texts: Texts):
    assert texts.say("en", "signed_in_as", name="mei") == "Signed in as mei"
    assert texts.say("zh", "signed_in_as", name="mei") == "当前用户：mei"


def test_a_label_that_does_not_exist_is_refused(texts: Texts):
    with pytest.raises(KeyError):
        texts.label("no_such_text")


def test_the_script_of_texts_cannot_end_its_script_element(texts: Texts):
    hostile = Texts(catalogues={"en": {"a": "</script><b>"}}, i18n=None)
    assert "<" not in hostile.script()
    assert texts.script().startswith("window.sdwebuiTexts = {")
