"""From an API body to the request that the service takes, and errors back into the API's field names."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any

from sdwebui.api.a1111_schemas import Txt2ImgBody, refuse_not_yet
from sdwebui.domain.errors import InvalidRequest, SdWebuiError
from sdwebui.domain.options import check_option, find_option
from sdwebui.domain.requests import Txt2ImgRequest
from sdwebui.ports import Account
from sdwebui.service.options import OptionsService

FIELD_NAMES: Mapping[str, str] = {
    "batch_count": "n_iter",
    "checkpoint": "override_settings.sd_model_checkpoint",
    "sampler": "sampler_name",
    "schedule_type": "scheduler",
}
"""Field names of the domain that A1111's API calls otherwise."""

PER_REQUEST = ("sd_model_checkpoint", "CLIP_stop_at_last_layers", "emphasis")
"""Options that a request can override for itself."""

HARMLESS: Mapping[str, tuple[object, ...]] = {"sd_vae": ("Automatic", "None", "", None)}
"""Options of A1111 that do not exist here, with the values that ask for nothing."""


@dataclass(frozen=True, kw_only=True)
class _Overrides:
    checkpoint: str | None = None
    clip_skip: int | None = None
    emphasis: str | None = None


class RequestReader:
    """Reads API bodies.

    Args:
        options: the caller's present option values: an override equal to them changes nothing.
    """

    def __init__(self, options: OptionsService) -> None:
        self._options = options

    def txt2img(self, body: Txt2ImgBody, account: Account) -> Txt2ImgRequest:
        """The request of a txt2img body. Blocks shortly when there are overrides.

        Raises:
            InvalidRequest: a field asks for a function that does not exist, or an override has a bad value.
            NotFound: an override names an unknown option.
        """
        refuse_not_yet(body)
        overrides = self._overrides(body.override_settings, account)
        return Txt2ImgRequest(
            prompt=body.prompt,
            negative_prompt=body.negative_prompt,
            checkpoint=overrides.checkpoint,
            sampler_name=body.sampler_name or body.sampler_index,
            schedule_type=body.scheduler,
            steps=body.steps,
            cfg_scale=body.cfg_scale,
            width_px=body.width,
            height_px=body.height,
            batch_size=body.batch_size,
            batch_count=body.n_iter,
            seed=body.seed,
            clip_skip=overrides.clip_skip,
            emphasis=overrides.emphasis,
            save_images=body.save_images,
        )

    def lasting(self, body: Txt2ImgBody) -> dict[str, Any]:
        """Overrides that the caller wants to keep as own defaults (`override_settings_restore_afterwards` false)."""
        if body.override_settings_restore_afterwards:
            return {}
        return {key: value for key, value in body.override_settings.items() if key in PER_REQUEST}

    @contextmanager
    def api_words(self) -> Iterator[None]:
        """Errors of the block name the API's fields instead of the domain's."""
        try:
            yield
        except SdWebuiError as error:
            _rename(error, FIELD_NAMES.get(error.field, error.field))
            raise

    def _overrides(self, given: Mapping[str, Any], account: Account) -> _Overrides:
        if not given:
            return _Overrides()
        present = self._options.get(account.username)
        values: dict[str, Any] = {}
        for key, value in given.items():
            if value in HARMLESS.get(key, ()):
                continue
            checked = check_option(find_option(key), value)
            if key in PER_REQUEST:
                values[key] = checked
            elif checked != present[key]:
                rule = "cannot be set for one request"
                raise InvalidRequest(f"override_settings.{key}", value, rule, "Set it with POST /sdapi/v1/options.")
        return _Overrides(
            checkpoint=values.get("sd_model_checkpoint") or None,
            clip_skip=values.get("CLIP_stop_at_last_layers"),
            emphasis=values.get("emphasis"),
        )


def _rename(error: SdWebuiError, name: str) -> None:
    """Another field name for an error, also at the start of its sentence where that names the field."""
    start = f"{error.field} is "
    if error.detail.startswith(start):
        error.detail = f"{name} is {error.detail.removeprefix(start)}"
    error.field = name
