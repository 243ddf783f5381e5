"""Guidance: the formulas of pipelines and guiders of diffusers, their fixed points, and what is refused."""

from __future__ import annotations

import sys
from collections.abc import Callable
from dataclasses import replace
from typing import Any

import pytest
import torch
from diffusers import StableDiffusionPipeline
from diffusers.guiders import AdaptiveProjectedGuidance, ClassifierFreeGuidance, ClassifierFreeZeroStarGuidance
from diffusers.pipelines.stable_diffusion.pipeline_stable_diffusion import rescale_noise_cfg
from hypothesis import given
from hypothesis import strategies as st
from torch import Tensor

from graphcore import InputError, TensorSpec
from nodes import (
    adaptive_projected_guidance,
    classifier_free_guidance,
    guidance_mode,
    perpendicular_guidance,
    rescale_guidance,
    scheduled_scale,
    zero_star_guidance,
)
from nodes.types import NoisePred, Timestep

module = sys.modules["nodes.sampling.guidance"]
infer = module.infer
SCALES = st.floats(0, 30, width=32)


def _prediction(seed: int, *, batch: int = 2, prediction_type: str = "epsilon") -> NoisePred:
    sample = torch.randn((batch, 4, 8, 8), generator=torch.Generator().manual_seed(seed))
    return NoisePred(sample, prediction_type)


def _at(index: int = 5, count: int = 10) -> Timestep:
    return Timestep(torch.tensor(500), index, count)


# --- classifier-free --------------------------------------------------------------------------------------------------


@given(SCALES)
def test_the_formula(scale: float) -> None:
    cond, uncond = _prediction(0), _prediction(1)
    guided = classifier_free_guidance(cond, uncond, scale)
    assert guided.prediction_type == "epsilon"
    # as the pipelines write it, on the two halves of one batch
    first, second = torch.cat([uncond.sample, cond.sample]).chunk(2)
    assert torch.equal(guided.sample, first + scale * (second - first))
    # as the paper writes it (eq. 6, s = 1 + w), in float64
    exact = scale * cond.sample.double() - (scale - 1) * uncond.sample.double()
    torch.testing.assert_close(guided.sample.double(), exact, rtol=0, atol=1e-4)


def test_fixed_points() -> None:
    cond, uncond = _prediction(0), _prediction(1)
    assert torch.equal(classifier_free_guidance(cond, uncond, 0.0).sample, uncond.sample)
    torch.testing.assert_close(classifier_free_guidance(cond, uncond, 1.0).sample, cond.sample, rtol=0, atol=1e-6)
    assert torch.equal(classifier_free_guidance(cond, cond, 7.5).sample, cond.sample)


@pytest.mark.parametrize("scale", [0.0, 0.5, 1.0, 1.0000001, 1.5, 7.5, 30.0])
def test_the_mode_is_that_of_the_pipeline(scale: float) -> None:
    class Probe:
        _guidance_scale = guidance_scale = scale
        unet = type("U", (), {"config": type("C", (), {"time_cond_proj_dim": None})})

    guided = StableDiffusionPipeline.do_classifier_free_guidance.fget(Probe)
    assert guidance_mode(scale) == ("cfg" if guided else "none")


# --- at which steps and how much --------------------------------------------------------------------------------------


@given(st.integers(1, 60), st.integers(0, 10), st.integers(0, 10))
def test_an_interval_is_that_of_the_guiders(count: int, start: int, end: int) -> None:
    """Where shares fall on steps: `start` holds, `end` does not, and 1 is to the last step."""
    if start >= end:
        return
    steps = 10 * count
    guider = ClassifierFreeGuidance(guidance_scale=7.5, start=start / 10, stop=end / 10)
    for index in range(0, steps, max(1, steps // 30)):
        guider.set_state(index, steps, torch.tensor(0))
        guided = guider._is_cfg_enabled()
        assert guidance_mode(7.5, _at(index, steps), start / 10, end / 10) == ("cfg" if guided else "none")


def test_the_last_step_is_guided_and_rescaling_is_a_mode() -> None:
    assert guidance_mode(7.5, _at(9, 10), 0.5, 1.0) == "cfg"
    assert guidance_mode(7.5, _at(9, 10), 0.5, 1.0, 0.7) == "rescaled"
    assert guidance_mode(7.5, guidance_rescale=0.7) == "rescaled"
    assert guidance_mode(1.0, guidance_rescale=0.7) == "none"


def test_what_is_known_before_a_run() -> None:
    whole = {"start": 0.0, "end": 1.0}
    assert module.infer_mode(1.0) == "none"
    assert module.infer_mode(7.5, **whole, guidance_rescale=0.0) == "cfg"
    assert module.infer_mode(7.5, **whole, guidance_rescale=0.5) == "rescaled"
    assert module.infer_mode(7.5, **whole) is None
    assert module.infer_mode(7.5, 0.2, 1.0, 0.0) is None
    assert module.infer_mode(None, **whole, guidance_rescale=0.0) is None
    assert module.infer_mode(1.0, 0.2, 0.8, 0.0) == "none"


@pytest.mark.parametrize("call", [module.infer_mode, lambda scale, start, end: guidance_mode(scale, _at(), start, end)])
def test_an_empty_interval_is_refused(call: Callable[..., Any]) -> None:
    with pytest.raises(InputError, match=r"less than `end`, which is 0.2, got 0.8.*`guidance_scale` to 1") as caught:
        call(7.5, 0.8, 0.2)
    assert caught.value.port == "start"


def test_an_interval_needs_a_timestep() -> None:
    with pytest.raises(InputError, match="link the timestep of the loop") as caught:
        guidance_mode(7.5, None, 0.2, 0.8)
    assert caught.value.port == "timestep"


@pytest.mark.parametrize("curve", ["linear", "cosine", "quadratic"])
def test_a_scheduled_scale_goes_from_the_first_to_the_last(curve: Any) -> None:
    scales = [scheduled_scale(_at(index, 9), 9.0, 1.0, curve) for index in range(9)]
    assert scales[0] == 9.0
    assert scales[-1] == pytest.approx(1.0)
    assert scales == sorted(scales, reverse=True)
    assert scales[4] == pytest.approx({"linear": 5.0, "cosine": 5.0, "quadratic": 7.0}[curve])
    assert scheduled_scale(_at(0, 1), 9.0, 1.0, curve) == 9.0


# --- rescaled ---------------------------------------------------------------------------------------------------------


@given(st.floats(0, 1, width=32))
def test_rescaling_is_that_of_the_pipelines(share: float) -> None:
    cond, guided = _prediction(0), classifier_free_guidance(_prediction(0), _prediction(1), 7.5)
    found = rescale_guidance(guided, cond, share).sample
    assert torch.equal(found, rescale_noise_cfg(guided.sample, cond.sample, share))


def test_rescaling_gives_each_image_the_deviation_of_its_conditional_prediction() -> None:
    cond, guided = _prediction(0, batch=3), _prediction(1, batch=3)
    guided = replace(guided, sample=guided.sample * torch.tensor([1.0, 5.0, 0.2])[:, None, None, None])
    found = rescale_guidance(guided, cond, 1.0).sample
    torch.testing.assert_close(found.flatten(1).std(dim=1), cond.sample.flatten(1).std(dim=1))
    assert torch.equal(rescale_guidance(guided, cond, 0.0).sample, guided.sample)


# --- projections ------------------------------------------------------------------------------------------------------


def _flat(prediction: NoisePred) -> Tensor:
    return prediction.sample.double().flatten(1)


def test_perpendicular_guidance_leaves_alone_what_the_negative_shares() -> None:
    """With nothing in common it subtracts the negative direction; with a parallel one it is plain guidance."""
    uncond, cond, negative = _prediction(0), _prediction(1), _prediction(2)
    plain = classifier_free_guidance(cond, uncond, 4.0)
    parallel = replace(uncond, sample=uncond.sample + 1.7 * (cond.sample - uncond.sample))
    found = perpendicular_guidance(cond, uncond, parallel, 4.0)
    torch.testing.assert_close(found.sample, plain.sample, rtol=0, atol=1e-4)
    assert torch.equal(perpendicular_guidance(cond, uncond, negative, 4.0, 0.0).sample, plain.sample)
    found = perpendicular_guidance(cond, uncond, negative, 4.0, 0.5)
    towards, away = _flat(cond) - _flat(uncond), _flat(negative) - _flat(uncond)
    taken = (_flat(plain) - _flat(found)) / (4.0 * 0.5)  # n - <n, p> p / |p|^2, by its own properties:
    torch.testing.assert_close((taken * towards).sum(dim=1), torch.zeros(2).double(), rtol=0, atol=1e-3)
    torch.testing.assert_close((taken * away).sum(dim=1), (taken * taken).sum(dim=1), rtol=1e-4, atol=0)
    rest = away - taken
    torch.testing.assert_close(
        (rest * towards).sum(dim=1).abs(), rest.norm(dim=1) * towards.norm(dim=1), rtol=1e-4, atol=0
    )


def test_perpendicular_guidance_of_a_prompt_that_says_nothing() -> None:
    uncond, negative = _prediction(0), _prediction(2)
    found = perpendicular_guidance(uncond, uncond, negative, 4.0)
    exact = _flat(uncond) - 4.0 * (_flat(negative) - _flat(uncond))
    torch.testing.assert_close(_flat(found), exact, rtol=0, atol=1e-5)


@pytest.mark.parametrize("threshold", [0.0, 2.0, 15.0])
@pytest.mark.parametrize("eta", [0.0, 0.5, 1.0])
def test_adaptive_projected_guidance_is_that_of_the_guider(eta: float, threshold: float) -> None:
    cond, uncond = _prediction(0), _prediction(1)
    guider = AdaptiveProjectedGuidance(5.0, eta=eta, adaptive_projected_guidance_rescale=threshold)
    expected = guider.forward(cond.sample, uncond.sample).pred
    found = adaptive_projected_guidance(cond, uncond, 5.0, eta, threshold).sample
    assert torch.equal(found, expected)
    if eta == 1 and threshold == 0:
        torch.testing.assert_close(found, classifier_free_guidance(cond, uncond, 5.0).sample, rtol=0, atol=1e-4)


@pytest.mark.parametrize("zeros", [0, 2])
def test_zero_star_guidance_is_that_of_the_guider(zeros: int) -> None:
    cond, uncond = _prediction(0), _prediction(1)
    guider = ClassifierFreeZeroStarGuidance(5.0, zero_init_steps=zeros)
    for index in range(4):
        guider.set_state(index, 10, torch.tensor(0))
        expected = guider.forward(cond.sample, uncond.sample).pred
        assert torch.equal(zero_star_guidance(cond, uncond, _at(index), 5.0, zeros).sample, expected)


# --- all of them ------------------------------------------------------------------------------------------------------

RULES: dict[str, Callable[[NoisePred, NoisePred], NoisePred]] = {
    "classifier_free": classifier_free_guidance,
    "rescaled": lambda cond, uncond: rescale_guidance(uncond, cond),
    "perpendicular": lambda cond, uncond: perpendicular_guidance(cond, uncond, uncond),
    "adaptive_projected": adaptive_projected_guidance,
    "zero_star": lambda cond, uncond: zero_star_guidance(cond, uncond, _at()),
}


@pytest.mark.parametrize("name", RULES)
def test_the_variance_is_that_of_the_conditional_prediction(name: str) -> None:
    """Guidance acts on what the model says of the picture, not on how sure it is."""
    cond = replace(_prediction(0), variance=_prediction(5).sample)
    uncond = replace(_prediction(1), variance=_prediction(5 if name == "rescaled" else 6).sample)
    assert torch.equal(RULES[name](cond, uncond).variance, _prediction(5).sample)


@pytest.mark.parametrize("name", RULES)
@pytest.mark.parametrize(
    ("uncond", "message"),
    [
        (_prediction(1, prediction_type="v_prediction"), "epsilon, as `cond`, got v_prediction"),
        (_prediction(1, batch=1), r"\(2, 4, 8, 8\), as `cond`, got \(1, 4, 8, 8\)"),
    ],
)
def test_predictions_that_do_not_match_are_refused(name: str, uncond: NoisePred, message: str) -> None:
    with pytest.raises(InputError, match=message) as caught:
        RULES[name](_prediction(0), uncond)
    assert caught.value.port == ("guided" if name == "rescaled" else "uncond")


def test_infer() -> None:
    known = NoisePred(TensorSpec((1, 4, 8, 8)), "v_prediction")  # type: ignore[arg-type]
    vague = NoisePred(TensorSpec((None, 4, None, 8)), "v_prediction")  # type: ignore[arg-type]
    other = NoisePred(TensorSpec((None, 5, None, 8)), "v_prediction")  # type: ignore[arg-type]
    perpendicular = sys.modules["nodes.sampling.projection"].infer_perpendicular
    for hook in (infer, module.infer_rescaled, perpendicular):
        assert hook(known, vague) is known
        assert hook() is None
        with pytest.raises(InputError):
            hook(known, other)
    assert infer(uncond=vague) is vague
    with pytest.raises(InputError) as caught:
        perpendicular(known, known, other)
    assert caught.value.port == "negative"
