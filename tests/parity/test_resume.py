"""Killed in the middle, run again: the run goes on at the step where it was; its picture is the same, bit for bit."""

from __future__ import annotations

import dataclasses
import json
import os
import shutil
import signal
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest
import torch
from safetensors.torch import load_file, save_file

from graphcore import Engine, Workflow
from graphcore.files.workflow import Link, NodeCall, Written
from nodes import resources
from tests.parity.shipped import REGISTRY, unet_calls, workflow

ROOT = Path(__file__).parents[2]
STEPS = 12


def life(cache: Path, out: Path, die_at: str | None = None, **inputs: Any) -> subprocess.CompletedProcess[str]:
    """One process that runs the workflow, perhaps not to its end."""
    settings = {"cache": str(cache), "out": str(out), "inputs": {"steps": STEPS, **inputs}}
    if die_at is not None:
        settings["die_at"] = die_at
    return subprocess.run(
        [sys.executable, "-m", "tests.parity.life", json.dumps(settings)], cwd=ROOT, capture_output=True, text=True,
        timeout=300, check=False, env={**os.environ, "OMP_NUM_THREADS": "1"},
    )  # fmt: skip


def lines(done: subprocess.CompletedProcess[str], word: str) -> list[str]:
    return [line.split()[1] for line in done.stdout.splitlines() if line.startswith(f"{word} ")]


@pytest.fixture(scope="module")
def whole(tmp_path_factory) -> dict[str, torch.Tensor]:
    """The picture of a run that nothing interrupted."""
    folder = tmp_path_factory.mktemp("whole")
    done = life(folder / "cache", folder / "picture")
    assert done.returncode == 0, done.stderr
    assert len(lines(done, "finished")) == 2 * STEPS
    return load_file(folder / "picture")


@pytest.mark.parametrize(
    "node", ["denoise.loop[6].predict.uncond", pytest.param("denoise.loop[6].step", marks=pytest.mark.slow)]
)
def test_a_killed_run_goes_on_at_its_step(tmp_path, whole, node):
    """Killed during a UNet call, that one call is repeated (both predictions of guidance are one call); killed
    between two, none.
    """
    cache, out = tmp_path / "cache", tmp_path / "picture"
    killed = life(cache, out, die_at=node)
    assert killed.returncode == -signal.SIGKILL, killed.stderr
    assert not out.exists()
    done = len(lines(killed, "finished"))
    assert done == (2 * 6 if node.endswith("uncond") else 2 * 7)
    again = life(cache, out)
    assert again.returncode == 0, again.stderr
    assert len(lines(again, "finished")) == 2 * STEPS - done
    for name, tensor in load_file(out).items():
        assert torch.equal(tensor, whole[name])


@pytest.mark.slow
def test_a_run_killed_again_and_again_ends(tmp_path, whole):
    """Each life dies in a later UNet call; no step is done twice, and the last life ends."""
    cache, out = tmp_path / "cache", tmp_path / "picture"
    finished: list[str] = []
    for step in (3, 5, 10, None):
        done = life(cache, out, die_at=None if step is None else f"denoise.loop[{step}].predict.uncond")
        finished += lines(done, "finished")
    assert len(finished) == len(set(finished)) == 2 * STEPS
    for name, tensor in load_file(out).items():
        assert torch.equal(tensor, whole[name])


# One run on disk; then, each time in a new engine, a change: what does it reuse?


def run(folder: Path, changed: Workflow | None = None, /, **inputs: Any) -> tuple[int, Any, list[Any]]:
    events: list[Any] = []
    with Engine(registry=REGISTRY, cache=folder, device="cpu", dtype="float32") as engine:
        found = engine.run(changed or workflow("txt2img"), events.append, **{"steps": STEPS, **inputs})
    return unet_calls(events), found, events


@pytest.fixture(scope="module")
def cache(tmp_path_factory) -> Path:
    folder = tmp_path_factory.mktemp("changes")
    calls, _, _ = run(folder)
    assert calls == 2 * STEPS
    return folder


def test_a_restart_runs_no_unet(cache, whole):
    calls, found, events = run(cache)
    assert calls == 0
    assert not [event for event in events if event.event == "finished" and event.type == "stepgraph/scheduler_step"]
    assert found.image.pixels.shape == whole["pixels"].shape


def test_another_guidance_reuses_what_does_not_depend_on_it(cache):
    """The predictions of the first step; from then on the latents are others."""
    calls, _, events = run(cache, guidance_scale=5.0)
    assert calls == 2 * (STEPS - 1)
    reused = {event.node for event in events if event.event == "cached" and event.type == "stepgraph/unet"}
    assert reused == {"denoise.loop[0].predict.cond", "denoise.loop[0].predict.uncond"}


def test_another_negative_prompt_reuses_the_first_prediction(cache):
    assert run(cache, negative_prompt="a cat")[0] == 2 * STEPS - 1


def test_other_prompts_and_seeds_reuse_no_step(cache):
    assert run(cache, seed=1)[0] == 2 * STEPS
    assert run(cache, prompt="a frog")[0] == 2 * STEPS - 1


def test_what_does_not_change_the_result_runs_nothing(cache):
    assert run(cache, eta=0.0, prompt="a red apple", width=0, batch_size=1)[0] == 0


def test_another_decoder_reuses_all_steps(cache, tmp_path):
    """The picture is decoded with the VAE of another model; the latents stay."""
    other = tmp_path / "model"
    shutil.copytree(resources.model_folder("emoji"), other)
    [weights] = (other / "vae").glob("*.safetensors")
    tensors = load_file(weights)
    tensors["decoder.conv_out.bias"] = tensors["decoder.conv_out.bias"] + 0.1
    save_file(tensors, weights, {"format": "pt"})
    _, before, _ = run(cache)
    calls, after, events = run(cache, with_other_decoder(other))
    assert calls == 0
    assert {"other", "image"} <= {event.node for event in events if event.event == "finished"}
    assert torch.equal(before.latents.samples, after.latents.samples)
    assert not torch.equal(before.image.pixels, after.image.pixels)


def with_other_decoder(model: Path) -> Workflow:
    """The shipped workflow with one node more, `other`, whose VAE decodes."""
    shipped = workflow("txt2img")
    decode = dataclasses.replace(
        shipped.nodes["image"], inputs={"vae": Link("other", "vae"), "latents": Link("denoise", "latents")}
    )
    other = NodeCall("other", "load_model", {"path": Written(str(model))})
    return dataclasses.replace(shipped, nodes={**shipped.nodes, "other": other, "image": decode})
