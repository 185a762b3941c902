"""The report's steps in order: pictures of random prompts, table, probes, contact sheets."""

from __future__ import annotations

import logging
from collections.abc import Sequence
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from PIL import Image

from scripts.demo_models import probes, report
from scripts.demo_models.architecture import DemoArchitecture
from scripts.demo_models.classifier import FactClassifier, PictureReader, train_classifier
from scripts.demo_models.dataset import render_seed
from scripts.demo_models.engine_source import EnginePictures
from scripts.demo_models.export import load_checkpoint
from scripts.demo_models.latents import LATENT_SCALE, load_vae
from scripts.demo_models.preview import PictureOrder, PictureSource, contact_sheet, decode
from scripts.demo_models.scenes import Scene, sample_scene
from scripts.demo_models.training import Budget

logger = logging.getLogger(__name__)
CEILING_SEED = 600_000_000
CEILING_PICTURES = 200
CLASSIFIER_STEPS = 1200
SHIFT_TAGS = (("blush", "blush"), ("bokeh", "bokeh"), ("necklace", "necklace"))
STRIP_PROMPT = "best quality, 1girl, red hanfu, hair flower, plum blossoms, smile"


@dataclass(frozen=True, kw_only=True)
class ReportOptions:
    """The report command's arguments."""

    checkpoint: Path
    work_dir: Path
    prompts: int
    long_prompt_seeds: int
    color_seeds: int
    shift_seeds: int
    steps: int
    cfg_scale: float
    json: Path
    sheet: Path
    strip: Path


class WithSettings:
    """A PictureSource that gives every order the report's steps and CFG scale."""

    def __init__(self, source: PictureSource, steps: int, cfg_scale: float) -> None:
        self._source = source
        self._steps = steps
        self._cfg_scale = cfg_scale

    def pictures(self, orders: Sequence[PictureOrder]) -> list[NDArray[np.uint8]]:
        """Pictures of the orders."""
        return self._source.pictures([replace(order, steps=self._steps, cfg_scale=self._cfg_scale) for order in orders])


def run_report(options: ReportOptions) -> tuple[str, dict[str, Any]]:
    """The printed text and the figures."""
    shape = DemoArchitecture()
    reader = _reader(shape, options.work_dir)
    vae, _, _ = load_checkpoint(shape, options.checkpoint)
    source = WithSettings(EnginePictures(options.checkpoint), options.steps, options.cfg_scale)
    scenes, read_from_renders = _ceiling(vae, reader)
    cases = [report.random_case(number) for number in range(options.prompts)]
    pictures, read = report.measure_following(source, reader, cases)
    rows = report.table(cases, read, scenes, read_from_renders)
    long_pictures, counts, per_fact = probes.long_prompt_counts(source, reader, options.long_prompt_seeds)
    strip = source.pictures([PictureOrder(prompt=STRIP_PROMPT, seed=seed) for seed in range(10)])
    figures = {
        "prompts": len(cases),
        "rows": [row.as_json() for row in rows],
        "mean skill of large attributes": report.mean_skill(rows, large=True),
        "mean skill of small attributes": report.mean_skill(rows, large=False),
        "long prompt": {"shown of 13 by seed": counts, "shown by attribute": per_fact},
        "red against blue": probes.red_against_blue(source, options.color_seeds),
        "shifts": [
            asdict(shift)
            for tag, fact in SHIFT_TAGS
            if options.shift_seeds
            for shift in probes.emphasis_and_negative(source, reader, tag, fact, options.shift_seeds)
        ],
        "difference between ten seeds": probes.pairwise_difference(strip),
    }
    _save_sheet(contact_sheet([*pictures[:40], *long_pictures[:10]], columns=10), options.sheet)
    _save_sheet(contact_sheet(strip, columns=5), options.strip)
    return _as_text(rows, figures), figures


def _reader(shape: DemoArchitecture, work_dir: Path) -> PictureReader:
    path = work_dir / "classifier.pt"
    if not path.exists():
        train_classifier(work_dir, Budget(steps=CLASSIFIER_STEPS), 1, torch.device("cpu"))
    classifier = FactClassifier()
    classifier.load_state_dict(torch.load(path, weights_only=True))
    return PictureReader(load_vae(shape, work_dir / "vae_unit.pt", torch.device("cpu")), classifier)


@torch.no_grad()
def _ceiling(vae: Any, reader: PictureReader) -> tuple[list[Scene], list[dict[str, str]]]:
    """Good scenes and what the reader sees in their renders after a pass through the VAE."""
    seeds = range(CEILING_SEED, CEILING_SEED + 2 * CEILING_PICTURES)
    scenes = [scene for scene in map(sample_scene, seeds) if scene.defect == "none"][:CEILING_PICTURES]
    read: list[dict[str, str]] = []
    for scene in scenes:
        pixels = torch.from_numpy(render_seed(scene.seed)).permute(2, 0, 1)[None].float().div(127.5).sub(1)
        latents = vae.encode(pixels).latent_dist.mode() * LATENT_SCALE
        read += reader.values(decode(vae, latents))
    return scenes, read


def _save_sheet(sheet: Image.Image, path: Path, width_px: int = 1400) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    height = round(sheet.height * width_px / sheet.width)
    sheet.resize((width_px, height), Image.Resampling.LANCZOS).save(path, quality=82)


def _as_text(rows: Sequence[report.FactRow], figures: dict[str, Any]) -> str:
    lines = [report.as_markdown(rows), ""]
    lines += [f"- {name}: {value}" for name, value in figures.items() if name != "rows"]
    return "\n".join(lines)
