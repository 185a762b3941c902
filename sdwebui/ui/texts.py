"""Every text that the page shows, in English and Simplified Chinese. To add one: the same key in both `locales/*.toml`.

Labels are translated by the browser (Gradio's own mechanism, by the browser's language); sentences that a handler makes
are looked up here by the request's `Accept-Language`. Texts of options stand in their rows in `domain/options.py`.
"""

from __future__ import annotations

import json
import tomllib
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import gradio as gr

from sdwebui.domain.options import OPTIONS

LOCALES = ("en", "zh")
CHINESE_TAGS = ("zh", "zh-CN", "zh-TW", "zh-HK", "zh-SG", "zh-Hans", "zh-Hant")
"""What browsers call Chinese; all get the one Chinese catalogue."""


@dataclass(frozen=True, kw_only=True)
class Texts:
    """The catalogues: locale → key → text. Made by `load_texts`."""

    catalogues: Mapping[str, Mapping[str, str]]
    i18n: Any

    def label(self, key: str) -> Any:
        """The marker that the browser replaces by the text of `key`.

        Raises:
            KeyError: there is no such text.
        """
        if key not in self.catalogues["en"]:
            raise KeyError(key)
        return self.i18n(key)

    def say(self, locale: str, key: str, **values: object) -> str:
        """The text of `key` in a locale with its {names} filled in.

        Raises:
            KeyError: there is no such text.
        """
        return self.catalogues[locale][key].format(**values)

    def script(self) -> str:
        """JavaScript that gives the page's own scripts all texts. Safe inside a <script> element."""
        text = json.dumps(self.catalogues, ensure_ascii=False).replace("<", "\\u003c")
        return f"window.sdwebuiTexts = {text};"


def load_texts() -> Texts:
    """Read the catalogues that lie beside this file and join the options' texts to them."""
    folder = Path(__file__).parent / "locales"
    catalogues = {
        locale: {**tomllib.loads((folder / f"{locale}.toml").read_text(encoding="utf-8")), **_option_texts(locale)}
        for locale in LOCALES
    }
    i18n = gr.I18n(en=catalogues["en"], **dict.fromkeys(CHINESE_TAGS, catalogues["zh"]))
    return Texts(catalogues=catalogues, i18n=i18n)


def option_label_key(key: str) -> str:
    """Catalogue key of an option's label."""
    return f"option_{key}"


def option_help_key(key: str) -> str:
    """Catalogue key of an option's help."""
    return f"option_{key}_help"


def section_key(section: str) -> str:
    """Catalogue key of a heading of the settings tab."""
    return "section_" + section.lower().replace(" ", "_")


def pick_locale(accept_language: str) -> str:
    """The catalogue for an `Accept-Language` header: of the language that the browser puts first, else English.

    Only the first language counts, because the labels are translated by the browser's first language too.
    """
    first = accept_language.split(",", 1)[0].split(";", 1)[0].strip().lower()
    return "zh" if first == "zh" or first.startswith("zh-") else "en"


def _option_texts(locale: str) -> dict[str, str]:
    chinese = locale == "zh"
    texts: dict[str, str] = {}
    for row in OPTIONS:
        texts[option_label_key(row.key)] = row.label_zh if chinese else row.label
        texts[option_help_key(row.key)] = row.help_zh if chinese else row.help
    return texts
