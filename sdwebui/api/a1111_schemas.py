"""A1111's request bodies: its field names and defaults, and what of them this server does not do yet.

Field names, types and defaults are those of AUTOMATIC1111's webui 1.10.1 (`StableDiffusionProcessingTxt2Img`). Unknown
fields are ignored, as there: real clients send their own. But a field that A1111 knows and this server cannot do is
refused by name when it asks for something: nobody gets another picture than the one asked for. When a function is
built, its rows leave `NOT_YET`.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Annotated, Any

from pydantic import BaseModel, BeforeValidator, ConfigDict, Field, model_validator
from pydantic_core import PydanticCustomError

from sdwebui.domain.errors import InvalidRequest


def _no_switch(value: Any) -> Any:
    if isinstance(value, bool):
        raise PydanticCustomError("switch_for_number", "Input should be a number, not true or false")
    return value


Whole = Annotated[int, BeforeValidator(_no_switch)]
Real = Annotated[float, BeforeValidator(_no_switch)]
RealOrNone = Annotated[float | None, BeforeValidator(_no_switch)]
"""Numbers of A1111's bodies: as JSON numbers or, as real clients send them, as text ("1.0"); true is not 1."""


class Txt2ImgBody(BaseModel):
    """Body of POST /sdapi/v1/txt2img. A field that is null counts as not given."""

    model_config = ConfigDict(extra="ignore", allow_inf_nan=False)

    prompt: str = ""
    negative_prompt: str = ""
    styles: list[str] = Field(default_factory=list)
    seed: Whole = -1
    subseed: Whole = -1
    subseed_strength: Real = 0.0
    seed_resize_from_h: Whole = -1
    seed_resize_from_w: Whole = -1
    sampler_name: str | None = None
    scheduler: str | None = None
    batch_size: Whole = 1
    n_iter: Whole = 1
    steps: Whole = 50
    cfg_scale: Real = 7.0
    width: Whole = 512
    height: Whole = 512
    restore_faces: bool | None = None
    tiling: bool | None = None
    do_not_save_samples: bool = False
    do_not_save_grid: bool = False
    eta: RealOrNone = None
    denoising_strength: Real = 0.75
    s_min_uncond: RealOrNone = None
    s_churn: RealOrNone = None
    s_tmax: RealOrNone = None
    s_tmin: RealOrNone = None
    s_noise: RealOrNone = None
    override_settings: dict[str, Any] = Field(default_factory=dict)
    override_settings_restore_afterwards: bool = True
    refiner_checkpoint: str | None = None
    refiner_switch_at: RealOrNone = None
    disable_extra_networks: bool = False
    firstpass_image: str | None = None
    comments: dict[str, Any] = Field(default_factory=dict)
    enable_hr: bool = False
    firstphase_width: Whole = 0
    firstphase_height: Whole = 0
    hr_scale: Real = 2.0
    hr_upscaler: str | None = None
    hr_second_pass_steps: Whole = 0
    hr_resize_x: Whole = 0
    hr_resize_y: Whole = 0
    hr_checkpoint_name: str | None = None
    hr_sampler_name: str | None = None
    hr_scheduler: str | None = None
    hr_prompt: str = ""
    hr_negative_prompt: str = ""
    force_task_id: str | None = None
    sampler_index: str = "Euler"
    script_name: str | None = None
    script_args: list[Any] = Field(default_factory=list)
    send_images: bool = True
    save_images: bool = False
    alwayson_scripts: dict[str, Any] = Field(default_factory=dict)
    infotext: str | None = None

    @model_validator(mode="before")
    @classmethod
    def _null_is_not_given(cls, data: Any) -> Any:
        if isinstance(data, dict):
            return {key: value for key, value in data.items() if value is not None}
        return data


class PngInfoBody(BaseModel):
    """Body of POST /sdapi/v1/png-info."""

    image: str = Field(description="The picture file as base64, with or without a data: prefix")


NOT_YET: Mapping[str, tuple[object, ...]] = {
    "enable_hr": (False,),
    "styles": ([],),
    "subseed_strength": (0.0,),
    "seed_resize_from_h": (-1, 0),
    "seed_resize_from_w": (-1, 0),
    "restore_faces": (None, False),
    "tiling": (None, False),
    "eta": (None, 1.0),
    "s_min_uncond": (None, 0.0),
    "s_churn": (None, 0.0),
    "s_tmax": (None, 0.0),
    "s_tmin": (None, 0.0),
    "s_noise": (None, 1.0),
    "refiner_checkpoint": (None, "", "None"),
    "disable_extra_networks": (False,),
    "firstpass_image": (None, ""),
    "comments": ({},),
    "force_task_id": (None, ""),
    "script_name": (None, "", "None"),
    "infotext": (None, ""),
}
"""Fields whose function does not exist here yet, with the values that ask for nothing. `eta` 1.0 is what every
ancestral and SDE sampler uses anyway. Fields that only matter with one of these (`hr_scale` …) are not listed."""


def refuse_not_yet(body: Txt2ImgBody) -> None:
    """Refuse what the server cannot do, by name.

    Raises:
        InvalidRequest: for the first field that asks for a missing function.
    """
    for field, neutral in NOT_YET.items():
        value = getattr(body, field)
        if value not in neutral:
            raise InvalidRequest(
                field, value, "asks for a function that this server does not have yet", "Leave it out."
            )
    for name, script in body.alwayson_scripts.items():
        if _has_content(script):
            rule = "asks for a script that this server does not have"
            raise InvalidRequest("alwayson_scripts", name, rule, "Leave it out or send it with empty args.")


def _has_content(script: Any) -> bool:
    """Whether an entry of `alwayson_scripts` ({"args": [...]}) gives its script something to do."""
    if isinstance(script, Mapping):
        return bool(script.get("args"))
    return bool(script)
