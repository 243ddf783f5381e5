"""Killed in the middle, run again: the run goes on at the step where it was, and its picture is the same, bit for bit."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest
import torch
from safetensors.torch import load_file

from graphcore import Engine
from tests.parity.shipped import REGISTRY, unet_calls, workflow

ROOT = Path(__file__).parents[2]
STEPS = 12
SIZE = {"width": 128, "height": 128}
"""Four times the pixels that the embedded model was made for: a call takes long enough to be worth keeping."""


def life(cache: Path, out: Path, die_at: str | None = None, **inputs: Any) -> subprocess.CompletedProcess[str]:
    """One process that runs the workflow, perhaps not to its end."""
    settings = {"cache": str(cache), "out": str(out), "inputs": {"steps": STEPS, **SIZE, **inputs}}
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


@pytest.mark.parametrize("node", ["denoise.loop[6].uncond", "denoise.loop[6].step"])
def test_a_killed_run_goes_on_at_its_step(tmp_path, whole, node):
    """Killed during a UNet call, that one call is repeated (both predictions of guidance are one call); killed
    between two, none."""
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


def test_a_run_killed_again_and_again_ends(tmp_path, whole):
    """Each life dies in its third UNet call; no step is done twice, and the last life ends."""
    cache, out = tmp_path / "cache", tmp_path / "picture"
    finished: list[str] = []
    for step in (2, 4, 7, 9, None):
        done = life(cache, out, die_at=None if step is None else f"denoise.loop[{step}].uncond")
        finished += lines(done, "finished")
    assert len(finished) == len(set(finished)) == 2 * STEPS
    for name, tensor in load_file(out).items():
        assert torch.equal(tensor, whole[name])


class TestChanges:
    """One run on disk; then, each time in a new engine, a change: what it reuses."""

    @pytest.fixture(scope="class")
    def cache(self, tmp_path_factory) -> Path:
        folder = tmp_path_factory.mktemp("changes")
        assert self.run(folder)[0] == 2 * STEPS
        return folder

    @staticmethod
    def run(folder: Path, **inputs: Any) -> tuple[int, Any, list[Any]]:
        events: list[Any] = []
        with Engine(registry=REGISTRY, cache=folder, device="cpu", dtype="float32") as engine:
            found = engine.run(workflow("txt2img"), events.append, **{"steps": STEPS, **SIZE, **inputs})
        return unet_calls(events), found, events

    def test_a_restart_runs_no_unet(self, cache, whole):
        calls, found, events = self.run(cache)
        assert calls == 0
        assert not [event for event in events if event.event == "finished" and event.type == "stepgraph/scheduler_step"]
        assert found.image.pixels.shape == whole["pixels"].shape

    def test_another_guidance_reuses_what_does_not_depend_on_it(self, cache):
        """The predictions of the first step; from then on the latents are others."""
        calls, _, events = self.run(cache, guidance_scale=5.0)
        assert calls == 2 * (STEPS - 1)
        reused = {event.node for event in events if event.event == "cached" and event.type == "stepgraph/unet"}
        assert reused == {"denoise.loop[0].cond", "denoise.loop[0].uncond"}

    def test_another_negative_prompt_reuses_the_first_prediction(self, cache):
        assert self.run(cache, negative_prompt="a cat")[0] == 2 * STEPS - 1

    def test_other_prompts_and_seeds_reuse_no_step(self, cache):
        assert self.run(cache, seed=1)[0] == 2 * STEPS
        assert self.run(cache, prompt="a frog")[0] == 2 * STEPS - 1

    def test_what_does_not_change_the_result_runs_nothing(self, cache):
        assert self.run(cache, eta=0.0, prompt="a red apple", width=128)[0] == 0

    def test_another_decoder_reuses_all_steps(self, cache, tmp_path):
        """The same model but for its VAE: the latents are the same, the picture is decoded anew."""
        import shutil

        from safetensors.torch import save_file

        from nodes import resources

        folder = tmp_path / "model"
        shutil.copytree(resources.model_folder("emoji"), folder)
        [weights] = (folder / "vae").glob("*.safetensors")
        tensors = load_file(weights)
        tensors["decoder.conv_out.bias"] = tensors["decoder.conv_out.bias"] + 0.1
        save_file(tensors, weights, {"format": "pt"})
        _, before, _ = self.run(cache)
        calls, after, events = self.run(cache, model=str(folder))
        assert calls == 0
        assert "image" in [event.node for event in events if event.event == "finished"]
        assert torch.equal(before.latents.samples, after.latents.samples)
        assert not torch.equal(before.image.pixels, after.image.pixels)
