"""The durable job API: shapes, ownership, idempotency, events."""

from __future__ import annotations

import json
from typing import Any

import anyio
import httpx
import pytest

from sdwebui.api.guard import Guard
from sdwebui.api.jobs import checked_key
from sdwebui.domain.errors import InvalidRequest, ModelUnusable
from tests.api.http import asgi, basic, connect, http_scope, make_app
from tests.fakes import FakeEngine, Services, make_services

pytestmark = pytest.mark.anyio

REQUEST = {"prompt": "a moon", "steps": 4, "width": 64, "height": 64, "seed": 7}
FIXED_KEYS = {"id", "kind", "state", "progress", "position", "eta_s", "attempt", "images", "warnings", "error"}


async def submit(client: httpx.AsyncClient, headers: dict[str, str] | None = None, **changes: Any) -> dict[str, Any]:
    order = {"kind": "txt2img", "request": {**REQUEST, **changes}}
    answer = await client.post("/api/v1/jobs", json=order, headers=headers)
    assert answer.status_code == 202, answer.text
    facts: dict[str, Any] = answer.json()
    assert set(facts) == {"id", "state"}
    assert answer.headers["location"] == f"/api/v1/jobs/{facts['id']}"
    return facts


async def finished(client: httpx.AsyncClient, job_id: str) -> dict[str, Any]:
    with anyio.fail_after(10):
        while True:
            facts: dict[str, Any] = (await client.get(f"/api/v1/jobs/{job_id}")).json()
            if facts["state"] not in ("queued", "running"):
                return facts
            await anyio.sleep(0.01)


async def test_a_job_is_accepted_run_and_shown_with_its_pictures(app: Guard):
    async with connect(app, "bob") as client:
        job = await finished(client, (await submit(client, n_iter=2))["id"])
        assert set(job) >= FIXED_KEYS
        assert (job["state"], job["progress"], job["kind"], job["error"]) == ("done", 1.0, "txt2img", None)
        assert [image["seed"] for image in job["images"]] == [7, 8]
        assert set(job["images"][0]) == {"id", "url", "seed", "infotext"}
        picture = await client.get(job["images"][0]["url"])
    assert picture.content.startswith(b"\x89PNG")
    assert b"a moon" in picture.content
    assert picture.headers["content-type"] == "image/png"
    assert picture.headers["x-content-type-options"] == "nosniff"
    assert picture.headers["cache-control"].startswith("private")
    assert picture.headers["content-disposition"] == 'inline; filename="000-7.png"'


async def test_the_list_is_newest_first_and_can_be_cut_to_active_ones(app: Guard):
    async with connect(app, "bob") as client:
        ids = [(await submit(client))["id"] for _ in range(3)]
        for job_id in ids:
            await finished(client, job_id)
        assert [job["id"] for job in (await client.get("/api/v1/jobs")).json()] == ids[::-1]
        assert [job["id"] for job in (await client.get("/api/v1/jobs?limit=1")).json()] == ids[-1:]
        assert (await client.get("/api/v1/jobs?active=true")).json() == []
        answer = await client.get("/api/v1/jobs?limit=0")
        assert (answer.status_code, answer.json()["field"]) == (422, "limit")


async def test_other_people_see_nothing_of_a_job_not_even_an_administrator(app: Guard):
    async with connect(app, "bob") as bob, connect(app, "eve") as eve, connect(app, "ann") as ann:
        job = await finished(bob, (await submit(bob))["id"])
        for other in (eve, ann):
            for method, path in (
                ("GET", f"/api/v1/jobs/{job['id']}"),
                ("DELETE", f"/api/v1/jobs/{job['id']}"),
                ("GET", f"/api/v1/jobs/{job['id']}/events"),
                ("GET", f"/api/v1/jobs/{job['id']}/preview"),
                ("GET", job["images"][0]["url"]),
            ):
                answer = await other.request(method, path)
                assert (answer.status_code, answer.json()["error"]) == (404, "NotFound"), (method, path)
            assert (await other.get("/api/v1/jobs")).json() == []
            assert (await other.delete("/api/v1/jobs")).json() == []


async def test_an_idempotency_key_gives_the_first_job_back_to_its_owner_alone(app: Guard):
    async with connect(app, "bob") as bob, connect(app, "eve") as eve:
        key = {"Idempotency-Key": "one"}
        first, second, foreign = await submit(bob, key), await submit(bob, key), await submit(eve, key)
        assert first["id"] == second["id"] != foreign["id"]
        for bad in ("a" * 201, "tab\there"):
            order = {"kind": "txt2img", "request": REQUEST}
            answer = await bob.post("/api/v1/jobs", json=order, headers={"Idempotency-Key": bad})
            assert (answer.status_code, answer.json()["field"]) == (422, "Idempotency-Key")


async def test_keys_must_be_printable_ascii():
    assert checked_key("") == ""
    assert checked_key("5f0c-1") == "5f0c-1"
    with pytest.raises(InvalidRequest, match="printable ASCII"):
        checked_key("日本")


async def test_a_job_can_be_cancelled_while_it_runs(slow_fakes: Services):
    async with connect(make_app(slow_fakes), "bob") as client:
        job_id = (await submit(client, steps=150))["id"]
        assert (await client.delete(f"/api/v1/jobs/{job_id}")).status_code == 200
        assert (await finished(client, job_id))["state"] == "cancelled"


async def test_all_own_jobs_can_be_cancelled_at_once(slow_fakes: Services):
    async with connect(make_app(slow_fakes), "bob") as bob, connect(make_app(slow_fakes), "eve") as eve:
        mine = [(await submit(bob, steps=100))["id"] for _ in range(2)]
        other = (await submit(eve, steps=2))["id"]
        assert {job["id"] for job in (await bob.delete("/api/v1/jobs")).json()} == set(mine)
        assert (await finished(eve, other))["state"] == "done"
        assert [(await finished(bob, job_id))["state"] for job_id in mine] == ["cancelled", "cancelled"]


async def test_a_running_job_shows_steps_and_a_preview(slow_fakes: Services):
    async with connect(make_app(slow_fakes), "bob") as client:
        job_id = (await submit(client, steps=150))["id"]
        job: dict[str, Any] = {}
        with anyio.fail_after(10):
            while not job.get("preview"):
                await anyio.sleep(0.02)
                job = (await client.get(f"/api/v1/jobs/{job_id}")).json()
        assert (job["state"], job["image_count"], job["steps"]) == ("running", 1, 150)
        assert 0 < job["progress"] < 1
        preview = await client.get(job["preview"])
        assert preview.content.startswith(b"preview of step")
        assert preview.headers["content-type"] == "image/png"
        await client.delete(f"/api/v1/jobs/{job_id}")
        assert (await finished(client, job_id))["preview"] is None
        assert (await client.get(job["preview"])).status_code == 404


async def test_a_preview_that_is_asked_for_too_late_is_the_picture(app: Guard):
    async with connect(app, "bob") as client:
        job = await finished(client, (await submit(client))["id"])
        late = await client.get(f"/api/v1/jobs/{job['id']}/preview?number=3")
        assert late.content == (await client.get(job["images"][0]["url"])).content


async def test_a_failed_job_carries_its_named_error():
    failures = {"cursed": ModelUnusable("The file is damaged.", field="checkpoint")}
    with make_services(engine=FakeEngine(failures=failures)) as fakes:
        async with connect(make_app(fakes), "bob") as client:
            job = await finished(client, (await submit(client, prompt="cursed"))["id"])
    assert job["state"] == "failed"
    assert job["error"] == {"error": "ModelUnusable", "detail": "The file is damaged.", "field": "checkpoint"}


@pytest.mark.parametrize(
    ("order", "field"),
    [
        ({"kind": "dance", "request": REQUEST}, "kind"),
        ({"kind": "txt2img"}, "request"),
        ({"kind": "txt2img", "request": {**REQUEST, "steps": "many"}}, "request.steps"),
        ({"kind": "txt2img", "request": {**REQUEST, "steps": 0}}, "steps"),
        ({"kind": "txt2img", "request": {**REQUEST, "n_iter": 1000}}, "n_iter"),
        ({"kind": "txt2img", "request": REQUEST, "owner": "ann"}, "owner"),
        ({"kind": "txt2img", "request": {**REQUEST, "sampler": "Euler"}}, "request.sampler"),
        ({"kind": "txt2img", "request": {**REQUEST, "steps": True}}, "request.steps"),
        ({"kind": "txt2img", "request": {**REQUEST, "steps": "4"}}, "request.steps"),
        ({"kind": "txt2img", "request": {**REQUEST, "save_images": 1}}, "request.save_images"),
        ({"kind": 5, "request": REQUEST}, "kind"),
        ([1, 2], "body"),
    ],
)
async def test_a_bad_order_is_refused_with_the_field_at_fault(app: Guard, order: Any, field: str):
    async with connect(app, "bob") as client:
        answer = await client.post("/api/v1/jobs", json=order)
    facts = answer.json()
    assert answer.status_code == 422
    assert (facts["error"], facts["field"]) == ("InvalidRequest", field)
    assert field.rpartition(".")[2] in facts["detail"]


async def test_unknown_fields_are_refused_with_the_nearest_name(app: Guard):
    orders: tuple[tuple[dict[str, Any], str, str], ...] = (
        ({"kind": "txt2img", "request": {**REQUEST, "step": 30}}, "request.step is 30, but it ", "'steps'"),
        (
            {"kind": "txt2img", "request": {**REQUEST, "negativ_prompt": "x"}},
            "request.negativ_prompt",
            "'negative_prom",
        ),
        ({"kind": "txt2img", "requests": REQUEST}, "requests is ", "'request'"),
    )
    async with connect(app, "bob") as client:
        for order, start, nearest in orders:
            facts = (await client.post("/api/v1/jobs", json=order)).json()
            assert facts["error"] == "InvalidRequest"
            assert facts["detail"].startswith(start)
            assert "Did you mean " in facts["detail"]
            assert nearest in facts["detail"]
        several = {"kind": "txt2img", "request": {**REQUEST, "step": 30, "zzz": 1}}
        facts = (await client.post("/api/v1/jobs", json=several)).json()
        assert [finding["field"] for finding in facts["errors"]] == ["request.step", "request.zzz"]
        assert (await client.get("/api/v1/jobs")).json() == []


async def test_a_null_counts_as_not_given_here_too_and_whole_numbers_serve_as_reals(app: Guard):
    async with connect(app, "bob") as client:
        job = await finished(client, (await submit(client, sampler_name=None, cfg_scale=7))["id"])
        assert job["state"] == "done"


def parsed(text: str) -> list[dict[str, str]]:
    events = []
    for block in text.split("\n\n"):
        lines = [line.split(": ", 1) for line in block.split("\n") if ": " in line and not line.startswith(":")]
        if any(name == "data" for name, _ in lines):
            events.append(dict(lines))
    return events


async def test_events_show_progress_up_to_the_end(slow_fakes: Services):
    async with connect(make_app(slow_fakes), "bob") as client:
        job_id = (await submit(client, steps=15))["id"]
        answer = await client.get(f"/api/v1/jobs/{job_id}/events")
    assert answer.headers["content-type"].startswith("text/event-stream")
    events = parsed(answer.text)
    assert [event["event"] for event in events[:-1]] == ["progress"] * (len(events) - 1)
    assert events[-1]["event"] == "end"
    shown = [json.loads(event["data"])["progress"] for event in events]
    assert shown == sorted(shown)
    assert len(set(shown)) > 2
    assert json.loads(events[-1]["data"])["state"] == "done"


async def test_a_viewer_who_comes_back_gets_the_state_in_one_event_and_204_after_the_end(app: Guard):
    async with connect(app, "bob") as client:
        job_id = (await submit(client))["id"]
        await finished(client, job_id)
        url = f"/api/v1/jobs/{job_id}/events"
        events = parsed((await client.get(url, headers={"Last-Event-ID": "12"})).text)
        assert [event["event"] for event in events] == ["end"]
        again = await client.get(url, headers={"Last-Event-ID": events[-1]["id"]})
        assert (again.status_code, again.content) == (204, b"")


async def test_closing_the_event_stream_changes_nothing_for_the_job(slow_fakes: Services):
    app = make_app(slow_fakes)
    async with connect(app, "bob") as client:
        job_id = (await submit(client, steps=15))["id"]
        scope = http_scope("GET", f"/api/v1/jobs/{job_id}/events", authorization=basic("bob"))
        with anyio.move_on_after(0.1):
            await asgi(app, scope)
        assert (await finished(client, job_id))["state"] == "done"
    assert slow_fakes.generation.events("bob")._channel.wakes == {}


async def test_unknown_ids_are_404_with_a_sentence(app: Guard):
    async with connect(app, "bob") as client:
        for path in (
            "/api/v1/jobs/nope",
            "/api/v1/jobs/nope/events",
            "/api/v1/images/nope",
            "/api/v1/jobs/nope/preview",
        ):
            answer = await client.get(path)
            assert answer.status_code == 404
            assert "'nope'" in answer.json()["detail"]
