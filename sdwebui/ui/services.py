"""What the page's handlers are given: services, and who asks. To give them more: a field in `PageServices`."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Protocol

from sdwebui.domain.errors import NotLoggedIn
from sdwebui.ui.texts import pick_locale

if TYPE_CHECKING:
    from sdwebui.service.generation import GenerationService
    from sdwebui.service.library import LibraryService
    from sdwebui.service.options import OptionsService


class TokenCounter(Protocol):
    """Counts a prompt's tokens: `domain/chunks.py` `count_tokens` with a tokenizer."""

    def __call__(self, text: str, *, is_negative: bool) -> tuple[int, int]:
        """(tokens in use, room for tokens up to the end of the last chunk of 75)."""


@dataclass(frozen=True, kw_only=True)
class PageServices:
    """The services behind the page.

    Attributes:
        generation: takes jobs and says how the worker is.
        library: checkpoints, samplers, schedules.
        options: each person's options and drafts.
        count_tokens: for the counters beside the prompts.
    """

    generation: GenerationService
    library: LibraryService
    options: OptionsService
    count_tokens: TokenCounter


QUIET: Mapping[str, Any] = {"show_progress": "hidden", "api_visibility": "private"}
"""For every event: Gradio's progress veils would blink over the page, and handlers are no API (that is `/api/v1`)."""


def locale_of(request: Any) -> str:
    """The catalogue for the person who sent a Gradio event, by the browser's language."""
    return pick_locale(str(request.headers.get("accept-language", "")))


def username_of(request: Any) -> str:
    """The person who sent a Gradio event, as the guard found them.

    Args:
        request: `gr.Request`.

    Raises:
        NotLoggedIn: the event came without a person; the guard lets none through, so the page is mounted wrongly.
    """
    username = getattr(request, "username", None)
    if not username:
        raise NotLoggedIn("The event reached the page without a user name. Log in again.")
    return str(username)
