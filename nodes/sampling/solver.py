"""Every diffusers scheduler as a value: a step takes a `Solver` and gives the next one.

diffusers keeps the history of a run in attributes of the scheduler object. Here one object per schedule, made by
`set_timesteps` and never stepped, serves as template; a step works on a shallow copy of it in which the attributes
of the history are those of the value. So a run may be split, stored, resumed and branched between any two steps, and
gives the same bits.
"""

from __future__ import annotations

import copy
import inspect
import json
import threading
import warnings
from collections import OrderedDict
from collections.abc import Callable, Mapping
from dataclasses import dataclass, replace
from functools import lru_cache
from types import MappingProxyType
from typing import Any

import torch
from torch import Tensor

from nodes.sampling import schedulers
from nodes.sampling.noise import after_draws, torch_generators
from nodes.sampling.schedulers import SDE
from nodes.types import Solver

POSITION = "position"
"""Name, in a solver's state, of the number of steps done in this run."""

HISTORY: Mapping[str, tuple[str, ...]] = MappingProxyType(
    {
        "DDIMScheduler": (),
        "DDPMScheduler": (),
        "DEISMultistepScheduler": ("model_outputs", "lower_order_nums"),
        "DPMSolverMultistepScheduler": ("model_outputs", "lower_order_nums"),
        SDE: ("sample", "mid_point_sigma"),
        "DPMSolverSinglestepScheduler": ("model_outputs", "sample"),
        "EDMEulerScheduler": (),
        "EulerAncestralDiscreteScheduler": (),
        "EulerDiscreteScheduler": (),
        "HeunDiscreteScheduler": ("prev_derivative", "dt", "sample"),
        "IPNDMScheduler": ("ets",),
        "KDPM2AncestralDiscreteScheduler": ("sample",),
        "KDPM2DiscreteScheduler": ("sample",),
        "LCMScheduler": (),
        "LMSDiscreteScheduler": ("derivatives",),
        "PNDMScheduler": ("counter", "cur_sample", "ets", "cur_model_output"),
        "SASolverScheduler": (
            "model_outputs", "timestep_list", "lower_order_nums", "last_sample", "last_noise", "this_corrector_order",
        ),
        "TCDScheduler": (),
        "UniPCMultistepScheduler": ("model_outputs", "lower_order_nums", "last_sample", "this_order"),
    }
)  # fmt: skip
"""The supported classes, and of each the attributes that a step leaves for the next one. The step index is not among
them: it is the index of the first step plus the number of steps done."""


@dataclass(frozen=True, eq=False)
class Template:
    """A schedule: a scheduler object that is only ever copied.

    Args:
        scheduler: After `set_timesteps`, on the CPU.
        timesteps: The whole schedule, from pure noise on; CPU.
        values: The same as numbers.
        lists: The lists that a step writes into, as they are before the first step.
        takes: The optional arguments that `step` knows.
        settings: The configuration.
    """

    scheduler: Any
    timesteps: Tensor
    values: tuple[float, ...]
    lists: Mapping[str, list[Any]]
    takes: frozenset[str]
    settings: Mapping[str, Any]


def resolve(
    own_class: str, own_config: str, chosen_class: str, overrides: Mapping[str, Any], *, corrected: bool = False
) -> str:
    """The complete configuration of a scheduler that takes the place of a model's own one; canonical JSON.

    What `Chosen.from_config(pipe.scheduler.config, **overrides)` has in a pipeline.

    Args:
        own_class, own_config: Class name and configuration (JSON) that the model comes with.
        chosen_class: Class name; the own one with no overrides is the model's own scheduler.
        corrected: The pipelines of the model's family set `steps_offset` to 1 and `clip_sample` to False.

    Raises:
        ValueError, NotImplementedError: diffusers refuses the combination.
    """
    return _resolve(own_class, own_config, chosen_class, json.dumps(dict(overrides), sort_keys=True), corrected)


@lru_cache(maxsize=32)
def _resolve(own_class: str, own_config: str, chosen_class: str, overrides: str, corrected: bool) -> str:
    own = _class(own_class).from_config(json.loads(own_config))
    if corrected:
        _correct(own)
    if chosen_class != own_class or overrides != "{}":
        own = _class(chosen_class).from_config(own.config, **json.loads(overrides))
    return _canonical(own)


@lru_cache(maxsize=32)
def _object(scheduler: str, config: str) -> Any:
    """A scheduler without a schedule; only copied (the constructor of the KDPM2 ones takes a third of a second)."""
    return _class(scheduler).from_config(json.loads(config))


def _class(name: str) -> Any:
    import diffusers

    if name not in HISTORY:
        raise ValueError(f"{name} is not a supported scheduler")
    return getattr(diffusers, name)


def _correct(scheduler: Any) -> None:
    """What `StableDiffusionPipeline.__init__` does to the configuration of the scheduler that it is given."""
    from diffusers.configuration_utils import FrozenDict

    config = dict(scheduler.config)
    if config.get("steps_offset", 1) != 1:
        config["steps_offset"] = 1
    if config.get("clip_sample", False) is True:
        config["clip_sample"] = False
    scheduler._internal_dict = FrozenDict(config)


def _canonical(scheduler: Any) -> str:
    """Only what the class's constructor takes, defaults written out: so later defaults of diffusers change nothing.

    `noise_sampler_seed` is left out: each run sets it to the seeds of its images.
    """
    parameters = set(inspect.signature(type(scheduler).__init__).parameters) - {"self", "noise_sampler_seed"}
    config = {name: value for name, value in scheduler.config.items() if name in parameters}
    if type(scheduler).__name__ != "DDPMScheduler" and str(config.get("variance_type")).startswith("learned"):
        config["variance_type"] = None  # the steps would cut the prediction to three channels
    return json.dumps(config, sort_keys=True, default=list)


@lru_cache(maxsize=32)
def template(scheduler: str, config: str, steps: int) -> Template:
    """The schedule of `steps` steps of a scheduler; made once.

    Raises:
        ValueError, NotImplementedError: diffusers refuses the combination.
    """
    made = copy.copy(_object(scheduler, config))
    made.set_timesteps(steps, device="cpu")
    if hasattr(made, "is_scale_input_called"):
        made.is_scale_input_called = True  # else a step whose input was scaled by another copy warns
    lists = {name: list(value) for name, value in vars(made).items() if name in _LISTS and isinstance(value, list)}
    takes = frozenset(inspect.signature(made.step).parameters)
    return Template(made, made.timesteps, tuple(made.timesteps.tolist()), lists, takes, json.loads(config))


_LISTS = ("model_outputs", "timestep_list", "derivatives", "ets")


def of(solver: Solver) -> Template:
    """The template of a solver."""
    return template(solver.scheduler, solver.config, solver.steps)


def position(solver: Solver) -> int:
    """The number of steps that a solver has done."""
    return 0 if solver.state is None else int(solver.state[POSITION])


def restore(solver: Solver, device: torch.device | None = None) -> Any:
    """A diffusers scheduler object in the state of a solver; stepping it changes nothing of the solver.

    Args:
        device: Where tensors of the history are wanted (a value from the disk lies on the CPU). Numbers stay there.
    """
    made = of(solver)
    scheduler = object.__new__(type(made.scheduler))
    attributes = scheduler.__dict__
    attributes.update(made.scheduler.__dict__)
    for name, value in made.lists.items():
        attributes[name] = list(value)
    for name, value in (solver.state or {}).items():
        if name != POSITION:
            attributes[name] = _placed(value, device)
    if "_step_index" in attributes:
        attributes["_begin_index"] = solver.begin_index
        attributes["_step_index"] = solver.begin_index + position(solver)
    if solver.scheduler == "PNDMScheduler" and isinstance(scheduler.cur_model_output, Tensor):
        scheduler.cur_model_output = scheduler.cur_model_output.clone()  # Runge-Kutta steps add to it in place
    return scheduler


def _placed(value: Any, device: torch.device | None) -> Any:
    """A copy of a list, and its tensors on a device; 0-dimensional tensors are numbers and stay on the CPU."""
    if isinstance(value, (list, tuple)):
        return [_placed(item, device) for item in value]
    if isinstance(value, Tensor) and value.ndim and device is not None and value.device != device:
        return value.to(device)
    return value


def scale_model_input(solver: Solver, sample: Tensor) -> Tensor:
    """The model's input from latents, as the scheduler of a solver wants it; may be `sample` itself."""
    made = of(solver)
    timestep = made.timesteps[solver.begin_index + position(solver)]
    with torch.no_grad():
        scaled: Tensor = restore(solver, sample.device).scale_model_input(sample, timestep)
    return scaled


def step(solver: Solver, noise_pred: Tensor, sample: Tensor) -> tuple[Tensor, Solver]:
    """One step of the scheduler: (batch, channels, height, width) of the model's output and of the latents.

    Returns:
        The latents of the next timestep, and the solver that makes the step after it.
    """
    made = of(solver)
    index = position(solver)
    timestep = made.timesteps[solver.begin_index + index]
    scheduler = restore(solver, noise_pred.device)
    arguments: dict[str, Any] = {"eta": solver.eta} if "eta" in made.takes else {}
    opened = None
    drawing = "generator" in made.takes and schedulers.draws(solver.scheduler, made.settings, solver.eta)
    if drawing and solver.generators is not None:
        opened = arguments["generator"] = torch_generators(solver.generators)
    run = _with_brownian_path if solver.scheduler == SDE else _plain
    with torch.no_grad():
        following = run(solver, scheduler, noise_pred, timestep, sample, arguments)
    generators = solver.generators
    if opened is not None and generators is not None:
        generators = after_draws(generators, opened)
    state = {POSITION: index + 1, **_history(solver.scheduler, scheduler)}
    return following, replace(solver, state=state, generators=generators)


def _plain(
    solver: Solver, scheduler: Any, noise_pred: Tensor, timestep: Tensor, sample: Tensor, arguments: dict[str, Any]
) -> Tensor:
    following: Tensor = scheduler.step(noise_pred, timestep, sample, return_dict=False, **arguments)[0]
    return following


_paths: OrderedDict[Any, Any] = OrderedDict()
_paths_lock = threading.Lock()


def _with_brownian_path(
    solver: Solver, scheduler: Any, noise_pred: Tensor, timestep: Tensor, sample: Tensor, arguments: dict[str, Any]
) -> Tensor:
    """A step whose noise comes from one Brownian path per image.

    A path is a pure function of its seed, so it is no part of the value; a few are remembered only because making
    one anew doubles the time of a step. A path in use is taken out, as two threads must not walk one.
    """
    seeds = () if solver.generators is None else solver.generators.seeds
    key = (solver.scheduler, solver.config, solver.steps, seeds, sample.shape, sample.dtype, sample.device)
    with _paths_lock:
        scheduler.noise_sampler = _paths.pop(key, None)
    scheduler.noise_sampler_seed = list(seeds)
    with warnings.catch_warnings():  # torchsde rounds the ends of the path to 6 digits and then warns of it
        warnings.filterwarnings("ignore", message="Should have t")
        following = _plain(solver, scheduler, noise_pred, timestep, sample, arguments)
    with _paths_lock:
        _paths[key] = scheduler.noise_sampler
        while len(_paths) > 4:
            _paths.popitem(last=False)
    return following


def forget() -> None:
    """Drop all that is remembered between steps, so that the next one starts as in a new process."""
    for cached in (template, _object, _resolve):
        cached.cache_clear()
    with _paths_lock:
        _paths.clear()


def _history(name: str, scheduler: Any) -> dict[str, Any]:
    """What the next step reads, and no tensor more: each is as large as the latents."""
    kept = {attribute: getattr(scheduler, attribute) for attribute in HISTORY[name]}
    if trim := _TRIM.get(name):
        trim(kept, scheduler)
    return kept


def _last(values: list[Any], count: int) -> list[Any]:
    """The list with None for all but its last `count` entries."""
    forgotten = len(values) - count
    return [None] * forgotten + values[forgotten:]


def _trim_multistep(kept: dict[str, Any], scheduler: Any) -> None:
    """A solver of order k reads k - 1 outputs besides the new one."""
    kept["model_outputs"] = _last(kept["model_outputs"], scheduler.config.solver_order - 1)


def _trim_singlestep(kept: dict[str, Any], scheduler: Any) -> None:
    """As above, with the order of the next step; and a step of order 1 begins at its own sample."""
    following = scheduler.order_list[scheduler.step_index :]
    order = following[0] if following else 1
    kept["model_outputs"] = _last(kept["model_outputs"], order - 1)
    if order == 1:
        kept["sample"] = None


def _trim_adams(kept: dict[str, Any], scheduler: Any) -> None:
    """A predictor of order p and a corrector of order c read p - 1 and c - 1 outputs besides the new one."""
    order = max(scheduler.config.predictor_order, scheduler.config.corrector_order)
    kept["model_outputs"] = _last(kept["model_outputs"], order - 1)


def _trim_linear_multistep(kept: dict[str, Any], scheduler: Any) -> None:
    """Of four derivatives the next step drops the oldest (`order` of `LMSDiscreteScheduler.step` is 4)."""
    kept["derivatives"] = kept["derivatives"][-3:]


def _trim_improved_pndm(kept: dict[str, Any], scheduler: Any) -> None:
    """Adams-Bashforth of order 4: the new one and the last three (diffusers keeps all)."""
    kept["ets"] = kept["ets"][-3:]


def _trim_pndm(kept: dict[str, Any], scheduler: Any) -> None:
    """As above; and `cur_sample` is read within a Runge-Kutta step of four calls, or in the second call (PLMS)."""
    kept["ets"] = kept["ets"][-3:]
    counter, runge_kutta = scheduler.counter, len(scheduler.prk_timesteps)
    needed = counter % 4 != 0 if counter < runge_kutta else counter == 1
    if not needed:
        kept["cur_sample"] = None


_TRIM: Mapping[str, Callable[[dict[str, Any], Any], None]] = {
    "DEISMultistepScheduler": _trim_multistep,
    "DPMSolverMultistepScheduler": _trim_multistep,
    "DPMSolverSinglestepScheduler": _trim_singlestep,
    "IPNDMScheduler": _trim_improved_pndm,
    "LMSDiscreteScheduler": _trim_linear_multistep,
    "PNDMScheduler": _trim_pndm,
    "SASolverScheduler": _trim_adams,
}


def initial(solver: Solver, noise: Tensor) -> Tensor:
    """Latents that a whole schedule starts from: the noise times `init_noise_sigma`."""
    scaled: Tensor = noise * of(solver).scheduler.init_noise_sigma
    return scaled


def add_noise(solver: Solver, original: Tensor, noise: Tensor) -> Tensor:
    """Latents of a picture, noised to the solver's next timestep; before any step, those that a run starts from."""
    following = of(solver).timesteps[solver.begin_index + position(solver)].repeat(original.shape[0])
    with torch.no_grad():
        noisy: Tensor = restore(solver).add_noise(original, noise, following)
    return noisy
