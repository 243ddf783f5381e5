"""What diffusers makes of the same weights, seeds and settings: the truth of the parity tests.

The schedulers are made here as a person makes them who reads diffusers' documentation, from names alone; the table of
`nodes.sampling.schedulers` is not looked at, so that a mistake in it shows.
"""

from __future__ import annotations

import copy
import functools
import json
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import diffusers
import torch
from PIL import Image as Pillow
from torch import Tensor

KARRAS = {"use_karras_sigmas": True}
SDE_2M = {"algorithm_type": "sde-dpmsolver++"}

SCHEDULERS: dict[str, tuple[str | None, dict[str, Any]]] = {
    "default": (None, {}),
    "ddim": ("DDIMScheduler", {}),
    "ddpm": ("DDPMScheduler", {}),
    "deis": ("DEISMultistepScheduler", {}),
    "dpmpp_2m": ("DPMSolverMultistepScheduler", {}),
    "dpmpp_2m_karras": ("DPMSolverMultistepScheduler", KARRAS),
    "dpmpp_2m_sde": ("DPMSolverMultistepScheduler", SDE_2M),
    "dpmpp_2m_sde_karras": ("DPMSolverMultistepScheduler", SDE_2M | KARRAS),
    "dpmpp_sde": ("DPMSolverSDEScheduler", {}),
    "dpmpp_sde_karras": ("DPMSolverSDEScheduler", KARRAS),
    "dpmpp_singlestep": ("DPMSolverSinglestepScheduler", {}),
    "edm_euler": ("EDMEulerScheduler", {}),
    "euler": ("EulerDiscreteScheduler", {}),
    "euler_ancestral": ("EulerAncestralDiscreteScheduler", {}),
    "heun": ("HeunDiscreteScheduler", {}),
    "ipndm": ("IPNDMScheduler", {}),
    "kdpm2": ("KDPM2DiscreteScheduler", {}),
    "kdpm2_ancestral": ("KDPM2AncestralDiscreteScheduler", {}),
    "lcm": ("LCMScheduler", {}),
    "lms": ("LMSDiscreteScheduler", {}),
    "pndm": ("PNDMScheduler", {"skip_prk_steps": True}),
    "pndm_prk": ("PNDMScheduler", {"skip_prk_steps": False}),
    "sa_solver": ("SASolverScheduler", {}),
    "tcd": ("TCDScheduler", {}),
    "unipc": ("UniPCMultistepScheduler", {}),
}
"""Name in a workflow: class in diffusers (None: the model's own) and what its name asks for."""


@dataclass(frozen=True)
class Result:
    """Pictures (batch, 3, height, width) in [0, 1], and the latents after every call of the scheduler."""

    pixels: Tensor
    steps: list[Tensor]


def scheduler(pipeline: Any, name: str, seeds: Sequence[int] = (0,)) -> Any:
    """A scheduler in the place of the pipeline's own.

    The pipelines do not hand their generators to DPMSolverSDE, whose noise else comes from torch's global seed: it
    is told the seeds of the images by its own setting, `noise_sampler_seed`.
    """
    kind, settings = SCHEDULERS[name]
    if kind == "DPMSolverSDEScheduler":
        settings = settings | {"noise_sampler_seed": list(seeds)}
    own = pipeline.scheduler
    made = _constructed(type(own).__name__, json.dumps(dict(own.config)), kind, json.dumps(settings))
    return copy.deepcopy(made)


@functools.cache
def _constructed(own_class: str, config: str, kind: str | None, settings: str) -> Any:
    """Never stepped; remembered because some constructors take a third of a second."""
    chosen = getattr(diffusers, kind or own_class)
    return chosen.from_config(json.loads(config), **json.loads(settings))


def generators(seeds: Sequence[int]) -> list[torch.Generator]:
    return [torch.Generator("cpu").manual_seed(seed) for seed in seeds]


def txt2img(
    pipeline: Any, prompt: str, *, name: str = "default", seeds: Sequence[int] = (0,), negative_prompt: str = "",
    **settings: Any,
) -> Result:  # fmt: skip
    """What `StableDiffusionPipeline` makes; one picture and one generator per seed."""
    made = diffusers.StableDiffusionPipeline(**_parts(pipeline, name, seeds))
    return _run(made, prompt, negative_prompt, seeds, settings)


def img2img(
    pipeline: Any, prompt: str, picture: Path, *, name: str = "default", seeds: Sequence[int] = (0,),
    negative_prompt: str = "", **settings: Any,
) -> Result:  # fmt: skip
    """What `StableDiffusionImg2ImgPipeline` makes of a picture file."""
    made = diffusers.StableDiffusionImg2ImgPipeline(**_parts(pipeline, name, seeds))
    image = Pillow.open(picture).convert("RGB")
    return _run(made, prompt, negative_prompt, seeds, {**settings, "image": [image] * len(seeds)})


def _parts(pipeline: Any, name: str, seeds: Sequence[int]) -> dict[str, Any]:
    kept = ("vae", "text_encoder", "tokenizer", "unet")
    none = ("safety_checker", "feature_extractor", "image_encoder")
    return {
        **{part: getattr(pipeline, part) for part in kept}, **dict.fromkeys(none),
        "scheduler": scheduler(pipeline, name, seeds), "requires_safety_checker": False,
    }  # fmt: skip


def _run(made: Any, prompt: str, negative_prompt: str, seeds: Sequence[int], settings: dict[str, Any]) -> Result:
    made.set_progress_bar_config(disable=True)
    steps: list[Tensor] = []

    def record(_pipeline: Any, _index: int, _timestep: Any, values: dict[str, Tensor]) -> dict[str, Tensor]:
        steps.append(values["latents"].clone())
        return {}

    found = made(
        [prompt] * len(seeds), negative_prompt=[negative_prompt] * len(seeds), generator=generators(seeds),
        output_type="np", callback_on_step_end=record, **settings,
    )  # fmt: skip
    return Result(torch.from_numpy(found.images).permute(0, 3, 1, 2), steps)
