"""`sdwebui serve` as a process: what it says when it cannot start, and the first login."""

from __future__ import annotations

import fcntl
import os
import socket
import subprocess
import sys
from pathlib import Path

import pytest


def serve(tmp_path: Path, *arguments: str, **environment: str) -> subprocess.CompletedProcess[str]:
    command = [sys.executable, "-m", "sdwebui", "serve", "--models-dir", str(tmp_path / "models"), *arguments]
    return subprocess.run(
        command, capture_output=True, text=True, timeout=120, check=False, env={**os.environ, **environment}
    )


def test_a_port_in_use_ends_with_78_and_says_which_and_what_to_do(tmp_path):
    with socket.create_server(("127.0.0.1", 0)) as taken:
        port = str(taken.getsockname()[1])
        done = serve(tmp_path, "--port", port, "--data-dir", str(tmp_path / "data"))
    assert done.returncode == 78
    assert f"Port {port} on 127.0.0.1 cannot be used" in done.stderr
    assert "--port" in done.stderr
    assert not (tmp_path / "data").exists()


def test_a_data_folder_that_cannot_be_made_ends_with_78_and_names_it(tmp_path):
    (tmp_path / "file").write_text("", encoding="utf-8")
    done = serve(tmp_path, "--port", "0", "--data-dir", str(tmp_path / "file" / "data"))
    assert done.returncode == 78
    assert "file" in done.stderr
    assert "--data-dir" in done.stderr


def test_half_an_administrator_ends_with_78(tmp_path):
    done = serve(tmp_path, "--port", "0", "--data-dir", str(tmp_path / "data"), SDWEBUI_USERNAME="alice")
    assert done.returncode == 78
    assert "SDWEBUI_PASSWORD" in done.stderr


@pytest.mark.parametrize("key", ["prot = 7860", "port = 99999"])
def test_a_wrong_configuration_file_ends_with_78(tmp_path, key):
    file = tmp_path / "sdwebui.toml"
    file.write_text(key + "\n", encoding="utf-8")
    done = serve(tmp_path, "--config", str(file), "--data-dir", str(tmp_path / "data"))
    assert done.returncode == 78
    assert "port" in done.stderr


def test_a_second_server_on_the_same_data_folder_ends_with_78(tmp_path):
    (tmp_path / "data").mkdir()
    with (tmp_path / "data" / "server.lock").open("a") as held:
        fcntl.flock(held, fcntl.LOCK_EX)
        done = serve(tmp_path, "--port", "0", "--data-dir", str(tmp_path / "data"))
    assert done.returncode == 78
    assert "Another server uses the data folder" in done.stderr
