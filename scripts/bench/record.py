"""How a benchmark's figures are summed up and kept: medians with spread, the machine, the versions, the commit."""

from __future__ import annotations

import json
import os
import platform
import statistics
import subprocess
from collections.abc import Mapping, Sequence
from datetime import UTC, datetime
from importlib.metadata import version
from pathlib import Path
from typing import Any

ROOT = Path(__file__).resolve().parent.parent.parent
VERSIONED = ("torch", "diffusers", "transformers", "gradio", "numpy", "pillow")


def summary(seconds: Sequence[float]) -> dict[str, float | int]:
    """Median, minimum, maximum and count of some timings, rounded to a tenth of a millisecond."""
    rounded = [round(one, 4) for one in seconds]
    median = round(statistics.median(rounded), 4)
    return {"median": median, "min": min(rounded), "max": max(rounded), "runs": len(rounded)}


def ratios(slow: Sequence[float], fast: Sequence[float]) -> dict[str, float | int]:
    """slow/fast pair by pair: what stays comparable on a noisy machine."""
    return summary([a / b for a, b in zip(slow, fast, strict=True)])


def machine() -> dict[str, Any]:
    """Processor, cores, memory, Python and the versions of what was measured."""
    cpu = next((line.split(":")[1].strip() for line in _lines("/proc/cpuinfo") if line.startswith("model name")), "")
    memory = next((int(line.split()[1]) // 1024 for line in _lines("/proc/meminfo") if line.startswith("MemTotal")), 0)
    return {
        "processor": cpu or platform.processor(),
        "cores": os.cpu_count(),
        "memory_mib": memory,
        "load_1min": round(os.getloadavg()[0], 2),
        "python": platform.python_version(),
        "versions": {name: version(name) for name in VERSIONED},
        "commit": _commit(),
        "date": datetime.now(UTC).isoformat(timespec="seconds"),
    }


def keep(name: str, figures: Mapping[str, Any], out: Path | None) -> str:
    """The benchmark's JSON text; also written to `out` when given.

    Args:
        name: name of the benchmark.
        figures: what was measured.
        out: file to write, or None.
    """
    text = json.dumps({"benchmark": name, **figures, "machine": machine()}, indent=2, ensure_ascii=False)
    if out is not None:
        out.parent.mkdir(parents=True, exist_ok=True)
        out.write_text(text + "\n", encoding="utf-8")
    return text


def _lines(path: str) -> list[str]:
    file = Path(path)
    return file.read_text(encoding="utf-8").splitlines() if file.exists() else []


def _commit() -> str:
    done = subprocess.run(
        ["git", "rev-parse", "--short", "HEAD"], cwd=ROOT, capture_output=True, text=True, check=False
    )
    return done.stdout.strip()
