"""Fixtures of the page's tests: the real services over fakes, and the page built on them."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import pytest

from sdwebui.ui.page import build_page
from sdwebui.ui.services import PageServices
from sdwebui.ui.texts import Texts, load_texts
from tests.fakes import Services, make_services


def count_words(text: str, *, is_negative: bool) -> tuple[int, int]:
    """A token counter that counts words, for tests that need no vocabulary."""
    words = len(text.split())
    return words, 75 * max(1, -(-words // 75))


@pytest.fixture(scope="session")
def texts() -> Texts:
    return load_texts()


@pytest.fixture
def fakes() -> Iterator[Services]:
    with make_services() as services:
        yield services


@pytest.fixture
def services(fakes: Services) -> PageServices:
    return PageServices(
        generation=fakes.generation, library=fakes.library, options=fakes.options, count_tokens=count_words
    )


@pytest.fixture
def page(services: PageServices, texts: Texts) -> Any:
    return build_page(services, texts)
