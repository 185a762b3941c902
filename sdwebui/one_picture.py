"""`sdwebui txt2img`: pictures without a server, through the same resolver, engine and infotext."""

from __future__ import annotations

import argparse
import json
import tempfile
import threading
import time
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

from sdwebui import __version__
from sdwebui.bootstrap import build_catalog, build_engine, build_resolver
from sdwebui.domain.errors import ConfigurationError, StorageFull, error_from_json
from sdwebui.domain.image_metadata import encode_png
from sdwebui.domain.infotext import infotext_params, render_infotext
from sdwebui.domain.options import option_defaults
from sdwebui.domain.requests import ResolvedRequest, Txt2ImgRequest
from sdwebui.domain.results import ImageDone, JobEvent, JobFailed, JobFinished
from sdwebui.domain.settings import Settings
from sdwebui.ports import Engine


@dataclass(frozen=True, kw_only=True)
class Drawn:
    """Finished pictures of a job and how long the engine took."""

    images: tuple[ImageDone, ...]
    seconds: float
    warnings: tuple[str, ...]


def request_of(given: argparse.Namespace) -> Txt2ImgRequest:
    """The request that the command's arguments make."""
    return Txt2ImgRequest(
        prompt=given.prompt,
        negative_prompt=given.negative,
        checkpoint=given.model,
        sampler_name=given.sampler,
        schedule_type=given.schedule,
        steps=given.steps,
        cfg_scale=given.cfg_scale,
        width_px=given.width,
        height_px=given.height,
        batch_size=given.batch_size,
        batch_count=given.batch_count,
        seed=given.seed,
        clip_skip=given.clip_skip,
    )


def draw(request: Txt2ImgRequest, settings: Settings, *, out: Path, as_json: bool, say: Callable[[str], None]) -> int:
    """Make the pictures, write them as PNG files with their infotext, and say file and seconds; the exit status.

    Raises:
        InvalidRequest, NotFound, ModelUnusable: the request cannot be done as asked.
        ConfigurationError: the folder `out` cannot be written.
    """
    catalog = build_catalog(settings)
    catalog.refresh()
    resolved = build_resolver(catalog, settings).resolve(request, option_defaults())
    model_hash = catalog.sha256(catalog.find("checkpoint", resolved.checkpoint.name))
    out = _writable(out)
    began = time.perf_counter()
    engine = build_engine(settings.device)
    load_seconds = time.perf_counter() - began
    try:
        drawn = run_job(engine, resolved)
    finally:
        engine.close()
    files = [_write(out, resolved, image, model_hash[:10]) for image in drawn.images]
    report = {
        "files": [str(file) for file in files],
        "seeds": [image.seed for image in drawn.images],
        "seconds": round(drawn.seconds, 3),
        "start_seconds": round(load_seconds, 3),
        "warnings": list(drawn.warnings),
    }
    if as_json:
        say(json.dumps(report, ensure_ascii=False))
        return 0
    for warning in drawn.warnings:
        say(f"Warning: {warning}")
    for file in files:
        say(str(file))
    say(f"Time taken: {drawn.seconds:.2f} s (engine start {load_seconds:.1f} s)")
    return 0


def run_job(engine: Engine, resolved: ResolvedRequest) -> Drawn:
    """Give the one job to the engine and wait for its last event. Raises what made it fail."""
    images: list[ImageDone] = []
    endings: list[JobFinished | JobFailed] = []
    done = threading.Event()

    def listen(event: JobEvent) -> None:
        if isinstance(event, ImageDone):
            images.append(event)
        if isinstance(event, JobFinished | JobFailed):
            endings.append(event)
            done.set()

    engine.submit("one-picture", resolved, listen)
    done.wait()
    ending = endings[0]
    if isinstance(ending, JobFailed):
        raise error_from_json(ending.error)
    ordered = sorted(images, key=lambda image: image.image_index)
    return Drawn(images=tuple(ordered), seconds=ending.seconds, warnings=ending.warnings)


def _writable(out: Path) -> Path:
    """The folder, made and proven writable before any work is done."""
    try:
        out.mkdir(parents=True, exist_ok=True)
        with tempfile.TemporaryFile(dir=out):
            return out
    except OSError as exc:
        raise ConfigurationError(
            f"Nothing can be written to {str(out)!r}: {exc.strerror}. Give another --out."
        ) from exc


def _write(out: Path, resolved: ResolvedRequest, image: ImageDone, model_hash: str) -> Path:
    """Write one PNG under the next free number; its name is [number]-[seed].png as in the output folders."""
    params = infotext_params(
        resolved,
        image_index=image.image_index,
        model_hash=model_hash,
        facts=image.facts,
        version=__version__,
    )
    infotext = render_infotext(resolved.prompt, resolved.negative_prompt, params)
    png = encode_png(image.rgb, image.width_px, image.height_px, infotext)
    number = 0
    while True:
        file = out / f"{number:05d}-{image.seed}.png"
        try:
            with file.open("xb") as target:
                target.write(png)
        except FileExistsError:
            number += 1
        except OSError as exc:
            raise StorageFull(f"{str(file)!r} cannot be written: {exc.strerror}. Give another --out.") from exc
        else:
            return file
