from __future__ import annotations

from typing import Any

import pytest

from sdwebui.api.guard import Guard
from tests.api.http import connect, make_app
from tests.fakes import Services

pytestmark = pytest.mark.anyio


async def test_the_current_checkpoint_is_shown_by_the_title_of_the_list(app: Guard):
    async with connect(app, "bob") as client:
        options = (await client.get("/sdapi/v1/options")).json()
        titles = [row["title"] for row in (await client.get("/sdapi/v1/sd-models")).json()]
    assert options["sd_model_checkpoint"] == titles[0]
    assert options["samples_format"] == "png"


async def test_sending_everything_back_changes_nothing(fakes: Services):
    before = fakes.options.get("bob")
    async with connect(make_app(fakes), "bob") as client:
        options = (await client.get("/sdapi/v1/options")).json()
        answer = await client.post("/sdapi/v1/options", json=options)
        assert (answer.status_code, answer.json()) == (200, None)
    assert fakes.options.get("bob") == before


async def test_sending_everything_back_with_another_checkpoint_changes_only_that(fakes: Services):
    async with connect(make_app(fakes), "bob") as bob, connect(make_app(fakes), "eve") as eve:
        options = (await bob.get("/sdapi/v1/options")).json()
        title = (await bob.get("/sdapi/v1/sd-models")).json()[1]["title"]
        assert (await bob.post("/sdapi/v1/options", json={**options, "sd_model_checkpoint": title})).status_code == 200
        assert (await bob.get("/sdapi/v1/options")).json()["sd_model_checkpoint"] == title
        assert (await eve.get("/sdapi/v1/options")).json()["sd_model_checkpoint"] != title


@pytest.mark.parametrize(
    ("values", "status", "words"),
    [
        ({"outdir_samples": "/etc"}, 404, "option 'outdir_samples' was not found"),
        ({"CLIP_stop_at_last_layers": 99}, 422, "CLIP_stop_at_last_layers is 99, but it must be"),
        ({"CLIP_stop_at_last_layers": True}, 422, "CLIP_stop_at_last_layers is True"),
        ({"CLIP_stop_at_last_layers": "two"}, 422, "CLIP_stop_at_last_layers is 'two'"),
        ({"sd_model_checkpoint": "unknown"}, 404, "checkpoint 'unknown' was not found"),
        ({"sd_model_checkpoint": "broken"}, 409, "cannot be used"),
        ({"emphasis": "Loud"}, 422, "must be one of"),
        ({"samples_format": "jpg"}, 422, "samples_format"),
        ({str(number): 1 for number in range(2000)}, 422, "at most 1000 keys"),
        ([1], 422, "body"),
    ],
)
async def test_bad_options_are_refused_by_name_and_nothing_is_changed(
    fakes: Services, values: Any, status: int, words: str
):
    before = fakes.options.get("bob")
    async with connect(make_app(fakes), "bob") as client:
        mixed = {"show_progress_every_n_steps": 7, **values} if isinstance(values, dict) else values
        answer = await client.post("/sdapi/v1/options", json=mixed)
    assert answer.status_code == status
    assert words in answer.json()["detail"]
    assert fakes.options.get("bob") == before


@pytest.mark.parametrize("value", ["unknown", "broken", 5])
async def test_a_wrong_checkpoint_is_reported_under_the_options_name(app: Guard, value: object):
    async with connect(app, "bob") as client:
        answer = await client.post("/sdapi/v1/options", json={"sd_model_checkpoint": value})
    assert answer.status_code in (404, 409, 422)
    assert answer.json()["field"] == "sd_model_checkpoint"


async def test_options_of_the_whole_server_are_an_administrators(fakes: Services):
    change = {"unet_accelerator_enabled": False}
    async with connect(make_app(fakes), "bob") as bob, connect(make_app(fakes), "ann") as ann:
        answer = await bob.post("/sdapi/v1/options", json=change)
        assert (answer.status_code, answer.json()["error"]) == (403, "NotAllowed")
        assert (await ann.post("/sdapi/v1/options", json=change)).status_code == 200
        assert (await bob.get("/sdapi/v1/options")).json()["unet_accelerator_enabled"] is False
