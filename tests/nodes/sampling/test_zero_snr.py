"""Schedules that begin with noise alone, abar = 0 (arXiv:2305.08891): nothing is divided by zero, or words say why."""

from __future__ import annotations

from typing import Any

import pytest
import torch
from torch import Tensor

from graphcore import InputError
from nodes import (
    classifier_guidance,
    init_noise,
    make_schedule,
    predict_original,
    prepare_latents,
    scale_model_input,
    scheduler_step,
    seed_generators,
)
from nodes.sampling import schedule, schedulers
from nodes.types import Gradient, LatentSpace, NoisePred, SchedulerConfig
from tests.nodes.sampling.test_schedule import QUICK, handle

SPACE = LatentSpace(channels=4, downsampling=8, scaling_factor=1.0, sample_size=4)
DIVIDING = ("ddim", "ddpm", "lcm", "tcd")
"""Their abar is 0 exactly."""


STEPS = 5


def steps_models_of(name: str, prediction_type: str) -> bool:
    if prediction_type == "epsilon":
        return name not in DIVIDING
    return prediction_type != "sample" or schedulers.CHOICES[name].scheduler not in schedulers.WITHOUT_SAMPLE_PREDICTION


CASES = [
    (name, kind) for name in QUICK for kind in ("v_prediction", "sample", "epsilon") if steps_models_of(name, kind)
]


def zero_snr(prediction_type: str, spacing: str = "trailing") -> SchedulerConfig:
    return handle(
        _class_name="DDIMScheduler", rescale_betas_zero_snr=True, timestep_spacing=spacing,
        prediction_type=prediction_type,
    )  # fmt: skip


def begin(config: SchedulerConfig, name: str) -> Any:
    noise, generators = init_noise(SPACE, seed_generators(3))
    timesteps, solver = make_schedule(config, generators, STEPS, name)
    return timesteps, solver, prepare_latents(solver, noise, timesteps)


def said(scaled: Tensor) -> Tensor:
    return 0.3 * torch.tanh(scaled)


@pytest.mark.parametrize(("name", "prediction_type"), CASES)
def test_every_number_of_a_run_is_finite(name: str, prediction_type: str) -> None:
    timesteps, solver, latents = begin(zero_snr(prediction_type), name)
    for timestep in timesteps:
        pred = NoisePred(said(scale_model_input(solver, latents, timestep).samples), prediction_type)
        assert predict_original(solver, latents, pred, timestep).samples.isfinite().all()
        latents, solver = scheduler_step(solver, latents, pred, timestep)
        assert latents.samples.isfinite().all()


def test_the_picture_in_noise_alone_is_minus_v() -> None:
    timesteps, solver, latents = begin(zero_snr("v_prediction"), "ddim")
    pred = NoisePred(said(latents.samples), "v_prediction")
    assert torch.equal(predict_original(solver, latents, pred, next(iter(timesteps))).samples, -pred.sample)


@pytest.mark.parametrize("name", DIVIDING)
def test_epsilon_is_refused_where_it_says_nothing(name: str) -> None:
    generators = seed_generators(3)
    for refuse in (make_schedule, lambda *given: schedule._infer_schedule(given[0], given[3], None, 3, 0.0, 1.0)):
        with pytest.raises(InputError, match=r"nothing of the picture is left .* got one that predicts epsilon"):
            refuse(zero_snr("epsilon"), generators, 3, name)
    make_schedule(zero_snr("epsilon"), generators, 6, name, strength=0.5)  # begins later
    make_schedule(handle(_class_name="DDIMScheduler", timestep_spacing="trailing"), generators, 3, name)
    if name in ("ddim", "ddpm"):
        make_schedule(zero_snr("epsilon", "leading"), generators, 3, name)


@pytest.mark.parametrize("prediction_type", ["v_prediction", "sample"])
def test_no_gradient_can_be_turned_into_v_in_noise_alone(prediction_type: str) -> None:
    timesteps, solver, latents = begin(zero_snr(prediction_type), "ddim")
    first, second, *_ = timesteps
    pred, gradient = NoisePred(said(latents.samples), prediction_type), Gradient(torch.ones_like(latents.samples))
    with pytest.raises(InputError, match="zero terminal SNR"):
        classifier_guidance(pred, gradient, solver, first)
    _, solver = scheduler_step(solver, latents, pred, first)
    assert classifier_guidance(pred, gradient, solver, second).sample.isfinite().all()
