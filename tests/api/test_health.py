from __future__ import annotations

import pytest

from sdwebui.api.guard import Guard
from tests.api.http import connect, make_app
from tests.fakes import Services

pytestmark = pytest.mark.anyio


async def test_healthz_is_open_and_says_nothing_but_ok(app: Guard):
    async with connect(app) as client:
        answer = await client.get("/healthz")
        assert (answer.status_code, answer.json()) == (200, {"status": "ok"})
        assert (await client.head("/healthz")).status_code == 200


async def test_readyz_says_what_the_worker_is(app: Guard):
    async with connect(app, "bob") as client:
        answer = await client.get("/readyz")
    assert answer.status_code == 200
    assert answer.json()["status"] == "ready"
    assert answer.json()["device"] == "cpu"


async def test_readyz_is_503_with_a_reason_while_no_worker_takes_jobs(fakes: Services):
    fakes.runner.drain(0)
    async with connect(make_app(fakes), "bob") as client:
        answer = await client.get("/readyz")
        assert (await client.get("/healthz")).status_code == 200
    assert (answer.status_code, answer.headers["retry-after"]) == (503, "5")
    facts = answer.json()
    assert (facts["error"], facts["status"], facts["errors"]) == ("Overloaded", "dead", [])
    assert facts["detail"]


async def test_metrics_show_jobs_and_requests(app: Guard):
    async with connect(app, "bob") as client:
        await client.get("/sdapi/v1/samplers")
        await client.get("/nothing")
        text = (await client.get("/metrics")).text
    assert 'sdwebui_http_requests_total{method="GET",part="sdapi",status="200"} 1.0' in text
    assert 'sdwebui_http_requests_total{method="GET",part="page",status="404"} 1.0' in text
    assert 'sdwebui_jobs{state="queued"} 0.0' in text
    assert "sdwebui_queue_length 0.0" in text
    assert "sdwebui_worker_ready 1.0" in text


async def test_ping_is_an_empty_object(app: Guard):
    async with connect(app, "bob") as client:
        assert (await client.get("/internal/ping")).json() == {}
