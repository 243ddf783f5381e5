"""ControlNet and T2I-Adapter against the pipelines of diffusers."""

from __future__ import annotations

import functools
import json
import tempfile
from contextlib import ExitStack
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import diffusers
import torch
from PIL import Image as Pillow

from graphcore import Engine, Workflow
from nodes import load_controlnet, load_t2i_adapter, resources
from nodes.models.memory import weights
from nodes.types import ModelHandle
from tests.parity import oracle
from tests.parity.parts import parts
from tests.parity.shipped import REGISTRY, workflow
from tests.parity.table import Row

STEPS = 5
PROMPT, NEGATIVE = "a red apple", "the cat"
PICTURE = resources.workflow_folder() / "example.png"
SECOND = "random:controlnet_depth"


def _difference(ours: Workflow, inputs: dict[str, Any], expected: torch.Tensor) -> float:
    with Engine(registry=REGISTRY, cache=None, device="cpu", dtype="float32") as engine:
        found = engine.run(ours, prompt=PROMPT, negative_prompt=NEGATIVE, steps=STEPS, **inputs).latents.samples
    assert torch.isfinite(expected).all()
    assert found.shape == expected.shape
    return float((found - expected).abs().max())


def _module(handle: ModelHandle) -> Any:
    with ExitStack() as opened:
        return opened.enter_context(weights.use(handle))


def _parts(family: str, scheduler: str, seeds: list[int]) -> dict[str, Any]:
    """The parts of a random model for a pipeline, with the scheduler of that name."""
    found = {name: part for name, part in parts(f"random:{family}").items() if name != "encoder"}
    found["scheduler"] = oracle.scheduler(SimpleNamespace(scheduler=found["scheduler"]), scheduler, seeds)
    if family.startswith("sdxl"):
        return found
    none = dict.fromkeys(("safety_checker", "feature_extractor"))
    return {**found, **none, "requires_safety_checker": False}


def _run(pipeline: Any, seeds: list[int], image: Any, **settings: Any) -> torch.Tensor:
    pipeline.set_progress_bar_config(disable=True)
    latents: torch.Tensor = pipeline(
        PROMPT, negative_prompt=NEGATIVE, image=image, num_inference_steps=STEPS, num_images_per_prompt=len(seeds),
        generator=oracle.generators(seeds), output_type="latent", **settings,
    ).images  # fmt: skip
    return latents


def _picture(width: int, height: int) -> Any:
    """As large as the picture to be made: the pipelines with more than one ControlNet want it so."""
    return Pillow.open(PICTURE).convert("RGB").resize((width, height), Pillow.Resampling.LANCZOS)


def controlnet(
    family: str = "sd15", scheduler: str = "ddim", *, seeds: list[int] | None = None, size: tuple[int, int] = (32, 32),
    guidance_scale: float = 7.5, name: str = "random:controlnet", scale: float = 1.0, start: float = 0.0,
    end: float = 1.0, guess: bool = False,
) -> float:  # fmt: skip
    """Of the shipped workflow from the pipeline with one ControlNet."""
    seeds, (width, height) = seeds or [3], size
    kind = "StableDiffusionXLControlNetPipeline" if family == "sdxl" else "StableDiffusionControlNetPipeline"
    with torch.no_grad():
        pipeline = getattr(diffusers, kind)(
            **_parts(family, scheduler, seeds), controlnet=_module(load_controlnet(name))
        )
    expected = _run(
        pipeline, seeds, _picture(width, height), width=width, height=height,
        guidance_scale=guidance_scale, controlnet_conditioning_scale=scale, control_guidance_start=start,
        control_guidance_end=end, guess_mode=guess,
    )  # fmt: skip
    inputs = {
        "model": f"random:{family}", "controlnet": name, "picture": str(PICTURE), "preprocess": "none",
        "seed": seeds[0], "batch_size": len(seeds), "scheduler": scheduler, "width": width, "height": height,
        "control_scale": scale, "control_start": start, "control_end": end, "guess": guess,
        "guidance_scale": guidance_scale,
    }  # fmt: skip
    return _difference(workflow("controlnet"), inputs, expected)


def two_controlnets(starts: tuple[float, float], ends: tuple[float, float], scales: tuple[float, float]) -> float:
    """Of the shipped workflow with a second ControlNet behind the first from the pipeline with both."""
    modules = [_module(load_controlnet(name)) for name in ("random:controlnet", SECOND)]
    pipeline = diffusers.StableDiffusionControlNetPipeline(**_parts("sd15", "ddim", [3]), controlnet=modules)
    expected = _run(
        pipeline, [3], [_picture(32, 32)] * 2, width=32, height=32, guidance_scale=7.5,
        controlnet_conditioning_scale=list(scales), control_guidance_start=list(starts),
        control_guidance_end=list(ends),
    )  # fmt: skip
    inputs = {
        "picture": str(PICTURE), "preprocess": "none", "seed": 3, "scheduler": "ddim", "control_scale": scales[0],
        "control_start": starts[0], "control_end": ends[0],
    }  # fmt: skip
    return _difference(_with_second(starts[1], ends[1], scales[1]), inputs, expected)


@functools.cache
def _folder() -> Path:
    folder = tempfile.TemporaryDirectory()
    _open.append(folder)
    return Path(folder.name)


_open: list[Any] = []
"""Removed when the process ends."""


def _with_second(start: float, end: float, scale: float) -> Workflow:
    """The shipped workflow and its loop, copied and changed as a person would: one more ControlNet behind the first."""
    shipped = resources.workflow_folder()
    loop = json.loads((shipped / "denoise_controlnet.json").read_text())
    loop["inputs"]["second"] = {"type": "any"}
    outer = loop["nodes"]["loop"]
    outer["inputs"]["second"] = {"from": "inputs.second"}
    body = outer["body"]["nodes"]
    for half, first in (("positive", "controlled"), ("negative", "controlled_negative")):
        call = json.loads(json.dumps(body[first]))
        own = {"controlnet": {"from": "inputs.second"}, "conditioning": {"from": first}}
        call["inputs"] |= own | {"scale": scale, "start": start, "end": end}
        body[f"{first}_again"] = call
        body["predict"]["inputs"][half] = {"from": f"{first}_again"}
    (_folder() / "denoise_two.json").write_text(json.dumps(loop))
    whole = json.loads((shipped / "controlnet.json").read_text())
    whole["nodes"]["second"] = {"type": "load_controlnet", "inputs": {"path": SECOND}}
    whole["nodes"]["denoise"]["path"] = "denoise_two.json"
    whole["nodes"]["denoise"]["inputs"]["second"] = {"from": "second"}
    (_folder() / "two.json").write_text(json.dumps(whole))
    return Workflow.load(_folder() / "two.json")


def adapter(
    family: str = "sd15", scheduler: str = "ddim", *, seeds: list[int] | None = None, size: tuple[int, int] = (32, 32),
    name: str = "random:t2i_adapter", scale: float = 1.0,
) -> float:  # fmt: skip
    """Of the shipped workflow from the pipeline with a T2I-Adapter."""
    seeds, (width, height) = seeds or [3], size
    kind = "StableDiffusionXLAdapterPipeline" if family == "sdxl" else "StableDiffusionAdapterPipeline"
    pipeline = getattr(diffusers, kind)(**_parts(family, scheduler, seeds), adapter=_module(load_t2i_adapter(name)))
    expected = _run(
        pipeline, seeds, _picture(width, height), width=width, height=height, guidance_scale=7.5,
        adapter_conditioning_scale=scale,
    )  # fmt: skip
    inputs = {
        "model": f"random:{family}", "adapter": name, "picture": str(PICTURE), "preprocess": "none", "seed": seeds[0],
        "batch_size": len(seeds), "scheduler": scheduler, "width": width, "height": height, "adapter_scale": scale,
    }  # fmt: skip
    return _difference(workflow("t2i_adapter"), inputs, expected)


def adapter_in_the_first_steps(factor: float) -> float:
    """Of the shipped workflow with the features in a part of the schedule from the pipeline with such a factor."""
    pipeline = diffusers.StableDiffusionXLAdapterPipeline(
        **_parts("sdxl", "ddim", [3]), adapter=_module(load_t2i_adapter("random:t2i_adapter"))
    )
    expected = _run(
        pipeline, [3], _picture(32, 32), width=32, height=32, guidance_scale=7.5, adapter_conditioning_factor=factor
    )
    shipped = json.loads((resources.workflow_folder() / "t2i_adapter.json").read_text())
    nodes = shipped["nodes"]
    for name, adapted in (("positive", "adapted"), ("negative", "adapted_negative")):
        nodes[f"{name}_first"] = _in_steps(adapted, 0.0, factor)
        nodes[f"{name}_then"] = _in_steps(name, factor, 1.0)
        both = {"first": {"from": f"{name}_first"}, "second": {"from": f"{name}_then"}}
        nodes[f"{name}_both"] = {"type": "together", "inputs": both}
        nodes["denoise"]["inputs"][name] = {"from": f"{name}_both"}
    changed = Workflow.parse(json.dumps(shipped), resources.workflow_folder() / "t2i_adapter.json")
    inputs = {
        "model": "random:sdxl", "picture": str(PICTURE), "preprocess": "none", "seed": 3, "scheduler": "ddim",
        "width": 32, "height": 32,
    }  # fmt: skip
    return _difference(changed, inputs, expected)


def _in_steps(conditioning: str, start: float, end: float) -> dict[str, Any]:
    inputs = {"conditioning": {"from": conditioning}, "start": start, "end": end}
    return {"type": "in_steps", "inputs": inputs}


def _control(case: str, family: str = "sd15", scheduler: str = "ddim", **settings: Any) -> Row:
    kind = "StableDiffusionXLControlNetPipeline" if family == "sdxl" else "StableDiffusionControlNetPipeline"
    call = functools.partial(controlnet, family, scheduler, **settings)
    return Row("controlnet", family, scheduler, case, kind, call)


def _adapter(case: str, family: str = "sd15", scheduler: str = "ddim", **settings: Any) -> Row:
    kind = "StableDiffusionXLAdapterPipeline" if family == "sdxl" else "StableDiffusionAdapterPipeline"
    call = functools.partial(adapter, family, scheduler, **settings)
    return Row("t2i_adapter", family, scheduler, case, kind, call)


def _two(case: str, *settings: tuple[float, float]) -> Row:
    call = functools.partial(two_controlnets, *settings)
    return Row("controlnet", "sd15", "ddim", case, "StableDiffusionControlNetPipeline", call)


XL = {"name": "random:controlnet_sdxl"}

ROWS = [
    *(_control("whole schedule", scheduler=name) for name in ("default", "euler", "dpmpp_2m_karras", "heun", "unipc")),
    _control("v-prediction", "sd21", name="random:controlnet_sd21"),
    _control("scale 0.4", scale=0.4),
    _control("scale 0", scale=0.0),
    _control("start 0.2 end 0.7", start=0.2, end=0.7),
    _control("start 0.3", scheduler="euler_ancestral", start=0.3),
    _control("end 0.5", scheduler="heun", end=0.5),
    _control("guess mode", guess=True, guidance_scale=4.0),
    _control("guess mode, end 0.6", guess=True, guidance_scale=4.0, end=0.6, scale=0.8),
    _control("a ControlNet of means", name="random:controlnet_shuffle"),
    _control("guess mode without guidance", guess=True, guidance_scale=1.0),
    _control("without guidance", guidance_scale=1.0),
    _control("batch of 4", seeds=[3, 4, 5, 6]),
    _control("24x40 latents", size=(80, 48)),
    _two("two ControlNets", (0.0, 0.0), (1.0, 1.0), (1.0, 0.5)),
    _two("two ControlNets, start 0/0.4 end 0.6/1", (0.0, 0.4), (0.6, 1.0), (0.7, 1.2)),
    _control("whole schedule", "sdxl", "default", **XL),
    _control("scale 0.5 end 0.6", "sdxl", "euler", scale=0.5, end=0.6, **XL),
    _control("guess mode", "sdxl", "ddim", guess=True, **XL),
    *(_adapter("whole schedule", scheduler=name) for name in ("default", "euler")),
    _adapter("v-prediction", "sd21"),
    _adapter("scale 0.4", scale=0.4),
    _adapter("batch of 2", seeds=[3, 4]),
    _adapter("24x40 latents", size=(80, 48)),
    _adapter("whole schedule", "sdxl", "default"),
    Row(
        "t2i_adapter",
        "sdxl",
        "ddim",
        "first 0.6 of the steps (in_steps)",
        "StableDiffusionXLAdapterPipeline",
        functools.partial(adapter_in_the_first_steps, 0.6),
    ),
]
