"""A schedule cut at a step: branching there computes nothing again that lies before, and changes no bit."""

from __future__ import annotations

import copy
import json
from collections import Counter
from pathlib import Path
from typing import Any

import pytest
import torch

from graphcore import Engine, InputError, Workflow
from graphcore.errors import CheckFailed
from graphcore.execution import foresight
from nodes import load_model, make_schedule, resources, seed_generators, split_timesteps
from nodes.types import Timesteps

FOLDER = resources.workflow_folder()
STEPS, AT = 12, 7
INPUTS: dict[str, Any] = {"prompt": "a frog", "steps": STEPS, "seed": 3}


def whole() -> Workflow:
    return Workflow.load(FOLDER / "txt2img.json")


def branched(tmp_path: Path, *, change: dict[str, Any] | None = None, **cut: Any) -> Workflow:
    """txt2img with its loop in two; `change` gives inputs of the second loop that differ."""
    data = json.loads((FOLDER / "txt2img.json").read_text(encoding="utf-8"))
    nodes, rest = data["nodes"], data["nodes"].pop("denoise")
    first = copy.deepcopy(rest)
    first["inputs"]["timesteps"] = {"from": "cut.first"}
    rest["inputs"] |= {
        "timesteps": {"from": "cut.rest"}, "latents": {"from": "begin.latents"}, "solver": {"from": "begin.solver"},
    }  # fmt: skip
    rest["inputs"] |= change or {}
    at = cut.get("at", {"from": "inputs.at"})
    nodes |= {
        "cut": {"type": "split_timesteps", "inputs": {"timesteps": {"from": "schedule.timesteps"}, "at": at}},
        "begin": first, "denoise": rest,
    }  # fmt: skip
    data["inputs"]["at"] = {"type": "integer", "default": AT}
    return Workflow.parse(json.dumps(data), tmp_path / "branched.json")


def ran(run: Any) -> Counter[str]:
    """How often each type of node ran in a run to its end."""
    return Counter(event.type.partition("/")[2] for event in run if event.event == "finished")


@pytest.mark.parametrize("scheduler", ["default", "heun", "dpmpp_2m_sde", "euler_ancestral", "pndm_prk", "unipc"])
def test_after_the_whole_nothing_runs_again(tmp_path: Path, scheduler: str) -> None:
    given = {**INPUTS, "scheduler": scheduler}
    with Engine(cache=None, device="cpu", dtype="float32") as engine:
        one = engine.start(whole(), given)
        first = one.finish()
        for at in (AT, 0, 1, STEPS):
            two = engine.start(branched(tmp_path), {**given, "at": at})
            assert ran(two) == {"split_timesteps": 1}
            assert two.keys == one.keys
            assert torch.equal(two.outputs.image.pixels, first.image.pixels)


@pytest.mark.parametrize("scheduler", ["heun", "dpmpp_2m", "euler_ancestral"])
def test_without_a_cache_it_is_the_same_picture(tmp_path: Path, scheduler: str) -> None:
    given = {**INPUTS, "scheduler": scheduler}
    with Engine(cache=None, device="cpu", dtype="float32") as engine:
        expected = engine.run(whole(), **given).image.pixels
    with Engine(cache=None, device="cpu", dtype="float32") as engine:
        assert torch.equal(engine.run(branched(tmp_path), **given).image.pixels, expected)


def test_a_branch_computes_only_what_comes_after(tmp_path: Path) -> None:
    with Engine(cache=None, device="cpu", dtype="float32") as engine:
        plain = engine.run(whole(), **INPUTS)
        run = engine.start(branched(tmp_path, change={"guidance_scale": 9.0}), INPUTS)
        found = ran(run)
        assert (found["unet"], found["scheduler_step"]) == (2 * (STEPS - AT) - 2, STEPS - AT), "step 7 is shared"
        assert not torch.equal(run.outputs.image.pixels, plain.image.pixels)


def test_guidance_in_a_part_of_the_schedule_goes_by_the_whole(tmp_path: Path) -> None:
    """A timestep knows its place in the whole schedule: what depends on that stays where it is."""
    change = {"guidance_start": 0.0, "guidance_end": 0.75}
    data = json.loads((FOLDER / "txt2img.json").read_text(encoding="utf-8"))
    data["nodes"]["denoise"]["inputs"] |= change
    with Engine(cache=None, device="cpu", dtype="float32") as engine:
        expected = engine.run(Workflow.parse(json.dumps(data), tmp_path / "whole.json"), **INPUTS)
        run = engine.start(branched(tmp_path, change=change), INPUTS)
        # the first loop has no end of guidance within its seven of twelve steps
        assert ran(run)["unet"] == 0
        assert torch.equal(run.outputs.image.pixels, expected.image.pixels)


def test_what_a_run_would_do_is_foreseen(tmp_path: Path) -> None:
    with Engine(cache=tmp_path / "cache", device="cpu", dtype="float32") as engine:
        one = engine.start(whole(), INPUTS)
        one.finish()
        engine.flush()
        foreseen = foresight.foresee(engine, branched(tmp_path), INPUTS)
        assert foreseen is not None
        assert foreseen.keys == one.keys
        for explained in engine.explain(branched(tmp_path), INPUTS):
            if explained.type in ("unet", "scheduler_step"):
                assert explained.state == "cached", explained


def schedule(steps: int = STEPS) -> Timesteps:
    return make_schedule(load_model().scheduler, seed_generators(0, 1), steps).timesteps


def entries(timesteps: Timesteps) -> list[tuple[float, int, int]]:
    return [(float(entry.value), entry.index, entry.count) for entry in timesteps]


@pytest.mark.parametrize("at", range(STEPS + 1))
def test_the_pieces_are_the_whole(at: int) -> None:
    pieces = split_timesteps(schedule(), at)
    assert len(pieces.first) == at
    assert entries(pieces.first) + entries(pieces.rest) == entries(schedule())


def test_a_piece_can_be_split_again() -> None:
    rest = split_timesteps(schedule(), 5).rest
    pieces = split_timesteps(rest, 3)
    assert entries(pieces.first) == entries(schedule())[5:8]
    assert entries(pieces.rest) == entries(schedule())[8:]


def test_there_are_not_so_many_steps(tmp_path: Path) -> None:
    with pytest.raises(InputError, match="`at` wants at most 12, as many entries as the schedule has, got 13"):
        split_timesteps(schedule(), 13)
    with Engine(cache=None, device="cpu") as engine, pytest.raises(CheckFailed, match="wants at most 12, as many"):
        engine.run(branched(tmp_path), **INPUTS, at=13)
    with Engine(cache=None, device="cpu") as engine, pytest.raises(CheckFailed, match="greater than or equal to 0"):
        engine.run(branched(tmp_path, at=-1), **INPUTS)
