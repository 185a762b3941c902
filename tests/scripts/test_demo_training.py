"""The training pipeline: exact resume, exact key layout, the schedule and the report's arithmetic."""

from __future__ import annotations

import math
from pathlib import Path

import numpy as np
import pytest
import torch
from diffusers.loaders.single_file_utils import convert_ldm_unet_checkpoint, convert_ldm_vae_checkpoint

from scripts.demo_models.architecture import DemoArchitecture, build_text_encoder, build_unet, build_vae
from scripts.demo_models.diffusion import alphas_cumprod, sample_dpmpp_2m, v_target
from scripts.demo_models.export import ldm_config, load_checkpoint, metadata, single_file_weights
from scripts.demo_models.probes import paired_shift
from scripts.demo_models.report import FactRow, PromptCase, random_case, table
from scripts.demo_models.scenes import Scene, sample_scene
from scripts.demo_models.stages import PLANS
from scripts.demo_models.training import Budget, learning_rate_factor
from scripts.demo_models.unet import UnetPlan, train_unet

TINY = DemoArchitecture(vae_channels=8, text_width=8, text_heads=2, text_intermediate=16, unet_channels=8, unet_heads=2)


@pytest.fixture(scope="module")
def weights() -> tuple[dict[str, torch.Tensor], ...]:
    torch.manual_seed(0)
    parts = build_unet(TINY), build_vae(TINY), build_text_encoder(TINY)
    return tuple(part.state_dict() for part in parts)


def test_the_file_maps_back_exactly_with_diffusers_own_conversion(weights: tuple[dict[str, torch.Tensor], ...]) -> None:
    file = single_file_weights(TINY, *weights)
    unet = convert_ldm_unet_checkpoint(dict(file), {**build_unet(TINY).config, "layers_per_block": 1})
    vae = convert_ldm_vae_checkpoint(dict(file), dict(build_vae(TINY).config))
    for converted, original in ((unet, weights[0]), (vae, weights[1])):
        assert set(converted) == set(original)
        for key, tensor in original.items():
            assert torch.equal(converted[key].reshape(tensor.shape), tensor.half()), key


def test_an_exported_file_loads_again(weights: tuple[dict[str, torch.Tensor], ...], tmp_path: Path) -> None:
    from safetensors.torch import save_file

    path = tmp_path / "tiny.safetensors"
    save_file(single_file_weights(TINY, *weights), path, metadata=metadata(ldm_config(TINY)))
    vae, unet, text = load_checkpoint(TINY, path)
    for module, original in ((unet, weights[0]), (vae, weights[1]), (text, weights[2])):
        for key, tensor in module.state_dict().items():
            if tensor.is_floating_point():
                assert torch.equal(tensor, original[key].half().float()), key


def test_file_keys_are_those_of_stable_diffusion_1(weights: tuple[dict[str, torch.Tensor], ...]) -> None:
    keys = set(single_file_weights(TINY, *weights))
    assert {
        "model.diffusion_model.input_blocks.0.0.weight",
        "model.diffusion_model.time_embed.0.weight",
        "model.diffusion_model.middle_block.1.transformer_blocks.0.attn2.to_k.weight",
        "model.diffusion_model.out.2.weight",
        "first_stage_model.encoder.down.0.downsample.conv.weight",
        "first_stage_model.decoder.up.3.upsample.conv.weight",
        "first_stage_model.decoder.mid.attn_1.q.weight",
        "first_stage_model.quant_conv.weight",
        "cond_stage_model.transformer.text_model.embeddings.token_embedding.weight",
        "cond_stage_model.transformer.text_model.final_layer_norm.weight",
    } <= keys


def test_the_demo_model_fits_its_file_size() -> None:
    shape = DemoArchitecture()
    count = sum(p.numel() for m in (build_unet, build_vae, build_text_encoder) for p in m(shape).parameters())
    assert count * 2 < 13.4e6


def _fake_work_dir(folder: Path) -> Path:
    generator = torch.Generator().manual_seed(1)
    latents = torch.randn(8, 4, 32, 32, generator=generator).half()
    torch.save({"latents": latents, "seeds": torch.arange(8)}, folder / "latents_1_000.pt")
    return folder


def test_training_resumes_bit_exactly(tmp_path: Path) -> None:
    plan = UnetPlan(name="unet16", cells=16, batch=2)
    device = torch.device("cpu")
    results = []
    for name, runs in (("whole", (4,)), ("parts", (2, 4))):
        work_dir = tmp_path / name
        work_dir.mkdir()
        for steps in runs:
            _stop_early(_fake_work_dir(work_dir), plan, steps, device)
        results.append(torch.load(work_dir / "unet16.pt", weights_only=True))
    for part in ("unet", "text"):
        for key, tensor in results[0][part].items():
            assert torch.equal(tensor, results[1][part][key]), key


def _stop_early(work_dir: Path, plan: UnetPlan, steps: int, device: torch.device) -> None:
    """Four steps of one schedule, cut after `steps`: the learning rate is flat, so the cut does not show."""
    constant = UnetPlan(**{**vars(plan), "flat_share": 0.999})
    train_unet(TINY, work_dir, Budget(steps=steps), constant, 1, device)


def test_learning_rate_rises_stays_and_falls() -> None:
    factors = [learning_rate_factor(step, 1000) for step in range(1000)]
    assert factors[0] < 0.05
    assert factors[200] == pytest.approx(1.0)
    assert factors[-1] < 0.03


def test_every_plan_starts_from_a_known_one() -> None:
    assert all(not plan.start_from or plan.start_from in PLANS for plan in PLANS.values())


def test_the_sampler_finds_the_only_picture_of_a_perfect_model() -> None:
    torch.manual_seed(0)
    picture = torch.randn(1, 4, 8, 8)
    alphas = alphas_cumprod()

    def perfect(x: torch.Tensor, timestep: torch.Tensor) -> torch.Tensor:
        low = int(timestep[0])
        share = float(timestep[0]) - low
        sigmas = ((1 - alphas) / alphas).sqrt().log()
        sigma = math.exp(float(sigmas[low] * (1 - share) + sigmas[min(low + 1, 999)] * share))
        alpha = torch.tensor(1 / (1 + sigma * sigma))
        noise = (x - alpha.sqrt() * picture) / (1 - alpha).sqrt()
        return v_target(picture, noise, alpha)

    assert torch.allclose(sample_dpmpp_2m(perfect, torch.randn(1, 4, 8, 8), 12), picture, atol=1e-3)


def test_skill_is_zero_for_chance_and_one_for_the_ceiling() -> None:
    row = FactRow(fact="robe", n=10, accuracy=0.9, chance=0.1, ceiling=0.9)
    assert row.skill == pytest.approx(1.0)


def test_random_cases_ask_for_three_to_six_visible_facts() -> None:
    for number in range(50):
        assert 3 <= len(random_case(number).wanted) <= 6


def test_the_table_counts_hits_and_chance() -> None:
    cases = [PromptCase(prompt="", wanted={"robe": color}) for color in ("red", "blue", "red", "blue")]
    read = [{"robe": color} for color in ("red", "blue", "blue", "blue")]
    scenes = [Scene(seed=0, robe="red"), sample_scene(1)]
    (row,) = table(cases, read, scenes, [{"robe": "red"}, {"robe": "none"}])
    assert row.accuracy == 0.75
    assert row.chance == pytest.approx(0.5, abs=0.2)


def test_paired_shift_sees_a_clear_rise() -> None:
    rise = paired_shift("x", np.linspace(0.5, 1.5, 50))
    assert rise.p < 0.01
    assert paired_shift("x", -np.linspace(0.5, 1.5, 50)).p > 0.99
