"""The error tree: sentences, statuses, and the way across a process border."""

from __future__ import annotations

import pytest

from sdwebui.domain import errors
from sdwebui.domain.errors import InvalidRequest, NotFound, SdWebuiError, error_from_json, shortened

KINDS = [kind for kind in vars(errors).values() if isinstance(kind, type) and issubclass(kind, SdWebuiError)]


def test_a_broken_rule_is_one_sentence_with_field_value_rule_and_next_step():
    error = InvalidRequest("width", 517, "must be a multiple of 8", "The nearest is 520.")
    assert str(error) == "width is 517, but it must be a multiple of 8. The nearest is 520."
    assert error.to_json() == {"error": "InvalidRequest", "detail": str(error), "field": "width"}
    assert error.http_status == 422


def test_an_unknown_name_offers_the_nearest_ones():
    error = NotFound("LoRA", "eula_v2", ["eula_v1", "other"])
    assert str(error) == "LoRA 'eula_v2' was not found. Did you mean 'eula_v1'?"
    assert error.nearest == ("eula_v1",)


def test_an_unknown_name_with_no_near_one_lists_what_is_known():
    assert str(NotFound("sampler", "zzz", ["Euler", "Heun"])).endswith("was not found. Known: Euler, Heun.")


@pytest.mark.parametrize("kind", KINDS, ids=lambda kind: kind.__name__)
def test_every_error_survives_the_process_border(kind: type[SdWebuiError]):
    facts = {"error": kind.__name__, "detail": "a sentence", "field": "steps"}
    back = error_from_json(facts)
    assert type(back) is kind
    assert back.to_json() == facts


@pytest.mark.parametrize("kind", KINDS, ids=lambda kind: kind.__name__)
def test_every_error_stands_in_the_tree_with_its_status(kind: type[SdWebuiError]):
    row = next(line for line in (errors.__doc__ or "").splitlines() if line.strip("│├└─ ").startswith(kind.__name__))
    assert str(kind.http_status) in row


def test_a_megabyte_never_lands_in_a_message():
    assert len(shortened("x" * 1_000_000)) < 100
    assert len(str(InvalidRequest("prompt", ["x"] * 100_000, "is too long"))) < 200
