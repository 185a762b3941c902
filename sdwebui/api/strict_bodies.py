"""Bodies of our own API: unknown fields are refused with the nearest name, and no value is taken for another type.

To make a body strict: derive it from `StrictBody`, as the last base where there are several.
"""

from __future__ import annotations

from difflib import get_close_matches
from typing import Any

from pydantic import BaseModel, ConfigDict, ValidationError, model_validator
from pydantic_core import InitErrorDetails, PydanticCustomError

UNKNOWN_FIELD = "unknown_field"
"""The type of pydantic's finding for an unknown field; its context holds the nearest known name, or nothing."""


class StrictBody(BaseModel):
    """A body with these fields and no others, each of its own JSON type: "20" is not 20, and 1 is not true."""

    model_config = ConfigDict(extra="forbid", strict=True)

    @model_validator(mode="before")
    @classmethod
    def _no_unknown_fields(cls, data: Any) -> Any:
        if isinstance(data, dict):
            known = list(cls.model_fields)
            unknown = [_finding(str(name), value, known) for name, value in data.items() if name not in known]
            if unknown:
                raise ValidationError.from_exception_data(cls.__name__, unknown)
        return data


def _finding(name: str, value: Any, known: list[str]) -> InitErrorDetails:
    near = get_close_matches(name, known, n=1, cutoff=0.4)
    error = PydanticCustomError(UNKNOWN_FIELD, "no such field", {"nearest": near[0] if near else ""})
    return InitErrorDetails(type=error, loc=(name,), input=value)
