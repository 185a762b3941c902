from __future__ import annotations

import re

import pytest

from sdwebui.api.docs_page import docs_html
from sdwebui.api.guard import Guard
from tests.api.http import connect

pytestmark = pytest.mark.anyio


async def test_every_route_of_the_description_is_on_the_page_and_documented(app: Guard):
    async with connect(app, "bob") as client:
        openapi = (await client.get("/openapi.json")).json()
        page = (await client.get("/docs")).text
        assert (await client.get("/docs.css")).headers["content-type"].startswith("text/css")
    assert len(openapi["paths"]) > 15
    for path, methods in openapi["paths"].items():
        assert f"<code>{path}</code>" in page
        for method, operation in methods.items():
            assert operation.get("description"), (method, path)
    assert "<code>cfg_scale</code></td><td>number</td><td><code>7.0</code>" in page
    assert "Idempotency-Key".lower() in page.lower()


async def test_the_page_needs_nothing_from_other_hosts_and_no_script(app: Guard):
    async with connect(app, "bob") as client:
        page = (await client.get("/docs")).text
    assert "<script" not in page
    assert re.findall(r'(?:src|href)="([^"]+)"', page) == ["/docs.css", "/openapi.json"]


def test_texts_are_escaped():
    page = docs_html({"paths": {"/<b>": {"get": {"description": "<script>", "tags": ["<i>"]}}}})
    assert "<script>" not in page
    assert "<i>" not in page
    assert "/&lt;b&gt;" in page
