"""The training stages by name, in order. To add one: write its function and add it to STAGE_RUNNERS."""

from __future__ import annotations

import logging
import time
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

import torch
from PIL import Image

from scripts.demo_models.architecture import DemoArchitecture
from scripts.demo_models.export import export_checkpoint, load_checkpoint
from scripts.demo_models.latents import cache_latents
from scripts.demo_models.preview import (
    NEGATIVE,
    PREVIEW_PROMPTS,
    PictureOrder,
    TrainedModules,
    load_modules,
    save_preview,
)
from scripts.demo_models.team import Team, run_in_team
from scripts.demo_models.text import warm_up_text
from scripts.demo_models.training import Budget
from scripts.demo_models.unet import UnetPlan, train_unet
from scripts.demo_models.vae import train_decoder, train_vae

logger = logging.getLogger(__name__)
PREVIEW_EVERY_S = 600.0
DEFAULT_MINUTES = {"vae": 13.0, "text": 5.0, "unet16": 50.0, "unet32": 30.0, "decoder": 5.0}
PLANS = {
    "unet16": UnetPlan(name="unet16", cells=16, batch=16, flat_share=0.6),
    "unet32": UnetPlan(
        name="unet32", cells=32, batch=16, start_from="unet16", unet_rate=1e-3, text_rate=1e-4, flat_share=0.5
    ),
}


@dataclass(frozen=True, kw_only=True)
class StageOptions:
    """What the command was asked for; None means the stage's own default."""

    work_dir: Path
    models_dir: Path
    device: str = "auto"
    seed: int = 1
    minutes: float | None = None
    steps: int | None = None
    pictures: int = 10_000
    batch: int | None = None
    processes: int = 2
    workers: int = 1

    def torch_device(self) -> torch.device:
        """The device to train on."""
        if self.device == "auto":
            return torch.device("cuda" if torch.cuda.is_available() else "cpu")
        return torch.device(self.device)

    def budget(self, stage: str) -> Budget:
        """Exact steps if given, else minutes."""
        return Budget(steps=self.steps, minutes=self.minutes or DEFAULT_MINUTES[stage])


def run_stage(stage: str, options: StageOptions) -> None:
    """Runs one stage to its end."""
    logger.info("stage %s", stage)
    STAGE_RUNNERS[stage](options)


def _vae(options: StageOptions) -> None:
    train_vae(DemoArchitecture(), options.work_dir, options.budget("vae"), options.seed, options.torch_device())


def _latents(options: StageOptions) -> None:
    cache_latents(
        DemoArchitecture(),
        options.work_dir,
        count=options.pictures,
        seed=options.seed,
        device=options.torch_device(),
        processes=options.processes,
    )


def _text(options: StageOptions) -> None:
    warm_up_text(DemoArchitecture(), options.work_dir, options.budget("text"), options.seed, options.torch_device())


def _unet(stage: str) -> Callable[[StageOptions], None]:
    def run(options: StageOptions) -> None:
        meeting_point = options.work_dir.resolve() / f"{stage}_team"
        run_in_team(options.workers, meeting_point, _train_unet_worker, stage, options)

    return run


def _train_unet_worker(team: Team, stage: str, options: StageOptions) -> None:
    if team.leads:
        logging.basicConfig(level=logging.INFO, format="%(asctime)s %(message)s")
    plan = PLANS[stage]
    batch = (options.batch or plan.batch) // team.size
    plan = UnetPlan(**{**vars(plan), "batch": batch})
    train_unet(
        DemoArchitecture(),
        options.work_dir,
        options.budget(stage),
        plan,
        options.seed,
        options.torch_device(),
        on_save=lambda: _preview(options, plan),
        team=team,
    )


def _preview(options: StageOptions, plan: UnetPlan) -> None:
    path = options.work_dir / f"{plan.name}_preview.png"
    if path.exists() and time.time() - path.stat().st_mtime < PREVIEW_EVERY_S:
        return
    device = options.torch_device()
    source = load_modules(DemoArchitecture(), options.work_dir, plan.name, cells=plan.cells, device=device)
    save_preview(source, path)


def _decoder(options: StageOptions) -> None:
    train_decoder(DemoArchitecture(), options.work_dir, options.budget("decoder"), options.seed, options.torch_device())


def _export(options: StageOptions) -> None:
    path = export_checkpoint(DemoArchitecture(), options.work_dir, options.models_dir)
    source = TrainedModules(*load_checkpoint(DemoArchitecture(), path))
    (picture,) = source.pictures([PictureOrder(prompt=PREVIEW_PROMPTS[0], negative=NEGATIVE, seed=1)])
    Image.fromarray(picture).save(path.with_suffix(".png"))


STAGE_RUNNERS: dict[str, Callable[[StageOptions], None]] = {
    "vae": _vae,
    "latents": _latents,
    "text": _text,
    "unet16": _unet("unet16"),
    "unet32": _unet("unet32"),
    "decoder": _decoder,
    "export": _export,
}
