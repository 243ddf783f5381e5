"""x0-hat: a perfect model's is the picture itself at every step; diffusers' own where it gives one."""

from __future__ import annotations

from typing import Any

import pytest
import torch
from torch import Tensor

from graphcore import InputError, TensorSpec
from nodes import (
    init_noise,
    make_schedule,
    predict_original,
    prepare_latents,
    scale_model_input,
    scheduler_step,
    seed_generators,
)
from nodes.sampling import original, schedulers
from nodes.sampling import solver as solvers
from nodes.types import Latents, LatentSpace, NoisePred, SchedulerConfig
from tests.nodes.sampling.test_solver_truth import alpha_cumprod, handle

SPACE = LatentSpace(channels=4, downsampling=8, scaling_factor=1.0, sample_size=8)
PICTURE = torch.linspace(-0.9, 0.9, 2 * 4 * 8 * 8).reshape(2, 4, 8, 8)
PREDICTIONS = ("epsilon", "v_prediction", "sample")

ROUNDED = ("deis", "dpmpp_2m_karras", "dpmpp_2m_sde_karras", "sa_solver")
"""Schedulers whose timesteps are rounded, so that the model is told another noise level than the latents have."""


def perfect(scaled: Tensor, timestep: float, prediction_type: str) -> Tensor:
    """What a model says that knows the one picture: x = sqrt(abar) x0 + sqrt(1 - abar) eps."""
    abar = alpha_cumprod(timestep)
    epsilon = (scaled - abar**0.5 * PICTURE) / (1 - abar) ** 0.5
    wanted = {"epsilon": epsilon, "sample": PICTURE, "v_prediction": abar**0.5 * epsilon - (1 - abar) ** 0.5 * PICTURE}
    return wanted[prediction_type]


def begin(config: SchedulerConfig, name: str, steps: int = 6) -> Any:
    noise, generators = init_noise(SPACE, seed_generators(3, 2))
    timesteps, solver = make_schedule(config, generators, steps, name)
    return timesteps, solver, prepare_latents(solver, noise, timesteps)


def usual(name: str, prediction_type: str) -> bool:
    """Schedulers that step models of this type, and count time as the model does."""
    return name not in ("edm_euler", "ipndm") and steps_models_of(name, prediction_type)


def steps_models_of(name: str, prediction_type: str) -> bool:
    cannot = schedulers.CHOICES[name].scheduler in schedulers.WITHOUT_SAMPLE_PREDICTION
    return prediction_type != "sample" or not cannot


CASES = [(name, kind) for name in schedulers.CHOICES for kind in PREDICTIONS if usual(name, kind)]


@pytest.mark.parametrize(("name", "prediction_type"), CASES)
def test_a_perfect_prediction_gives_the_picture_at_every_step(name: str, prediction_type: str) -> None:
    """The latents come from steps with another, wrong model, so that they are not near the picture by themselves."""
    timesteps, solver, latents = begin(handle(prediction_type=prediction_type), name)
    for timestep in timesteps:
        scaled = scale_model_input(solver, latents, timestep).samples
        best = NoisePred(perfect(scaled, float(timestep.value), prediction_type), prediction_type)
        found = predict_original(solver, latents, best, timestep).samples
        # sqrt(1 - abar) / sqrt(abar) times the rounding of float32; where timesteps are rounded, of those
        bound = (0.5 if name in ROUNDED else 2e-3) if prediction_type != "sample" else 0.0
        assert float((found - PICTURE).abs().max()) <= bound, (timestep.index, float(timestep.value))
        wrong = NoisePred(0.3 * torch.tanh(scaled), prediction_type)
        latents, solver = scheduler_step(solver, latents, wrong, timestep)


GIVEN = (
    "ddim", "ddpm", "dpmpp_sde", "edm_euler", "euler", "euler_ancestral", "heun", "kdpm2", "kdpm2_ancestral", "lms",
)  # fmt: skip
"""Schedulers whose `step` in diffusers says `pred_original_sample`."""


@pytest.mark.parametrize("clip", [False, True])
@pytest.mark.parametrize(
    ("name", "prediction_type"), [(name, kind) for name in GIVEN for kind in PREDICTIONS if steps_models_of(name, kind)]
)
def test_it_is_that_of_diffusers(name: str, prediction_type: str, clip: bool) -> None:
    config = handle(prediction_type=prediction_type, clip_sample=clip)
    own = SchedulerConfig("", config.class_name, config.config, "", "cpu", "float32", "ddpm")
    timesteps, solver, latents = begin(own, name)
    for timestep in timesteps:
        scaled = scale_model_input(solver, latents, timestep).samples
        said = NoisePred(0.8 * torch.tanh(0.7 * scaled + 0.1), prediction_type)
        found = predict_original(solver, latents, said, timestep).samples
        live = solvers.restore(solver)
        live.noise_sampler_seed = [3, 4]
        expected = live.step(said.sample, timestep.value, latents.samples).pred_original_sample
        if prediction_type == "v_prediction":  # another order of the same operations
            torch.testing.assert_close(found, expected, rtol=1e-5, atol=2e-5)
        else:
            assert torch.equal(found, expected)
        latents, solver = scheduler_step(solver, latents, said, timestep)


@pytest.mark.parametrize("name", ["deis", "dpmpp_2m", "dpmpp_singlestep", "sa_solver", "unipc"])
@pytest.mark.parametrize("prediction_type", PREDICTIONS)
def test_it_is_what_multistep_solvers_convert_to(name: str, prediction_type: str) -> None:
    """They say no `pred_original_sample`, but their `convert_model_output` makes one."""
    timesteps, solver, latents = begin(handle(prediction_type=prediction_type), name)
    for timestep in timesteps:
        said = NoisePred(0.8 * torch.tanh(0.7 * latents.samples + 0.1), prediction_type)
        live = solvers.restore(solver)
        if name != "deis":
            live.register_to_config(algorithm_type="data_prediction" if name == "sa_solver" else "dpmsolver++")
        expected = live.convert_model_output(said.sample, sample=latents.samples)
        if name == "deis":  # converts to the noise
            alpha, sigma = live._sigma_to_alpha_sigma_t(live.sigmas[live.step_index])
            expected = (latents.samples - sigma * expected) / alpha
        found = predict_original(solver, latents, said, timestep).samples
        torch.testing.assert_close(found, expected, rtol=1e-4, atol=1e-4)
        latents, solver = scheduler_step(solver, latents, said, timestep)


def test_ipndm_takes_the_output_for_v() -> None:
    """Its latents are alpha x0 + beta eps of its own time; v is alpha eps - beta x0."""
    timesteps, solver, latents = begin(handle(), "ipndm", 10)
    latents = Latents(latents.samples.double(), SPACE)  # its first step divides by almost nothing
    made = solvers.of(solver).scheduler
    for timestep in timesteps:
        alpha, beta = made.alphas[timestep.index], made.betas[timestep.index]
        epsilon = (latents.samples - alpha * PICTURE) / beta
        said = NoisePred(alpha * epsilon - beta * PICTURE)
        found = predict_original(solver, latents, said, timestep).samples
        torch.testing.assert_close(found, PICTURE.double(), rtol=0, atol=1e-6)
        latents, solver = scheduler_step(solver, latents, said, timestep)


@pytest.mark.parametrize("name", list(schedulers.CHOICES))
def test_the_solver_is_not_advanced(name: str) -> None:
    """The step after a look gives the bits of the step without one, and the same look gives the same bits."""
    timesteps, solver, latents = begin(handle(), name, 4)
    for timestep in timesteps:
        said = NoisePred(torch.tanh(latents.samples))
        plain = scheduler_step(solver, latents, said, timestep).latents.samples
        first = predict_original(solver, latents, said, timestep).samples
        again = predict_original(solver, latents, said, timestep).samples
        step = scheduler_step(solver, latents, said, timestep)
        assert torch.equal(first, again)
        assert torch.equal(step.latents.samples, plain)
        latents, solver = step


def test_what_is_refused() -> None:
    timesteps, solver, latents = begin(handle(), "ddim")
    first, second = list(timesteps)[:2]
    with pytest.raises(InputError, match="the next timestep of the solver"):
        predict_original(solver, latents, NoisePred(latents.samples), second)
    with pytest.raises(InputError, match=r"of type epsilon, by the scheduler's configuration.*got v_prediction") as v:
        predict_original(solver, latents, NoisePred(latents.samples, "v_prediction"), first)
    assert v.value.port == "noise_pred"
    with pytest.raises(InputError, match="the shape of the latents"):
        predict_original(solver, latents, NoisePred(latents.samples[:, :3]), first)


def test_infer() -> None:
    described = Latents(TensorSpec((2, 4, None, None)), SPACE)  # type: ignore[arg-type]
    assert original.infer(described) is described
    assert original.infer() is None
