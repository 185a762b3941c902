from __future__ import annotations

import base64

import pytest

from sdwebui.api.a1111_png_info import image_bytes
from sdwebui.api.guard import Guard
from sdwebui.domain.errors import InvalidRequest
from sdwebui.domain.image_metadata import encode_png
from tests.api.http import connect

pytestmark = pytest.mark.anyio

INFOTEXT = "a moon\nNegative prompt: ugly\nSteps: 20, Sampler: Euler a, CFG scale: 7, Seed: 5, Size: 64x72"


def png(infotext: str) -> str:
    return base64.b64encode(encode_png(bytes(64 * 72 * 3), 64, 72, infotext)).decode()


@pytest.mark.parametrize("prefix", ["", "data:image/png;base64,"])
async def test_the_settings_of_a_picture_are_read(app: Guard, prefix: str):
    async with connect(app, "bob") as client:
        facts = (await client.post("/sdapi/v1/png-info", json={"image": prefix + png(INFOTEXT)})).json()
    assert set(facts) == {"info", "items", "parameters"}
    assert facts["info"] == INFOTEXT
    parameters = facts["parameters"]
    assert (parameters["Prompt"], parameters["Negative prompt"], parameters["Seed"]) == ("a moon", "ugly", "5")
    assert (parameters["Size-1"], parameters["Size-2"]) == ("64", "72")


async def test_a_picture_without_settings_has_none(app: Guard):
    async with connect(app, "bob") as client:
        facts = (await client.post("/sdapi/v1/png-info", json={"image": png("")})).json()
    assert (facts["info"], facts["parameters"]) == ("", {})


@pytest.mark.parametrize(
    ("image", "words"),
    [
        ("", "must be a picture file"),
        ("!!!", "must be a picture file as base64"),
        (base64.b64encode(b"%PDF-1.7 no picture").decode(), "must be a picture file"),
        (png(INFOTEXT)[:40], "image"),
        ("http://169.254.169.254/latest", "not an address"),
        (5, "must be a valid string"),
    ],
)
async def test_what_is_no_picture_is_refused_with_a_sentence(app: Guard, image: object, words: str):
    async with connect(app, "bob") as client:
        answer = await client.post("/sdapi/v1/png-info", json={"image": image})
    assert (answer.status_code, answer.json()["field"]) == (422, "image")
    assert words in answer.json()["detail"]
    assert "object at 0x" not in answer.text
    assert "BytesIO" not in answer.text


def test_base64_may_be_broken_into_lines():
    assert image_bytes("image", "YWJj\n ZGVm\r\n") == b"abcdef"
    with pytest.raises(InvalidRequest, match="image is 'abc', but it must be a picture file as base64"):
        image_bytes("image", "abc")
