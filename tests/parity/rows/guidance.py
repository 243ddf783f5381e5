"""Rescaled guidance and guidance in a part of the schedule, against the pipelines of Stable Diffusion."""

from __future__ import annotations

import dataclasses
from collections.abc import Callable
from functools import partial
from typing import Any

from torch import Tensor

from graphcore import Workflow
from graphcore.files.workflow import Written
from tests.parity.shipped import workflow
from tests.parity.table import Row
from tests.parity.text_pipelines import PROMPT, STEPS, run, sd, xl


def guided(**settings: float) -> Workflow:
    """The shipped txt2img with settings of its loop."""
    shipped = workflow("txt2img")
    loop = shipped.nodes["denoise"]
    inputs = {**loop.inputs, **{name: Written(value) for name, value in settings.items()}}
    return dataclasses.replace(shipped, nodes={**shipped.nodes, "denoise": dataclasses.replace(loop, inputs=inputs)})


def _until(end: float) -> Callable[..., dict[str, Any]]:
    """The callback that ends a pipeline's guidance between two steps, as its documentation says."""

    def callback(pipeline: Any, index: int, _timestep: Any, values: dict[str, Tensor]) -> dict[str, Tensor]:
        if (index + 1) / pipeline.num_timesteps < end or pipeline._guidance_scale == 1:
            return {}
        pipeline._guidance_scale = 1.0
        return {name: values[name].chunk(2)[1] for name in values}

    return callback


def _difference(make: Callable[..., Tensor], family: str, name: str, ours: dict[str, float], **settings: Any) -> float:
    scale = settings["guidance_scale"]
    expected = make(f"random:{family}", name, (3,), **settings)
    found = run(
        guided(**ours), model=f"random:{family}", scheduler=name, prompt=PROMPT, seed=3, steps=STEPS,
        guidance_scale=scale,
    ).latents.samples  # fmt: skip
    plain = run(
        "txt2img", model=f"random:{family}", scheduler=name, prompt=PROMPT, seed=3, steps=STEPS, guidance_scale=scale
    ).latents.samples
    assert not bool((found == plain).all()), "the setting changes nothing"
    return float((found - expected).abs().max())


def _rescaled(family: str, name: str, share: float) -> Row:
    make, title = (xl, "StableDiffusionXLPipeline") if family == "sdxl" else (sd, "StableDiffusionPipeline")
    compute = partial(
        _difference, make, family, name, {"guidance_rescale": share}, guidance_rescale=share, guidance_scale=7.5
    )
    return Row("txt2img", family, name, f"guidance_rescale {share}", title, compute)


def _interval(family: str, name: str, end: float) -> Row:
    """Guidance from the first step to `end`, then none."""
    make, title = (xl, "StableDiffusionXLPipeline") if family == "sdxl" else (sd, "StableDiffusionPipeline")
    tensors = ["prompt_embeds", *(["add_text_embeds", "add_time_ids"] if family == "sdxl" else [])]
    compute = partial(
        _difference, make, family, name, {"guidance_end": end}, guidance_scale=7.5,
        callback_on_step_end=_until(end), callback_on_step_end_tensor_inputs=tensors,
    )  # fmt: skip
    return Row("txt2img", family, name, f"guidance to {end}", f"{title}, guidance changed by callback", compute)


ROWS = [
    *(_rescaled("sd15", name, 0.7) for name in ("default", "euler", "dpmpp_2m_karras")),
    _rescaled("sd21", "ddim", 0.7),
    *(_rescaled("sd21_zero_snr", name, 0.7) for name in ("default", "ddpm", "euler", "unipc")),
    _rescaled("sdxl", "default", 0.7),
    _rescaled("sdxl", "euler_ancestral", 0.3),
    *(_interval("sd15", name, 0.5) for name in ("default", "ddim", "euler_ancestral")),
    _interval("sdxl", "default", 0.5),
]
