"""The Stable Diffusion x4 upscaler: a prompt, and a small picture that is noised by a schedule of its own."""

from __future__ import annotations

import tempfile
from collections.abc import Sequence
from functools import partial
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import diffusers
import torch
from PIL import Image as Pillow
from torch import Tensor

from graphcore import Engine
from nodes import resources
from tests.parity import oracle
from tests.parity.parts import parts
from tests.parity.shipped import REGISTRY, workflow
from tests.parity.table import Row

MODEL = "random:sd_x4_upscaler"
STEPS = 4
PICTURE = resources.workflow_folder() / "example.png"


def difference(scheduler: str, seeds: Sequence[int], size: tuple[int, int], **settings: Any) -> float:
    """Of the final latents, for the example picture resampled to a width and height."""
    given = {
        "prompt": "a red apple",
        "negative_prompt": "the cat",
        "guidance_scale": 9.0,
        "noise_level": 20,
        **settings,
    }
    with tempfile.TemporaryDirectory() as folder:
        picture = Pillow.open(PICTURE).convert("RGB").resize(size)
        picture.save(Path(folder, "small.png"))
        with Engine(registry=REGISTRY, cache=None, device="cpu", dtype="float32") as engine:
            found = engine.run(
                workflow("upscale"), model=MODEL, small=str(Path(folder, "small.png")), seed=seeds[0], steps=STEPS,
                batch_size=len(seeds), scheduler=scheduler, **given,
            ).latents.samples  # fmt: skip
    expected = _pipeline(scheduler, seeds, picture, given)
    assert torch.isfinite(expected).all()
    assert found.shape == expected.shape
    return float((found - expected).abs().max())


def _pipeline(scheduler: str, seeds: Sequence[int], picture: Any, given: dict[str, Any]) -> Tensor:
    """The pipeline wants a picture for each prompt."""
    found = parts(MODEL)
    made = diffusers.StableDiffusionUpscalePipeline(
        vae=found["vae"], text_encoder=found["text_encoder"], tokenizer=found["tokenizer"], unet=found["unet"],
        low_res_scheduler=found["low_res_scheduler"],
        scheduler=oracle.scheduler(SimpleNamespace(scheduler=found["scheduler"]), scheduler, seeds),
    )  # fmt: skip
    made.set_progress_bar_config(disable=True)
    eta = given.pop("eta", 0.0)
    prompts = {name: [given.pop(name)] * len(seeds) for name in ("prompt", "negative_prompt")}
    latents: Tensor = made(
        image=[picture] * len(seeds), generator=oracle.generators(seeds), num_inference_steps=STEPS, eta=eta,
        output_type="latent", **prompts, **given,
    ).images  # fmt: skip
    return latents


def _row(
    scheduler: str, case: str, seeds: Sequence[int] = (3,), size: tuple[int, int] = (32, 32), **settings: Any
) -> Row:
    call = partial(difference, scheduler, seeds, size, **settings)
    return Row("upscale", "sd_x4_upscaler", scheduler, case, "StableDiffusionUpscalePipeline", call)


ROWS = [
    _row("default", "noise level 20"),
    _row("default", "noise level 0, no guidance", noise_level=0, guidance_scale=1.0),
    _row("default", "noise level 350, 45x30 pixels", noise_level=350, size=(45, 30)),
    _row("ddim", "batch of 3, eta 0.5", (3, 4, 5), eta=0.5),
    _row("euler_ancestral", "batch of 2", (3, 4)),
    _row("dpmpp_2m", "noise level 100", noise_level=100),
]
