"""Trains the demo checkpoint from drawn pictures, stage by stage; every stage goes on after a kill.

`python -m scripts.train_demo_models --stage all` does everything. See scripts/demo_models/README.md.
"""

from __future__ import annotations

import argparse
import logging
from pathlib import Path

from scripts.demo_models.stages import StageOptions, run_stage

REPOSITORY = Path(__file__).resolve().parents[1]
STAGES = ("vae", "latents", "text", "unet16", "unet32", "decoder", "export")


def main(arguments: list[str] | None = None) -> int:
    """Runs the asked stages in order."""
    options = _parser().parse_args(arguments)
    logging.basicConfig(level=logging.INFO, format="%(asctime)s %(message)s")
    chosen = StageOptions(
        work_dir=options.work_dir,
        models_dir=options.models_dir,
        device=options.device,
        seed=options.seed,
        minutes=options.minutes,
        steps=options.steps,
        pictures=options.pictures,
        batch=options.batch,
        processes=options.processes,
        workers=options.workers,
    )
    for stage in STAGES if options.stage == "all" else (options.stage,):
        run_stage(stage, chosen)
    return 0


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--stage", choices=(*STAGES, "all"), default="all")
    parser.add_argument("--minutes", type=float, help="training time of the stage (default: its own)")
    parser.add_argument("--steps", type=int, help="exact number of steps instead of minutes (reproducible)")
    parser.add_argument("--pictures", type=int, default=10_000, help="number of cached training pictures")
    parser.add_argument("--batch", type=int, help="samples a UNet step (default: 16)")
    parser.add_argument("--processes", type=int, default=2, help="processes that draw pictures")
    parser.add_argument("--workers", type=int, default=1, help="processes that train the UNet together on a CPU")
    parser.add_argument("--work-dir", type=Path, default=REPOSITORY / "data" / "demo-training")
    parser.add_argument("--models-dir", type=Path, default=REPOSITORY / "models" / "Stable-diffusion")
    parser.add_argument("--device", choices=("auto", "cpu", "cuda"), default="auto")
    parser.add_argument("--seed", type=int, default=1)
    return parser


if __name__ == "__main__":
    raise SystemExit(main())
