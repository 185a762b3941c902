"""How long from `sdwebui serve` to a usable page, and to the first picture's readiness. Goal: page <= 5 s.

python -m scripts.bench.start [--runs 5] [--out FILE]
"""

from __future__ import annotations

import argparse
import os
import socket
import subprocess
import sys
import tempfile
import time
import urllib.error
import urllib.request
from base64 import b64encode
from pathlib import Path

from scripts.bench.record import ROOT, keep, summary

LOGIN = b64encode(b"bench:bench-password").decode()


def main() -> None:
    """Start and stop the server `--runs` times with a fresh data folder."""
    options = argparse.ArgumentParser(description=__doc__)
    options.add_argument("--runs", type=int, default=5)
    options.add_argument("--out", type=Path)
    given = options.parse_args()
    timings = [_one_start() for _ in range(given.runs)]
    figures = {
        "login_page_s": summary([one[0] for one in timings]),
        "main_page_s": summary([one[1] for one in timings]),
        "worker_ready_s": summary([one[2] for one in timings]),
        "goal_main_page_s": 5.0,
    }
    print(keep("start", figures, given.out))


def _one_start() -> tuple[float, float, float]:
    """Seconds until the login page, the Gradio page behind it, and `/readyz` answer 200."""
    port = _free_port()
    with tempfile.TemporaryDirectory() as data:
        command = [sys.executable, "-m", "sdwebui", "serve", "--port", str(port), "--data-dir", data]
        environment = {**os.environ, "SDWEBUI_USERNAME": "bench", "SDWEBUI_PASSWORD": "bench-password"}
        began = time.perf_counter()
        with subprocess.Popen(command, cwd=ROOT, env=environment, stdout=subprocess.DEVNULL) as server:
            try:
                times = tuple(_answered(port, path, began) for path in ("/login", "/", "/readyz"))
            finally:
                server.terminate()
                server.wait(30)
    return times[0], times[1], times[2]


def _answered(port: int, path: str, began: float, limit_s: float = 120.0) -> float:
    request = urllib.request.Request(f"http://127.0.0.1:{port}{path}", headers={"Authorization": f"Basic {LOGIN}"})
    while time.perf_counter() - began < limit_s:
        try:
            with urllib.request.urlopen(request, timeout=10) as answer:  # noqa: S310  # loopback only
                if answer.status == 200:
                    return time.perf_counter() - began
        except (urllib.error.URLError, ConnectionError):
            time.sleep(0.02)
    raise TimeoutError(f"{path} did not answer 200 within {limit_s:g} s.")


def _free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port: int = probe.getsockname()[1]
    return port


if __name__ == "__main__":
    main()
