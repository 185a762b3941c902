"""Rendered pictures and cached latents on disk, in the work directory."""

from __future__ import annotations

import logging
from concurrent.futures import ProcessPoolExecutor
from multiprocessing import get_context
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from scripts.demo_models.renderer import render
from scripts.demo_models.scenes import NATIVE_SIZE_PX, sample_scene

logger = logging.getLogger(__name__)


def render_pool(
    work_dir: Path, *, first_seed: int, count: int, processes: int = 2
) -> tuple[list[int], NDArray[np.uint8]]:
    """Seeds and pictures [count, 256, 256, 3] of consecutive scenes; drawn once, then mapped from disk."""
    seeds = list(range(first_seed, first_seed + count))
    path = work_dir / f"pictures_{first_seed}_{count}.npy"
    if not path.exists():
        logger.info("drawing %d pictures", count)
        path.parent.mkdir(parents=True, exist_ok=True)
        pictures = np.empty((count, NATIVE_SIZE_PX, NATIVE_SIZE_PX, 3), dtype=np.uint8)
        for index, picture in enumerate(render_many(seeds, processes)):
            pictures[index] = picture
        partial = path.with_suffix(".tmp.npy")
        np.save(partial, pictures)
        partial.replace(path)
    return seeds, np.load(path, mmap_mode="r")


def render_many(seeds: list[int], processes: int) -> list[NDArray[np.uint8]]:
    """The pictures of many seeds, drawn by several processes."""
    if processes <= 1:
        return [render_seed(seed) for seed in seeds]
    with ProcessPoolExecutor(processes, mp_context=get_context("spawn")) as pool:
        return list(pool.map(render_seed, seeds, chunksize=64))


def render_seed(seed: int) -> NDArray[np.uint8]:
    """The picture of one seed's scene."""
    return render(sample_scene(seed))
