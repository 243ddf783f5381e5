"""A schedule in two parts: those of the SDXL pipelines, whatever the scheduler."""

from __future__ import annotations

from types import SimpleNamespace
from typing import Any, get_args

import pytest
import torch
from diffusers import StableDiffusionXLImg2ImgPipeline
from hypothesis import given, settings
from hypothesis import strategies as st

from graphcore import InputError
from nodes import load_model, make_schedule, scheduler_step, seed_generators, split_schedule
from nodes.sampling.schedulers import SchedulerName
from nodes.types import Latents, NoisePred

NAMES = [name for name in get_args(SchedulerName) if name != "pndm_prk"]


def schedule(name: str, steps: int) -> Any:
    return make_schedule(load_model("random:sdxl").scheduler, seed_generators(0, 1), steps, name)


@settings(max_examples=60, deadline=None)
@given(st.sampled_from(NAMES), st.integers(2, 12), st.floats(0.05, 0.95))
def test_parts_are_those_of_the_pipelines(name: str, steps: int, at: float) -> None:
    made = schedule(name, steps)
    values = made.timesteps.values
    # As `denoising_end` in StableDiffusionXLPipeline.__call__, and the method behind `denoising_start`.
    cutoff = round(1000 - at * 1000)
    first = len([t for t in values if t >= cutoff])
    if first in (0, len(values)):
        with pytest.raises(InputError, match="steps in both parts"):
            split_schedule(made.timesteps, made.solver, at)
        return
    begun: list[int] = []
    scheduler = SimpleNamespace(
        config=SimpleNamespace(num_train_timesteps=1000), timesteps=values, set_begin_index=begun.append,
        order=_order(name),
    )  # fmt: skip
    pipeline = SimpleNamespace(scheduler=scheduler)
    rest, _ = StableDiffusionXLImg2ImgPipeline.get_timesteps(pipeline, steps, 1.0, "cpu", denoising_start=at)
    found = split_schedule(made.timesteps, made.solver, at)
    assert torch.equal(found.first.values, values[:first])
    assert torch.equal(found.rest.values, rest)
    assert found.rest_solver.begin_index == begun[0]


def _order(name: str) -> int:
    return 2 if name in ("heun", "kdpm2", "kdpm2_ancestral", "dpmpp_sde", "dpmpp_sde_karras") else 1


def test_one_step_schedulers_go_on_where_the_first_part_ended() -> None:
    """For a scheduler without history, both parts one after the other are the whole."""
    made = schedule("ddim", 10)
    parts = split_schedule(made.timesteps, made.solver, 0.6)
    latents = Latents(torch.randn(1, 4, 4, 4, generator=torch.Generator().manual_seed(0)), load_model().latent_space)

    def go(timesteps: Any, solver: Any, now: Latents) -> tuple[Latents, Any]:
        for timestep in timesteps:
            now, solver = scheduler_step(solver, now, NoisePred(torch.sin(now.samples)), timestep)
        return now, solver

    whole, _ = go(made.timesteps, made.solver, latents)
    middle, _ = go(parts.first, made.solver, latents)
    found, _ = go(parts.rest, parts.rest_solver, middle)
    assert len(parts.first) + len(parts.rest) == 10
    assert torch.equal(found.samples, whole.samples)
    assert not torch.equal(middle.samples, whole.samples)


def test_the_rest_goes_on_with_the_generators_of_the_first_part() -> None:
    made = schedule("euler_ancestral", 4)
    other = schedule("euler_ancestral", 4).solver
    assert split_schedule(made.timesteps, made.solver, 0.5).rest_solver.generators is made.solver.generators
    found = split_schedule(made.timesteps, made.solver, 0.5, after=other).rest_solver
    assert found.generators is other.generators
