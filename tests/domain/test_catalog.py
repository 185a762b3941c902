"""Sampler and schedule names against A1111 1.10.1's listing."""

from __future__ import annotations

import pytest

from sdwebui.domain.catalog import SAMPLERS, SCHEDULES, find_sampler, find_schedule, split_sampler_name
from sdwebui.domain.errors import NotFound

A1111_SAMPLERS = (
    "DPM++ 2M, DPM++ SDE, DPM++ 2M SDE, DPM++ 2M SDE Heun, DPM++ 2S a, DPM++ 3M SDE, Euler a, Euler, LMS, Heun, DPM2, "
    "DPM2 a, DPM fast, DPM adaptive, Restart, DDIM, DDIM CFG++, PLMS, UniPC, LCM"
)


def test_all_twenty_samplers_stand_in_the_order_of_a1111():
    assert [row.name for row in SAMPLERS] == A1111_SAMPLERS.split(", ")


def test_all_twelve_schedules_stand_in_the_order_of_a1111():
    assert [row.name for row in SCHEDULES] == [
        "automatic",
        "uniform",
        "karras",
        "exponential",
        "polyexponential",
        "sgm_uniform",
        "kl_optimal",
        "align_your_steps",
        "simple",
        "normal",
        "ddim",
        "beta",
    ]


def test_second_order_samplers_are_the_six_that_call_the_model_twice():
    second = {row.name for row in SAMPLERS if row.is_second_order}
    assert second == {"DPM++ SDE", "DPM++ 2S a", "Heun", "DPM2", "DPM2 a", "Restart"}


def test_ensd_concerns_the_samplers_that_a1111_marks():
    assert {row.name for row in SAMPLERS if row.uses_ensd} == {
        "DPM++ 2S a",
        "Euler a",
        "DPM2 a",
        "DPM fast",
        "DPM adaptive",
    }


@pytest.mark.parametrize("row", SAMPLERS, ids=lambda row: row.name)
def test_every_sampler_is_found_by_each_of_its_names_in_any_case(row):
    for name in (row.name, *row.aliases):
        assert find_sampler(name) is row
        assert find_sampler(f" {name.upper()} ") is row


@pytest.mark.parametrize("row", SCHEDULES, ids=lambda row: row.name)
def test_every_schedule_is_found_by_each_of_its_names_in_any_case(row):
    for name in (row.name, row.label, *row.aliases):
        assert find_schedule(name.swapcase()) is row


@pytest.mark.parametrize("row", SAMPLERS, ids=lambda row: row.name)
def test_the_default_schedule_of_a_sampler_exists_and_agrees_with_its_option(row):
    schedule = find_schedule(row.default_schedule)
    assert schedule.label == row.default_schedule
    assert schedule.name == row.options.get("scheduler", "uniform")


@pytest.mark.parametrize("schedule", SCHEDULES, ids=lambda row: row.name)
@pytest.mark.parametrize("sampler", SAMPLERS, ids=lambda row: row.name)
def test_every_joined_name_comes_apart_again(sampler, schedule):
    for ending in (schedule.label, schedule.name, *schedule.aliases):
        assert split_sampler_name(f"{sampler.name} {ending}") == (sampler.name, schedule.label)


@pytest.mark.parametrize(
    ("joined", "parts"),
    [
        ("DPM++ 2M Karras", ("DPM++ 2M", "Karras")),
        ("DPM++ 2M SDE Exponential", ("DPM++ 2M SDE", "Exponential")),
        ("dpm2 a karras", ("DPM2 a", "Karras")),
        ("LMS Karras", ("LMS", "Karras")),
        ("k_dpmpp_2m karras", ("DPM++ 2M", "Karras")),
        ("DDIM", ("DDIM", "")),
        ("Euler a", ("Euler a", "")),
        ("k_euler_ancestral", ("Euler a", "")),
    ],
)
def test_joined_names_from_older_infotexts_are_understood(joined, parts):
    assert split_sampler_name(joined) == parts


@pytest.mark.parametrize("name", ["Eular a", "Eular a Karras", "", "Karras", "x" * 100_000])
def test_an_unknown_sampler_is_refused_with_the_field_named(name):
    with pytest.raises(NotFound) as caught:
        split_sampler_name(name)
    assert caught.value.field == "sampler_name"
    assert len(caught.value.detail) < 400


def test_an_unknown_sampler_offers_the_nearest_names():
    with pytest.raises(NotFound, match="Did you mean 'Euler a', 'Euler'"):
        find_sampler("Eular a")


def test_an_unknown_schedule_offers_the_nearest_labels():
    with pytest.raises(NotFound, match=r"schedule type 'Karas' was not found. Did you mean 'Karras'"):
        find_schedule("Karas")
