"""The form of the txt2img tab: widgets to a request and back, by name and never by position.

To add a field: a row in `FIELDS` (the name is the attribute of `Txt2ImgRequest`) and a widget of that name in the tab.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any

from sdwebui.domain.errors import InvalidRequest
from sdwebui.domain.requests import Txt2ImgRequest


@dataclass(frozen=True, kw_only=True)
class FormField:
    """One widget of the form.

    Attributes:
        name: the attribute of `Txt2ImgRequest`, and the key in a draft.
        label: the field's name in error messages, as the API calls it.
        read: widget value → request value; raises `InvalidRequest`.
    """

    name: str
    label: str
    read: Callable[[str, Any], Any]


def _text(_label: str, value: Any) -> str:
    return "" if value is None else str(value)


def _choice(_label: str, value: Any) -> str | None:
    return str(value) if value else None


def _whole(label: str, value: Any) -> int:
    """A whole number from a slider (which may send 20.0) or a text field (exact up to 2^63 − 1)."""
    try:
        return int(value.strip()) if isinstance(value, str) else _exact(value)
    except (ValueError, TypeError, OverflowError):
        raise InvalidRequest(label, value, "must be a whole number") from None


def _exact(value: Any) -> int:
    if int(value) != value:
        raise ValueError
    return int(value)


def _number(label: str, value: Any) -> float:
    try:
        number = float(value)
    except (ValueError, TypeError):
        raise InvalidRequest(label, value, "must be a number") from None
    if not math.isfinite(number):
        raise InvalidRequest(label, value, "must be a finite number")
    return number


def _seed(label: str, value: Any) -> int:
    """An empty field means "random", as −1 does."""
    return -1 if value is None or (isinstance(value, str) and not value.strip()) else _whole(label, value)


FIELDS: tuple[FormField, ...] = (
    FormField(name="prompt", label="prompt", read=_text),
    FormField(name="negative_prompt", label="negative_prompt", read=_text),
    FormField(name="checkpoint", label="checkpoint", read=_choice),
    FormField(name="sampler_name", label="sampler_name", read=_choice),
    FormField(name="schedule_type", label="scheduler", read=_choice),
    FormField(name="steps", label="steps", read=_whole),
    FormField(name="cfg_scale", label="cfg_scale", read=_number),
    FormField(name="width_px", label="width", read=_whole),
    FormField(name="height_px", label="height", read=_whole),
    FormField(name="batch_count", label="n_iter", read=_whole),
    FormField(name="batch_size", label="batch_size", read=_whole),
    FormField(name="seed", label="seed", read=_seed),
    FormField(name="clip_skip", label="clip_skip", read=_whole),
    FormField(name="emphasis", label="emphasis", read=_choice),
)
"""Every field of the form."""

DRAFT_FIELDS = tuple(field.name for field in FIELDS if field.name != "checkpoint")
"""What is kept of the form between visits; the chosen checkpoint is an option of its own."""


class GenerationForm:
    """The widgets of one page under their names.

    Args:
        widgets: one widget for each row of `FIELDS`.

    Raises:
        ValueError: a field has no widget, or a widget has no field.
    """

    def __init__(self, widgets: Mapping[str, Any]) -> None:
        names = {field.name for field in FIELDS}
        if names != set(widgets):
            raise ValueError(f"widgets and fields differ: {sorted(names ^ set(widgets))}")
        self.widgets = dict(widgets)

    @property
    def inputs(self) -> set[Any]:
        """All widgets, as inputs of a Gradio event: its handler then gets a dictionary with the widgets as keys."""
        return set(self.widgets.values())

    def values(self, data: Mapping[Any, Any]) -> dict[str, Any]:
        """What a handler got, under the fields' names; widgets that are none of ours are left out."""
        return {name: data[widget] for name, widget in self.widgets.items() if widget in data}

    def updates(self, values: Mapping[str, Any]) -> dict[Any, Any]:
        """New widget values, as a handler returns them. The seed is shown as text, since it may exceed 2^53."""
        return {
            self.widgets[name]: str(value) if name == "seed" else value
            for name, value in values.items()
            if name in self.widgets
        }


def read_request(values: Mapping[str, Any]) -> Txt2ImgRequest:
    """The request that form values describe. Rules on ranges are checked when it is submitted.

    Raises:
        InvalidRequest: a value that is not of its field's kind at all.
    """
    return Txt2ImgRequest(**{one.name: one.read(one.label, values[one.name]) for one in FIELDS if one.name in values})


def draft_of(values: Mapping[str, Any]) -> dict[str, Any]:
    """The part of form values that is kept for the next visit."""
    return {name: values[name] for name in DRAFT_FIELDS if name in values}


def usable_draft(draft: Mapping[str, Any]) -> dict[str, Any]:
    """The fields of a stored draft that a form can still show; a bad one costs only itself."""
    good: dict[str, Any] = {}
    for field in FIELDS:
        if field.name in DRAFT_FIELDS and field.name in draft:
            try:
                good[field.name] = field.read(field.label, draft[field.name])
            except InvalidRequest:
                continue
    return good
