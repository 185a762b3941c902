from __future__ import annotations

from typing import Any

import pytest
from pydantic import ValidationError

from sdwebui.api.a1111_schemas import NOT_YET, PngInfoBody, Txt2ImgBody, refuse_not_yet
from sdwebui.domain.errors import InvalidRequest

A1111_DEFAULTS: dict[str, Any] = {
    "prompt": "", "negative_prompt": "", "styles": [], "seed": -1, "subseed": -1, "subseed_strength": 0,
    "seed_resize_from_h": -1, "seed_resize_from_w": -1, "sampler_name": None, "scheduler": None, "batch_size": 1,
    "n_iter": 1, "steps": 50, "cfg_scale": 7.0, "width": 512, "height": 512, "restore_faces": None, "tiling": None,
    "do_not_save_samples": False, "do_not_save_grid": False, "eta": None, "denoising_strength": 0.75,
    "s_min_uncond": None, "s_churn": None, "s_tmax": None, "s_tmin": None, "s_noise": None, "override_settings": {},
    "override_settings_restore_afterwards": True, "refiner_checkpoint": None, "refiner_switch_at": None,
    "disable_extra_networks": False, "firstpass_image": None, "comments": {}, "enable_hr": False, "firstphase_width": 0,
    "firstphase_height": 0, "hr_scale": 2.0, "hr_upscaler": None, "hr_second_pass_steps": 0, "hr_resize_x": 0,
    "hr_resize_y": 0, "hr_checkpoint_name": None, "hr_sampler_name": None, "hr_scheduler": None, "hr_prompt": "",
    "hr_negative_prompt": "", "force_task_id": None, "sampler_index": "Euler", "script_name": None, "script_args": [],
    "send_images": True, "save_images": False, "alwayson_scripts": {}, "infotext": None,
}  # fmt: skip
"""The published defaults of A1111 1.10.1 for txt2img; null lists and dictionaries stand as empty ones."""


def test_fields_and_defaults_are_a1111s():
    assert Txt2ImgBody().model_dump() == A1111_DEFAULTS


def test_null_counts_as_not_given():
    nulls: dict[str, Any] = dict.fromkeys(A1111_DEFAULTS)
    assert Txt2ImgBody(**nulls) == Txt2ImgBody()


def test_unknown_fields_are_ignored():
    assert Txt2ImgBody.model_validate({"url": "http://x", "auth": "a:b"}) == Txt2ImgBody()


def test_the_defaults_ask_for_nothing_that_is_missing():
    refuse_not_yet(Txt2ImgBody())


@pytest.mark.parametrize("field", sorted(NOT_YET))
def test_each_missing_function_is_refused_by_name(field: str):
    wanted: dict[type, Any] = {bool: True, int: 77, float: 0.7, str: "something", list: ["x"], dict: {"x": 1}}
    annotation = str(Txt2ImgBody.model_fields[field].annotation)
    kind = min(
        (kind for kind in wanted if kind.__name__ in annotation), key=lambda kind: annotation.index(kind.__name__)
    )
    with pytest.raises(InvalidRequest, match=f"^{field} is .*this server does not have yet") as caught:
        refuse_not_yet(Txt2ImgBody.model_validate({field: wanted[kind]}))
    assert caught.value.field == field


@pytest.mark.parametrize("field", sorted(NOT_YET))
def test_neutral_values_pass(field: str):
    for value in NOT_YET[field]:
        refuse_not_yet(Txt2ImgBody.model_validate({field: value}))


def test_scripts_with_empty_arguments_pass_and_others_do_not():
    refuse_not_yet(Txt2ImgBody(alwayson_scripts={"ControlNet": {"args": []}, "ADetailer": {}}))
    for content in ({"args": [True]}, [1], "x"):
        with pytest.raises(InvalidRequest, match="'ADetailer'"):
            refuse_not_yet(Txt2ImgBody(alwayson_scripts={"ADetailer": content}))


def test_infinite_numbers_are_no_numbers():
    for value in (float("nan"), float("inf")):
        with pytest.raises(ValidationError):
            Txt2ImgBody(cfg_scale=value)


@pytest.mark.parametrize("value", [True, False])
def test_true_and_false_are_no_numbers(value: bool):
    numbers = [name for name, default in A1111_DEFAULTS.items() if type(default) in (int, float)]
    numbers += ["eta", "s_min_uncond", "s_churn", "s_tmax", "s_tmin", "s_noise", "refiner_switch_at"]
    assert len(numbers) > 20
    for name in numbers:
        with pytest.raises(ValidationError, match="should be a number, not true or false"):
            Txt2ImgBody.model_validate({name: value})


def test_numbers_as_text_are_numbers_as_real_clients_send_them():
    body = Txt2ImgBody.model_validate({"hr_scale": "1.0", "steps": "20", "cfg_scale": "7", "seed": "-1", "eta": "1.0"})
    assert (body.hr_scale, body.steps, body.cfg_scale, body.seed, body.eta) == (1.0, 20, 7.0, -1, 1.0)


def test_png_info_needs_an_image():
    with pytest.raises(ValidationError):
        PngInfoBody.model_validate({})
