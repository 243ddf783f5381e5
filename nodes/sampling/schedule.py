"""The loop's own nodes: the schedule, where it starts, and one step of a scheduler."""

from __future__ import annotations

import json
from collections.abc import Mapping
from typing import Annotated, Any, NamedTuple

from pydantic import Field

from graphcore import InputError, TensorSpec, node, note
from nodes.models import families
from nodes.models.handles import settings
from nodes.sampling import schedulers
from nodes.sampling.schedulers import Choice, SchedulerName
from nodes.types import Generators, Latents, LatentSpace, NoisePred, SchedulerConfig, Solver, Timestep, Timesteps

Steps = Annotated[int, Field(ge=1, le=10_000)]
Share = Annotated[float, Field(ge=0, le=1)]

_UNKNOWN: Any = object()
"""Default of an `infer` hook's parameter where None is a value."""


class Schedule(NamedTuple):
    timesteps: Timesteps
    solver: Solver


class Step(NamedTuple):
    latents: Latents
    solver: Solver


# --- make_schedule -----------------------------------------------------------------------------------------------


def _choose(scheduler: SchedulerConfig, name: str) -> Choice:
    """The class that a name stands for, given the model's own scheduler."""
    if scheduler.class_name not in schedulers.CLASSES:
        known = ", ".join(sorted(schedulers.CLASSES))
        raise InputError(
            "scheduler",
            expected=f"one of {known}",
            got=scheduler.class_name,
            fix="name one of these in the model's model_index.json, or use another model",
        )
    return schedulers.chosen(name, scheduler.class_name, pixels=scheduler.family == families.PIXELS)


def _first_step(steps: int, strength: float) -> int:
    """The number of steps that image-to-image leaves out, as `StableDiffusionImg2ImgPipeline.get_timesteps`."""
    kept = min(int(steps * strength), steps)
    if kept < 1:
        raise InputError(
            "strength",
            expected=f"at least {1 / steps:.3g}, so that of {steps} steps one is left",
            got=f"{strength:g}",
            fix="raise `strength` or `steps`",
        )
    return steps - kept


def _refuse(scheduler: str, config: Mapping[str, Any], steps: int, first: int) -> None:
    """Raise for what the chosen scheduler cannot do."""
    trained = config.get("num_train_timesteps", 1000)
    if scheduler in ("LCMScheduler", "TCDScheduler"):
        trained = config.get("original_inference_steps", 50)
    if steps > trained:
        raise InputError("steps", expected=f"at most {trained}, the steps of this scheduler", got=str(steps))
    if schedulers.runge_kutta(scheduler, config):
        if steps < 2:
            raise InputError("steps", expected="at least 2 for Runge-Kutta steps", got="1", fix="use name `pndm`")
        if first:
            raise InputError(
                "strength",
                expected="1, as a schedule that begins with Runge-Kutta steps cannot begin later",
                got=f"a strength that leaves out {first} steps",
                fix="use name `pndm`",
            )
    prediction = config.get("prediction_type", "epsilon")
    if prediction == "epsilon" and not first and schedulers.begins_with_noise_alone(scheduler, config):
        raise InputError(
            "scheduler",
            expected="a model that predicts v or the sample, as the schedule begins where nothing of the picture is "
            "left (`rescale_betas_zero_snr`)",
            got="one that predicts epsilon",
            fix="write false for `rescale_betas_zero_snr` in its scheduler_config.json, or set `prediction_type` of "
            "`load_model` to v_prediction if it was trained so",
        )
    if prediction == "sample" and scheduler in schedulers.WITHOUT_SAMPLE_PREDICTION:
        raise InputError(
            "name",
            expected="a scheduler for models that predict the sample",
            got=f"{scheduler}, which knows epsilon and v_prediction",
            fix="use `ddim`, `euler` or `dpmpp_2m`, say",
        )


def _need_generators(scheduler: str, config: Mapping[str, Any], eta: float, generators: Generators | None) -> None:
    if generators is None and schedulers.draws(scheduler, config, eta):
        raise InputError(
            "generators",
            expected=f"the random generators of the images, as {scheduler} draws noise in its steps",
            got="none",
            fix="link the generators that `init_noise` returns",
        )


def _infer_schedule(
    scheduler: SchedulerConfig,
    name: str,
    generators: Generators | None = _UNKNOWN,
    steps: int | None = None,
    eta: float | None = None,
    strength: float | None = None,
) -> Schedule:
    choice = _choose(scheduler, name)
    config = {**json.loads(scheduler.config), **choice.overrides}
    first = None if steps is None or strength is None else _first_step(steps, strength)
    entries = None
    if steps is not None:
        _refuse(choice.scheduler, config, steps, first or 0)
        entries = schedulers.length(choice.scheduler, config, steps)
    if generators is not _UNKNOWN:
        _need_generators(choice.scheduler, config, eta or 0.0, generators)
    begin = (first or 0) * schedulers.order(choice.scheduler)
    left = None if entries is None or first is None else entries - begin
    timesteps = Timesteps(TensorSpec((left,)))  # type: ignore[arg-type]
    known = None if generators is _UNKNOWN else generators
    return Schedule(timesteps, Solver(choice.scheduler, json.dumps(config), steps or 0, begin, eta or 0.0, None, known))


@node(category="sampling", infer=_infer_schedule)
def make_schedule(
    scheduler: SchedulerConfig,
    generators: Generators | None = None,
    steps: Steps = 20,
    name: SchedulerName = "default",
    eta: Share = 0.0,
    strength: Share = 1.0,
) -> Schedule:
    """The timesteps of a run, and the solver that steps through them.

    A scheduler other than the model's own takes over the model's configuration, as
    `EulerDiscreteScheduler.from_config(pipe.scheduler.config)` does; the name sets only what it stands for (`pndm`:
    PLMS, that is without Runge-Kutta steps; `dpmpp_2m_karras`: Karras sigmas). `ddim` and `ddpm` clip only for
    models of pixels, as latents leave [-1, 1]; `set_alpha_to_one` and `timestep_spacing` stay as the model has them.
    As in `StableDiffusionPipeline`, the model's own scheduler gets `steps_offset` 1 and `clip_sample` False.

    Args:
        scheduler: The scheduler that the model comes with.
        generators: For the noise that ancestral and SDE schedulers (and DDIM with eta > 0) draw in each step.
        steps: num_inference_steps. Some schedulers call the model up to twice per step.
        name: Which scheduler; `default` is the model's own.
        eta: Share of DDIM noise, 0 .. 1 (arXiv:2010.02502, eq. 16); only `ddim` and `tcd` heed it.
        strength: Image-to-image: share of the steps, the last ones, that are run; below 1 give `prepare_latents` an
            `original`.

    Raises:
        InputError: no step is left, or the scheduler cannot do this with this model.
    """
    from nodes.sampling import solver as solvers

    choice = _choose(scheduler, name)
    first = _first_step(steps, strength)
    own = scheduler.class_name, scheduler.config
    try:
        corrected = families.corrects_scheduler(scheduler.family)
        config = solvers.resolve(*own, choice.scheduler, choice.overrides, corrected=corrected)
        chosen = json.loads(config)
        _refuse(choice.scheduler, chosen, steps, first)
        made = solvers.template(choice.scheduler, config, steps)
    except (ValueError, NotImplementedError) as error:
        raise InputError("name", expected=f"a scheduler for this model; {error}", got=repr(name)) from error
    _need_generators(choice.scheduler, chosen, eta, generators)
    if reason := schedulers.UNSUITED.get(choice.scheduler):
        note(f"{choice.scheduler} gives pictures only with models that were trained for it: {reason}")
    begin = first * schedulers.order(choice.scheduler)
    solver = Solver(choice.scheduler, config, steps, begin, eta, None, generators)
    return Schedule(Timesteps(made.timesteps[begin:]), solver)


# --- prepare_latents ---------------------------------------------------------------------------------------------


def _shape(value: Any) -> tuple[int | None, ...]:
    return tuple(value.shape)


def _agree(one: tuple[int | None, ...], other: tuple[int | None, ...]) -> bool:
    """Whether two shapes may be the same; None is not known."""
    return len(one) == len(other) and all(a is None or b is None or a == b for a, b in zip(one, other, strict=True))


def same_shape(port: str, given: Any, what: str, wanted: Any) -> None:
    """Refuse a tensor of another shape than that of `what`; sizes that are not known pass."""
    if not _agree(_shape(given), _shape(wanted)):
        raise InputError(port, expected=f"the shape of the {what}, {_shape(wanted)}", got=str(_shape(given)))


def _check_start(solver: Solver, noise: Latents, original: Latents | None) -> None:
    _same_batch(noise.samples, solver.generators)
    if original is not None:
        same_shape("original", original.samples, "noise", noise.samples)
        _same_space(original.space, noise.space)
        if solver.scheduler in schedulers.WITHOUT_ADD_NOISE:
            raise InputError("solver", expected="a scheduler for image-to-image", got=solver.scheduler)
    elif solver.begin_index:
        raise InputError(
            "original",
            expected="the latents of a picture, as a strength below 1 starts in the middle of the schedule",
            got="none",
            fix="link the latents of `vae_encode`, or set `strength` to 1",
        )


def _same_space(original: LatentSpace, wanted: LatentSpace) -> None:
    """Refuse latents that another family's autoencoder made: of the same shape, but of another scale."""
    for name in ("downsampling", "scaling_factor", "shift_factor"):
        if getattr(original, name) != getattr(wanted, name):
            raise InputError(
                "original",
                expected=f"latents of the noise's space, with {name} {getattr(wanted, name)}",
                got=f"{name} {getattr(original, name)}",
                fix="make them by `vae_encode` with the `vae` of the UNet's model, or give it that model's `space`",
            )


def _infer_latents(solver: Solver, noise: Latents, original: Latents | None = _UNKNOWN) -> Latents:
    if original is not _UNKNOWN:
        _check_start(solver, noise, original)
    return noise


@node(category="sampling", infer=_infer_latents)
def prepare_latents(solver: Solver, noise: Latents, timesteps: Timesteps, original: Latents | None = None) -> Latents:
    """The latents that a run starts from, as noisy as its first timestep says.

    Without `original`: the noise times the scheduler's `init_noise_sigma`. With it (image-to-image): the original
    noised to the first timestep, even where `strength` is 1.

    Args:
        solver, timesteps: From `make_schedule`.
        noise: Standard normal, (batch, channels, height, width).
        original: Latents of a picture, of the same shape.

    Raises:
        InputError: the schedule starts late (strength < 1) and there is no original; shapes differ.
    """
    from nodes.sampling import solver as solvers

    _not_stepped(solver)
    _first_of(solver, timesteps)
    _check_start(solver, noise, original)
    if original is None:
        return Latents(solvers.initial(solver, noise.samples), noise.space)
    samples = noise.samples.to(original.samples.device)
    return Latents(solvers.add_noise(solver, original.samples, samples), original.space)


def _not_stepped(solver: Solver) -> None:
    if solver.state is not None:
        raise InputError("solver", expected="the solver of `make_schedule`", got="one that has done steps")


def _first_of(solver: Solver, timesteps: Timesteps) -> None:
    """Refuse timesteps of another schedule."""
    from nodes.sampling import solver as solvers

    first, wanted = float(timesteps.values[0]), solvers.of(solver).values[solver.begin_index]
    if first != wanted:
        raise InputError(
            "timesteps",
            expected=f"the timesteps of this solver, which begin with {wanted:g}",
            got=f"timesteps that begin with {first:g}",
            fix="link both from one `make_schedule`",
        )


# --- scale_model_input and scheduler_step -----------------------------------------------------------------------


def check_ready(solver: Solver, timestep: Timestep) -> None:
    """Refuse a solver that is at its end or at another timestep, or whose state is not its own."""
    from nodes.sampling import solver as solvers

    _own_state(solver)
    made = solvers.of(solver)
    done = solver.begin_index + solvers.position(solver)
    if done >= len(made.values):
        raise InputError("solver", expected="a solver with a step left", got="one that has done all its steps")
    if (given := float(timestep.value)) != made.values[done]:
        raise InputError(
            "timestep",
            expected=f"{made.values[done]:g}, the next timestep of the solver",
            got=f"{given:g}",
            fix="carry the solver along with the latents, and link the timesteps of the same `make_schedule`",
        )


def _own_state(solver: Solver) -> None:
    from nodes.sampling import solver as solvers

    if solver.state is None:
        return
    wanted = {solvers.POSITION, *solvers.HISTORY.get(solver.scheduler, ())}
    if solver.state.keys() != wanted:
        raise InputError(
            "solver",
            expected=f"the state of a {solver.scheduler} ({', '.join(sorted(wanted))})",
            got=f"{', '.join(sorted(solver.state)) or 'an empty state'}",
        )


def _infer_scaled(latents: Latents) -> Latents:
    return latents


@node(category="sampling", infer=_infer_scaled)
def scale_model_input(solver: Solver, latents: Latents, timestep: Timestep) -> Latents:
    """The latents as the model wants them: schedulers that count in sigmas divide by sqrt(sigma^2 + 1).

    Args:
        solver: Before the step of this timestep.
        latents: (batch, channels, height, width).
    """
    from nodes.sampling import solver as solvers

    check_ready(solver, timestep)
    scaled = solvers.scale_model_input(solver, latents.samples)
    return latents if scaled is latents.samples else Latents(scaled, latents.space)


def check_prediction(solver: Solver, latents: Latents, noise_pred: NoisePred | None) -> None:
    """Refuse latents or a prediction that this solver cannot step.

    Raises:
        InputError: shapes, batches or prediction types differ, or a variance that the scheduler needs is absent.
    """
    _same_batch(latents.samples, solver.generators)
    if noise_pred is not None:
        config = settings(solver.config)
        if solver.scheduler != schedulers.IPNDM:  # which has no such setting
            _same_prediction(noise_pred, config)
        _needed_variance(solver, noise_pred, config)
        same_shape("noise_pred", noise_pred.sample, "latents", latents.samples)


def _same_prediction(noise_pred: NoisePred, config: Mapping[str, Any]) -> None:
    wanted = config.get("prediction_type", "epsilon")
    if noise_pred.prediction_type != wanted:
        raise InputError(
            "noise_pred",
            expected=f"a prediction of type {wanted}, by the scheduler's configuration",
            got=noise_pred.prediction_type,
            fix="take the UNet and the scheduler from one model",
        )


def _needed_variance(solver: Solver, noise_pred: NoisePred, config: Mapping[str, Any]) -> None:
    if noise_pred.variance is None and schedulers.learned_variance(solver.scheduler, config):
        raise InputError(
            "noise_pred",
            expected=f"a prediction with a variance, as the scheduler's `variance_type` is {config['variance_type']}",
            got="one without",
            fix="take the UNet and the scheduler from one model",
        )


def _same_batch(latents: Any, generators: Generators | None) -> None:
    batch = _shape(latents)[0]
    if generators is not None and batch is not None and len(generators) != batch:
        raise InputError(
            "solver",
            expected=f"generators for {batch} images, as many as there are latents",
            got=f"generators for {len(generators)}",
            fix="give `seed_generators` this `batch_size`, and link its generators to `make_schedule`",
        )


def _infer_step(solver: Solver, latents: Latents, noise_pred: NoisePred | None = None) -> Step:
    check_prediction(solver, latents, noise_pred)
    return Step(latents, solver)


@node(category="sampling", infer=_infer_step)
def scheduler_step(solver: Solver, latents: Latents, noise_pred: NoisePred, timestep: Timestep) -> Step:
    """One step of the scheduler: less noisy latents, and the solver that makes the next step.

    The solver holds the scheduler's history and the random state of each image; carry it along with the latents.

    Args:
        latents: (batch, channels, height, width), not scaled.
        noise_pred: What the model said (after guidance), same shape. Its variance is heeded by `ddpm` where the
            configuration says that it is learned; others take no notice.
        timestep: The next one of the solver.

    Raises:
        InputError: a solver at its end or at another timestep; shapes, batches or prediction types that differ; a
            scheduler that wants a learned variance (arXiv:2102.09672), of a model without.
    """
    import torch

    from nodes.sampling import solver as solvers

    check_ready(solver, timestep)
    check_prediction(solver, latents, noise_pred)
    prediction, config = noise_pred.sample, solvers.of(solver).settings
    if noise_pred.variance is not None and schedulers.learned_variance(solver.scheduler, config):
        prediction = torch.cat([prediction, noise_pred.variance], dim=1)
    samples, following = solvers.step(solver, prediction, latents.samples.to(prediction.device))
    return Step(Latents(samples, latents.space), following)
