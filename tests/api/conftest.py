"""Fixtures of the HTTP tests."""

from __future__ import annotations

from collections.abc import Iterator

import pytest

from sdwebui.api.guard import Guard
from tests.api.http import make_app
from tests.fakes import FakeEngine, Services, make_services


@pytest.fixture
def anyio_backend() -> str:
    return "asyncio"


@pytest.fixture
def fakes() -> Iterator[Services]:
    with make_services() as services:
        yield services


@pytest.fixture
def slow_fakes() -> Iterator[Services]:
    """Steps take time: for interrupting, watching, waiting."""
    with make_services(engine=FakeEngine(step_seconds=0.02)) as services:
        yield services


@pytest.fixture
def app(fakes: Services) -> Guard:
    return make_app(fakes)
