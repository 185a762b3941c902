"""Our PNG files in the hands of others: PyPI's sd-parsers reads the settings back."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest
from sd_parsers import ParserManager

from sdwebui.bootstrap import ROOT

PROMPT = (
    "best quality, masterpiece, highres, 1girl,blush,(seductive smile:0.8),star-shaped pupils,china hanfu,"
    "hair ornament,necklace, jewelry,Beautiful face,upon_body, tyndall effect,photorealistic, dark studio, "
    "rim lighting, two tone lighting,(high detailed skin:1.2), 8k uhd, dslr, soft lighting, high quality, "
    "volumetric lighting, candid, Photograph, high resolution, 4k, 8k, Bokeh"
)
NEGATIVE = "NSFW, lowres, bad anatomy, bad hands, text, error, worst quality, low quality, signature, watermark,"


@pytest.mark.slow
def test_a_picture_of_the_demo_checkpoint_is_read_by_sd_parsers(tmp_path: Path):
    """The command of the README, with the prompt that is longer than 75 tokens."""
    where = ["--data-dir", str(tmp_path / "data"), "--out", str(tmp_path)]
    command = [
        sys.executable,
        "-m",
        "sdwebui",
        "txt2img",
        PROMPT,
        "--negative",
        NEGATIVE,
        "--seed",
        "11",
        "--steps",
        "4",
    ]
    done = subprocess.run([*command, *where], cwd=ROOT, capture_output=True, text=True, timeout=280, check=False)
    assert done.returncode == 0, done.stderr
    (file,) = tmp_path.glob("*.png")
    read = ParserManager().parse(file)
    assert read is not None
    assert [prompt.value for prompt in read.prompts] == [PROMPT]
    assert [prompt.value for prompt in read.negative_prompts] == [NEGATIVE]
    assert [model.name for model in read.models] == ["guofeng-mini"]
    (sampler,) = read.samplers
    assert (sampler.parameters["seed"], sampler.parameters["steps"]) == ("11", "4")
