"""Models of pixels: DDPM, DDIM and improved DDPM against their papers' formulas and exact models."""

from __future__ import annotations

import json
import sys
from collections.abc import Callable
from dataclasses import replace
from typing import Any

import numpy as np
import pytest
import torch
from torch import Tensor

from graphcore import Engine, InputError, TensorSpec
from nodes import init_noise, load_model, make_schedule, prepare_latents, scheduler_step, seed_generators, unet
from nodes.sampling import schedulers
from nodes.sampling import solver as solvers
from nodes.types import Conditioning, Latents, LatentSpace, NoisePred, SchedulerConfig, Solver, Timestep
from tests.parity.shipped import REGISTRY, workflow

schedule = sys.modules["nodes.sampling.schedule"]
LINEAR = {"beta_start": 1e-4, "beta_end": 0.02, "beta_schedule": "linear", "num_train_timesteps": 1000}
COSINE = {"beta_schedule": "squaredcos_cap_v2", "num_train_timesteps": 4000, "variance_type": "learned_range"}
ALPHAS_CUMPROD = np.cumprod(1 - np.linspace(1e-4, 0.02, 1000))


def pixels(family: str = "ddpm", **config: Any) -> SchedulerConfig:
    text = json.dumps({**LINEAR, **config})
    return SchedulerConfig("", "DDPMScheduler", text, "", "cpu", "float32", family)


def sample(
    config: SchedulerConfig, name: str, steps: int, model: Callable[[Tensor, float], Tensor], eta: float = 0.0,
    space: LatentSpace | None = None,
) -> Tensor:  # fmt: skip
    """A whole run of one image; `model` says epsilon of x and alpha-bar."""
    noise, generators = init_noise(space or LatentSpace(2, 1, 1.0, 48), seed_generators(0))
    timesteps, solver = make_schedule(config, generators, steps, name, eta)
    latents = prepare_latents(solver, noise, timesteps)
    for timestep in timesteps:
        said = NoisePred(model(latents.samples, float(ALPHAS_CUMPROD[int(timestep.value)])))
        latents, solver = scheduler_step(solver, latents, said, timestep)
    return latents.samples


# --- clipping ---------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("name", ["default", "ddim", "ddpm"])
def test_pixels_are_clipped_unless_the_model_says_no(name: str) -> None:
    def clips(config: SchedulerConfig) -> bool:
        return bool(json.loads(make_schedule(config, seed_generators(0), 5, name).solver.config)["clip_sample"])

    assert clips(pixels())
    assert clips(pixels(clip_sample=True))
    assert not clips(pixels(clip_sample=False))
    for family in ("ldm", "sdxl", ""):  # latents: only the model's own scheduler may, as it is
        assert clips(pixels(family)) is (name == "default")
    assert not clips(pixels("sd1"))


def test_clipping_holds_the_picture_within_its_range() -> None:
    def far(x: Tensor, abar: float) -> Tensor:
        return -2 * torch.ones_like(x)

    assert float(sample(pixels(), "ddim", 10, far).abs().max()) <= 1
    assert float(sample(pixels(clip_sample=False), "ddim", 10, far).abs().max()) > 2


# --- learned variance -------------------------------------------------------------------------------------------------


def cosine_betas(steps: int) -> np.ndarray[Any, np.dtype[np.float64]]:
    """arXiv:2102.09672, eq. 17."""
    grid = np.arange(steps + 1) / steps
    curve = np.cos((grid + 0.008) / 1.008 * np.pi / 2) ** 2
    return np.minimum(1 - curve[1:] / curve[:-1], 0.999)


def test_betas_of_the_cosine_schedule() -> None:
    config = SchedulerConfig("", "DDPMScheduler", json.dumps(COSINE), "", "cpu", "float32", "ddpm")
    solver = make_schedule(config, seed_generators(0), 10).solver
    found = solvers.of(solver).scheduler.betas.double().numpy()
    np.testing.assert_allclose(found, cosine_betas(4000), rtol=1e-4, atol=3e-8)


@pytest.mark.parametrize("share", [-1.0, -0.4, 0.0, 1.0])
def test_a_step_with_learned_variance_is_the_papers(share: float) -> None:
    """Mean of eq. 10 of DDPM and variance exp(f log beta + (1 - f) log betatilde), f = (v + 1) / 2, in float64."""
    config = SchedulerConfig(
        "", "DDPMScheduler", json.dumps({**COSINE, "clip_sample": False}), "", "cpu", "float32", "ddpm"
    )
    noise, generators = init_noise(LatentSpace(3, 1, 1.0, 8), seed_generators(5))
    timesteps, solver = make_schedule(config, generators, 20)
    latents = prepare_latents(solver, noise, timesteps)
    generator = torch.Generator().manual_seed(5)
    torch.randn(noise.samples.shape, generator=generator)
    levels = np.cumprod(1 - cosine_betas(4000))
    times = [int(timestep.value) for timestep in timesteps]
    for timestep, following in zip(timesteps, [*times[1:], None], strict=True):
        now, after = levels[int(timestep.value)], 1.0 if following is None else levels[following]
        x, said = latents.samples, torch.tanh(latents.samples)
        variance = torch.full_like(said, share)
        beta = 1 - now / after
        tilde = max(beta * (1 - after) / (1 - now), 1e-20)
        mean = (x.double() - beta / (1 - now) ** 0.5 * said.double()) / (1 - beta) ** 0.5
        latents, solver = scheduler_step(solver, latents, NoisePred(said, "epsilon", variance), timestep)
        if following is not None:
            fraction = (share + 1) / 2
            deviation = np.exp(0.5 * (fraction * np.log(beta) + (1 - fraction) * np.log(tilde)))
            mean = mean + deviation * torch.randn(x.shape, generator=generator).double()
        torch.testing.assert_close(latents.samples.double(), mean, rtol=2e-3, atol=2e-3)


def test_a_model_without_variance_does_not_fit_such_a_scheduler() -> None:
    """Also before a run: a UNet that does not learn the variance, and the scheduler of a model that does."""
    plain, learned = load_model("random:ddpm"), load_model("random:improved_ddpm")
    noise, generators = init_noise(plain.latent_space, seed_generators(0))
    timesteps, solver = make_schedule(learned.scheduler, generators, 4)
    said = NoisePred(torch.zeros_like(noise.samples))
    described = NoisePred(TensorSpec((1, 3, 16, 16)))  # type: ignore[arg-type]
    hook: Any = schedule._infer_step
    for call in (
        lambda: scheduler_step(solver, noise, said, next(iter(timesteps))),
        lambda: hook(solver, noise, described),
    ):
        with pytest.raises(InputError, match=r"`variance_type` is learned_range, got one without.*one model") as caught:
            call()
        assert caught.value.port == "noise_pred"


@pytest.mark.parametrize("channels", [3, 4])
@pytest.mark.parametrize("name", [name for name in schedulers.CHOICES if name not in ("ddpm", "ipndm")])
def test_schedulers_that_do_not_use_the_variance_leave_it(name: str, channels: int) -> None:
    """The same picture as of a model without; some classes of diffusers would cut the prediction to three channels."""
    results = []
    for config in (pixels(variance_type="learned_range"), pixels()):
        noise, generators = init_noise(LatentSpace(channels, 1, 1.0, 4), seed_generators(1))
        timesteps, solver = make_schedule(config, generators, 4, name)
        latents = prepare_latents(solver, noise, timesteps)
        for timestep in timesteps:
            said = NoisePred(torch.tanh(latents.samples), "epsilon", torch.ones_like(latents.samples))
            latents, solver = scheduler_step(solver, latents, said, timestep)
        results.append(latents.samples)
    assert torch.equal(*results)


def test_the_unet_gives_prediction_and_variance() -> None:
    model = load_model("random:improved_ddpm")
    latents = init_noise(model.latent_space, seed_generators(0, 2)).noise
    said = unet(model.unet, latents, Timestep(torch.tensor(5), 0), Conditioning())
    assert said.variance is not None
    assert said.sample.shape == said.variance.shape == latents.samples.shape
    assert not torch.equal(said.sample, said.variance)


def test_a_whole_grid_of_more_than_a_thousand_steps() -> None:
    """Improved DDPM has 4000 timesteps."""
    model = load_model("random:improved_ddpm")
    timesteps, _ = make_schedule(model.scheduler, seed_generators(0), 4000)
    assert timesteps.values.tolist() == list(range(3999, -1, -1))


# --- exact models -----------------------------------------------------------------------------------------------------

MEAN, STD = 0.3, 0.5


def gaussian(x: Tensor, abar: float) -> Tensor:
    """The best prediction for data N(MEAN, STD^2)."""
    return (1 - abar) ** 0.5 * (x - abar**0.5 * MEAN) / (abar * STD**2 + 1 - abar)


def test_ddim_follows_the_ode_of_gaussian_data() -> None:
    """x0 = m + s (x_T - sqrt(abar_T) m) / sqrt(abar_T s^2 + 1 - abar_T), element by element."""
    start = init_noise(LatentSpace(2, 1, 1.0, 48), seed_generators(0)).noise.samples
    last = float(ALPHAS_CUMPROD[-1])
    exact = MEAN + STD * (start - last**0.5 * MEAN) / (last * STD**2 + 1 - last) ** 0.5
    config = pixels(clip_sample=False, timestep_spacing="trailing")
    errors = [float((sample(config, "ddim", steps, gaussian) - exact).abs().max()) for steps in (50, 200, 1000)]
    assert errors[1] < 0.4 * errors[0]
    assert errors[2] < 0.4 * errors[1]
    assert errors[2] < 0.02


def test_ddim_with_eta_1_on_the_whole_grid_is_ddpm() -> None:
    config = pixels(clip_sample=False, variance_type="fixed_small")
    one, other = (sample(config, name, 1000, gaussian, eta=1.0) for name in ("ddim", "ddpm"))
    torch.testing.assert_close(one, other, rtol=0, atol=2e-4)
    assert float(other.std()) == pytest.approx(STD, abs=0.02)


POINTS = torch.tensor([[-0.8, -0.8], [-0.8, 0.8], [0.8, -0.8], [0.8, 0.8], [0.0, 0.0]])


def empirical(x: Tensor, abar: float) -> Tensor:
    """The best prediction for data that are one of POINTS: at each place of the image a point of the plane."""
    distances = ((x[:, None] - abar**0.5 * POINTS[None, :, :, None, None]) ** 2).sum(dim=2)
    share = torch.softmax(-distances / (2 * (1 - abar)), dim=1)
    original = torch.einsum("bphw,pc->bchw", share, POINTS)
    return (x - abar**0.5 * original) / (1 - abar) ** 0.5


def missed(found: Tensor) -> float:
    """Mean distance from the nearest of the points."""
    distances = (found[:, None] - POINTS[None, :, :, None, None]).norm(dim=2)
    return float(distances.min(dim=1).values.mean())


@pytest.mark.parametrize("steps", [5, 10, 20, 50])
def test_few_steps_are_best_without_noise(steps: int) -> None:
    """The claim of DDIM's table 1: eta 0 beats eta 1 and, at very few steps, that beats the larger variance of DDPM.

    On narrow Gaussian data with the exact model: how far is the deviation of the samples from that of the data?
    """
    narrow = 0.2

    def wrong(name: str, eta: float, variance_type: str) -> float:
        def model(x: Tensor, abar: float) -> Tensor:
            return (1 - abar) ** 0.5 * (x - abar**0.5 * MEAN) / (abar * narrow**2 + 1 - abar)

        config = pixels(clip_sample=False, variance_type=variance_type)
        return abs(float(sample(config, name, steps, model, eta).std()) - narrow)

    deterministic, noisy = wrong("ddim", 0.0, "fixed_small"), wrong("ddim", 1.0, "fixed_small")
    assert deterministic < noisy
    assert steps > 10 or noisy < wrong("ddpm", 0.0, "fixed_large")


def test_the_samples_of_an_exact_model_are_the_data() -> None:
    for name, eta in (("ddim", 0.0), ("ddim", 1.0), ("ddpm", 0.0)):
        found = sample(pixels(clip_sample=False), name, 100, empirical, eta)
        assert missed(found) < 0.055
        shares = torch.bincount((found[:, None] - POINTS[None, :, :, None, None]).norm(dim=2).argmin(dim=1).flatten())
        assert float((shares / shares.sum() - 0.2).abs().max()) < 0.05


# --- workflows --------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("name", ["ddpm", "ddim", "improved_ddpm", "unconditional"])
def test_the_workflows_make_pictures(name: str) -> None:
    with Engine(registry=REGISTRY, cache=None, device="cpu", dtype="float32") as engine:
        found = engine.run(workflow(name), steps=3, batch_size=2)
    assert found.image.pixels.shape == (2, 3, 16, 16)
    assert found.latents.samples.shape == (2, 3, 16, 16)
    assert torch.equal(found.image.pixels, (found.latents.samples / 2 + 0.5).clamp(0, 1))


def test_an_unconditional_model_of_latents() -> None:
    with Engine(registry=REGISTRY, cache=None, device="cpu", dtype="float32") as engine:
        found = engine.run(workflow("unconditional"), model="random:ldm", steps=3)
    assert found.image.pixels.shape[2] == 4 * found.latents.samples.shape[2]


def test_the_state_of_such_a_solver_is_a_value() -> None:
    """A step with variance leaves the solver before it as it was."""
    model = load_model("random:improved_ddpm")
    noise, generators = init_noise(model.latent_space, seed_generators(0))
    timesteps, solver = make_schedule(model.scheduler, generators, 4)
    first = next(iter(timesteps))
    said = unet(model.unet, noise, first, Conditioning())
    before: Solver = replace(solver)
    one, other = (scheduler_step(solver, noise, said, first).latents.samples for _ in range(2))
    assert torch.equal(one, other)
    assert solver.state is before.state


def test_latents_keep_their_space() -> None:
    model = load_model("random:ddpm")
    assert model.latent_space.downsampling == 1
    noise, generators = init_noise(model.latent_space, seed_generators(0))
    timesteps, solver = make_schedule(model.scheduler, generators, 4)
    step = scheduler_step(solver, noise, NoisePred(noise.samples), next(iter(timesteps)))
    assert isinstance(step.latents, Latents)
    assert step.latents.space is model.latent_space
