"""The table of options: every row is complete and refuses what it must."""

from __future__ import annotations

import pytest

from sdwebui.domain.errors import InvalidRequest, NotFound
from sdwebui.domain.options import OPTIONS, check_option, find_option, option_defaults, stored_options

rows = pytest.mark.parametrize("row", OPTIONS, ids=lambda row: row.key)


@rows
def test_every_row_is_complete_in_both_languages(row):
    assert row.label
    assert row.help.endswith(".")
    assert any("\u4e00" <= letter <= "\u9fff" for letter in row.label_zh)
    assert row.help_zh.endswith("。")
    assert row.scope in ("user", "server")


@rows
def test_every_default_is_allowed(row):
    assert check_option(row, row.default) == row.default
    assert type(check_option(row, row.default)) is type(row.default)


@rows
@pytest.mark.parametrize(
    "nonsense", [None, [], {}, float("nan"), float("inf"), pytest.param(-(10**400), id="huge"), "x" * 5000, "a\nb", 1.5]
)
def test_nonsense_is_refused_and_the_option_named(row, nonsense):
    with pytest.raises(InvalidRequest, match=row.key):
        check_option(row, nonsense)


def test_keys_are_unique():
    assert len(option_defaults()) == len(OPTIONS)


def test_whole_numbers_may_come_as_json_floats():
    row = find_option("CLIP_stop_at_last_layers")
    assert check_option(row, 2.0) == 2
    assert type(check_option(row, 2.0)) is int


def test_an_unknown_key_offers_the_nearest():
    with pytest.raises(NotFound, match="Did you mean 'emphasis'"):
        find_option("emphasys")


def test_stored_values_that_are_no_longer_valid_cost_only_themselves():
    good, problems = stored_options({"emphasis": "Ignore", "CLIP_stop_at_last_layers": 99, "gone": 1})
    assert good == {"emphasis": "Ignore"}
    assert len(problems) == 2
