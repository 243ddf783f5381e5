"""The conditions of the latent diffusion paper: classes, semantic maps, low-resolution pictures.

diffusers has a pipeline for super-resolution only; for the others the oracle is the loop of the paper, written here
with diffusers' UNet and scheduler alone, and with the encoders' weights rather than their code.
"""

from __future__ import annotations

from collections.abc import Sequence
from functools import partial
from types import SimpleNamespace
from typing import Any

import diffusers
import numpy as np
import torch
from PIL import Image as Pillow
from torch import Tensor
from torch.nn import functional

from graphcore import Engine
from nodes import resources
from tests.parity import oracle
from tests.parity.parts import parts
from tests.parity.shipped import REGISTRY, workflow
from tests.parity.table import Row

STEPS = 5
PICTURE = resources.workflow_folder() / "example.png"
MAP = resources.workflow_folder() / "example_map.png"
OWN_LOOP = "a loop of diffusers' {} and scheduler (it has no such pipeline)"


def _difference(name: str, seeds: Sequence[int], expected: Tensor, **inputs: Any) -> float:
    with Engine(registry=REGISTRY, cache=None, device="cpu", dtype="float32") as engine:
        found = engine.run(workflow(name), seed=seeds[0], steps=STEPS, **inputs).latents.samples
    assert torch.isfinite(expected).all()
    assert found.shape == expected.shape
    return float((found - expected).abs().max())


def _scheduler(found: dict[str, Any], name: str, seeds: Sequence[int]) -> Any:
    return oracle.scheduler(SimpleNamespace(scheduler=found["scheduler"]), name, seeds)


@torch.no_grad()
def _loop(
    unet: Any, scheduler: Any, seeds: Sequence[int], side: int, *, contexts: Sequence[Tensor] = (),
    concat: Tensor | None = None, guidance_scale: float = 1.0, eta: float = 0.0,
) -> Tensor:  # fmt: skip
    """Denoise from noise; `contexts` are the unconditional and the conditional one, each (1, tokens, width)."""
    generators = oracle.generators(seeds)
    scheduler.set_timesteps(STEPS)
    latents = torch.cat([torch.randn(1, 3, side, side, generator=generator) for generator in generators])
    latents = latents * scheduler.init_noise_sigma
    settings = {"eta": eta, "generator": generators} if isinstance(scheduler, diffusers.DDIMScheduler) else {}
    for timestep in scheduler.timesteps:
        scaled = scheduler.scale_model_input(latents, timestep)
        if contexts:
            context = torch.cat([one.repeat(len(seeds), 1, 1) for one in contexts])
            uncond, cond = unet(torch.cat([scaled] * 2), timestep, encoder_hidden_states=context).sample.chunk(2)
            noise_pred = uncond + guidance_scale * (cond - uncond)
        else:
            assert concat is not None
            noise_pred = unet(torch.cat([scaled, concat.repeat(len(seeds), 1, 1, 1)], dim=1), timestep).sample
        latents = scheduler.step(noise_pred, timestep, latents, **settings).prev_sample
    return latents


def classes(scheduler: str, seeds: Sequence[int], class_id: int, guidance_scale: float, eta: float) -> float:
    """Classifier-free guidance by the null class, the last row of the table."""
    found = parts("random:ldm_class")
    table = found["encoder"].embedding.weight
    expected = _loop(
        found["unet"], _scheduler(found, scheduler, seeds), seeds, 16,
        contexts=[table[-1][None, None], table[class_id][None, None]], guidance_scale=guidance_scale, eta=eta,
    )  # fmt: skip
    return _difference(
        "class_conditional", seeds, expected, class_id=class_id, guidance_scale=guidance_scale, scheduler=scheduler,
        batch_size=len(seeds), eta=eta,
    )  # fmt: skip


def semantic(scheduler: str, seeds: Sequence[int]) -> float:
    """A one-hot map, halved twice, then a 1 x 1 convolution."""
    found = parts("random:ldm_semantic")
    ids = torch.from_numpy(np.array(Pillow.open(MAP))).long()[None]
    one_hot = functional.one_hot(ids, 5).permute(0, 3, 1, 2).float()
    for _ in range(2):
        one_hot = functional.interpolate(one_hot, scale_factor=0.5, mode="bilinear")
    concat = functional.conv2d(one_hot, found["encoder"].channel_mapper.weight)
    expected = _loop(found["unet"], _scheduler(found, scheduler, seeds), seeds, 16, concat=concat)
    return _difference("semantic_map", seeds, expected, scheduler=scheduler, batch_size=len(seeds))


def super_resolution(scheduler: str, seed: int, eta: float) -> float:
    """The latents that the pipeline's decoder is given."""
    found = parts("random:ldm_super_resolution")
    decoded: list[Tensor] = []

    def record(latents: Tensor) -> Any:
        decoded.append(latents)
        return SimpleNamespace(sample=latents)

    autoencoder = diffusers.VQModel.from_config(found["vae"].config)
    autoencoder.decode = record
    made, [generator] = _scheduler(found, scheduler, [seed]), oracle.generators([seed])
    if eta:  # the pipeline forgets to hand its generator on, so that its noise is not that of the seed
        made.step = partial(made.step, generator=generator)
    pipeline = diffusers.LDMSuperResolutionPipeline(autoencoder, found["unet"], made)
    pipeline.set_progress_bar_config(disable=True)
    picture = Pillow.open(PICTURE).convert("RGB")
    pipeline(picture, num_inference_steps=STEPS, eta=eta, generator=generator, output_type="pt")
    return _difference("super_resolution", [seed], decoded[0], scheduler=scheduler, eta=eta)


def _class(
    case: str, scheduler: str, *, seeds: Sequence[int] = (3,), class_id: int = 4, guidance_scale: float = 1.5,
    eta: float = 0.0,
) -> Row:  # fmt: skip
    call = partial(classes, scheduler, seeds, class_id, guidance_scale, eta)
    return Row("class_conditional", "ldm_class", scheduler, case, OWN_LOOP.format("UNet2DConditionModel"), call)


def _semantic(case: str, scheduler: str, seeds: Sequence[int] = (3,)) -> Row:
    call = partial(semantic, scheduler, seeds)
    return Row("semantic_map", "ldm_semantic", scheduler, case, OWN_LOOP.format("UNet2DModel"), call)


def _larger(case: str, scheduler: str, eta: float = 0.0) -> Row:
    call = partial(super_resolution, scheduler, 3, eta)
    return Row("super_resolution", "ldm_super_resolution", scheduler, case, "LDMSuperResolutionPipeline", call)


ROWS = [
    _class("class 4, scale 1.5", "ddim"),
    _class("class 4, scale 1.5", "pndm"),
    _class("class 0, scale 5", "ddim", class_id=0, guidance_scale=5.0),
    _class("eta 1", "ddim", eta=1.0),
    _class("batch of 3", "dpmpp_2m", seeds=(3, 4, 5)),
    _semantic("example map", "ddim"),
    _semantic("example map", "pndm"),
    _semantic("batch of 3", "euler", (3, 4, 5)),
    _larger("64x64 pixels", "ddim"),
    _larger("eta 0.5", "ddim", 0.5),
    _larger("eta 1", "ddim", 1.0),
    _larger("64x64 pixels", "pndm"),
    _larger("64x64 pixels", "dpmpp_2m"),
]
