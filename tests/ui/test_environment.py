"""Gradio's environment is emptied of everything that opens a door."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

from sdwebui.ui.environment import variables_to_clear, variables_to_set


def test_every_gradio_variable_goes_and_no_other():
    names = ["GRADIO_SHARE", "PATH", "GRADIO_MCP_SERVER", "MY_GRADIO_X", "GRADIO_ALLOWED_PATHS"]
    assert variables_to_clear(names) == ["GRADIO_ALLOWED_PATHS", "GRADIO_MCP_SERVER", "GRADIO_SHARE"]


def test_analytics_are_off_and_uploads_stay_in_the_data_folder(tmp_path: Path):
    variables = variables_to_set(tmp_path / "uploads")
    assert variables["GRADIO_ANALYTICS_ENABLED"] == "False"
    assert variables["GRADIO_TEMP_DIR"] == str(tmp_path / "uploads")


def test_reading_the_table_does_not_load_gradio():
    script = "import sys, sdwebui.ui.environment; print('gradio' in sys.modules)"
    done = subprocess.run([sys.executable, "-c", script], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "False"
