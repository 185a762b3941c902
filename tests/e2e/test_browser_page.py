"""The page in a real browser, over the real guard and services with a fake engine: everything a person's hands do."""

from __future__ import annotations

import io
import re
from collections.abc import Callable, Iterator
from functools import partial
from pathlib import Path
from typing import Any

import pytest
from PIL import Image, PngImagePlugin

from sdwebui.domain.errors import OutOfMemory
from sdwebui.domain.results import StepDone
from sdwebui.ui.mount import mount_page
from sdwebui.ui.page import TABS, build_page
from sdwebui.ui.services import PageServices
from tests.api.http import make_app
from tests.e2e.conftest import PHONE, log_in, served
from tests.fakes import PASSWORD, FakeEngine, Services, make_services

pytestmark = [
    pytest.mark.browser,
    # Gradio 6.31 uses what pandas 3 calls outdated; as an error it would end Gradio's queue.
    pytest.mark.filterwarnings("ignore::DeprecationWarning:gradio.queueing"),
]

OpenPage = Callable[..., Any]
INFOTEXT = (
    "moon over bamboo\nNegative prompt: blurry\nSteps: 33, Sampler: Euler a, Schedule type: Karras, CFG scale: 5.5, "
    "Seed: 9223372036854775000, Size: 320x384, Model: other, Clip skip: 2"
)
OUT_OF_MEMORY = "The device has 2.0 GB free, but 2048x2048 needs 9.1 GB. 1024x1024 would fit."


FIRST_ELEMENTS = {
    "txt2img": "#sd-prompt textarea",
    "png_info": ".sd-drop",
    "history": "#sd-history img",
    "settings": "#sd-option-emphasis",
}
"""What each tab must show; a new tab fails the test until it has a line here."""


class PreviewingEngine(FakeEngine):
    """Sends previews that a browser can show, and takes its time."""

    @staticmethod
    def _step(job_id: str, request: Any, index: int, step: int, progress: float) -> StepDone:
        data = io.BytesIO()
        Image.new("RGB", (8, 8), (255 * step // request.steps, 90, 60)).save(data, "PNG")
        return StepDone(
            job_id=job_id,
            image_index=index,
            step=step,
            steps=request.steps,
            progress=progress,
            preview=data.getvalue(),
        )


@pytest.fixture(scope="module")
def fakes() -> Iterator[Services]:
    engine = PreviewingEngine(step_seconds=0.05, failures={"out of memory": OutOfMemory(OUT_OF_MEMORY)})
    with make_services(engine=engine) as services:
        yield services


@pytest.fixture(scope="module")
def address(fakes: Services, tmp_path_factory: pytest.TempPathFactory) -> Iterator[str]:
    def count_words(text: str, *, is_negative: bool) -> tuple[int, int]:
        words = len(text.split())
        return words, 75 * max(1, -(-words // 75))

    page = build_page(
        PageServices(
            generation=fakes.generation, library=fakes.library, options=fakes.options, count_tokens=count_words
        )
    )
    uploads = tmp_path_factory.mktemp("uploads")
    with served(make_app(fakes, mount_page=partial(mount_page, blocks=page), upload_dirs=(uploads,))) as url:
        yield url


@pytest.fixture
def page(open_page: OpenPage, address: str) -> Any:
    """The page of "ann", logged in, with a small quick job in the form."""
    page = open_page(address)
    log_in(page, "ann", PASSWORD)
    set_number(page, "#sd-steps", 5)
    set_number(page, "#sd-batch-count", 1)
    return page


def set_number(page: Any, widget: str, value: float) -> None:
    page.fill(f"{widget} input[type=number]", str(value))
    page.press(f"{widget} input[type=number]", "Tab")


def number(page: Any, widget: str) -> float:
    return float(page.input_value(f"{widget} input[type=number]"))


def wait_for_state(page: Any, state: str) -> None:
    page.wait_for_selector(f".sd-progress[data-state={state}]")


def generate(page: Any, prompt: str) -> None:
    page.fill("#sd-prompt textarea", prompt)
    page.click("#sd-generate")


def wait_for_infotext(page: Any, words: str) -> str:
    page.wait_for_function(
        "(words) => document.querySelector('.sd-infotext-text')?.textContent?.includes(words)", arg=words
    )
    return str(page.inner_text(".sd-infotext-text"))


def jobs_of(fakes: Services, username: str) -> int:
    return len(fakes.generation.jobs(viewer=fakes.people[username], limit=500))


def test_a_job_shows_progress_preview_picture_and_parameters(page: Any):
    set_number(page, "#sd-steps", 40)
    generate(page, "red hanfu under the moon")
    wait_for_state(page, "running")
    page.wait_for_selector(".sd-stage img[src*='/preview']")
    assert re.search(r"\d+ %\s+·\s+step \d+/40", page.inner_text(".sd-progress-label"))
    wait_for_state(page, "done")
    assert page.inner_text(".sd-progress-label").startswith("Time taken: ")
    assert "Steps: 40" in wait_for_infotext(page, "red hanfu under the moon")
    page.wait_for_selector(".sd-stage img[src^='/api/v1/images/']")
    assert page.evaluate("document.querySelector('.sd-stage img').naturalWidth") == 64


def test_closing_the_page_loses_neither_job_nor_form(page: Any, open_page: OpenPage, address: str):
    set_number(page, "#sd-steps", 100)
    set_number(page, "#sd-batch-count", 2)
    page.fill("#sd-negative-prompt textarea", "blurry, lowres")
    generate(page, "a job that outlives its page")
    wait_for_state(page, "running")
    page.context.close()
    later = open_page(address)
    log_in(later, "ann", PASSWORD)
    wait_for_state(later, "running")
    assert later.input_value("#sd-prompt textarea") == "a job that outlives its page"
    assert later.input_value("#sd-negative-prompt textarea") == "blurry, lowres"
    assert number(later, "#sd-steps") == 100
    wait_for_state(later, "done")
    later.reload()
    wait_for_infotext(later, "a job that outlives its page")
    later.wait_for_selector(".sd-stage img[src^='/api/v1/images/']")


def test_another_person_sees_nothing_of_it(page: Any, open_page: OpenPage, address: str):
    generate(page, "for my eyes alone")
    wait_for_infotext(page, "for my eyes alone")
    other = open_page(address)
    log_in(other, "bob", PASSWORD)
    other.wait_for_timeout(1000)
    assert "for my eyes alone" not in other.inner_text("body")
    assert other.locator(".sd-stage img").count() == 0


def test_a_refused_form_and_a_failed_job_say_why(page: Any):
    page.fill("#sd-seed textarea, #sd-seed input", "soon")
    generate(page, "never sent")
    page.wait_for_selector(".sd-notice:has-text(\"seed is 'soon', but it must be a whole number\")")
    page.click("#sd-random-seed")
    generate(page, "out of memory")
    wait_for_state(page, "failed")
    page.wait_for_selector(f".sd-notice:has-text('{OUT_OF_MEMORY}')")
    generate(page, "fine again")
    wait_for_infotext(page, "fine again")
    assert not page.is_visible(".sd-notice")


def test_a_double_click_makes_one_job(page: Any, fakes: Services):
    before = jobs_of(fakes, "ann")
    page.fill("#sd-prompt textarea", "clicked twice")
    page.dblclick("#sd-generate")
    wait_for_infotext(page, "clicked twice")
    assert jobs_of(fakes, "ann") == before + 1


def test_jobs_queue_up_and_can_be_taken_out_or_interrupted(page: Any, fakes: Services):
    set_number(page, "#sd-steps", 150)
    for name in ("first", "second", "third"):
        generate(page, f"{name} in line")
        page.wait_for_selector(f".sd-queue-name:has-text('{name}')" if name != "first" else "[data-state=running]")
        page.wait_for_timeout(700)
    page.click("li:has-text('second in line') .sd-queue-cancel")
    page.wait_for_selector("li:has-text('second in line')", state="detached")
    page.keyboard.press("Escape")
    page.wait_for_function("document.querySelectorAll('.sd-queue li').length < 2")
    page.wait_for_selector(".sd-progress[data-state=running]")
    page.click("[data-sd-action=interrupt]")
    wait_for_state(page, "cancelled")
    states = {job.request["prompt"]: job.state for job in fakes.generation.jobs(viewer=fakes.people["ann"], limit=3)}
    assert set(states.values()) == {"cancelled"}
    assert page.locator("[data-sd-action=interrupt]").is_disabled()


def test_skip_gives_up_the_picture_in_work_and_keeps_the_rest(page: Any, fakes: Services):
    set_number(page, "#sd-steps", 60)
    set_number(page, "#sd-batch-count", 2)
    generate(page, "one of two")
    page.wait_for_selector(".sd-progress[data-state=running]:has-text('1/2')")
    page.click("[data-sd-action=skip]")
    wait_for_infotext(page, "one of two")
    wait_for_state(page, "done")
    (job,) = fakes.generation.jobs(viewer=fakes.people["ann"], limit=1)
    assert [image.index for image in job.images] == [1]


def test_several_pictures_can_be_looked_at_one_by_one_and_enlarged(page: Any):
    set_number(page, "#sd-batch-count", 3)
    generate(page, "three of them")
    wait_for_infotext(page, "three of them")
    wait_for_state(page, "done")
    assert page.locator(".sd-strip button").count() == 3
    first = page.inner_text(".sd-infotext-text")
    page.click(".sd-strip button:nth-child(3)")
    page.wait_for_function("(old) => document.querySelector('.sd-infotext-text')?.textContent !== old", arg=first)
    page.click(".sd-stage-button")
    assert page.inner_text(".sd-lightbox-count") == "3 / 3"
    page.keyboard.press("ArrowRight")
    assert page.inner_text(".sd-lightbox-count") == "1 / 3"
    assert page.is_visible(".sd-lightbox-close")
    page.keyboard.press("Escape")
    page.wait_for_selector("dialog.sd-lightbox", state="hidden")


def test_seed_size_and_checkpoint_controls(page: Any):
    seed = "#sd-seed textarea, #sd-seed input"
    page.fill(seed, "9223372036854775000")
    page.focus("#sd-prompt textarea")
    page.fill("#sd-prompt textarea", "by keyboard")
    page.keyboard.press("Control+Enter")
    assert "Seed: 9223372036854775000" in wait_for_infotext(page, "by keyboard")
    page.click("#sd-random-seed")
    page.wait_for_function("document.querySelector('#sd-seed textarea, #sd-seed input').value === '-1'")
    page.click("#sd-reuse-seed")
    page.wait_for_function(
        "document.querySelector('#sd-seed textarea, #sd-seed input').value === '9223372036854775000'"
    )
    page.click("#sd-random-seed")
    set_number(page, "#sd-width", 96)
    set_number(page, "#sd-height", 64)
    page.click("#sd-swap")
    page.wait_for_function("document.querySelector('#sd-height input[type=number]').value === '96'")
    page.click("#sd-native-size")
    page.wait_for_function("document.querySelector('#sd-height input[type=number]').value === '64'")
    for name, side in (("other", "128"), ("guofeng-mini", "64")):
        page.click("#sd-checkpoint input")
        page.locator("[role=option]", has_text=name).click()
        page.wait_for_function(
            "(side) => document.querySelector('#sd-width input[type=number]').value === side", arg=side
        )


def test_ctrl_and_arrows_weigh_the_selected_words(page: Any):
    page.fill("#sd-prompt textarea", "a cat, red hanfu")
    page.evaluate(
        "const area = document.querySelector('#sd-prompt textarea'); area.focus(); area.setSelectionRange(7, 16)"
    )
    page.keyboard.press("Control+ArrowUp")
    page.keyboard.press("Control+ArrowUp")
    assert page.input_value("#sd-prompt textarea") == "a cat, (red hanfu:1.2)"
    page.keyboard.press("Control+ArrowDown")
    page.keyboard.press("Control+ArrowDown")
    assert page.input_value("#sd-prompt textarea") == "a cat, red hanfu"
    page.wait_for_selector("#sd-prompts .sd-tokens:has-text('4/75')")


def test_a_pictures_parameters_go_from_its_file_into_the_form(page: Any, tmp_path: Path):
    info = PngImagePlugin.PngInfo()
    info.add_text("parameters", INFOTEXT)
    Image.new("RGB", (32, 32), "teal").save(tmp_path / "picture.png", pnginfo=info)
    page.get_by_role("tab", name="PNG Info").click()
    page.set_input_files(".sd-drop input", tmp_path / "picture.png")
    page.wait_for_selector(".sd-png-result pre:has-text('moon over bamboo')")
    page.click(".sd-png-result .sd-tool-primary")
    page.wait_for_selector("#sd-prompt textarea:visible")
    page.wait_for_function("document.querySelector('#sd-prompt textarea').value === 'moon over bamboo'")
    assert number(page, "#sd-steps") == 33
    assert (number(page, "#sd-width"), number(page, "#sd-height")) == (320, 384)
    assert page.input_value("#sd-seed textarea, #sd-seed input") == "9223372036854775000"
    assert page.input_value("#sd-sampler input") == "Euler a"
    page.click("#sd-random-seed")
    page.click("#sd-checkpoint input")
    page.locator("[role=option]", has_text="guofeng-mini").click()
    page.wait_for_timeout(500)
    page.click("#sd-native-size")
    page.wait_for_function("document.querySelector('#sd-height input[type=number]').value === '64'")


def test_settings_are_kept_and_pictures_are_in_the_history(page: Any, fakes: Services):
    generate(page, "for the history")
    wait_for_infotext(page, "for the history")
    page.get_by_role("tab", name="History").click()
    page.wait_for_selector("figcaption:has-text('for the history')")
    page.get_by_role("tab", name="Settings").click()
    label = "Apply accelerator in UNet to speed up the whole network inference when loading models"
    page.get_by_label(label).wait_for()
    set_number(page, "#sd-option-show-progress-every-n-steps", 7)
    page.get_by_role("button", name="Apply settings").click()
    page.wait_for_selector(".sd-note[data-kind=good]")
    assert fakes.options.get("ann")["show_progress_every_n_steps"] == 7
    with page.expect_navigation():
        page.get_by_role("button", name="Reload UI").click()
    page.wait_for_selector("#sd-prompt textarea")


@pytest.mark.parametrize(("locale", "label"), [("en-US", "Generate"), ("zh-CN", "生成")])
def test_every_tab_opens_in_the_browsers_language(
    open_page: OpenPage, address: str, locale: str, label: str, tmp_path: Path
):
    page = open_page(address, locale=locale, dark=locale == "zh-CN")
    log_in(page, "ann", PASSWORD)
    assert page.inner_text("#sd-generate").strip() == label
    for place, row in enumerate(TABS):
        page.locator("[role=tab]").nth(place).click()
        page.wait_for_selector(FIRST_ELEMENTS[row.id])
        page.wait_for_timeout(300)
        page.screenshot(path=tmp_path / f"{row.id}-{locale}.png")


def test_the_page_fits_a_phone(open_page: OpenPage, address: str, tmp_path: Path):
    page = open_page(address, size=PHONE)
    log_in(page, "ann", PASSWORD)
    page.wait_for_selector(".sd-stage img")
    assert page.evaluate("document.documentElement.scrollWidth") <= PHONE["width"]
    page.screenshot(path=tmp_path / "phone.png", full_page=True)


def test_logging_out_ends_at_the_login_page(open_page: OpenPage, address: str):
    page = open_page(address)
    log_in(page, "eve", PASSWORD)
    page.click("#sd-person button")
    page.wait_for_selector("input[name=password]")
    page.goto(address)
    page.wait_for_selector("input[name=password]")
