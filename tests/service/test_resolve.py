"""From what was asked for to what will be done."""

from __future__ import annotations

from typing import Any

import pytest

from sdwebui.domain.errors import InvalidRequest, ModelUnusable, NotFound
from sdwebui.domain.options import find_option, option_defaults
from sdwebui.domain.requests import ResolvedRequest, Txt2ImgRequest
from sdwebui.domain.results import ModelFile
from sdwebui.service.resolve import Resolver, native_size_px
from tests.fakes import FakeCatalog, checkpoint


def resolve(catalog: FakeCatalog | None = None, options: dict[str, Any] | None = None, **fields) -> ResolvedRequest:
    resolver = Resolver(catalog or FakeCatalog(), lambda: 4711)
    return resolver.resolve(Txt2ImgRequest(**fields), {**option_defaults(), **(options or {})})


def test_everything_left_out_comes_from_options_checkpoint_and_chance():
    resolved = resolve()
    assert (resolved.checkpoint.name, resolved.checkpoint.family) == ("guofeng-mini", "sd1")
    assert (resolved.width_px, resolved.height_px) == (64, 64)
    assert (resolved.sampler, resolved.schedule_type, resolved.automatic_schedule) == ("DPM++ 2M", "Karras", True)
    assert (resolved.seed, resolved.clip_skip, resolved.emphasis) == (4711, 1, "Original")
    assert (resolved.pad_conds, resolved.comma_backtrack, resolved.previews_every_steps) == (False, 20, 5)


def test_options_are_the_defaults_of_the_request():
    options = {
        "sd_model_checkpoint": "other",
        "CLIP_stop_at_last_layers": 2,
        "emphasis": "No norm",
        "pad_cond_uncond": True,
        "comma_padding_backtrack": 0,
        "default_sampler": "Euler a",
        "default_schedule": "SGM Uniform",
        "live_previews_enable": False,
    }
    resolved = resolve(options=options)
    assert (resolved.checkpoint.name, resolved.width_px, resolved.clip_skip) == ("sub/other", 128, 2)
    assert (resolved.sampler, resolved.schedule_type, resolved.automatic_schedule) == ("Euler a", "SGM Uniform", False)
    assert (resolved.emphasis, resolved.pad_conds, resolved.comma_backtrack) == ("No norm", True, 0)
    assert resolved.previews_every_steps == 0


def test_the_request_wins_over_options():
    resolved = resolve(seed=7, width_px=512, height_px=256, clip_skip=3, emphasis="Ignore", checkpoint="sub/other")
    assert (resolved.seed, resolved.width_px, resolved.height_px) == (7, 512, 256)
    assert (resolved.clip_skip, resolved.emphasis, resolved.checkpoint.name) == (3, "Ignore", "sub/other")


def test_the_checkbox_chooses_the_accelerator_and_the_list_what_runs_without_it():
    assert resolve().accelerator == "fused"
    assert resolve(options={"unet_accelerator_enabled": False}).accelerator == "eager"
    for value in find_option("unet_fallback_backend").choices:
        assert resolve(options={"unet_accelerator_enabled": False, "unet_fallback_backend": value}).accelerator


@pytest.mark.parametrize(
    ("sampler", "schedule", "expected"),
    [
        ("DPM++ 2M Karras", None, ("DPM++ 2M", "Karras", False)),
        ("DPM++ 2M Karras", "Automatic", ("DPM++ 2M", "Karras", False)),
        ("DPM++ 2M Karras", "Exponential", ("DPM++ 2M", "Exponential", False)),
        ("k_euler", None, ("Euler", "Uniform", True)),
        ("euler", "sgm_uniform", ("Euler", "SGM Uniform", False)),
    ],
)
def test_sampler_and_schedule_names_become_canonical(sampler, schedule, expected):
    resolved = resolve(sampler_name=sampler, schedule_type=schedule)
    assert (resolved.sampler, resolved.schedule_type, resolved.automatic_schedule) == expected


@pytest.mark.parametrize(
    ("fields", "error", "sentence"),
    [
        ({"sampler_name": "DPM++ 3N"}, NotFound, "sampler 'DPM\\+\\+ 3N' was not found. Did you mean"),
        ({"schedule_type": "Karas"}, NotFound, "schedule type 'Karas' was not found. Did you mean 'Karras'"),
        ({"checkpoint": "guofeng"}, NotFound, "checkpoint 'guofeng' was not found. Did you mean 'guofeng-mini'"),
        ({"checkpoint": "broken"}, ModelUnusable, "the file is cut off"),
        ({"width_px": 517}, InvalidRequest, "width is 517, but it must be a multiple of 8. The nearest is 520."),
        ({"height_px": 100_000}, InvalidRequest, "height is 100000, but it must be a whole number from 64 to 4096"),
        ({"steps": 0}, InvalidRequest, "steps is 0, but it must be a whole number from 1 to 150"),
        ({"steps": 10**9}, InvalidRequest, "steps is 1000000000"),
        ({"prompt": "(" * 1_000_000}, InvalidRequest, "has 1000000 characters, more than the 100000 allowed"),
        ({"prompt": "a\0b"}, InvalidRequest, r"holds the character U\+0000"),
        ({"negative_prompt": "\ud800"}, InvalidRequest, r"negative_prompt .* U\+D800"),
        ({"emphasis": "Loud"}, InvalidRequest, "emphasis is 'Loud', but it must be one of"),
        ({"prompt": "a <lora:nothing:1>"}, NotFound, "lora 'nothing' was not found"),
        ({"prompt": " AND ".join("a" * 33)}, InvalidRequest, "prompt .* has 33 parts between AND, more than the 32"),
        ({"prompt": "BREAK " * 65}, InvalidRequest, "prompt .* at least 65 chunks of 75 tokens, more than the 64"),
        ({"negative_prompt": "BREAK " * 65}, InvalidRequest, "negative_prompt .* at least 65 chunks"),
        ({"width_px": 4096, "height_px": 4096, "batch_size": 2}, InvalidRequest, "batch_size is 2, .* Use at most 1"),
        ({"prompt": "a\nNegative prompt: b"}, InvalidRequest, "Press 'Read parameters', or remove that line."),
        ({"negative_prompt": "Negative prompt: b"}, InvalidRequest, "negative_prompt .* 'Negative prompt:'"),
    ],
)
def test_what_cannot_be_done_is_refused_with_thing_value_and_rule(fields, error, sentence):
    with pytest.raises(error, match=sentence):
        resolve(**fields)


@pytest.mark.parametrize(
    "fields",
    [
        {"prompt": " AND ".join("a" * 32)},
        {"negative_prompt": " AND ".join("a" * 40)},
        {"prompt": " AND ".join(["x BREAK " * 40] * 3)},
        {"prompt": "[" + "|".join(["a BREAK b"] * 70) + "]"},
        {"prompt": "BREAK " * 65, "emphasis": "None"},
        {"width_px": 1024, "height_px": 1024, "batch_size": 16},
    ],
)
def test_what_fits_is_not_refused(fields):
    assert resolve(**fields)


def test_the_largest_batch_counts_with_the_checkpoints_own_size():
    catalog = FakeCatalog([checkpoint("m", native_size_px=2048)])
    with pytest.raises(InvalidRequest, match="2048x2048"):
        resolve(catalog, batch_size=5)


def test_unbalanced_brackets_are_text_and_no_error():
    assert resolve(prompt="((a [b").prompt == "((a [b"


def test_a_network_that_exists_is_refused_as_long_as_none_can_be_applied():
    lora = ModelFile(kind="lora", name="ink", path="/ink.safetensors", size_bytes=1, mtime_ns=1)
    catalog = FakeCatalog([checkpoint("m"), lora])

    class Both(FakeCatalog):
        def find(self, kind, name):
            return lora if kind == "lora" else super().find(kind, name)

    with pytest.raises(InvalidRequest, match="asks for lora 'ink', and this version cannot apply networks"):
        resolve(Both(catalog.files), prompt="a <lora:ink:0.8>")


def test_without_a_usable_checkpoint_the_next_step_is_named():
    with pytest.raises(InvalidRequest, match=r"Put a \.safetensors file into models/Stable-diffusion"):
        resolve(FakeCatalog([checkpoint("broken", problem="cut off")]))


def test_a_chosen_checkpoint_that_has_gone_is_an_error_and_not_another_picture():
    with pytest.raises(NotFound, match="checkpoint 'gone'"):
        resolve(options={"sd_model_checkpoint": "gone"})


def test_a_resolved_request_survives_the_database():
    resolved = resolve(prompt="a ☃")
    assert ResolvedRequest.from_json(resolved.to_json()) == resolved


@pytest.mark.parametrize(
    ("family", "native", "expected"), [("sd1", 0, 512), ("sdxl", 0, 1024), ("sd1", 256, 256), ("", 0, 512)]
)
def test_the_native_size_is_the_files_or_the_familys(family, native, expected):
    assert native_size_px(checkpoint("m", family=family, native_size_px=native)) == expected
