"""A1111's generating routes: shapes, refusals, waiting, progress, interrupt, skip."""

from __future__ import annotations

import base64
import json
from typing import Any

import anyio
import httpx
import pytest

from sdwebui.api.a1111_generate import progress_facts
from sdwebui.api.guard import Guard
from sdwebui.domain.errors import OutOfMemory
from sdwebui.domain.image_metadata import read_parameters
from sdwebui.domain.results import JobProgress
from tests.api.http import asgi, basic, connect, http_scope, make_app
from tests.fakes import FakeEngine, Services, make_services

pytestmark = pytest.mark.anyio

SMALL = {"prompt": "a moon", "steps": 3, "width": 64, "height": 64, "seed": 7}
INFO_KEYS = {
    "prompt", "all_prompts", "negative_prompt", "all_negative_prompts", "seed", "all_seeds", "subseed", "all_subseeds",
    "subseed_strength", "width", "height", "sampler_name", "cfg_scale", "steps", "batch_size", "restore_faces",
    "face_restoration_model", "sd_model_name", "sd_model_hash", "sd_vae_name", "sd_vae_hash", "seed_resize_from_w",
    "seed_resize_from_h", "denoising_strength", "extra_generation_params", "index_of_first_image", "infotexts",
    "styles", "job_timestamp", "clip_skip", "is_using_inpainting_conditioning", "version",
}  # fmt: skip
WEBUIAPI_BODY: dict[str, Any] = {
    "enable_hr": False, "hr_scale": 2, "hr_upscaler": "Latent", "hr_second_pass_steps": 0, "hr_resize_x": 0,
    "hr_resize_y": 0, "denoising_strength": 0.7, "firstphase_width": 0, "firstphase_height": 0,
    "prompt": "cute squirrel", "styles": [], "seed": 1003, "subseed": -1, "subseed_strength": 0.0,
    "seed_resize_from_h": 0, "seed_resize_from_w": 0,
    "batch_size": 1, "n_iter": 1, "steps": 4, "cfg_scale": 7.0, "width": 64, "height": 64, "restore_faces": False,
    "tiling": False, "do_not_save_samples": False, "do_not_save_grid": False, "negative_prompt": "ugly", "eta": 1.0,
    "s_churn": 0, "s_tmax": 0, "s_tmin": 0, "s_noise": 1, "override_settings": {},
    "override_settings_restore_afterwards": True, "sampler_name": "Euler a", "sampler_index": "Euler a",
    "scheduler": "Automatic", "script_name": None, "script_args": [], "send_images": True, "save_images": False,
    "alwayson_scripts": {}, "hr_checkpoint_name": None, "hr_sampler_name": None, "hr_scheduler": None, "hr_prompt": "",
    "hr_negative_prompt": "", "use_async": False,
}  # fmt: skip
"""What the PyPI client webuiapi sends for `txt2img(prompt="cute squirrel", …)`."""


async def txt2img(client: httpx.AsyncClient, **changes: Any) -> httpx.Response:
    return await client.post("/sdapi/v1/txt2img", json={**SMALL, **changes})


async def test_the_answer_has_a1111s_shape(app: Guard):
    async with connect(app, "bob") as client:
        answer = await txt2img(client, n_iter=2, negative_prompt="ugly")
    facts = answer.json()
    assert answer.status_code == 200
    assert set(facts) == {"images", "parameters", "info"}
    pictures = [base64.b64decode(image, validate=True) for image in facts["images"]]
    assert all(picture.startswith(b"\x89PNG") for picture in pictures)
    assert (facts["parameters"]["prompt"], facts["parameters"]["steps"]) == ("a moon", 3)
    info = json.loads(facts["info"])
    assert set(info) == INFO_KEYS
    assert (info["seed"], info["all_seeds"], info["index_of_first_image"]) == (7, [7, 8], 0)
    assert info["all_prompts"] == ["a moon", "a moon"]
    assert info["infotexts"] == [read_parameters(picture) for picture in pictures]
    assert (info["sd_model_name"], info["sampler_name"]) == ("guofeng-mini", "Euler")
    assert info["infotexts"][0].startswith("a moon\nNegative prompt: ugly\nSteps: 3, Sampler: Euler")
    assert f"Model hash: {info['sd_model_hash']}" in info["infotexts"][0]
    assert len(info["job_timestamp"]) == 14
    assert not {"Steps", "Seed", "Model"} & set(info["extra_generation_params"])


async def test_a_client_like_webuiapi_gets_its_picture(app: Guard, fakes: Services):
    async with connect(app, "bob") as client:
        answer = await client.post("/sdapi/v1/txt2img", json=WEBUIAPI_BODY)
    facts = answer.json()
    assert answer.status_code == 200
    assert json.loads(facts["info"])["all_seeds"] == [1003]
    (request,) = fakes.runner.engine.requests.values()
    assert (request.sampler, request.steps, request.cfg_scale, request.save_images) == ("Euler a", 4, 7.0, False)


async def test_fields_of_other_clients_are_ignored_and_strings_for_numbers_are_read(app: Guard):
    async with connect(app, "bob") as client:
        silly = {
            "url": "http://x",
            "auth": "a:b",
            "hr_scale": "1.0",
            "clip_skip": 1,
            "sampler_name": None,
            "steps": 3.0,
        }
        assert (await txt2img(client, **silly)).status_code == 200


async def test_old_joined_sampler_names_work(app: Guard, fakes: Services):
    async with connect(app, "bob") as client:
        assert (await txt2img(client, sampler_index="DPM++ 2M Karras")).status_code == 200
        assert (await txt2img(client, sampler_name="DPM++ 2M", scheduler="SGM Uniform")).status_code == 200
    assert [(one.sampler, one.schedule_type) for one in fakes.runner.engine.requests.values()] == [
        ("DPM++ 2M", "Karras"),
        ("DPM++ 2M", "SGM Uniform"),
    ]


async def test_overrides_choose_the_checkpoint_for_this_request_alone(app: Guard, fakes: Services):
    async with connect(app, "bob") as client:
        override = {"sd_model_checkpoint": "sub/other", "CLIP_stop_at_last_layers": 2, "sd_vae": "Automatic"}
        answer = await txt2img(client, override_settings=override)
        info = json.loads(answer.json()["info"])
        assert (info["sd_model_name"], info["clip_skip"]) == ("sub/other", 2)
        assert fakes.options.get("bob")["CLIP_stop_at_last_layers"] == 1
        await txt2img(client, override_settings=override, override_settings_restore_afterwards=False)
        assert fakes.options.get("bob")["sd_model_checkpoint"] == "sub/other"
        assert fakes.options.get("eve")["sd_model_checkpoint"] == ""


async def test_pictures_can_be_left_out_of_the_answer(app: Guard):
    async with connect(app, "bob") as client:
        facts = (await txt2img(client, send_images=False)).json()
    assert facts["images"] == []
    assert json.loads(facts["info"])["all_seeds"] == [7]


@pytest.mark.parametrize(
    ("changes", "status", "field", "words"),
    [
        ({"steps": 0}, 422, "steps", "steps is 0, but it must be a whole number from 1 to 150."),
        ({"steps": 1_000_000_000}, 422, "steps", "steps is 1000000000, but it must"),
        ({"steps": "many"}, 422, "steps", "steps is 'many', but it must be a valid integer"),
        ({"width": 517}, 422, "width", "width is 517, but it must be a multiple of 8. The nearest is 520."),
        ({"height": 10**7}, 422, "height", "height is 10000000, but it must"),
        ({"prompt": "a" * 1_000_000}, 422, "prompt", "has 1000000 characters, more than the 100000 allowed"),
        ({"prompt": 5}, 422, "prompt", "prompt is 5, but it must be a valid string"),
        ({"prompt": "\ud800"}, 422, "prompt", "prompt"),
        ({"prompt": "a\0b"}, 422, "prompt", "U+0000"),
        ({"cfg_scale": 1000}, 422, "cfg_scale", "cfg_scale is 1000.0, but it must be a number from 1 to 30."),
        ({"n_iter": 1000}, 422, "n_iter", "n_iter is 1000, but it"),
        ({"seed": 2**70}, 422, "seed", "seed is 1180591620717411303424, but it must"),
        ({"sampler_name": "Oiler"}, 404, "sampler_name", "Did you mean 'Euler'"),
        ({"scheduler": "Carras"}, 404, "scheduler", "Did you mean 'Karras'"),
        (
            {"override_settings": {"sd_model_checkpoint": "guofeng-maxi"}},
            404,
            "override_settings.sd_model_checkpoint",
            "Did you mean 'guofeng-mini'",
        ),
        (
            {"override_settings": {"sd_model_checkpoint": "broken"}},
            409,
            "override_settings.sd_model_checkpoint",
            "cannot be used: the file is cut off",
        ),
        ({"override_settings": {"sd_model_chekpoint": "x"}}, 404, "sd_model_chekpoint", "Did you mean"),
        (
            {"override_settings": {"default_sampler": "Euler a"}},
            422,
            "override_settings.default_sampler",
            "one request",
        ),
        (
            {"enable_hr": True},
            422,
            "enable_hr",
            "enable_hr is True, but it asks for a function that this server does not",
        ),
        ({"styles": ["ink"]}, 422, "styles", "Leave it out."),
        ({"tiling": True}, 422, "tiling", "tiling is True"),
        ({"refiner_checkpoint": "xl"}, 422, "refiner_checkpoint", "refiner_checkpoint is 'xl'"),
        ({"subseed_strength": 0.5}, 422, "subseed_strength", "subseed_strength is 0.5"),
        ({"eta": 0.3}, 422, "eta", "eta is 0.3"),
        ({"script_name": "x/y/z plot"}, 422, "script_name", "x/y/z plot"),
        (
            {"alwayson_scripts": {"ControlNet": {"args": [{"module": "canny"}]}}},
            422,
            "alwayson_scripts",
            "alwayson_scripts is 'ControlNet', but it asks for a script that this server does not have",
        ),
    ],
)
async def test_bad_input_is_refused_with_thing_value_rule(
    app: Guard, fakes: Services, changes: dict[str, Any], status: int, field: str, words: str
):
    async with connect(app, "bob") as client:
        content = json.dumps({**SMALL, **changes})
        answer = await client.post("/sdapi/v1/txt2img", content=content, headers={"Content-Type": "application/json"})
        facts = answer.json()
        assert (answer.status_code, facts["field"]) == (status, field), facts
        assert words in facts["detail"]
        assert set(facts) == {"error", "detail", "field", "errors"}
        assert len(answer.content) < 2000
        assert (await client.get("/healthz")).status_code == 200
    assert fakes.runner.engine.requests == {}


@pytest.mark.parametrize(
    ("content", "status"),
    [
        (b"", 422),
        (b"[1]", 422),
        (b"null", 422),
        (b"{", 422),
        (b'{"prompt": "\xff"}', 400),
        (b"[" * 100_000, 400),
        (b'{"steps": ' + b"9" * 5000 + b"}", 400),
        (b'{"cfg_scale": NaN}', 422),
        (b'{"denoising_strength": Infinity}', 422),
        (b'{"script_args": [NaN], "hr_prompt": "\\ud800"}', 200),
    ],
)
async def test_bodies_that_are_no_proper_json_never_crash(app: Guard, content: bytes, status: int):
    async with connect(app, "bob") as client:
        body = content.replace(b'{"script', b'{"steps": 1, "width": 64, "height": 64, "script')
        answer = await client.post("/sdapi/v1/txt2img", content=body, headers={"Content-Type": "application/json"})
        assert answer.status_code == status, answer.text
        assert status == 200 or answer.json()["detail"].endswith(".")


async def test_unbalanced_brackets_are_text_not_an_error(app: Guard):
    async with connect(app, "bob") as client:
        assert (await txt2img(client, prompt="((a [moon:(0.5")).status_code == 200


async def test_a_failed_job_is_its_error_over_http():
    failure = OutOfMemory("The device ran out of memory at 64×64. Use a smaller size.")
    with make_services(engine=FakeEngine(failures={"huge": failure})) as fakes:
        async with connect(make_app(fakes), "bob") as client:
            answer = await txt2img(client, prompt="huge")
    assert answer.status_code == 500
    assert (answer.json()["error"], answer.json()["detail"]) == ("OutOfMemory", failure.detail)


async def test_a_repeated_call_with_the_same_key_makes_one_job(app: Guard, fakes: Services):
    async with connect(app, "bob") as client:
        for _ in range(2):
            answer = await client.post("/sdapi/v1/txt2img", json=SMALL, headers={"Idempotency-Key": "k"})
            assert answer.status_code == 200
    assert len(fakes.runner.engine.requests) == 1


async def test_a_client_that_hangs_up_does_not_lose_its_job(slow_fakes: Services):
    app = make_app(slow_fakes)
    body = {"type": "http.request", "body": json.dumps({**SMALL, "steps": 10}).encode(), "more_body": False}
    scope = http_scope("POST", "/sdapi/v1/txt2img", authorization=basic("bob"), content_type="application/json")
    async with anyio.create_task_group() as hanging:
        hanging.start_soon(asgi, app, scope, body)
        with anyio.fail_after(10):
            while not slow_fakes.jobs.list("bob", active_only=True):
                await anyio.sleep(0.01)
        hanging.cancel_scope.cancel()
    async with connect(app, "bob") as client:
        with anyio.fail_after(5):
            while (await client.get("/api/v1/jobs")).json()[0]["state"] != "done":
                await anyio.sleep(0.02)


async def test_many_waiting_calls_do_not_block_the_server(slow_fakes: Services):
    app = make_app(slow_fakes)
    answers: list[int] = []

    async def call(client: httpx.AsyncClient) -> None:
        answers.append((await txt2img(client, steps=1)).status_code)

    async with connect(app, "bob") as client, anyio.create_task_group() as tasks:
        for _ in range(60):
            tasks.start_soon(call, client)
        await anyio.sleep(0.05)
        assert (await client.get("/sdapi/v1/samplers")).status_code == 200
        assert len(answers) < 60, "the list came only after all pictures"
    assert answers == [200] * 60


async def test_progress_is_the_callers_own_and_zero_when_idle(slow_fakes: Services):
    app = make_app(slow_fakes)
    async with connect(app, "bob") as bob, connect(app, "eve") as eve, anyio.create_task_group() as tasks:
        idle = (await bob.get("/sdapi/v1/progress")).json()
        assert (idle["progress"], idle["state"]["job_count"], idle["current_image"]) == (0.0, 0, None)
        assert set(idle) == {"progress", "eta_relative", "state", "current_image", "textinfo"}
        assert set(idle["state"]) == {
            "skipped", "interrupted", "stopping_generation", "job", "job_count", "job_timestamp", "job_no",
            "sampling_step", "sampling_steps",
        }  # fmt: skip
        tasks.start_soon(lambda: txt2img(bob, steps=100))
        with anyio.fail_after(10):
            busy = idle
            while not busy["current_image"]:
                await anyio.sleep(0.02)
                busy = (await bob.get("/sdapi/v1/progress")).json()
        assert busy["progress"] >= 0.01
        assert (busy["state"]["job_count"], busy["state"]["sampling_steps"]) == (1, 100)
        assert base64.b64decode(busy["current_image"]).startswith(b"preview of step")
        assert (await bob.get("/sdapi/v1/progress?skip_current_image=true")).json()["current_image"] is None
        assert (await eve.get("/sdapi/v1/progress")).json() == idle
        await bob.post("/sdapi/v1/interrupt")


async def test_interrupt_stops_only_the_callers_jobs_and_keeps_finished_pictures():
    with make_services(engine=FakeEngine(step_seconds=0.02), slots=2) as fakes:
        app = make_app(fakes)
        answers: dict[str, httpx.Response] = {}

        async def call(client: httpx.AsyncClient, name: str, **changes: Any) -> None:
            answers[name] = await txt2img(client, **changes)

        async with connect(app, "bob") as bob, connect(app, "eve") as eve, anyio.create_task_group() as tasks:
            tasks.start_soon(lambda: call(bob, "bob", steps=5, n_iter=50))
            tasks.start_soon(lambda: call(eve, "eve", steps=40))
            with anyio.fail_after(10):
                while (await bob.get("/sdapi/v1/progress")).json()["state"]["job_no"] < 2:
                    await anyio.sleep(0.02)
            answer = await bob.post("/sdapi/v1/interrupt")
            assert (answer.status_code, answer.json()) == (200, {})
    assert 2 <= len(answers["bob"].json()["images"]) < 50
    assert len(answers["eve"].json()["images"]) == 1


async def test_a_job_that_is_skipped_before_its_only_picture_is_done_is_a_named_conflict(slow_fakes: Services):
    app = make_app(slow_fakes)
    answers: list[httpx.Response] = []
    async with connect(app, "bob") as bob, anyio.create_task_group() as tasks:

        async def call() -> None:
            answers.append(await txt2img(bob, steps=150))

        tasks.start_soon(call)
        with anyio.fail_after(10):
            while (await bob.get("/sdapi/v1/progress")).json()["state"]["sampling_step"] < 1:
                await anyio.sleep(0.02)
        skipped = await bob.post("/sdapi/v1/skip")
        assert (skipped.status_code, skipped.json()) == (200, None)
    assert (answers[0].status_code, answers[0].json()["error"]) == (409, "JobCancelled")


async def test_skipping_one_of_several_pictures_leaves_the_others(slow_fakes: Services):
    app = make_app(slow_fakes)
    answers: list[httpx.Response] = []
    async with connect(app, "bob") as bob, anyio.create_task_group() as tasks:

        async def call() -> None:
            answers.append(await txt2img(bob, steps=20, n_iter=3, seed=5))

        tasks.start_soon(call)
        with anyio.fail_after(10):
            while (await bob.get("/sdapi/v1/progress")).json()["state"]["sampling_step"] < 1:
                await anyio.sleep(0.02)
        assert (await bob.post("/sdapi/v1/skip")).status_code == 200
    assert answers[0].status_code == 200
    assert json.loads(answers[0].json()["info"])["all_seeds"] == [6, 7]


async def test_progress_of_nothing_is_zero():
    facts = progress_facts(None, JobProgress(job_id=""), waiting=0, with_image=True)
    assert (facts["progress"], facts["eta_relative"], facts["textinfo"]) == (0.0, 0.0, None)


@pytest.mark.parametrize("field", ["steps", "cfg_scale", "width", "eta"])
async def test_true_is_no_number(app: Guard, field: str):
    async with connect(app, "bob") as client:
        answer = await client.post("/sdapi/v1/txt2img", json={"prompt": "a moon", field: True})
    facts = answer.json()
    assert (answer.status_code, facts["error"], facts["field"]) == (422, "InvalidRequest", field)
    assert facts["detail"] == f"{field} is True, but it must be a number, not true or false."


async def test_numbers_as_text_and_unknown_fields_are_taken_as_a1111_does(app: Guard):
    body = {"steps": "2", "width": 64, "height": 64, "hr_scale": "1.0", "url": "http://x", "clip_skip": 1}
    async with connect(app, "bob") as client:
        assert (await client.post("/sdapi/v1/txt2img", json=body)).status_code == 200
