"""The row on top: titles of checkpoints, and a name that cannot become markup."""

from __future__ import annotations

from sdwebui.ui.quick_row import checkpoint_choices, person_markup
from sdwebui.ui.texts import Texts
from tests.fakes import checkpoint


def test_checkpoints_are_listed_by_title_and_chosen_by_name():
    healthy, broken = checkpoint("sub/mini"), checkpoint("broken", problem="the file is cut off")
    choices = checkpoint_choices([healthy, broken])
    assert choices == [(healthy.title, "sub/mini"), (f"⚠ {broken.title}", "broken")]
    assert healthy.short_hash in choices[0][0]


def test_a_user_name_cannot_become_markup(texts: Texts):
    markup = person_markup(texts, "en", '<img src=x onerror="alert(1)">')
    assert "<img" not in markup
    assert 'onerror="' not in markup


def test_logging_out_is_a_post(texts: Texts):
    assert 'method="post" action="/logout"' in person_markup(texts, "zh", "mei")
    assert "退出登录" in person_markup(texts, "zh", "mei")
