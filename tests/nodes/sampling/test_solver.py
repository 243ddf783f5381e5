"""Solvers as values against live diffusers schedulers: same bits, split anywhere, alone or in a batch."""

from __future__ import annotations

import copy
import dataclasses
import functools
import json
import math
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import diffusers
import pytest
import safetensors.torch
import torch
from diffusers.configuration_utils import FrozenDict
from torch import Tensor

from graphcore.runtime import Runtime, _runtime
from graphcore.values import codec
from nodes.sampling import schedulers
from nodes.sampling import solver as solvers
from nodes.sampling.noise import init_noise, seed_generators
from nodes.sampling.schedule import make_schedule, prepare_latents, scale_model_input, scheduler_step
from nodes.types import Generators, Latents, LatentSpace, NoisePred, SchedulerConfig, Solver, Timesteps

SPACE = LatentSpace(channels=4, downsampling=8, scaling_factor=0.18215, sample_size=8)
BETAS = {"beta_start": 0.00085, "beta_end": 0.012, "beta_schedule": "scaled_linear", "num_train_timesteps": 1000}
STABLE_DIFFUSION = {
    **BETAS, "_class_name": "PNDMScheduler", "clip_sample": False, "set_alpha_to_one": False, "skip_prk_steps": True,
    "steps_offset": 1, "trained_betas": None,
}  # fmt: skip
TRAILING = {
    **BETAS, "_class_name": "DPMSolverMultistepScheduler", "algorithm_type": "dpmsolver++", "solver_order": 2,
    "clip_sample": False, "set_alpha_to_one": False, "steps_offset": 1, "timestep_spacing": "trailing",
}  # fmt: skip
NAMES = ("default", *schedulers.CHOICES)
PREDICTIONS = ("epsilon", "v_prediction")
STEPS = 6


def handle(config: dict[str, Any], prediction_type: str = "epsilon") -> SchedulerConfig:
    text = json.dumps({**config, "prediction_type": prediction_type})
    return SchedulerConfig("", config["_class_name"], text, "", "cpu", "float32")


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


def toy(sample: Tensor, timestep: Tensor) -> Tensor:
    """A deterministic model: elementwise, so that no row of a batch knows of the others."""
    return 0.8 * torch.tanh(0.7 * sample + 0.1) + 0.05 * torch.cos(timestep.float() / 300)


def reference(
    scheduler: SchedulerConfig, name: str, seeds: list[int], eta: float = 0.0, dtype: torch.dtype = torch.float32
) -> Tensor:
    """A plain diffusers loop on one live object, with a list of generators."""
    made = live(scheduler, name, seeds)
    made.set_timesteps(STEPS)
    generators = [torch.Generator().manual_seed(seed) for seed in seeds]
    noise = [torch.randn((1, 4, 8, 8), generator=generator, dtype=dtype) for generator in generators]
    sample = torch.cat(noise) * made.init_noise_sigma
    takes = made.step.__code__.co_varnames[: made.step.__code__.co_argcount]
    extra = {key: value for key, value in {"eta": eta, "generator": generators}.items() if key in takes}
    for timestep in made.timesteps:
        pred = toy(made.scale_model_input(sample, timestep), timestep)
        sample = made.step(pred, timestep, sample, return_dict=False, **extra)[0]
    return sample


@dataclasses.dataclass(frozen=True)
class Point:
    """A run between two steps."""

    latents: Latents
    solver: Solver


TYPES = {cls.__name__: cls for cls in (Point, Latents, LatentSpace, Solver, Generators)}


def begin(scheduler: SchedulerConfig, name: str, seed: int, batch: int, eta: float = 0.0) -> tuple[Point, Timesteps]:
    noise, generators = init_noise(SPACE, seed_generators(seed, batch))
    timesteps, solver = make_schedule(scheduler, generators, STEPS, name, eta)
    return Point(prepare_latents(solver, noise, timesteps), solver), timesteps


def advance(point: Point, timesteps: Timesteps, prediction_type: str, start: int = 0) -> Iterator[Point]:
    """The points after each step from `start` on."""
    for timestep in list(timesteps)[start:]:
        scaled = scale_model_input(point.solver, point.latents, timestep)
        pred = NoisePred(toy(scaled.samples, timestep.value), prediction_type)
        point = Point(*scheduler_step(point.solver, point.latents, pred, timestep))
        yield point


def run(scheduler: SchedulerConfig, name: str, prediction: str, seed: int, batch: int, eta: float = 0.0) -> Tensor:
    point, timesteps = begin(scheduler, name, seed, batch, eta)
    *_, last = advance(point, timesteps, prediction)
    return last.latents.samples


def same(one: Tensor, other: Tensor) -> None:
    torch.testing.assert_close(one, other, rtol=0, atol=0)


@pytest.mark.parametrize("name", NAMES)
@pytest.mark.parametrize(
    ("config", "prediction"),
    [(STABLE_DIFFUSION, "epsilon"), (STABLE_DIFFUSION, "v_prediction"), (TRAILING, "v_prediction")],
    ids=["leading-epsilon", "leading-v", "trailing-v"],
)
def test_steps_equal_a_live_scheduler(config: dict[str, Any], name: str, prediction: str) -> None:
    scheduler = handle(config, prediction)
    sample = run(scheduler, name, prediction, seed=5, batch=2)
    same(sample, reference(scheduler, name, [5, 6]))
    assert sample.isfinite().all()


@pytest.mark.parametrize("name", NAMES)
def test_steps_equal_a_live_scheduler_in_half_precision(name: str) -> None:
    scheduler = handle(STABLE_DIFFUSION)
    token = _runtime.set(Runtime(dtype="bfloat16"))
    try:
        sample = run(scheduler, name, "epsilon", seed=5, batch=2)
    finally:
        _runtime.reset(token)
    same(sample, reference(scheduler, name, [5, 6], dtype=torch.bfloat16))


@pytest.mark.parametrize("name", ["ddim", "tcd"])
def test_eta_draws_as_a_live_scheduler(name: str) -> None:
    scheduler = handle(STABLE_DIFFUSION)
    noisy = run(scheduler, name, "epsilon", seed=5, batch=2, eta=0.6)
    same(noisy, reference(scheduler, name, [5, 6], eta=0.6))
    assert not torch.equal(noisy, reference(scheduler, name, [5, 6]))


@pytest.mark.parametrize("name", NAMES)
def test_global_random_state_is_left_alone(name: str) -> None:
    before = torch.get_rng_state()
    run(handle(STABLE_DIFFUSION), name, "epsilon", seed=1, batch=1)
    assert torch.equal(torch.get_rng_state(), before)


@pytest.mark.parametrize("prediction", PREDICTIONS)
@pytest.mark.parametrize("name", NAMES)
def test_split_anywhere_and_read_back(name: str, prediction: str, tmp_path: Path) -> None:
    scheduler = handle(STABLE_DIFFUSION, prediction)
    first, timesteps = begin(scheduler, name, seed=3, batch=2)
    points = [first, *advance(first, timesteps, prediction)]
    for done, point in enumerate(points[:-1]):
        store(point, tmp_path / f"{done}")
        solvers.template.cache_clear() if done != 3 else solvers.forget()
        stored = load(tmp_path / f"{done}")
        *_, last = advance(stored, timesteps, prediction, start=done)
        same(last.latents.samples, points[-1].latents.samples)
        if last.solver.generators is not None and last.solver.generators.states is not None:
            same(last.solver.generators.states, points[-1].solver.generators.states)


@pytest.mark.parametrize("name", NAMES)
def test_a_step_changes_nothing_and_can_be_repeated(name: str) -> None:
    point, timesteps = begin(handle(STABLE_DIFFUSION), name, seed=3, batch=2)
    for timestep in timesteps:
        before = {key: tensor.clone() for key, tensor in tensors_of(point).items()}
        pred = NoisePred(toy(scale_model_input(point.solver, point.latents, timestep).samples, timestep.value))
        kept = pred.sample.clone()
        one = Point(*scheduler_step(point.solver, point.latents, pred, timestep))
        two = Point(*scheduler_step(point.solver, point.latents, pred, timestep))
        equal_tensors(tensors_of(one), tensors_of(two))
        equal_tensors(tensors_of(point), before)
        same(pred.sample, kept)
        point = one


@pytest.mark.parametrize("name", NAMES)
def test_branches_do_not_meet(name: str) -> None:
    scheduler = handle(STABLE_DIFFUSION)
    first, timesteps = begin(scheduler, name, seed=3, batch=1)
    *_, straight = advance(first, timesteps, "epsilon")
    middle = list(advance(first, timesteps, "epsilon"))[2]
    other = dataclasses.replace(middle, latents=Latents(middle.latents.samples + 1, SPACE))
    *_, elsewhere = advance(other, timesteps, "epsilon", start=3)
    *_, again = advance(middle, timesteps, "epsilon", start=3)
    same(again.latents.samples, straight.latents.samples)
    assert not torch.equal(elsewhere.latents.samples, straight.latents.samples)


@pytest.mark.parametrize("prediction", PREDICTIONS)
@pytest.mark.parametrize("name", NAMES)
def test_image_of_a_batch_equals_the_image_alone(name: str, prediction: str) -> None:
    scheduler = handle(STABLE_DIFFUSION, prediction)
    together = run(scheduler, name, prediction, seed=7, batch=3, eta=0.5)
    for image in range(3):
        same(together[image : image + 1], run(scheduler, name, prediction, seed=7 + image, batch=1, eta=0.5))


@pytest.mark.parametrize("name", NAMES)
def test_the_next_steps_read_every_tensor_of_the_state(name: str) -> None:
    """A state is written to the cache at each step: a tensor that nothing reads is waste. So each is spoilt once."""
    first, timesteps = begin(handle(STABLE_DIFFUSION), name, seed=3, batch=1)
    before_last = len(timesteps) - 1  # there orders are lowered, and a tensor more or less is of no account
    for done, point in enumerate([first, *advance(first, timesteps, "epsilon")][:before_last]):
        for place in places_of(point.solver.state or {}, first.latents.samples.shape):
            spoilt = dataclasses.replace(point, solver=spoil(point.solver, place))
            later = list(advance(spoilt, timesteps, "epsilon", start=done))
            assert later[-1].latents.samples.isnan().any(), f"after {done} steps nothing reads {place}"


@pytest.mark.parametrize(
    ("name", "tensors"),
    [("ddim", 0), ("euler", 0), ("dpmpp_2m", 1), ("unipc", 3), ("lms", 3), ("pndm", 3), ("heun", 2)],
)
def test_size_of_the_state(name: str, tensors: int) -> None:
    first, timesteps = begin(handle(STABLE_DIFFUSION), name, seed=3, batch=1)
    shape = first.latents.samples.shape
    sizes = [len(places_of(point.solver.state or {}, shape)) for point in advance(first, timesteps, "epsilon")]
    assert max(sizes) == tensors


def test_steps_of_a_brownian_path_give_no_warning(recwarn: pytest.WarningsRecorder) -> None:
    import warnings

    warnings.simplefilter("always")
    run(handle(STABLE_DIFFUSION), "dpmpp_sde", "epsilon", seed=0, batch=2)
    assert not [warning for warning in recwarn if "Should have t" in str(warning.message)]


def test_templates_are_made_once() -> None:
    solvers.forget()
    run(handle(STABLE_DIFFUSION), "heun", "epsilon", seed=0, batch=1)
    run(handle(STABLE_DIFFUSION), "heun", "epsilon", seed=1, batch=1)
    assert solvers.template.cache_info().misses == 1


@pytest.mark.parametrize("setting", [{"steps_offset": 0}, {"clip_sample": True}])
@pytest.mark.parametrize("name", ["default", "ddim", "euler"])
def test_configuration_is_that_of_a_pipeline(name: str, setting: dict[str, Any]) -> None:
    """`StableDiffusionPipeline` corrects the scheduler that it is given; a switch takes the corrected settings over."""
    config = {**STABLE_DIFFUSION, "_class_name": "DDIMScheduler", "prediction_type": "epsilon", **setting}
    own = diffusers.DDIMScheduler.from_config(config)
    own._internal_dict = FrozenDict({**own.config, "steps_offset": 1, "clip_sample": False})
    choice = schedulers.chosen(name, "DDIMScheduler")
    expected = getattr(diffusers, choice.scheduler).from_config(own.config).config
    given = "DDIMScheduler", json.dumps(config), choice.scheduler, choice.overrides
    resolved = json.loads(solvers.resolve(*given, corrected=True))
    assert resolved == {key: expected[key] for key in resolved}
    assert resolved.get("clip_sample", False) is False
    assert resolved["steps_offset"] == 1


# --- a point to files and back ---------------------------------------------------------------------------------------


def tensors_of(value: Any, path: str = "") -> dict[str, Tensor]:
    """All tensors of a value, by where they are in it."""
    if isinstance(value, Tensor):
        return {path: value}
    if dataclasses.is_dataclass(value):
        value = {field.name: getattr(value, field.name) for field in dataclasses.fields(value)}
    elif isinstance(value, (list, tuple)):
        value = dict(enumerate(value))
    if not isinstance(value, dict):
        return {}
    return {name: tensor for key, item in value.items() for name, tensor in tensors_of(item, f"{path}/{key}").items()}


def equal_tensors(one: dict[str, Tensor], other: dict[str, Tensor]) -> None:
    assert one.keys() == other.keys()
    for name, tensor in one.items():
        same(tensor, other[name])


def places_of(state: dict[str, Any], shape: torch.Size) -> list[str]:
    return [place for place, tensor in tensors_of(state).items() if tensor.shape == shape]


def spoil(solver: Solver, place: str) -> Solver:
    """The solver with one tensor of its state full of NaN."""
    state = {
        name: [math.nan * item if f"/{name}/{index}" == place else item for index, item in enumerate(value)]
        if isinstance(value, list)
        else math.nan * value
        if f"/{name}" == place
        else value
        for name, value in (solver.state or {}).items()
    }
    return dataclasses.replace(solver, state=state)


def store(point: Point, stem: Path) -> None:
    text, tensors = codec.pack(point, TYPES)
    safetensors.torch.save_file(tensors, f"{stem}.safetensors", {"value": text})


def load(stem: Path) -> Point:
    with safetensors.safe_open(f"{stem}.safetensors", "pt") as file:
        tensors = {name: file.get_tensor(name) for name in file.keys()}  # noqa: SIM118 (it is not iterable)
        point = codec.unpack(file.metadata()["value"], tensors, TYPES)
    assert isinstance(point, Point)
    return point
