"""Solvers against closed forms: Gaussian data, whose best model and whose exact solution are known."""

from __future__ import annotations

import json
from typing import Any

import numpy as np
import pytest
import torch
from torch import Tensor

from nodes.sampling.noise import init_noise, seed_generators
from nodes.sampling.schedule import make_schedule, prepare_latents, scale_model_input, scheduler_step
from nodes.types import LatentSpace, NoisePred, SchedulerConfig

SPACE = LatentSpace(channels=4, downsampling=8, scaling_factor=1.0, sample_size=32)
MEAN, STD = 1.5, 0.5
"""Data are N(MEAN, STD^2), independently in each element."""

CONFIG = {
    "_class_name": "DDIMScheduler", "beta_start": 0.00085, "beta_end": 0.012, "beta_schedule": "scaled_linear",
    "num_train_timesteps": 1000, "clip_sample": False, "set_alpha_to_one": True, "steps_offset": 1,
    "timestep_spacing": "trailing",
}  # fmt: skip
BETAS = np.linspace(0.00085**0.5, 0.012**0.5, 1000) ** 2
ALPHAS_CUMPROD = np.cumprod(1 - BETAS)
LOG_SIGMAS = 0.5 * np.log((1 - ALPHAS_CUMPROD) / ALPHAS_CUMPROD)


def handle(**settings: Any) -> SchedulerConfig:
    config = {**CONFIG, **settings}
    return SchedulerConfig("", config["_class_name"], json.dumps(config), "", "cpu", "float32")


def alpha_cumprod(timestep: float) -> float:
    """alpha-bar at a timestep, also between two integers (schedulers go from sigma to t by log sigma)."""
    return float(1 / (1 + np.exp(2 * np.interp(timestep, np.arange(1000), LOG_SIGMAS))))


def best_model(sample: Tensor, timestep: float, prediction_type: str) -> Tensor:
    """E[eps | x_t], or E[v | x_t], for Gaussian data: x_t is N(sqrt(abar) MEAN, abar STD^2 + 1 - abar)."""
    abar = alpha_cumprod(timestep)
    epsilon = (1 - abar) ** 0.5 * (sample - abar**0.5 * MEAN) / (abar * STD**2 + 1 - abar)
    if prediction_type == "epsilon":
        return epsilon
    original = (sample - (1 - abar) ** 0.5 * epsilon) / abar**0.5
    return abar**0.5 * epsilon - (1 - abar) ** 0.5 * original


def sample(name: str, steps: int, prediction_type: str = "epsilon", eta: float = 0.0) -> tuple[Tensor, Tensor]:
    """The result of a run, and of the probability-flow ODE from the same start.

    The ODE keeps x's place in the distribution: x_0 = m + s (x - m) / sqrt(s^2 + sigma^2), for x of variance
    s^2 + sigma^2 around m (x is what enters the model, times sqrt(sigma^2 + 1)).
    """
    noise, generators = init_noise(SPACE, seed_generators(0))
    timesteps, solver = make_schedule(handle(prediction_type=prediction_type), generators, steps, name, eta)
    latents = prepare_latents(solver, noise, timesteps)
    first = next(iter(timesteps))
    abar = alpha_cumprod(float(first.value))
    sigma = ((1 - abar) / abar) ** 0.5
    start = scale_model_input(solver, latents, first).samples * (sigma**2 + 1) ** 0.5
    exact = MEAN + STD * (start - MEAN) / (STD**2 + sigma**2) ** 0.5
    for timestep in timesteps:
        scaled = scale_model_input(solver, latents, timestep).samples
        pred = NoisePred(best_model(scaled, float(timestep.value), prediction_type), prediction_type)
        latents, solver = scheduler_step(solver, latents, pred, timestep)
    return latents.samples, exact


DETERMINISTIC = (
    "ddim", "deis", "dpmpp_2m", "dpmpp_2m_karras", "dpmpp_singlestep", "euler", "heun", "kdpm2", "lms", "pndm",
    "pndm_prk", "tcd", "unipc",
)  # fmt: skip
STOCHASTIC = (
    "ddpm", "dpmpp_2m_sde", "dpmpp_2m_sde_karras", "dpmpp_sde", "dpmpp_sde_karras", "euler_ancestral",
    "kdpm2_ancestral", "sa_solver",
)  # fmt: skip


@pytest.mark.parametrize("prediction_type", ["epsilon", "v_prediction"])
@pytest.mark.parametrize("name", DETERMINISTIC)
def test_deterministic_schedulers_follow_the_ode(name: str, prediction_type: str) -> None:
    """Each of 4,096 elements ends where the exact solution ends, the nearer the more steps."""
    errors = [
        float((found - exact).abs().max())
        for found, exact in (sample(name, steps, prediction_type) for steps in (10, 20, 40))
    ]
    assert errors[2] < 0.17
    assert errors[1] < 0.65 * errors[0]
    assert errors[2] < 0.65 * errors[1]


@pytest.mark.parametrize("name", STOCHASTIC)
def test_stochastic_schedulers_give_the_distribution(name: str) -> None:
    """4,096 independent elements, 50 steps: the mean of so many has a standard deviation of 0.008."""
    found, _ = sample(name, 50)
    assert abs(float(found.mean()) - MEAN) < 0.03
    assert 0.44 < float(found.std()) < 0.53


@pytest.mark.parametrize("eta", [0.0, 0.4, 1.0])
@pytest.mark.parametrize("prediction_type", ["epsilon", "v_prediction"])
def test_ddim_steps_equal_the_closed_form(eta: float, prediction_type: str) -> None:
    """arXiv:2010.02502, eq. 12 and 16, in float64, with the noise of the image's own generator."""
    noise, generators = init_noise(SPACE, seed_generators(11))
    timesteps, solver = make_schedule(handle(prediction_type=prediction_type), generators, 10, "ddim", eta)
    latents = prepare_latents(solver, noise, timesteps)
    generator = torch.Generator().manual_seed(11)
    torch.randn(noise.samples.shape, generator=generator)
    levels = [alpha_cumprod(float(timestep.value)) for timestep in timesteps] + [1.0]
    for index, timestep in enumerate(timesteps):
        now, following = levels[index], levels[index + 1]
        x = latents.samples.double()
        epsilon = best_model(x, float(timestep.value), "epsilon")
        original = (x - (1 - now) ** 0.5 * epsilon) / now**0.5
        sigma = eta * ((1 - following) / (1 - now)) ** 0.5 * (1 - now / following) ** 0.5
        expected = following**0.5 * original + max(1 - following - sigma**2, 0) ** 0.5 * epsilon
        if eta:
            expected += sigma * torch.randn(noise.samples.shape, generator=generator)
        pred = NoisePred(best_model(latents.samples, float(timestep.value), prediction_type), prediction_type)
        latents, solver = scheduler_step(solver, latents, pred, timestep)
        torch.testing.assert_close(latents.samples.double(), expected, rtol=0, atol=2e-5)
