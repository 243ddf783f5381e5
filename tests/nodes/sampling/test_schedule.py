"""Schedules: their length, where they start, and what is refused with words that help."""

from __future__ import annotations

import copy
import dataclasses
import functools
import json
from typing import Any

import diffusers
import pytest
import torch
from diffusers import StableDiffusionImg2ImgPipeline
from hypothesis import given, settings
from hypothesis import strategies as st

from graphcore import InputError, TensorSpec
from graphcore.declare.node import declared
from nodes.sampling import schedulers
from nodes.sampling import solver as solvers
from nodes.sampling.noise import init_noise, seed_generators
from nodes.sampling.schedule import make_schedule, prepare_latents, scale_model_input, scheduler_step
from nodes.types import Generators, Latents, LatentSpace, NoisePred, SchedulerConfig, Solver, Timestep, Timesteps

SPACE = LatentSpace(channels=4, downsampling=8, scaling_factor=0.18215, sample_size=4)
CONFIG = {
    "_class_name": "PNDMScheduler", "beta_start": 0.00085, "beta_end": 0.012, "beta_schedule": "scaled_linear",
    "num_train_timesteps": 1000, "clip_sample": False, "set_alpha_to_one": False, "skip_prk_steps": True,
    "steps_offset": 1,
}  # fmt: skip
NAMES = tuple(schedulers.CHOICES)
QUICK = tuple(name for name in NAMES if not name.startswith("kdpm2"))
"""Without those whose constructor takes a third of a second."""


def handle(**settings: Any) -> SchedulerConfig:
    config = {**CONFIG, **settings}
    return SchedulerConfig("", config["_class_name"], json.dumps(config), "", "cpu", "float32")


def live(scheduler: SchedulerConfig, name: str, seeds: list[int]) -> Any:
    """The scheduler object as a person would make it from `pipe.scheduler.config`."""
    return copy.deepcopy(constructed(scheduler.class_name, scheduler.config, name, tuple(seeds)))


@functools.cache
def constructed(own_class: str, config: str, name: str, seeds: tuple[int, ...]) -> Any:
    """Never stepped; remembered because some constructors take a third of a second."""
    own = getattr(diffusers, own_class).from_config(json.loads(config))
    choice = schedulers.chosen(name, own_class)
    seeded = {"noise_sampler_seed": list(seeds)} if choice.scheduler == schedulers.SDE else {}
    return getattr(diffusers, choice.scheduler).from_config(own.config, **choice.overrides, **seeded)


def get_timesteps(scheduler: Any, steps: int, strength: float) -> torch.Tensor:
    """What the image-to-image pipeline does; it needs nothing of the pipeline but the scheduler."""
    pipeline = StableDiffusionImg2ImgPipeline.__new__(StableDiffusionImg2ImgPipeline)
    object.__setattr__(pipeline, "scheduler", scheduler)
    scheduler.set_timesteps(steps)
    timesteps: torch.Tensor = StableDiffusionImg2ImgPipeline.get_timesteps(pipeline, steps, strength, "cpu")[0]
    return timesteps


def toy(sample: torch.Tensor, timestep: torch.Tensor) -> torch.Tensor:
    return 0.8 * torch.tanh(0.7 * sample + 0.1) + 0.05 * torch.cos(timestep.float() / 300)


def limit(name: str) -> int:
    return 50 if name in ("lcm", "tcd") else 1000


@settings(max_examples=80, deadline=None)
@given(data=st.data(), name=st.sampled_from(QUICK), spacing=st.sampled_from(["linspace", "leading", "trailing"]))
def test_timesteps_are_those_of_the_pipeline(data: st.DataObject, name: str, spacing: str) -> None:
    steps = data.draw(st.integers(1 if name != "pndm_prk" else 4, min(limit(name), 120)))
    strength = (
        1.0 if name == "pndm_prk" else data.draw(st.floats(0, 1) | st.integers(1, steps).map(lambda kept: kept / steps))
    )
    scheduler = handle(timestep_spacing=spacing)
    expected = get_timesteps(live(scheduler, name, [0]), steps, strength)
    if min(int(steps * strength), steps) == 0:
        with pytest.raises(InputError, match="strength"):
            make_schedule(scheduler, seed_generators(0), steps, name, strength=strength)
        return
    timesteps, solver = make_schedule(scheduler, seed_generators(0), steps, name, strength=strength)
    assert timesteps.values.dtype == expected.dtype
    assert torch.equal(timesteps.values, expected)
    node = declared(make_schedule)
    assert node is not None
    assert node.infer is not None
    inferred = node.infer(
        scheduler=scheduler, generators=seed_generators(0), steps=steps, name=name, eta=0.0, strength=strength
    )
    assert inferred.timesteps.values.shape in ((len(timesteps),), (None,))
    assert inferred.solver.begin_index == solver.begin_index
    assert inferred.solver.scheduler == solver.scheduler


@pytest.mark.parametrize("name", NAMES)
@pytest.mark.parametrize("spacing", ["linspace", "leading", "trailing"])
@pytest.mark.parametrize("steps", [5, 20, 49])
def test_inference_knows_the_number_of_model_calls(name: str, spacing: str, steps: int) -> None:
    made = live(handle(timestep_spacing=spacing), name, [0])
    made.set_timesteps(steps)
    config = {**CONFIG, "timestep_spacing": spacing, **schedulers.CHOICES[name].overrides}
    assert schedulers.length(schedulers.CHOICES[name].scheduler, config, steps) == len(made.timesteps)
    assert schedulers.order(schedulers.CHOICES[name].scheduler) == made.order


@pytest.mark.parametrize("name", [name for name in NAMES if name not in ("ipndm", "pndm_prk")])
@pytest.mark.parametrize("strength", [0.3, 0.75, 1.0])
def test_image_to_image_equals_a_live_scheduler(name: str, strength: float) -> None:
    scheduler, steps = handle(), 9
    noise, generators = init_noise(SPACE, seed_generators(5, 2))
    original = Latents(torch.linspace(-2, 2, noise.samples.numel()).reshape(noise.samples.shape), SPACE)
    timesteps, solver = make_schedule(scheduler, generators, steps, name, strength=strength)
    latents = prepare_latents(solver, noise, timesteps, original)

    made = live(scheduler, name, [5, 6])
    expected_timesteps = get_timesteps(made, steps, strength)
    drawn = [torch.Generator().manual_seed(seed) for seed in (5, 6)]
    pure = torch.cat([torch.randn((1, 4, 4, 4), generator=generator) for generator in drawn])
    sample = made.add_noise(original.samples, pure, expected_timesteps[:1].repeat(2))
    assert torch.equal(latents.samples, sample)

    takes = made.step.__code__.co_varnames[: made.step.__code__.co_argcount]
    extra = {key: value for key, value in {"eta": 0.0, "generator": drawn}.items() if key in takes}
    for timestep in timesteps:
        pred = NoisePred(toy(scale_model_input(solver, latents, timestep).samples, timestep.value))
        latents, solver = scheduler_step(solver, latents, pred, timestep)
    for t in expected_timesteps:
        sample = made.step(toy(made.scale_model_input(sample, t), t), t, sample, return_dict=False, **extra)[0]
    assert torch.equal(latents.samples, sample)


@pytest.mark.parametrize("name", NAMES)
def test_pure_noise_is_scaled_as_the_scheduler_says(name: str) -> None:
    noise, generators = init_noise(SPACE, seed_generators(5))
    timesteps, solver = make_schedule(handle(), generators, 9, name)
    made = live(handle(), name, [5])
    made.set_timesteps(9)
    assert torch.equal(prepare_latents(solver, noise, timesteps).samples, noise.samples * made.init_noise_sigma)


@pytest.mark.parametrize("name", NAMES)
@pytest.mark.parametrize("steps", [1, 2, 3])
def test_very_few_steps(name: str, steps: int) -> None:
    """Either all steps run, or the schedule is refused."""
    try:
        timesteps, solver = make_schedule(handle(), seed_generators(0), steps, name)
    except InputError as error:
        assert name == "pndm_prk", error  # noqa: PT017
        return
    latents = prepare_latents(solver, init_noise(SPACE, seed_generators(0)).noise, timesteps)
    for timestep in timesteps:
        pred = NoisePred(toy(latents.samples, timestep.value))
        latents, solver = scheduler_step(solver, latents, pred, timestep)
    assert latents.samples.isfinite().all()


def test_names_and_classes() -> None:
    """Every scheduler that diffusers calls interchangeable is at hand, and each name is documented by the port."""
    from typing import get_args

    from diffusers.schedulers.scheduling_utils import KarrasDiffusionSchedulers

    assert get_args(schedulers.SchedulerName) == ("default", *schedulers.CHOICES)
    assert {member.name for member in KarrasDiffusionSchedulers} <= schedulers.CLASSES
    assert set(solvers.HISTORY) == schedulers.CLASSES


def refused(port: str, **arguments: Any) -> str:
    """The refusal of `make_schedule`, which the checker finds too, before anything is loaded."""
    arguments = {
        "scheduler": handle(), "generators": seed_generators(0), "steps": 20, "name": "default", "eta": 0.0,
        "strength": 1.0, **arguments,
    }  # fmt: skip
    node = declared(make_schedule)
    assert node is not None
    assert node.infer is not None
    with pytest.raises(InputError) as inferred:
        node.infer(**arguments)
    with pytest.raises(InputError) as caught:
        make_schedule(**arguments)
    assert caught.value.port == inferred.value.port == port
    return str(caught.value)


def test_what_make_schedule_refuses() -> None:
    assert "0.05" in refused("strength", strength=0.01)
    assert "0.05" in refused("strength", strength=0.0)
    assert "FlowMatchEulerDiscreteScheduler" in refused(
        "scheduler", scheduler=handle(_class_name="FlowMatchEulerDiscreteScheduler")
    )
    assert "at most 50" in refused("steps", name="lcm", steps=51)
    assert "at most 1000" in refused("steps", name="ddim", steps=1001)
    assert "pndm" in refused("strength", name="pndm_prk", strength=0.5)
    assert "sample" in refused("name", name="kdpm2", scheduler=handle(prediction_type="sample"))


@pytest.mark.parametrize("name", ["ddpm", "euler_ancestral", "kdpm2_ancestral", "dpmpp_sde", "dpmpp_2m_sde", "lcm"])
def test_a_scheduler_that_draws_needs_generators(name: str) -> None:
    assert "init_noise" in refused("generators", name=name, generators=None)
    make_schedule(handle(), None, 10, "ddim")


def test_ddim_needs_generators_only_with_eta() -> None:
    assert "init_noise" in refused("generators", name="ddim", generators=None, eta=0.5)


def test_what_diffusers_refuses_is_an_input_error() -> None:
    with pytest.raises(InputError, match="name"):
        make_schedule(handle(beta_schedule="no such schedule"), None, 10, "euler")


@dataclasses.dataclass(frozen=True)
class Run:
    """A DPM++ 2M run after its first step."""

    timesteps: list[Timestep]
    start: Solver
    solver: Solver
    latents: Latents

    def step(self, **changes: Any) -> Any:
        arguments = {
            "solver": self.solver, "latents": self.latents, "noise_pred": NoisePred(self.latents.samples),
            "timestep": self.timesteps[1],
        }  # fmt: skip
        return scheduler_step(**arguments | changes)


@pytest.fixture
def started() -> Run:
    noise, generators = init_noise(SPACE, seed_generators(0, 2))
    timesteps, start = make_schedule(handle(), generators, 3, "dpmpp_2m")
    latents, solver = scheduler_step(start, noise, NoisePred(noise.samples), next(iter(timesteps)))
    return Run(list(timesteps), start, solver, latents)


def refusal(call: Any, port: str, **changes: Any) -> str:
    with pytest.raises(InputError) as caught:
        call(**changes)
    assert caught.value.port == port
    return str(caught.value)


def test_what_a_step_refuses(started: Run) -> None:
    samples = started.latents.samples
    assert "next timestep" in refusal(started.step, "timestep", timestep=started.timesteps[0])
    assert "shape" in refusal(started.step, "noise_pred", noise_pred=NoisePred(samples[..., :2]))
    assert "epsilon" in refusal(started.step, "noise_pred", noise_pred=NoisePred(samples, "v_prediction"))
    three = dataclasses.replace(started.solver, generators=seed_generators(0, 3))
    assert "3" in refusal(started.step, "solver", solver=three)
    stranger = dataclasses.replace(started.solver, state={"position": 1, "derivatives": []})
    assert "derivatives" in refusal(started.step, "solver", solver=stranger)


def test_a_solver_ends(started: Run) -> None:
    latents, solver = started.latents, started.solver
    for timestep in started.timesteps[1:]:
        latents, solver = scheduler_step(solver, latents, NoisePred(latents.samples), timestep)
    last = started.timesteps[-1]
    assert "all its steps" in refusal(
        scheduler_step, "solver", solver=solver, latents=latents, noise_pred=NoisePred(latents.samples), timestep=last
    )
    assert "all its steps" in refusal(scale_model_input, "solver", solver=solver, latents=latents, timestep=last)


def test_what_prepare_latents_refuses(started: Run) -> None:
    noise, generators = init_noise(SPACE, seed_generators(0, 2))
    timesteps, late = make_schedule(handle(), generators, 10, "euler", strength=0.5)
    assert "strength" in refusal(prepare_latents, "original", solver=late, noise=noise, timesteps=timesteps)
    small = Latents(noise.samples[:1], SPACE)
    assert "shape" in refusal(
        prepare_latents, "original", solver=late, noise=noise, timesteps=timesteps, original=small
    )
    others, _ = make_schedule(handle(), generators, 9, "euler")
    assert "make_schedule" in refusal(prepare_latents, "timesteps", solver=late, noise=noise, timesteps=others)
    done = Timesteps(torch.stack([timestep.value for timestep in started.timesteps]))
    assert "steps" in refusal(prepare_latents, "solver", solver=started.solver, noise=noise, timesteps=done)
    times, ipndm = make_schedule(handle(), generators, 9, "ipndm")
    assert "IPNDM" in refusal(prepare_latents, "solver", solver=ipndm, noise=noise, timesteps=times, original=noise)


def test_inference_of_a_step() -> None:
    node = declared(scheduler_step)
    assert node is not None
    assert node.infer is not None
    latents = Latents(TensorSpec((2, 4, 8, None)), SPACE)  # type: ignore[arg-type]
    solver = Solver(
        "EulerDiscreteScheduler", '{"prediction_type": "v_prediction"}', 10, generators=seed_generators(0, 2)
    )
    good = NoisePred(TensorSpec((2, 4, None, 8)), "v_prediction")  # type: ignore[arg-type]
    assert node.infer(solver=solver, latents=latents, noise_pred=good) == (latents, solver)
    with pytest.raises(InputError, match="v_prediction"):
        node.infer(solver=solver, latents=latents, noise_pred=dataclasses.replace(good, prediction_type="epsilon"))
    with pytest.raises(InputError, match="shape"):
        node.infer(solver=solver, latents=latents, noise_pred=NoisePred(TensorSpec((2, 3, 8, 8)), "v_prediction"))  # type: ignore[arg-type]
    with pytest.raises(InputError, match="batch_size"):
        node.infer(solver=dataclasses.replace(solver, generators=Generators((0,))), latents=latents)


def test_inference_of_the_start() -> None:
    node = declared(prepare_latents)
    assert node is not None
    assert node.infer is not None
    noise = Latents(TensorSpec((1, 4, 8, 8)), SPACE)  # type: ignore[arg-type]
    late = Solver("EulerDiscreteScheduler", "{}", 10, begin_index=5)
    assert node.infer(solver=late, noise=noise) is noise
    assert node.infer(solver=late, noise=noise, original=noise) is noise
    with pytest.raises(InputError, match="strength"):
        node.infer(solver=late, noise=noise, original=None)
