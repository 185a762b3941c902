"""The page's look names no other host and holds every script."""

from __future__ import annotations

import re

from sdwebui.ui.texts import Texts
from sdwebui.ui.theme import SCRIPTS, page_head, page_style, page_theme

SVG_NAMESPACE = "http://www.w3.org/2000/svg"


def test_style_head_and_theme_name_no_other_host(texts: Texts):
    theme = page_theme()
    everything = page_style() + page_head(texts) + theme._get_theme_css() + "".join(map(str, theme._stylesheets))
    assert re.findall(r"(?:https?:)?//[a-z0-9.-]+\.[a-z]{2,}[^\s\"')]*", everything.replace(SVG_NAMESPACE, "")) == []
    assert "@import" not in everything


def test_the_head_holds_every_script_after_the_texts(texts: Texts):
    head = page_head(texts)
    assert head.count("<script>") == head.count("</script>") == len(SCRIPTS) + 1
    assert head.index("window.sdwebuiTexts") < head.index("window.sdwebui =")


def test_scripts_never_write_markup(texts: Texts):
    """Prompts and infotexts are foreign text: they may become text nodes and attributes only."""
    head = page_head(texts)
    for word in ("innerHTML", "outerHTML", "insertAdjacentHTML", "document.write", "eval("):
        assert word not in head
