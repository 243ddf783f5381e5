"""Brain activity to image: against the sampling loop of the paper, written out with diffusers' parts."""

from __future__ import annotations

import torch

from graphcore import Engine
from tests.parity import oracle
from tests.parity.parts import parts
from tests.parity.shipped import REGISTRY, workflow
from tests.parity.table import Row

STEPS = 5

LOOP = "the paper's loop with diffusers' UNet and scheduler (it has no such pipeline; the encoder is ours)"


def difference(scheduler: str, seeds: tuple[int, ...]) -> float:
    with Engine(registry=REGISTRY, cache=None, device="cpu", dtype="float32") as engine:
        found = engine.run(workflow("fmri"), seed=seeds[0], batch_size=len(seeds), steps=STEPS, scheduler=scheduler)
    expected = sampled(scheduler, seeds)
    return float((found.latents.samples - expected).abs().max())


def sampled(name: str, seeds: tuple[int, ...]) -> torch.Tensor:
    """Voxels normalised and wrapped by hand, both conditions, one UNet call a step, no guidance."""
    own = parts("random:fmri")
    scheduler = oracle.scheduler(_Pipeline(own["scheduler"]), name, seeds)
    scheduler.set_timesteps(STEPS)
    opened = oracle.generators(seeds)
    latents = torch.cat([torch.randn((1, 3, 16, 16), generator=one) for one in opened]) * scheduler.init_noise_sigma
    with torch.no_grad():
        context, vector = own["encoder"](voxels())
        context, vector = context.repeat(len(seeds), 1, 1), vector.repeat(len(seeds), 1)
        for timestep in scheduler.timesteps:
            scaled = scheduler.scale_model_input(latents, timestep)
            noise_pred = own["unet"](scaled, timestep, context, class_labels=vector).sample
            settings = {"generator": opened} if name in ("ddpm", "euler_ancestral") else {}
            latents = scheduler.step(noise_pred, timestep, latents, **settings).prev_sample
    return latents


def voxels() -> torch.Tensor:
    """The measurement `random:60`: drawn, continued from its start to 64 voxels, z = (x - mean) / std."""
    drawn = torch.randn(1, 60, generator=torch.Generator().manual_seed(60))
    padded = torch.cat([drawn, drawn[:, :4]], dim=1)
    return (padded - float(padded.mean())) / float(padded.std(correction=0))


class _Pipeline:
    """What the oracle asks a pipeline for."""

    def __init__(self, scheduler: object) -> None:
        self.scheduler = scheduler


def _row(scheduler: str, case: str, seeds: tuple[int, ...]) -> Row:
    return Row("fmri", "fmri", scheduler, case, LOOP, lambda: difference(scheduler, seeds))


ROWS = [
    _row("pndm", "PLMS, no guidance", (3,)),
    _row("ddim", "no guidance", (3,)),
    _row("euler_ancestral", "batch of 5, five seeds", (3, 4, 5, 6, 7)),
]
