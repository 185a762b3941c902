"""One warm picture, prompt to pixels, beside diffusers' StableDiffusionPipeline in float32 on the same checkpoint.

    python -m scripts.bench.picture [--checkpoint NAME] [--runs 7] [--steps 20] [--size PX] [--out FILE]

Both run the same sampler (DPM++ 2M Karras), steps, CFG and prompt, in turn, in one process. Goals on a 2-core CPU with
the demo checkpoint at its native size: <= 1.0 s, and >= 1.5 x faster than the pipeline.
"""

from __future__ import annotations

import argparse
import gzip
import time
from pathlib import Path
from typing import Any

import torch

from scripts.bench.record import ROOT, keep, ratios, summary
from sdwebui.bootstrap import VOCABULARY, accelerators, build_engine
from sdwebui.domain.requests import CheckpointRef, ResolvedRequest
from sdwebui.engine.checkpoints import CheckpointFacts, read_facts
from sdwebui.engine.components import load_pipeline
from sdwebui.one_picture import run_job
from sdwebui.ports import Engine

PROMPT = "best quality, masterpiece, 1girl, red hanfu, black hair, hair ornament, necklace, smile, dark studio"
NEGATIVE = "lowres, worst quality, low quality, blurry, jpeg artifacts, signature, watermark"


def main() -> None:
    """Warm both up, then time them in turn."""
    given = _arguments()
    path = ROOT / "models/Stable-diffusion" / f"{given.checkpoint}.safetensors"
    facts = read_facts(path)
    request = _request(path, facts, given.size or facts.native_size_px, given.steps, given.accelerator)
    engine = build_engine("cpu", precision=given.precision)
    pipeline = _diffusers_pipeline(path, facts)
    ours: list[float] = []
    theirs: list[float] = []
    for run in range(-2, given.runs):
        pair = _seconds_of_engine(engine, request), _seconds_of_pipeline(pipeline, request)
        if run >= 0:
            ours.append(pair[0])
            theirs.append(pair[1])
    status = engine.status()
    engine.close()
    figures = {
        "checkpoint": given.checkpoint,
        "size_px": request.width_px,
        "steps": request.steps,
        "sampler": f"{request.sampler} {request.schedule_type}",
        "threads": torch.get_num_threads(),
        "accelerator": status.accelerator,
        "precision": status.precision,
        "sdwebui_s": summary(ours),
        "diffusers_float32_s": summary(theirs),
        "speedup_pairwise": ratios(theirs, ours),
        "goals": {"sdwebui_s": 1.0, "speedup": 1.5},
    }
    print(keep("picture", figures, given.out))


def _arguments() -> argparse.Namespace:
    options = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    options.add_argument("--checkpoint", default="guofeng-mini")
    options.add_argument("--precision", default="auto", choices=("auto", "float32", "bfloat16"))
    options.add_argument("--accelerator", default="fused", choices=tuple(accelerators()))
    options.add_argument("--runs", type=int, default=7)
    options.add_argument("--steps", type=int, default=20)
    options.add_argument("--size", type=int, default=0, help="side in pixels; 0 for the checkpoint's native size")
    options.add_argument("--out", type=Path)
    return options.parse_args()


def _request(path: Path, facts: CheckpointFacts, side_px: int, steps: int, accelerator: str) -> ResolvedRequest:
    stat = path.stat()
    checkpoint = CheckpointRef(
        name=path.stem, path=str(path), family=facts.family, size_bytes=stat.st_size, mtime_ns=stat.st_mtime_ns
    )
    return ResolvedRequest(
        kind="txt2img",
        prompt=PROMPT,
        negative_prompt=NEGATIVE,
        checkpoint=checkpoint,
        sampler="DPM++ 2M",
        schedule_type="Karras",
        automatic_schedule=False,
        steps=steps,
        cfg_scale=4.0,
        width_px=side_px,
        height_px=side_px,
        batch_size=1,
        batch_count=1,
        seed=1,
        clip_skip=1,
        emphasis="Original",
        pad_conds=False,
        comma_backtrack=20,
        save_images=False,
        previews_every_steps=0,
        accelerator=accelerator,
    )


def _seconds_of_engine(engine: Engine, request: ResolvedRequest) -> float:
    """From submitting the job to its last pixel."""
    began = time.perf_counter()
    run_job(engine, request)
    return time.perf_counter() - began


def _diffusers_pipeline(path: Path, facts: CheckpointFacts) -> Any:
    """The stock pipeline over the same weights in float32, with the scheduler that equals DPM++ 2M Karras."""
    from diffusers import DPMSolverMultistepScheduler, StableDiffusionPipeline  # noqa: PLC0415  # slow to import

    parts = load_pipeline(path, torch.device("cpu"), torch.float32)
    scheduler = DPMSolverMultistepScheduler(
        num_train_timesteps=facts.train_timesteps,
        beta_start=facts.beta_start,
        beta_end=facts.beta_end,
        beta_schedule="scaled_linear",
        prediction_type="v_prediction" if facts.prediction_type == "v" else "epsilon",
        use_karras_sigmas=True,
    )
    pipeline = StableDiffusionPipeline(
        vae=parts.vae.float(),
        text_encoder=parts.text_encoder.float(),
        tokenizer=_tokenizer(),
        unet=parts.unet.float(),
        scheduler=scheduler,
        safety_checker=None,
        feature_extractor=None,
        requires_safety_checker=False,
    )
    pipeline.set_progress_bar_config(disable=True)
    return pipeline


def _tokenizer() -> Any:
    """A transformers tokenizer over the same vocabulary file, in CLIP's order: bytes, bytes at a word's end, merges."""
    from transformers import CLIPTokenizer  # noqa: PLC0415  # slow to import

    lines = gzip.decompress(VOCABULARY.read_bytes()).decode().splitlines()[1 : 49152 - 256 - 2 + 1]
    merges = [(first, second) for first, second in (line.split() for line in lines)]
    letters = [chr(code) for span in ((33, 127), (161, 173), (174, 256)) for code in range(*span)]
    letters += [chr(256 + place) for place in range(256 - len(letters))]
    words = [*letters, *(letter + "</w>" for letter in letters), *(first + second for first, second in merges)]
    words += ["<|startoftext|>", "<|endoftext|>"]
    return CLIPTokenizer(vocab={word: place for place, word in enumerate(words)}, merges=merges, model_max_length=77)


def _seconds_of_pipeline(pipeline: Any, request: ResolvedRequest) -> float:
    began = time.perf_counter()
    with torch.inference_mode():
        pipeline(
            request.prompt,
            negative_prompt=request.negative_prompt,
            num_inference_steps=request.steps,
            guidance_scale=request.cfg_scale,
            width=request.width_px,
            height=request.height_px,
            generator=torch.Generator().manual_seed(request.seed),
        )
    return time.perf_counter() - began


if __name__ == "__main__":
    main()
