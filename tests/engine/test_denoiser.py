from __future__ import annotations

import math

import pytest
import torch

from sdwebui.engine.conditioning import Conditioning
from sdwebui.engine.denoiser import Denoiser, denoised_from_epsilon, denoised_from_v
from sdwebui.engine.weights import LoadedModel
from tests.engine.fakes import FormulaPlan, denoise_call, states, with_plan


def by_hand(model: LoadedModel, sigma: float, value: float, prediction: str) -> float:
    """The formula plan's prediction for x = 1, in plain arithmetic."""
    output = value / math.sqrt(sigma**2 + 1) + model.sigmas.timestep_at(sigma) / 1000
    if prediction == "epsilon":
        return 1 - sigma * output
    return 1 / (sigma**2 + 1) - output * sigma / math.sqrt(sigma**2 + 1)


@pytest.mark.parametrize("prediction", ["epsilon", "v"])
@pytest.mark.parametrize("sigma", [0.03, 1.0, 14.6])
def test_guidance_and_scaling_agree_with_the_formulas(model, prediction: str, sigma: float):
    plan = FormulaPlan()
    (answer,) = Denoiser(16).run(
        [denoise_call(model.state, sigma=sigma)], with_plan(model, plan, prediction_type=prediction)
    )
    cond, uncond = (by_hand(model, sigma, value, prediction) for value in (0.5, 0.25))
    expected = uncond + 7 * (cond - uncond)
    torch.testing.assert_close(answer, torch.full((1, 4, 4, 4), expected), rtol=1e-4, atol=1e-4)
    assert plan.batches == [(2, 77)]


def test_a_perfect_model_gives_the_clean_latents_back_in_both_predictions():
    clean, noise = torch.randn(1, 4, 8, 8, dtype=torch.float64), torch.randn(1, 4, 8, 8, dtype=torch.float64)
    sigma = torch.tensor(3.7, dtype=torch.float64)
    x = clean + sigma * noise
    torch.testing.assert_close(denoised_from_epsilon(x, noise, sigma), clean)
    alpha, share = 1 / (sigma**2 + 1).sqrt(), sigma / (sigma**2 + 1).sqrt()
    torch.testing.assert_close(denoised_from_v(x, alpha * noise - share * clean, sigma), clean)


def test_texts_of_different_length_run_as_two_batches(model):
    plan = FormulaPlan()
    conditioning = Conditioning(parts=(states(0.5, tokens=154),), negative=states(0.25))
    call = denoise_call(model.state, conditioning=conditioning)
    (answer,) = Denoiser(16).run([call], with_plan(model, plan, prediction_type="epsilon"))
    (same,) = Denoiser(16).run([denoise_call(model.state)], with_plan(model, FormulaPlan(), prediction_type="epsilon"))
    assert plan.batches == [(1, 77), (1, 154)]
    torch.testing.assert_close(answer, same)


def test_parts_add_their_weighted_guidance(model):
    parts = (states(0.5, weight=1.5), states(0.1, weight=-0.5))
    call = denoise_call(model.state, conditioning=Conditioning(parts=parts, negative=states(0.25)), cfg_scale=4.0)
    (answer,) = Denoiser(16).run([call], with_plan(model, FormulaPlan(), prediction_type="epsilon"))
    one, two, uncond = (by_hand(model, 2.0, value, "epsilon") for value in (0.5, 0.1, 0.25))
    expected = uncond + 4 * (1.5 * (one - uncond) - 0.5 * (two - uncond))
    torch.testing.assert_close(answer, torch.full((1, 4, 4, 4), expected), rtol=1e-4, atol=1e-4)


def test_cfg_scale_1_needs_no_negative_prompt_and_gives_the_prompts_prediction(model):
    plan = FormulaPlan()
    (answer,) = Denoiser(16).run(
        [denoise_call(model.state, cfg_scale=1.0)], with_plan(model, plan, prediction_type="epsilon")
    )
    assert plan.batches == [(1, 77)]
    torch.testing.assert_close(answer, torch.full((1, 4, 4, 4), by_hand(model, 2.0, 0.5, "epsilon")))


def test_a_sampler_may_ask_for_the_prediction_without_the_prompt(model):
    call = denoise_call(model.state, cfg_scale=1.0, needs_unconditional=True)
    (pair,) = Denoiser(16).run([call], with_plan(model, FormulaPlan(), prediction_type="epsilon"))
    assert isinstance(pair, tuple)
    for answer, value in zip(pair, (0.5, 0.25), strict=True):
        torch.testing.assert_close(answer, torch.full((1, 4, 4, 4), by_hand(model, 2.0, value, "epsilon")))


def test_calls_of_different_steps_share_a_batch_and_keep_their_own_answers(model):
    plan = FormulaPlan()
    fake = with_plan(model, plan, prediction_type="v")
    calls = [denoise_call(model.state, sigma=sigma, x=torch.randn(1, 4, 4, 4)) for sigma in (14.0, 3.0, 0.4)]
    together = Denoiser(16).run(calls, fake)
    assert plan.batches == [(6, 77)]
    for call, answer in zip(calls, together, strict=True):
        torch.testing.assert_close(answer, Denoiser(16).run([call], fake)[0])


def test_no_batch_is_larger_than_allowed(model):
    plan = FormulaPlan()
    calls = [denoise_call(model.state, x=torch.randn(1, 4, 4, 4)) for _ in range(3)]
    answers = Denoiser(4).run(calls, with_plan(model, plan))
    assert plan.batches == [(4, 77), (2, 77)]
    torch.testing.assert_close(answers[2], Denoiser(16).run([calls[2]], with_plan(model, FormulaPlan()))[0])


def test_between_batches_rows_that_are_not_wanted_any_more_are_left_out(model):
    plan = FormulaPlan()
    many = Conditioning(parts=tuple(states(0.5) for _ in range(9)), negative=states(0.25))
    long, short = denoise_call(model.state, conditioning=many), denoise_call(model.state)
    (alone,) = Denoiser(16).run([short], with_plan(model, FormulaPlan()))
    answers = Denoiser(4).run(
        [long, short], with_plan(model, plan), lambda call: call is short or len(plan.batches) < 1
    )
    assert plan.batches == [(4, 77), (2, 77)]
    assert answers[0] is None
    torch.testing.assert_close(answers[1], alone)


def test_a_call_that_is_not_wanted_when_its_last_row_is_done_has_its_answer(model):
    plan = FormulaPlan()
    (answer,) = Denoiser(16).run([denoise_call(model.state)], with_plan(model, plan), lambda call: not plan.batches)
    assert answer is not None


def test_the_timestep_that_a_sampler_chose_is_told_to_the_model(model):
    (answer,) = Denoiser(16).run(
        [denoise_call(model.state, cfg_scale=1.0, timestep=0.0)],
        with_plan(model, FormulaPlan(), prediction_type="epsilon"),
    )
    torch.testing.assert_close(answer, torch.full((1, 4, 4, 4), 1 - 2 * 0.5 / math.sqrt(5)))


def test_the_same_texts_reach_the_plan_as_the_same_object_step_after_step(model):
    plan = FormulaPlan()
    denoiser, call = Denoiser(16), denoise_call(model.state)
    for _ in range(2):
        denoiser.run([call], with_plan(model, plan))
    assert plan.contexts[0] is plan.contexts[1]
