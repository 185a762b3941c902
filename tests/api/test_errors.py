from __future__ import annotations

import json

import httpx
import pytest
from fastapi import FastAPI
from pydantic import BaseModel, Field
from starlette.responses import Response

from sdwebui.api.errors import add_error_handlers, error_answer, from_validation
from sdwebui.domain.errors import InvalidRequest, NotFound, Overloaded, SdWebuiError, StorageFull, TooManyAttempts

pytestmark = pytest.mark.anyio


class Body(BaseModel):
    steps: int = Field(1, ge=1)
    names: list[str] = []


@pytest.mark.parametrize(
    ("error", "status", "retry"),
    [
        (InvalidRequest("width", 7, "must be a multiple of 8"), 422, None),
        (NotFound("sampler", "x"), 404, None),
        (TooManyAttempts("Slow down.", 30), 429, "30"),
        (Overloaded("Busy."), 503, "5"),
        (StorageFull("Full."), 507, None),
        (SdWebuiError("Broken."), 500, None),
    ],
)
def test_an_error_becomes_its_status_name_and_sentence(error: SdWebuiError, status: int, retry: str | None):
    answer = error_answer(error)
    assert (answer.status_code, answer.headers.get("retry-after")) == (status, retry)
    assert json.loads(bytes(answer.body)) == {**error.to_json(), "errors": []}


def app() -> FastAPI:
    made = FastAPI()
    add_error_handlers(made)

    @made.post("/steps")
    async def steps(body: Body) -> Response:
        return Response(str(body.steps))

    return made


async def post(
    content: bytes | str, path: str = "/steps", method: str = "POST", kind: str = "application/json"
) -> httpx.Response:
    transport = httpx.ASGITransport(app=app(), raise_app_exceptions=False)
    async with httpx.AsyncClient(transport=transport, base_url="http://x") as client:
        return await client.request(method, path, content=content, headers={"Content-Type": kind} if kind else {})


@pytest.mark.parametrize(
    ("content", "field", "detail"),
    [
        ('{"steps": 0}', "steps", "steps is 0, but it must be greater than or equal to 1."),
        (
            '{"steps": "x"}',
            "steps",
            "steps is 'x', but it must be a valid integer, unable to parse string as an integer.",
        ),
        ('{"names": ["a", 1]}', "names.1", "names.1 is 1, but it must be a valid string."),
        ("", "body", "body is '', but it must be a JSON object."),
    ],
)
async def test_findings_of_pydantic_become_sentences(content: str, field: str, detail: str):
    answer = await post(content)
    facts = answer.json()
    assert (answer.status_code, facts["error"], facts["field"]) == (422, "InvalidRequest", field)
    assert facts["detail"].startswith(detail)
    assert facts["errors"][0]["field"] == field


async def test_all_findings_are_listed():
    facts = (await post('{"steps": 0, "names": 3}')).json()
    assert [finding["field"] for finding in facts["errors"]] == ["steps", "names"]


@pytest.mark.parametrize(
    ("content", "detail"),
    [
        (
            "{steps: 1}",
            "body is '{steps: 1}', but it must be valid JSON. "
            "Line 1, column 2: expecting property name enclosed in double quotes.",
        ),
        ('{"steps": 1,\n  "names": ]}', "body is '  \"names\": ]}', but it must be valid JSON. Line 2, column 12: "),
        ('{"a": "' + "x" * 5000 + '", ]', "body is '"),
        ('{"steps": 1} 2', "body is '{\"steps\": 1} 2', but it must be valid JSON. Line 1, column 14: extra data."),
        (" ", "body is ' ', but it must be valid JSON. Line 1, column 2: expecting value."),
    ],
)
async def test_what_is_no_json_is_shown_with_line_and_column(content: str, detail: str):
    answer = await post(content)
    facts = answer.json()
    assert (answer.status_code, facts["error"], facts["field"]) == (422, "InvalidRequest", "body")
    assert facts["detail"].startswith(detail)
    assert len(facts["detail"]) < 300
    assert facts["errors"] == [{"field": "body", "detail": facts["detail"]}]


@pytest.mark.parametrize("kind", ["text/plain", "application/x-www-form-urlencoded", ""])
async def test_a_body_of_another_content_type_is_refused_by_its_name(kind: str):
    answer = await post('{"steps": 1}', kind=kind)
    facts = answer.json()
    assert (answer.status_code, facts["error"], facts["field"]) == (422, "InvalidRequest", "Content-Type")
    assert facts["detail"].startswith(f"Content-Type is {kind!r}, but it must be application/json")


async def test_text_that_no_answer_can_carry_is_replaced():
    answer = await post('{"steps": "\\ud800"}')
    assert answer.status_code == 422
    assert "steps" in answer.json()["detail"]


async def test_unknown_addresses_and_methods_are_named():
    answer = await post("", "/nothing")
    assert (answer.status_code, answer.json()["error"]) == (404, "NotFound")
    assert answer.json()["detail"].startswith("Not Found: there is nothing at '/nothing'.")
    answer = await post("", "/steps", "GET")
    assert answer.status_code == 405
    assert "GET" in answer.json()["detail"]
    assert answer.headers["allow"] == "POST"


def test_a_huge_value_is_shortened_in_the_sentence():
    finding = {"loc": ("body", "steps"), "msg": "Input should be a valid integer", "type": "x", "input": "a" * 10**6}
    error, _ = from_validation([finding])
    assert len(error.detail) < 200
