"""What the controls of the txt2img tab and of the quick row do. Each handler is short: a job is sent, never waited for.

To add one: a method here, and its event in `connect`.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import gradio as gr

from sdwebui.domain.errors import ModelUnusable, NotFound, SdWebuiError
from sdwebui.domain.infotext import parse_infotext, paste_problems, request_fields
from sdwebui.domain.requests import MAX_PROMPT_CHARACTERS
from sdwebui.ui.generation_form import draft_of, read_request, usable_draft
from sdwebui.ui.quick_row import QuickRow, checkpoint_choices, person_markup
from sdwebui.ui.services import QUIET, PageServices, locale_of, username_of
from sdwebui.ui.texts import Texts
from sdwebui.ui.txt2img_tab import Txt2ImgTab, tokens_markup

UNKNOWN_SIZE_PX = 512
DRAFT = "txt2img"
"""Under this key the form is kept among a person's drafts."""
AFTER_A_PAUSE = "async (text) => { await new Promise((done) => setTimeout(done, 300)); return text; }"
"""A prompt that is being typed is counted every 0.3 s at most; "always_last" makes sure of the last text."""


@dataclass(frozen=True, kw_only=True, eq=False)
class Txt2ImgHandlers:
    """The handlers, with the widgets they change.

    Attributes:
        services: what the handlers call.
        texts: the catalogues.
        quick: the row on top.
        tab: the tab's widgets.
        tabs: the row of tabs, to bring txt2img to the front.
    """

    services: PageServices
    texts: Texts
    quick: QuickRow
    tab: Txt2ImgTab
    tabs: Any

    def open_page(self, request: gr.Request) -> dict[Any, Any]:
        """A page was opened: who it is, which checkpoints there are, and the form as this person left it."""
        username = username_of(request)
        options = self.services.options.get(username)
        current = self.services.library.current_checkpoint(username)
        side = self.services.library.native_size(current.name) if current else UNKNOWN_SIZE_PX
        fresh = {
            "sampler_name": options["default_sampler"],
            "schedule_type": options["default_schedule"],
            "width_px": side,
            "height_px": side,
            "clip_skip": options["CLIP_stop_at_last_layers"],
            "emphasis": options["emphasis"],
        }
        draft = usable_draft(self.services.options.draft(username).get(DRAFT, {}))
        return {
            self.quick.person: person_markup(self.texts, locale_of(request), username),
            self.quick.checkpoint: self._checkpoints(current.name if current else None),
            **self.tab.form.updates({**fresh, **draft}),
        }

    def generate(self, data: dict[Any, Any], request: gr.Request) -> str:
        """Send the form as a job.

        Returns:
            JSON for the viewer: {"job": id}, or {"error": sentence} when the job was refused.
        """
        username = username_of(request)
        values = self.tab.form.values(data)
        try:
            job = self.services.generation.submit(
                read_request(values), owner=username, idempotency_key=_job_key(str(data[self.tab.click_key]), values)
            )
            self.services.options.save_draft(username, {DRAFT: draft_of(values)})
        except SdWebuiError as error:
            return json.dumps({"error": error.detail})
        return json.dumps({"job": job.id})

    def choose_checkpoint(
        self, name: str | None, width: float, height: float, request: gr.Request
    ) -> tuple[Any, Any, Any]:
        """Remember the checkpoint, and bring the size to its native one where nobody has set another size.

        Returns:
            New values of the checkpoint's drop-down, width and height. A checkpoint that cannot be used is refused with
            a sentence, and the drop-down goes back to the present one.
        """
        username = username_of(request)
        try:
            self.services.options.set(username, {"sd_model_checkpoint": name or ""})
        except SdWebuiError as error:
            gr.Warning(error.detail)
        current = self.services.library.current_checkpoint(username)
        if current is None:
            return None, gr.skip(), gr.skip()
        side = self.services.library.native_size(current.name)
        untouched = width == height and width in self._native_sizes()
        return (current.name, side, side) if untouched else (current.name, gr.skip(), gr.skip())

    def refresh(self, name: str | None) -> Any:
        """Look at the model folders again, keeping the choice."""
        self.services.library.checkpoints(refresh=True)
        return self._checkpoints(name)

    def native_size(self, name: str | None) -> tuple[Any, Any]:
        """Width and height of the checkpoint's training pictures."""
        try:
            side = self.services.library.native_size(name or "")
        except SdWebuiError as error:
            gr.Warning(error.detail)
            return gr.skip(), gr.skip()
        return side, side

    def count_prompt(self, prompt: str) -> str:
        """The counter beside the prompt."""
        return self._counter(prompt, is_negative=False)

    def count_negative(self, prompt: str) -> str:
        """The counter beside the negative prompt."""
        return self._counter(prompt, is_negative=True)

    def read_parameters(self, text: str, request: gr.Request) -> dict[Any, Any]:
        """Fill the form from generation parameters: pasted into the prompt, or sent by another tab."""
        parsed = parse_infotext(text)
        if not parsed.params:
            gr.Info(self.texts.say(locale_of(request), "sent_nothing"))
            return {self.tabs: gr.skip()}
        for problem in paste_problems(parsed):
            gr.Warning(problem)
        updates = self.tab.form.updates(request_fields(parsed))
        checkpoint = self._choose_maker(parsed.params, username_of(request))
        if checkpoint:
            updates[self.quick.checkpoint] = checkpoint
        return {**updates, self.tabs: gr.Tabs(selected="txt2img")}

    def _counter(self, prompt: str, *, is_negative: bool) -> str:
        """A text too long to be sent is not counted either: the browser would wait for a number of no use."""
        if len(prompt) > MAX_PROMPT_CHARACTERS:
            return tokens_markup(f">{MAX_PROMPT_CHARACTERS}")
        used, room = self.services.count_tokens(prompt, is_negative=is_negative)
        return tokens_markup(f"{used}/{room}")

    def _checkpoints(self, chosen: str | None) -> Any:
        return gr.Dropdown(choices=checkpoint_choices(self.services.library.checkpoints()), value=chosen)

    def _native_sizes(self) -> set[int]:
        usable = [file for file in self.services.library.checkpoints() if not file.problem]
        return {self.services.library.native_size(file.name) for file in usable} | {UNKNOWN_SIZE_PX}

    def _choose_maker(self, parameters: Mapping[str, str], username: str) -> str:
        """Choose the checkpoint that made a picture, by hash before name; says so where it is not here.

        Returns:
            Its name, or empty where the parameters name none or it is not here.
        """
        problem = ""
        for key in ("Model hash", "Model"):
            if not parameters.get(key):
                continue
            try:
                self.services.options.set(username, {"sd_model_checkpoint": parameters[key]})
            except (NotFound, ModelUnusable) as error:
                problem = error.detail
            else:
                chosen = self.services.library.current_checkpoint(username)
                return chosen.name if chosen else ""
        if problem:
            gr.Warning(problem)
        return ""


def _job_key(click_key: str, values: Any) -> str:
    """One job for a double click: the same click key with the same form. A changed form is another job."""
    return hashlib.sha256(f"{click_key} {json.dumps(values, sort_keys=True, default=str)}".encode()).hexdigest()


def connect(handlers: Txt2ImgHandlers, blocks: Any, bridge: Any) -> None:
    """Join the widgets to the handlers.

    Args:
        handlers: what is called.
        blocks: the page.
        bridge: the invisible component through which the page's scripts send generation parameters.
    """
    tab, quick, form = handlers.tab, handlers.quick, handlers.tab.form
    everything = [*form.widgets.values(), quick.person]
    sides = [form.widgets["width_px"], form.widgets["height_px"]]
    blocks.load(handlers.open_page, outputs=everything, **QUIET)
    quick.checkpoint.input(handlers.choose_checkpoint, [quick.checkpoint, *sides], [quick.checkpoint, *sides], **QUIET)
    quick.refresh.click(handlers.refresh, quick.checkpoint, quick.checkpoint, **QUIET)
    tab.native_size.click(handlers.native_size, quick.checkpoint, sides, **QUIET)
    tab.swap_sides.click(None, sides, sides, js="(width, height) => [height, width]")
    tab.random_seed.click(None, None, form.widgets["seed"], js="() => '-1'")
    tab.reuse_seed.click(None, form.widgets["seed"], form.widgets["seed"], js="(old) => sdwebui.currentSeed() || old")
    for name, counter, count in (
        ("prompt", tab.prompt_tokens, handlers.count_prompt),
        ("negative_prompt", tab.negative_tokens, handlers.count_negative),
    ):
        form.widgets[name].change(
            count,
            form.widgets[name],
            counter,
            js=AFTER_A_PAUSE,
            trigger_mode="always_last",
            concurrency_limit=None,
            **QUIET,
        )
    tab.read_parameters.click(handlers.read_parameters, form.widgets["prompt"], [*everything, handlers.tabs], **QUIET)
    bridge.submit(handlers.read_parameters, bridge, [*everything, handlers.tabs], **QUIET)
    sent = tab.generate.click(
        handlers.generate,
        form.inputs | {tab.click_key},
        tab.outcome,
        js="(...values) => sdwebui.stamp(values)",
        trigger_mode="multiple",
        concurrency_limit=None,
        **QUIET,
    )
    sent.success(None, tab.outcome, None, js="(outcome) => sdwebui.submitted(outcome)")
    sent.failure(None, None, None, js="() => sdwebui.notSubmitted()")
