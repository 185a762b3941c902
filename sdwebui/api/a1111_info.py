"""The answer of a generating call as A1111 gives it: base64 pictures, the request's echo, and `info`, a JSON string."""

from __future__ import annotations

import base64
import json
from collections.abc import Sequence
from datetime import UTC, datetime
from typing import Any

from sdwebui.api.a1111_schemas import Txt2ImgBody
from sdwebui.domain.infotext import parse_infotext
from sdwebui.domain.requests import ResolvedRequest
from sdwebui.domain.results import JobRecord

VERSION_KEY, HASH_KEY = "Version", "Model hash"
CORE_KEYS = frozenset(
    {
        "Steps", "Sampler", "Schedule type", "CFG scale", "Seed", "Size", HASH_KEY, "Model", "Clip skip", "RNG",
        VERSION_KEY,
    }
)  # fmt: skip
"""Infotext keys that have their own place in `info`; all others are `extra_generation_params`."""


def generation_answer(body: Txt2ImgBody, job: JobRecord, files: Sequence[bytes]) -> dict[str, Any]:
    """The JSON object of POST /sdapi/v1/txt2img.

    Args:
        body: the request, echoed under `parameters`.
        job: the finished job.
        files: PNG files in the order of `job.images`; empty when the caller wanted none.
    """
    return {
        "images": [base64.b64encode(file).decode("ascii") for file in files],
        "parameters": body.model_dump(mode="json"),
        "info": json.dumps(info_facts(job), ensure_ascii=False),
    }


def info_facts(job: JobRecord) -> dict[str, Any]:
    """A1111's `Processed.js()` keys. Pictures differ only in their seed."""
    request, images = ResolvedRequest.from_json(job.request), job.images
    written = parse_infotext(images[0].infotext).params if images else {}
    seeds = [image.seed for image in images]
    return {
        "prompt": request.prompt,
        "all_prompts": [request.prompt] * len(images),
        "negative_prompt": request.negative_prompt,
        "all_negative_prompts": [request.negative_prompt] * len(images),
        "seed": request.seed,
        "all_seeds": seeds,
        "subseed": -1,
        "all_subseeds": [-1] * len(images),
        "subseed_strength": 0.0,
        "width": request.width_px,
        "height": request.height_px,
        "sampler_name": request.sampler,
        "cfg_scale": request.cfg_scale,
        "steps": request.steps,
        "batch_size": request.batch_size,
        "restore_faces": False,
        "face_restoration_model": None,
        "sd_model_name": request.checkpoint.name,
        "sd_model_hash": written.get(HASH_KEY),
        "sd_vae_name": None,
        "sd_vae_hash": None,
        "seed_resize_from_w": -1,
        "seed_resize_from_h": -1,
        "denoising_strength": None,
        "extra_generation_params": {key: value for key, value in written.items() if key not in CORE_KEYS},
        "index_of_first_image": 0,
        "infotexts": [image.infotext for image in images],
        "styles": [],
        "job_timestamp": timestamp(job.created_at),
        "clip_skip": request.clip_skip,
        "is_using_inpainting_conditioning": False,
        "version": written.get(VERSION_KEY),
    }


def timestamp(seconds: float) -> str:
    """A1111's `job_timestamp`, in UTC: "20261122204501"."""
    return datetime.fromtimestamp(seconds, UTC).strftime("%Y%m%d%H%M%S")
