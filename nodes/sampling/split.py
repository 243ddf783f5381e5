"""One schedule in two parts, for two models: an ensemble of experts (eDiff-I, arXiv:2211.01324; SDXL's refiner)."""

from __future__ import annotations

import json
from dataclasses import replace
from typing import Annotated, NamedTuple

from pydantic import Field

from graphcore import InputError, TensorSpec, node
from nodes.sampling import schedulers
from nodes.types import Solver, Timesteps


class Split(NamedTuple):
    first: Timesteps
    rest: Timesteps
    rest_solver: Solver


def infer(timesteps: Timesteps | None = None, solver: Solver | None = None) -> Split | None:
    """Two schedules of lengths that are not known before the timesteps are."""
    if solver is None:
        return None
    part = Timesteps(TensorSpec((None,)))  # type: ignore[arg-type]
    return Split(part, part, solver)


@node(category="sampling", infer=infer)
def split_schedule(
    timesteps: Timesteps,
    solver: Solver,
    at: Annotated[float, Field(gt=0, lt=1)] = 0.8,
    after: Solver | None = None,
) -> Split:
    """The timesteps before and after a share of the diffusion: the first part for one model, the rest for another.

    As `denoising_end` and `denoising_start` of the SDXL pipelines: the cut lies at timestep (1 - at) * 1000. Solvers
    of second order (`heun`, `kdpm2`) take the timestep at the cut in both parts, as there.

    Args:
        timesteps, solver: From `make_schedule`: of the first model for the first part, of the second for the rest,
            with equal `steps`.
        at: Share that the first part does: 0.8 is usual for SDXL's refiner.
        after: The solver at the end of the first part: the rest goes on with its random generators.

    Returns:
        The timesteps of both parts, and the solver that begins the rest (of the first part it is the given one).

    Raises:
        InputError: one part is empty.
    """
    trained = json.loads(solver.config).get("num_train_timesteps", 1000)
    cut = round(trained - at * trained)
    values = timesteps.values
    rest = int((values < cut).sum())
    first = len(values) - rest
    if not first or not rest:
        raise InputError(
            "at", expected=f"a share that leaves steps in both parts (the timesteps are {_listed(timesteps)})",
            got=f"{at:g}, that is timestep {cut}",
        )  # fmt: skip
    if schedulers.order(solver.scheduler) == 2 and rest % 2 == 0:
        rest += 1  # begins with a whole step
    begin = len(values) - rest
    generators = solver.generators if after is None else after.generators
    begun = replace(solver, begin_index=solver.begin_index + begin, generators=generators)
    return Split(Timesteps(values[:first]), Timesteps(values[begin:]), begun)


def _listed(timesteps: Timesteps) -> str:
    values = [f"{value:g}" for value in timesteps.values.tolist()]
    return ", ".join(values if len(values) <= 6 else [*values[:3], "...", *values[-2:]])
