"""The whole way in a real browser against the real server: log in, a long prompt, a picture, reload, still there."""

from __future__ import annotations

import os
import re
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any
from urllib.error import HTTPError, URLError
from urllib.request import urlopen

import pytest

from tests.e2e.conftest import PHONE, free_port, log_in

pytestmark = [pytest.mark.browser, pytest.mark.slow]

USERNAME, PASSWORD = "mei", "a long enough password"
START_S = 60
PICTURE_MS = 180_000
PROMPT = (
    "best quality, masterpiece, highres, 1girl,blush,(seductive smile:0.8),star-shaped pupils,china hanfu,hair ornament"
    ",necklace, jewelry,Beautiful face,upon_body, tyndall effect,photorealistic, dark studio, rim lighting, "
    "two tone lighting,(high detailed skin:1.2), 8k uhd, dslr, soft lighting, high quality, volumetric lighting, "
    "candid, Photograph, high resolution, 4k, 8k, Bokeh"
)
NEGATIVE = (
    "NSFW, lowres, bad anatomy, bad hands, text, error, missing fingers, extra digit, fewer digits, cropped, "
    "worst quality, low quality, normal quality, jpeg artifacts, signature, watermark, username, blurry, bad feet,ugly,"
    "duplicate,mutilated,morbid,extra fingers,fused fingers,too many fingers,long neck,mutation,poorly drawn face,"
    "poorly drawn hands,mutated hands,deformed,blurry,bad anatomy,bad proportions,disfigured,cloned face,extra limbs,"
    "malformed limbs,gross proportions,missing arms,missing legs,extra arms,extra legs,"
)


def wait_until_it_answers(url: str, process: subprocess.Popen[bytes], log: Path) -> None:
    until = time.monotonic() + START_S
    while time.monotonic() < until:
        assert process.poll() is None, f"the server ended:\n{log.read_text(encoding='utf-8')}"
        try:
            with urlopen(f"{url}/healthz", timeout=2):  # noqa: S310  # loopback
                return
        except (URLError, HTTPError, OSError):
            time.sleep(0.2)
    pytest.fail(f"the server did not answer within {START_S} s:\n{log.read_text(encoding='utf-8')}")


@pytest.fixture(scope="module")
def address(project_root: Path, tmp_path_factory: pytest.TempPathFactory) -> Iterator[str]:
    """`sdwebui serve` as a process of its own, with one account."""
    folder = tmp_path_factory.mktemp("server")
    port, log = free_port(), folder / "server.log"
    command = [sys.executable, "-m", "sdwebui", "serve", "--port", str(port), "--data-dir", str(folder / "data")]
    command += ["--models-dir", str(project_root / "models")]
    environment = {**os.environ, "SDWEBUI_USERNAME": USERNAME, "SDWEBUI_PASSWORD": PASSWORD}
    with log.open("wb") as output:
        process = subprocess.Popen(command, cwd=project_root, env=environment, stdout=output, stderr=output)
        try:
            url = f"http://127.0.0.1:{port}"
            wait_until_it_answers(url, process, log)
            yield url
        finally:
            process.terminate()
            try:
                process.wait(30)
            except subprocess.TimeoutExpired:
                process.kill()
                process.wait(10)


def test_from_prompt_to_picture_and_back_after_a_reload(open_page: Callable[..., Any], address: str, tmp_path: Path):
    page = open_page(address)
    page.screenshot(path=tmp_path / "1-login.png")
    log_in(page, USERNAME, PASSWORD)
    page.fill("#sd-prompt textarea", PROMPT)
    page.fill("#sd-negative-prompt textarea", NEGATIVE)
    page.wait_for_function(
        "[...document.querySelectorAll('.sd-tokens')].every((one) => /\\d\\/(150|225)$/.test(one.textContent))"
    )
    page.screenshot(path=tmp_path / "2-filled-in.png")
    page.click("#sd-generate")
    page.wait_for_selector(".sd-progress[data-state=running], .sd-progress[data-state=done]", timeout=PICTURE_MS)
    page.screenshot(path=tmp_path / "3-running.png")
    page.wait_for_selector(".sd-progress[data-state=done]", timeout=PICTURE_MS)
    picture = page.wait_for_selector(".sd-stage img[src^='/api/v1/images/']")
    shown = picture.evaluate("(image) => [image.naturalWidth, image.naturalHeight]")
    assert shown == [number(page, "#sd-width"), number(page, "#sd-height")]
    infotext = page.inner_text(".sd-infotext-text")
    assert infotext.startswith(PROMPT)
    assert f"Negative prompt: {NEGATIVE}".strip() in infotext
    assert re.search(r"Steps: 20, Sampler: .+, Seed: \d+, Size: \d+x\d+, ", infotext)
    assert re.fullmatch(r"Time taken: [\d.]+ s", page.inner_text(".sd-progress-label"))
    page.screenshot(path=tmp_path / "4-done.png", full_page=True)

    page.reload()
    page.wait_for_selector(".sd-stage img[src^='/api/v1/images/']")
    page.wait_for_function("(text) => document.querySelector('.sd-infotext-text')?.innerText === text", arg=infotext)
    page.wait_for_function("(text) => document.querySelector('#sd-prompt textarea')?.value === text", arg=PROMPT)
    page.screenshot(path=tmp_path / "5-after-reload.png", full_page=True)

    phone = open_page(address, size=PHONE, dark=True)
    log_in(phone, USERNAME, PASSWORD)
    phone.wait_for_selector(".sd-stage img[src^='/api/v1/images/']")
    phone.screenshot(path=tmp_path / "6-on-a-phone.png", full_page=True)


def number(page: Any, widget: str) -> int:
    return int(page.input_value(f"{widget} input[type=number]"))
