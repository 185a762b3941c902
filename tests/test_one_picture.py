"""`sdwebui txt2img` on a tiny random checkpoint: the same engine, resolver and infotext as the server."""

from __future__ import annotations

import json
import shutil
from pathlib import Path

import pytest
from PIL import Image

from sdwebui.cli import EXIT_ERROR, main
from sdwebui.domain.infotext import parse_infotext
from tests.tiny import write_tiny_checkpoint

SMALL = ["--steps", "2", "--width", "64", "--height", "64", "--device", "cpu"]


@pytest.fixture(scope="module")
def models(tmp_path_factory) -> Path:
    folder: Path = tmp_path_factory.mktemp("models")
    (folder / "Stable-diffusion").mkdir()
    write_tiny_checkpoint(folder / "Stable-diffusion")
    return folder


def test_pictures_are_written_with_their_settings_and_the_seeds_count_up(models, tmp_path, capsys):
    command = ["txt2img", "月 a (moon:1.2)", "--negative", "blurry", "--seed", "7", "--batch-count", "2", "--json"]
    where = ["--models-dir", str(models), "--data-dir", str(tmp_path), "--out", str(tmp_path / "out")]
    assert main([*command, *SMALL, *where]) == 0
    report = json.loads(capsys.readouterr().out)
    assert report["seeds"] == [7, 8]
    assert report["seconds"] > 0
    for file, seed in zip(report["files"], report["seeds"], strict=True):
        with Image.open(file) as picture:
            understood = parse_infotext(picture.info["parameters"])
            assert picture.size == (64, 64)
        assert (understood.prompt, understood.negative_prompt) == ("月 a (moon:1.2)", "blurry")
        assert (understood.params["Seed"], understood.params["Steps"]) == (str(seed), "2")


def test_the_same_command_gives_the_same_picture_and_overwrites_nothing(models, tmp_path, capsys):
    where = ["--models-dir", str(models), "--data-dir", str(tmp_path), "--out", str(tmp_path)]
    for _ in range(2):
        assert main(["txt2img", "a moon", "--seed", "7", *SMALL, *where]) == 0
    first, second = sorted(tmp_path.glob("*.png"))
    assert first.read_bytes() == second.read_bytes()
    assert "Time taken:" in capsys.readouterr().out


@pytest.mark.parametrize(
    ("arguments", "sentence"),
    [
        (["--model", "tyni"], "'tyni' was not found. Did you mean 'tiny'?"),
        (["--sampler", "Eular"], "'Eular' was not found. Did you mean"),
        (["--width", "517"], "width is 517, but it must be a multiple of 8. The nearest is 520."),
        (["--steps", "0"], "steps is 0, but it must be a whole number from 1 to 150."),
    ],
)
def test_what_cannot_be_done_as_asked_is_refused_by_name(models, tmp_path, capsys, arguments, sentence):
    where = ["--models-dir", str(models), "--data-dir", str(tmp_path), "--out", str(tmp_path)]
    assert main(["txt2img", "a moon", *SMALL, *where, *arguments]) == EXIT_ERROR
    assert sentence in capsys.readouterr().err
    assert list(tmp_path.glob("*.png")) == []


def test_a_truncated_checkpoint_is_refused_with_the_reason(models, tmp_path, capsys):
    folder = tmp_path / "models"
    shutil.copytree(models, folder)
    whole = folder / "Stable-diffusion" / "tiny.safetensors"
    whole.write_bytes(whole.read_bytes()[:-100])
    where = ["--models-dir", str(folder), "--data-dir", str(tmp_path), "--out", str(tmp_path)]
    assert main(["txt2img", "a moon", "--model", "tiny", *SMALL, *where]) == EXIT_ERROR
    assert "tiny" in capsys.readouterr().err
