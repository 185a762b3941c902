"""Which environment variables Gradio must and must not see. The command line applies them before Gradio is imported.

Gradio reads many `GRADIO_*` variables that open doors (MCP server, share links, allowed paths, vibe mode …), so all of
them are removed, and the few that close one are set. Needs no Gradio, so that reading it costs nothing.
"""

from __future__ import annotations

from collections.abc import Iterable
from pathlib import Path

PREFIXES_TO_CLEAR = ("GRADIO_",)
"""Variables that start with one of these are removed before Gradio is imported."""


def variables_to_clear(names: Iterable[str]) -> list[str]:
    """The names among `names` that must go, sorted."""
    return sorted(name for name in names if name.startswith(PREFIXES_TO_CLEAR))


def variables_to_set(temp_dir: Path) -> dict[str, str]:
    """What Gradio must find.

    Args:
        temp_dir: folder for uploads, inside the data folder; the guard lets events name files below it only.
    """
    return {
        "GRADIO_ANALYTICS_ENABLED": "False",
        "GRADIO_TEMP_DIR": str(temp_dir),
        "GRADIO_RUN_HISTORY": "False",
        "HF_HUB_OFFLINE": "1",
        "HF_HUB_DISABLE_TELEMETRY": "1",
        "DO_NOT_TRACK": "1",
    }
