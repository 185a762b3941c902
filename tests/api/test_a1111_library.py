from __future__ import annotations

import pytest

from sdwebui.api.guard import Guard
from sdwebui.domain.catalog import SAMPLERS, SCHEDULES
from tests.api.http import connect, make_app
from tests.fakes import Services

pytestmark = pytest.mark.anyio


async def test_checkpoints_have_a1111s_keys_and_no_path_of_the_server(app: Guard):
    async with connect(app, "bob") as client:
        rows = (await client.get("/sdapi/v1/sd-models")).json()
    assert [row["model_name"] for row in rows] == ["guofeng-mini", "sub/other"]
    row = rows[0]
    assert set(row) == {"title", "model_name", "hash", "sha256", "filename", "config"}
    assert row["title"] == f"guofeng-mini.safetensors [{row['hash']}]"
    assert (row["filename"], len(row["hash"]), len(row["sha256"])) == ("guofeng-mini.safetensors", 10, 64)


async def test_refreshing_looks_at_the_folder(fakes: Services):
    async with connect(make_app(fakes), "bob") as client:
        answer = await client.post("/sdapi/v1/refresh-checkpoints")
    assert (answer.status_code, answer.json(), fakes.catalog.refreshes) == (200, None, 1)


async def test_samplers_and_schedulers_have_a1111s_keys(app: Guard):
    async with connect(app, "bob") as client:
        samplers = (await client.get("/sdapi/v1/samplers")).json()
        schedulers = (await client.get("/sdapi/v1/schedulers")).json()
    assert [row["name"] for row in samplers] == [row.name for row in SAMPLERS]
    assert [row["label"] for row in schedulers] == [row.label for row in SCHEDULES]
    assert set(samplers[0]) == {"name", "aliases", "options"}
    assert all(isinstance(value, str) for row in samplers for value in row["options"].values())
    assert set(schedulers[0]) == {"name", "label", "aliases", "default_rho", "need_inner_model"}


async def test_memory_adds_up_and_the_device_is_elsewhere(app: Guard):
    async with connect(app, "bob") as client:
        facts = (await client.get("/sdapi/v1/memory")).json()
    ram = facts["ram"]
    assert ram["free"] + ram["used"] == ram["total"] > 0
    assert set(facts["cuda"]) == {"error"}
