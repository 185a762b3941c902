from __future__ import annotations

import pytest

from sdwebui.api.a1111_schemas import Txt2ImgBody
from sdwebui.api.requests_from_api import FIELD_NAMES, RequestReader
from sdwebui.domain.errors import InvalidRequest, NotFound
from sdwebui.domain.requests import Txt2ImgRequest
from tests.fakes import Services


@pytest.fixture
def reader(fakes: Services) -> RequestReader:
    return RequestReader(fakes.options)


def test_every_field_lands_where_it_belongs(reader: RequestReader, fakes: Services):
    body = Txt2ImgBody(
        prompt="p", negative_prompt="n", sampler_name="Euler a", scheduler="Karras", steps=9, cfg_scale=5.5, width=64,
        height=72, batch_size=2, n_iter=3, seed=11, save_images=True,
        override_settings={"sd_model_checkpoint": "sub/other", "CLIP_stop_at_last_layers": 2, "emphasis": "No norm"},
    )  # fmt: skip
    assert reader.txt2img(body, fakes.people["bob"]) == Txt2ImgRequest(
        prompt="p", negative_prompt="n", checkpoint="sub/other", sampler_name="Euler a", schedule_type="Karras",
        steps=9, cfg_scale=5.5, width_px=64, height_px=72, batch_size=2, batch_count=3, seed=11, clip_skip=2,
        emphasis="No norm", save_images=True,
    )  # fmt: skip


def test_the_old_sampler_field_counts_only_without_the_new_one(reader: RequestReader, fakes: Services):
    bob = fakes.people["bob"]
    assert reader.txt2img(Txt2ImgBody(), bob).sampler_name == "Euler"
    assert reader.txt2img(Txt2ImgBody(sampler_index="LMS"), bob).sampler_name == "LMS"
    assert reader.txt2img(Txt2ImgBody(sampler_name="Heun", sampler_index="LMS"), bob).sampler_name == "Heun"


def test_overrides_that_change_nothing_pass_whatever_they_are(reader: RequestReader, fakes: Services):
    same = {"default_sampler": "DPM++ 2M", "samples_format": "png", "sd_vae": "Automatic", "live_previews_enable": True}
    assert reader.txt2img(Txt2ImgBody(override_settings=same), fakes.people["bob"]).checkpoint is None


def test_a_named_checkpoint_is_kept_even_when_it_is_the_current_one(reader: RequestReader, fakes: Services):
    fakes.options.set("bob", {"sd_model_checkpoint": "sub/other"})
    body = Txt2ImgBody(override_settings={"sd_model_checkpoint": "sub/other"})
    assert reader.txt2img(body, fakes.people["bob"]).checkpoint == "sub/other"


def test_overrides_that_cannot_be_done_are_refused(reader: RequestReader, fakes: Services):
    bob = fakes.people["bob"]
    with pytest.raises(NotFound, match="option 'samples_fromat' was not found"):
        reader.txt2img(Txt2ImgBody(override_settings={"samples_fromat": "png"}), bob)
    with pytest.raises(NotFound, match="sd_vae"):
        reader.txt2img(Txt2ImgBody(override_settings={"sd_vae": "other.safetensors"}), bob)
    with pytest.raises(InvalidRequest, match="cannot be set for one request"):
        reader.txt2img(Txt2ImgBody(override_settings={"live_previews_enable": False}), bob)
    with pytest.raises(InvalidRequest, match="CLIP_stop_at_last_layers is 99"):
        reader.txt2img(Txt2ImgBody(override_settings={"CLIP_stop_at_last_layers": 99}), bob)


def test_only_lasting_overrides_are_kept(reader: RequestReader):
    overrides = {"CLIP_stop_at_last_layers": 2, "sd_vae": "Automatic"}
    assert reader.lasting(Txt2ImgBody(override_settings=overrides)) == {}
    body = Txt2ImgBody(override_settings=overrides, override_settings_restore_afterwards=False)
    assert reader.lasting(body) == {"CLIP_stop_at_last_layers": 2}


@pytest.mark.parametrize(("ours", "theirs"), sorted(FIELD_NAMES.items()))
def test_errors_speak_the_apis_words(reader: RequestReader, ours: str, theirs: str):
    with pytest.raises(InvalidRequest) as caught, reader.api_words():
        raise InvalidRequest(ours, 5, "must be less", "Try 4.")
    assert (caught.value.field, caught.value.detail) == (theirs, f"{theirs} is 5, but it must be less. Try 4.")
