"""Who asks, and in which language."""

from __future__ import annotations

from types import SimpleNamespace

import pytest

from sdwebui.domain.errors import NotLoggedIn
from sdwebui.ui.services import locale_of, username_of


def test_an_event_has_the_person_that_the_guard_found():
    assert username_of(SimpleNamespace(username="ann")) == "ann"


@pytest.mark.parametrize("request_", [SimpleNamespace(username=None), SimpleNamespace(), SimpleNamespace(username="")])
def test_an_event_without_a_person_is_refused(request_: SimpleNamespace):
    with pytest.raises(NotLoggedIn):
        username_of(request_)


def test_the_language_comes_with_the_event():
    assert locale_of(SimpleNamespace(headers={"accept-language": "zh-CN"})) == "zh"
    assert locale_of(SimpleNamespace(headers={})) == "en"
