"""`sdwebui verify`: a picture is made again from what it carries; an edited one is told apart."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
from PIL import Image
from PIL.PngImagePlugin import PngInfo

from sdwebui.cli import EXIT_ERROR, main
from tests.tiny import write_tiny_checkpoint


@pytest.fixture(scope="module")
def where(tmp_path_factory) -> list[str]:
    folder = tmp_path_factory.mktemp("verify")
    (folder / "models" / "Stable-diffusion").mkdir(parents=True)
    write_tiny_checkpoint(folder / "models" / "Stable-diffusion")
    return ["--models-dir", str(folder / "models"), "--data-dir", str(folder / "data"), "--device", "cpu"]


@pytest.fixture(scope="module")
def picture(where, tmp_path_factory) -> Path:
    out: Path = tmp_path_factory.mktemp("pictures")
    command = ["txt2img", "a (moon:1.2), [cat:dog:0.5]", "--negative", "blurry", "--sampler", "Euler a", "--steps", "3"]
    assert main([*command, "--seed", "9", "--width", "64", "--height", "72", "--out", str(out), *where]) == 0
    return out / "00000-9.png"


def with_parameters(picture: Path, target: Path, change) -> Path:
    with Image.open(picture) as image:
        text = PngInfo()
        text.add_text("parameters", change(image.info["parameters"]))
        image.save(target, pnginfo=text)
    return target


def test_a_picture_is_the_same_when_made_again(picture, where, capsys):
    assert main(["verify", str(picture), "--json", *where]) == 0
    assert json.loads(capsys.readouterr().out)["largest"] == 0


def test_parameters_of_another_seed_are_told_apart(picture, where, tmp_path, capsys):
    other = with_parameters(picture, tmp_path / "other.png", lambda text: text.replace("Seed: 9", "Seed: 10"))
    assert main(["verify", str(other), *where]) == EXIT_ERROR
    assert "Another picture: channels differ by at most" in capsys.readouterr().out


@pytest.mark.parametrize(
    ("change", "sentence"),
    [
        (lambda text: text + ", Hires upscale: 2", "Hires upscale is not supported."),
        (lambda text: text.replace("Euler a", "Euler z"), "Sampler was not taken over"),
        (lambda text: text.replace("64x72", "64x64"), "It was scaled or cut after it was made."),
        (lambda text: "only words", "carries no generation parameters"),
    ],
)
def test_what_cannot_be_followed_is_said_and_nothing_is_claimed(picture, where, tmp_path, capsys, change, sentence):
    other = with_parameters(picture, tmp_path / "other.png", change)
    assert main(["verify", str(other), *where]) == EXIT_ERROR
    assert sentence in capsys.readouterr().err


def test_a_missing_file_is_named(where, capsys):
    assert main(["verify", "none.png", *where]) == EXIT_ERROR
    assert "picture 'none.png' was not found." in capsys.readouterr().err
