from __future__ import annotations

from typing import Any

import pytest
from pydantic import ValidationError

from sdwebui.api.errors import from_validation
from sdwebui.api.strict_bodies import UNKNOWN_FIELD, StrictBody


class Inner(StrictBody):
    steps: int = 1
    scale: float = 1.0
    is_saved: bool = False


class Outer(StrictBody):
    inner: Inner


def findings(body: object) -> list[Any]:
    with pytest.raises(ValidationError) as caught:
        Outer.model_validate(body)
    return list(caught.value.errors())


def test_a_good_body_passes_and_a_whole_number_is_a_real():
    assert Outer.model_validate({"inner": {"steps": 2, "scale": 3, "is_saved": True}}).inner.scale == 3.0


@pytest.mark.parametrize(
    "inner", [{"steps": "2"}, {"steps": True}, {"steps": 2.5}, {"scale": "1.0"}, {"scale": True}, {"is_saved": 1}]
)
def test_no_value_is_taken_for_another_type(inner: dict[str, Any]):
    (finding,) = findings({"inner": inner})
    assert finding["loc"] == ("inner", next(iter(inner)))


def test_an_unknown_field_at_any_depth_is_found_with_its_place_and_the_nearest_name():
    (finding,) = findings({"inner": {"step": 3}})
    assert (finding["type"], finding["loc"], finding["ctx"]) == (UNKNOWN_FIELD, ("inner", "step"), {"nearest": "steps"})
    error, _ = from_validation([finding])
    assert error.detail == "inner.step is 3, but it is no field of this request. Did you mean 'steps'?"


def test_a_name_like_none_that_exists_is_refused_without_a_guess():
    (finding,) = findings({"inner": {}, "q": 1})
    error, _ = from_validation([finding])
    assert error.detail == "q is 1, but it is no field of this request. Leave it out; /docs lists the fields."


def test_what_is_no_object_is_left_to_the_type_check():
    assert findings([1])[0]["type"] == "model_type"
