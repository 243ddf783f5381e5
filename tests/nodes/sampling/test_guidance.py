"""Classifier-free guidance: the pipelines' formula, its fixed points, and what it refuses."""

from __future__ import annotations

import sys

import pytest
import torch
from diffusers import StableDiffusionPipeline
from hypothesis import given
from hypothesis import strategies as st

from graphcore import InputError, TensorSpec
from nodes import classifier_free_guidance, guidance_mode
from nodes.types import NoisePred

infer = sys.modules["nodes.sampling.guidance"].infer


def _prediction(seed: int, *, batch: int = 2, prediction_type: str = "epsilon") -> NoisePred:
    sample = torch.randn((batch, 4, 8, 8), generator=torch.Generator().manual_seed(seed))
    return NoisePred(sample, prediction_type)


@given(st.floats(0, 30, width=32))
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


@pytest.mark.parametrize(
    ("uncond", "message"),
    [
        (_prediction(1, prediction_type="v_prediction"), "epsilon, as `cond`, got v_prediction"),
        (_prediction(1, batch=1), r"\(2, 4, 8, 8\), as `cond`, got \(1, 4, 8, 8\)"),
    ],
)
def test_predictions_that_do_not_match_are_refused(uncond: NoisePred, message: str) -> None:
    for call in (classifier_free_guidance, infer):
        with pytest.raises(InputError, match=message) as caught:
            call(_prediction(0), uncond)
        assert caught.value.port == "uncond"


def test_infer() -> None:
    known = NoisePred(TensorSpec((1, 4, 8, 8)), "v_prediction")  # type: ignore[arg-type]
    vague = NoisePred(TensorSpec((None, 4, None, 8)), "v_prediction")  # type: ignore[arg-type]
    assert infer(known, vague) is known
    assert infer(uncond=vague) is vague
    assert infer() is None
    with pytest.raises(InputError):
        infer(known, NoisePred(TensorSpec((None, 5, None, 8)), "v_prediction"))  # type: ignore[arg-type]
