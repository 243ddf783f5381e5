"""On a GPU: the pictures of the CPU within tolerance, half precision by itself, a host that never waits in the loop."""

from __future__ import annotations

import dataclasses
from typing import get_args

import pytest
import torch

from graphcore import Engine, Workflow
from graphcore.declare.registry import Registry
from graphcore.errors import NodeFailed
from nodes import resources
from nodes.sampling.schedulers import SchedulerName
from tests.parity import oracle
from tests.parity.shipped import REGISTRY, unet_calls, workflow

pytestmark = [pytest.mark.gpu, pytest.mark.skipif(not torch.cuda.is_available(), reason="there is no GPU")]

NAMES = get_args(SchedulerName)
LOOP = ("unet", "classifier_free_guidance", "scale_model_input", "scheduler_step")
"""The node types of the loop's body."""


def on_gpu(registry: Registry = REGISTRY, **settings) -> Engine:
    return Engine(registry=registry, **{"cache": None, "device": "cuda", "dtype": "float32", **settings})


@pytest.fixture(autouse=True)
def full_precision():
    """Without TF32 convolutions, which keep 10 bits of each factor."""
    allowed = torch.backends.cudnn.allow_tf32
    torch.backends.cudnn.allow_tf32 = False
    yield
    torch.backends.cudnn.allow_tf32 = allowed


@pytest.mark.parametrize("name", NAMES)
def test_the_same_picture_as_on_the_cpu(engine, model, name):
    """Seeds mean the same noise on every device; the arithmetic differs in its last bits, times the guidance."""
    settings = {"model": model()[1], "prompt": "a cat", "seed": 3, "steps": 5, "scheduler": name, "guidance_scale": 3.0}
    expected = engine.run(workflow("txt2img"), **settings)
    with on_gpu() as other:
        found = other.run(workflow("txt2img"), **settings)
    assert found.latents.samples.device.type == "cuda"
    scale = expected.latents.samples.abs().max()
    assert (found.latents.samples.cpu() - expected.latents.samples).abs().max() / scale < 1e-3
    assert (found.image.pixels.cpu() - expected.image.pixels).abs().max() < 5e-3


@pytest.mark.parametrize("dtype", ["float32", "float16"])
@pytest.mark.parametrize("name", ["default", "euler", "dpmpp_2m", "euler_ancestral"])
def test_it_equals_the_pipeline_on_the_gpu(name, dtype):
    from diffusers import StableDiffusionPipeline

    folder = resources.model_folder("emoji")
    pipeline = StableDiffusionPipeline.from_pretrained(folder, local_files_only=True).to("cuda", getattr(torch, dtype))
    expected = oracle.txt2img(pipeline, "a frog", name=name, seeds=[1], num_inference_steps=6, guidance_scale=4.0)
    with on_gpu(dtype=dtype) as engine:
        found = engine.run(workflow("txt2img"), prompt="a frog", seed=1, steps=6, scheduler=name)
    difference = (found.image.pixels.cpu() - expected.pixels).abs()
    assert difference.max() < (1e-4 if dtype == "float32" else 0.05)
    assert difference.mean() < (1e-5 if dtype == "float32" else 0.005)


def test_auto_is_half_precision_on_the_gpu(model):
    with on_gpu(device="auto", dtype="auto") as engine:
        found = engine.run(workflow("txt2img"), model=model()[1], steps=2)
    assert found.latents.samples.device.type == "cuda"
    assert found.latents.samples.dtype == torch.float16
    assert found.image.pixels.dtype == torch.float32


def no_waiting(function):
    """A function in which a copy to the host, or anything else that waits for the GPU, raises."""

    def call(*arguments, **named):
        torch.cuda.set_sync_debug_mode("error")
        try:
            return function(*arguments, **named)
        finally:
            torch.cuda.set_sync_debug_mode("default")

    return call


def strict(names=LOOP) -> Registry:
    """The built-in nodes, those of the loop's body forbidden to wait."""
    types = {}
    for type_ in REGISTRY:
        if type_.name.removeprefix("stepgraph/") in names:
            batch = type_.batch and dataclasses.replace(type_.batch, run=no_waiting(type_.batch.run))
            type_ = dataclasses.replace(type_, function=no_waiting(type_.function), batch=batch)
        types[type_.name] = type_
    return Registry(types)


BROWNIAN = ("dpmpp_sde", "dpmpp_sde_karras")
"""Their noise, a Brownian path of torchsde, is computed with numbers of the host."""


@pytest.mark.parametrize("guidance_scale", [1.0, 7.5])
@pytest.mark.parametrize("name", [name for name in NAMES if name not in BROWNIAN])
def test_the_host_waits_nowhere_in_the_loop(model, name, guidance_scale):
    settings = {"model": model()[1], "steps": 4, "guidance_scale": guidance_scale, "scheduler": name}
    with on_gpu(dtype="float16") as engine:
        engine.run(workflow("txt2img"), **settings)  # loads the weights
    with on_gpu(strict(), dtype="float16") as engine:
        engine.run(workflow("txt2img"), **settings)


def test_the_engine_itself_does_not_wait_either(model):
    """From the first UNet call to the last step, engine included; the decoder's input is the last thing made."""
    text = '{"stepgraph": 1, "nodes": {"all": {"type": "workflow", "path": "txt2img.json", "inputs": INPUTS}},'
    text += '"outputs": {"latents": {"from": "all.latents"}}}'
    inputs = f'{{"model": "{model()[1]}", "steps": 6, "guidance_scale": 7.5, "seed": SEED}}'
    inside = Workflow.parse(text.replace("INPUTS", inputs.replace("SEED", "1")), resources.workflow_folder() / "x.json")
    with on_gpu(dtype="float16") as engine:
        engine.run(inside)
        waiting = iter(engine.start(workflow("txt2img"), {"model": model()[1], "steps": 6, "seed": 2}))
        try:
            for event in waiting:
                if event.event == "started" and event.type == "stepgraph/unet":
                    torch.cuda.set_sync_debug_mode("error")
                if event.event == "started" and event.type == "stepgraph/vae_decode":
                    torch.cuda.set_sync_debug_mode("default")
        finally:
            torch.cuda.set_sync_debug_mode("default")


@pytest.mark.parametrize("guidance_scale", [1.0, 7.5])
def test_a_full_device_is_freed_and_tried_again(model, guidance_scale):
    """The first forward pass of the UNet finds no room; the second attempt makes its calls one by one."""
    left = [1]

    def short(function):
        def call(*arguments, **named):
            if left[0]:
                left[0] -= 1
                raise torch.OutOfMemoryError("CUDA out of memory (a test)")
            return function(*arguments, **named)

        return call

    events = []
    settings = {"model": model()[1], "steps": 2, "guidance_scale": guidance_scale}
    with on_gpu(_with_unet(short)) as engine:
        found = engine.run(workflow("txt2img"), events.append, **settings)
    with on_gpu() as engine:
        expected = engine.run(workflow("txt2img"), **settings)
    assert [event.event for event in events].count("out_of_memory") == 1
    assert unet_calls(events) == (4 if guidance_scale > 1 else 2)
    assert (found.image.pixels - expected.image.pixels).abs().max() < 1e-3


def _with_unet(change) -> Registry:
    types = {type_.name: type_ for type_ in REGISTRY}
    unet = types["stepgraph/unet"]
    batch = dataclasses.replace(unet.batch, run=change(unet.batch.run))
    types["stepgraph/unet"] = dataclasses.replace(unet, function=change(unet.function), batch=batch)
    return Registry(types)


def test_a_picture_that_cannot_fit_says_so_with_figures(model):
    """The allocator may take what it holds and 200 MiB more; 4096 x 4096 pixels need gigabytes."""
    free, total = torch.cuda.mem_get_info()
    torch.cuda.empty_cache()
    held = torch.cuda.memory_reserved()
    torch.cuda.set_per_process_memory_fraction(min(1.0, (held + 200 * 2**20) / total))
    events = []
    try:
        with on_gpu() as engine, pytest.raises(NodeFailed, match="MiB") as caught:
            engine.run(workflow("txt2img"), events.append, model=model()[1], steps=1, width=4096, height=4096)
        assert "the device is full" in str(caught.value)
        assert "out_of_memory" in [event.event for event in events]
        with on_gpu() as engine:
            assert torch.isfinite(engine.run(workflow("txt2img"), model=model()[1], steps=1).image.pixels).all()
    finally:
        torch.cuda.set_per_process_memory_fraction(1.0)
    assert free > 0


def test_values_come_back_from_the_disk_to_the_gpu(model, tmp_path):
    settings = {"model": model()[1], "prompt": "a cat", "steps": 6, "width": 256, "height": 256, "guidance_scale": 7.5}
    with on_gpu(cache=tmp_path) as engine:
        first = engine.run(workflow("txt2img"), **settings).latents.samples
    events = []
    with on_gpu(cache=tmp_path) as engine:
        second = engine.run(workflow("txt2img"), events.append, **settings, eta=0.0).latents.samples
    torch.testing.assert_close(first, second.to(first.device), rtol=1e-3, atol=1e-3)
