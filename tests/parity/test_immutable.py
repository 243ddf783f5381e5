"""No built-in node writes into its inputs: every tensor of every input is looked at before and after every call."""

from __future__ import annotations

import dataclasses
import functools
import json
from collections.abc import Iterator, Mapping
from typing import Any, get_args

import pytest
import torch
from torch import Tensor

from graphcore import Engine, Workflow, node
from graphcore.declare.node import NodeType, declared
from graphcore.declare.registry import Registry
from graphcore.files.workflow import MISSING, Link, Written
from nodes import resources
from nodes.sampling.schedulers import SchedulerName
from nodes.types import Latents
from tests.parity.shipped import REGISTRY, workflow

NAMES = get_args(SchedulerName)
SEEN: set[str] = set()
"""Node types that were called under watch."""


def tensors(value: Any) -> Iterator[Tensor]:
    """All tensors in a value, however deep."""
    if isinstance(value, Tensor):
        yield value
    elif isinstance(value, Mapping):
        for item in value.values():
            yield from tensors(item)
    elif isinstance(value, (list, tuple)):
        for item in value:
            yield from tensors(item)
    elif dataclasses.is_dataclass(value):
        for field in dataclasses.fields(value):
            yield from tensors(getattr(value, field.name))


def containers(value: Any) -> Any:
    """The structure of a value: a list that grew or a dictionary that changed shows here."""
    if isinstance(value, Tensor):
        return id(value)
    if isinstance(value, Mapping):
        return {name: containers(item) for name, item in value.items()}
    if isinstance(value, (list, tuple)):
        return [containers(item) for item in value]
    if dataclasses.is_dataclass(value):
        return [containers(getattr(value, field.name)) for field in dataclasses.fields(value)]
    return value


def watched(name: str, function: Any) -> Any:
    """A function that fails if it changes what it is given."""

    @functools.wraps(function)
    def call(*arguments: Any, **named: Any) -> Any:
        SEEN.add(name)
        given = [arguments, named]
        before = [(tensor, tensor._version, tensor.clone()) for tensor in tensors(given)]
        structure = containers(given)
        result = function(*arguments, **named)
        assert containers(given) == structure, f"{name} changed a list or a dictionary of its inputs"
        for tensor, version, copy in before:
            assert tensor._version == version, f"{name} wrote into a tensor of its inputs"
            assert torch.equal(tensor, copy), f"{name} changed a tensor of its inputs"
        return result

    return call


def watch(type_: NodeType) -> NodeType:
    batch = type_.batch and dataclasses.replace(type_.batch, run=watched(type_.name, type_.batch.run))
    return dataclasses.replace(type_, function=watched(type_.name, type_.function), batch=batch)


WATCHED = Registry({type_.name: watch(type_) for type_ in REGISTRY})


@pytest.fixture
def engine(tmp_path) -> Iterator[Engine]:
    with Engine(registry=WATCHED, cache=tmp_path / "cache", device="cpu", dtype="float32", out=tmp_path) as made:
        yield made


@pytest.mark.parametrize("name", NAMES)
def test_no_step_of_any_scheduler_writes_into_its_inputs(engine, model, name):
    folder = model()[1]
    settings = {"model": folder, "steps": 5, "scheduler": name, "batch_size": 2, "eta": 0.5}
    engine.run(workflow("txt2img"), **settings, guidance_scale=7.5)
    engine.run(workflow("txt2img"), **settings, guidance_scale=1.0)


@pytest.mark.parametrize("name", [name for name in NAMES if name not in ("ipndm", "pndm_prk")])
def test_nor_does_image_to_image(engine, model, picture, name):
    settings = {"model": model()[1], "steps": 4, "scheduler": name, "image": str(picture), "strength": 0.6}
    engine.run(workflow("img2img"), **settings, width=48, height=32)


def originals() -> Workflow:
    """Text to image with what the shared loop computes only where it is asked for."""
    shipped = workflow("txt2img")
    loop = shipped.nodes["denoise"]
    inputs = {**loop.inputs, "guidance_rescale": Written(0.7), "guidance_end": Written(0.5)}
    return dataclasses.replace(
        shipped, nodes={**shipped.nodes, "denoise": dataclasses.replace(loop, inputs=inputs)},
        outputs={**shipped.outputs, "originals": Link("denoise", "originals")},
    )  # fmt: skip


RULES = workflow("guidance").inputs["kind"].enum


@pytest.mark.parametrize("name", ["ddpm", "ddim", "improved_ddpm", "classifier_guidance"])
def test_nor_do_those_of_pixels(engine, name):
    engine.run(workflow(name), steps=3, batch_size=2)


UNWATCHED = {
    "combine", "fit_preview", "grow_mask", "image_vector", "load_conditioning",
    "load_vae", "mask_from_alpha", "noise_latents", "preview_latents", "upscale_latents", "zero_out",
}  # fmt: skip
"""Node types that no workflow here runs, and that nobody watches yet."""

SHIPPED = sorted(file.stem for file in resources.workflow_folder().glob("*.json"))
WHOLE = [name for name in SHIPPED if all(given.default is not MISSING for given in workflow(name).inputs.values())]

FEW: Mapping[str, Any] = {"sampler_comparison": {"schedulers": ["ddim", "euler"], "step_counts": [1, 2]}}

SAVED = """{"stepgraph": 1, "inputs": {"model": {"type": "path"}}, "nodes": {
    "picture": {"type": "workflow", "path": "txt2img.json", "inputs": {"model": {"from": "inputs.model"}, "steps": 1}},
    "saved": {"type": "save_image", "inputs": {"image": {"from": "picture.image"}}}},
    "outputs": {"files": {"from": "saved"}}}"""


def cut() -> Workflow:
    """Text to image whose loop ends before its last step."""
    shipped = resources.workflow_folder() / "txt2img.json"
    file = json.loads(shipped.read_text())
    timesteps = {"timesteps": {"from": "schedule.timesteps"}}
    file["nodes"]["cut"] = {"type": "split_timesteps", "inputs": {**timesteps, "at": 1}}
    file["nodes"]["denoise"]["inputs"]["timesteps"] = {"from": "cut.first"}
    return Workflow.parse(json.dumps(file), shipped.with_name("cut.json"))


def test_nor_does_any_shipped_workflow_and_they_run_every_node(engine, model):
    """One test, as tests of one file may run in several processes: what ran would not be known in any of them.

    The shipped ones run with their defaults, in few steps; those that have none are used by these.
    """
    SEEN.clear()
    for name in WHOLE:
        engine.run(workflow(name), **FEW.get(name, {"steps": 4} if "steps" in workflow(name).inputs else {}))
    small: dict[str, Any] = {"model": model()[1], "steps": 3}
    for kind in RULES:
        engine.run(workflow("guidance"), **small, kind=kind, negative_prompt="a cat", guidance_scale=4.0)
    engine.run(workflow("denoising_steps"), **small)
    engine.run(originals(), **small, guidance_scale=7.5)
    engine.run(Workflow.parse(SAVED, resources.workflow_folder() / "saved.json"), model=model()[1])
    engine.run(cut(), model=model()[1], steps=2)
    unseen = {type_.name.partition("/")[2] for type_ in REGISTRY if type_.name not in SEEN}
    assert unseen == UNWATCHED


@node(category="test")
def careless(latents: Latents) -> Latents:
    """Writes into its input."""
    latents.samples.mul_(2)
    return latents


def test_a_node_that_does_is_caught():
    found = declared(careless)
    assert found is not None
    with pytest.raises(AssertionError, match="careless wrote into a tensor"):
        watch(found).function(Latents(torch.ones(1, 4, 2, 2), None))
