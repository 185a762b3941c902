"""Measures a demo checkpoint: `python -m scripts.report_demo_models --work-dir data/demo-training`.

Draws random prompts, reads the pictures with a classifier trained on renders, and prints accuracy, chance, ceiling and
skill for each prompted attribute, then the probes. Writes a JSON file and a contact sheet.
"""

from __future__ import annotations

import argparse
import json
import logging
from pathlib import Path

from scripts.demo_models.report_run import ReportOptions, run_report

REPOSITORY = Path(__file__).resolve().parents[1]


def main(arguments: list[str] | None = None) -> int:
    """Runs the report and prints its table."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument(
        "--checkpoint", type=Path, default=REPOSITORY / "models/Stable-diffusion/guofeng-mini.safetensors"
    )
    parser.add_argument("--work-dir", type=Path, default=REPOSITORY / "data/demo-training")
    parser.add_argument("--prompts", type=int, default=200)
    parser.add_argument("--long-prompt-seeds", type=int, default=10)
    parser.add_argument("--color-seeds", type=int, default=40)
    parser.add_argument("--shift-seeds", type=int, default=50, help="0 leaves the emphasis probes out")
    parser.add_argument("--steps", type=int, default=20)
    parser.add_argument("--cfg-scale", type=float, default=4.0)
    parser.add_argument("--json", type=Path, default=REPOSITORY / "models/report.json")
    parser.add_argument("--sheet", type=Path, default=REPOSITORY / "models/contact-sheet.jpg")
    parser.add_argument("--strip", type=Path, default=REPOSITORY / "models/ten-seeds.jpg")
    options = parser.parse_args(arguments)
    logging.basicConfig(level=logging.INFO, format="%(asctime)s %(message)s")
    markdown, figures = run_report(ReportOptions(**vars(options)))
    options.json.write_text(json.dumps(figures, indent=1) + "\n")
    print(markdown)
    return 0


if __name__ == "__main__":
    raise SystemExit(main())
