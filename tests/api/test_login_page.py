from __future__ import annotations

import pytest

from sdwebui.api.login_page import CSS, FAVICON, TEXTS, login_html, preferred_language


@pytest.mark.parametrize(
    ("header", "language"),
    [
        ("", "en"),
        ("de-DE,de;q=0.9", "en"),
        ("zh-CN,zh;q=0.9,en;q=0.8", "zh-CN"),
        ("zh", "zh-CN"),
        ("en-US,en;q=0.9,zh;q=0.8", "en"),
        ("fr, zh;q=0.5, en;q=0.7", "en"),
        ("zh;q=abc", "en"),
        (";;;,,,q=1", "en"),
        ("ZH-hant", "zh-CN"),
    ],
)
def test_the_first_language_we_have_is_taken(header: str, language: str):
    assert preferred_language(header) == language


def test_both_languages_have_every_text():
    assert set(TEXTS["en"]) == set(TEXTS["zh-CN"])


@pytest.mark.parametrize("language", sorted(TEXTS))
def test_the_page_is_complete_in_each_language(language: str):
    page = login_html(language=language, csrf="token", alert="bad <b>", notice="note", given='"x"', limit=10)
    assert f'lang="{language}"' in page
    assert "bad &lt;b&gt;" in page
    assert 'role="status">note' in page
    assert 'value="&quot;x&quot;"' in page
    assert page.count("<label") == 2
    assert "{" not in page


def test_nothing_comes_from_other_hosts():
    assert "http" not in CSS + login_html(language="en", csrf="", limit=1)
    assert FAVICON.startswith("<svg")
