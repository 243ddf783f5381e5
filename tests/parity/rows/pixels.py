"""Models of pixels: DDPM, DDIM, and improved DDPM with its learned variance."""

from __future__ import annotations

from collections.abc import Sequence
from functools import partial
from typing import Any

import diffusers
import torch
from torch import Tensor

from tests.parity import oracle
from tests.parity.parts import parts
from tests.parity.table import Row
from tests.parity.text_pipelines import run

FOUR = (11, 12, 13, 14)


def _last(pipeline: Any, seeds: Sequence[int], settings: dict[str, Any]) -> Tensor:
    """What the last step of a pipeline gives, before it is cut to the range of a picture."""
    pipeline.set_progress_bar_config(disable=True)
    step, given = pipeline.scheduler.step, []

    def record(*arguments: Any, **named: Any) -> Any:
        given.append(step(*arguments, **named))
        return given[-1]

    pipeline.scheduler.step = record
    generators = oracle.generators(seeds)
    drawn = generators if len(seeds) > 1 else generators[0]
    pipeline(batch_size=len(seeds), generator=drawn, output_type="pt", **settings)
    last: Tensor = given[-1].prev_sample
    return last


def _difference(ours: str, family: str, seeds: Sequence[int], eta: float | None, steps: int) -> float:
    found = parts(f"random:{family}")
    scheduler, inputs, settings = found["scheduler"], {}, {"num_inference_steps": steps}
    if eta is None:
        pipeline = diffusers.DDPMPipeline(found["unet"], scheduler)
    else:
        scheduler = diffusers.DDIMScheduler.from_config(scheduler.config)
        pipeline = diffusers.DDIMPipeline(found["unet"], scheduler)
        settings |= {"eta": eta, "use_clipped_model_output": False}
        inputs = {"eta": eta}
    expected = _last(pipeline, seeds, settings)
    made = run(ours, model=f"random:{family}", seed=seeds[0], batch_size=len(seeds), steps=steps, **inputs)
    assert torch.isfinite(expected).all()
    assert torch.equal(made.image.pixels, (expected / 2 + 0.5).clamp(0, 1))
    return float((made.latents.samples - expected).abs().max())


def _row(
    ours: str, case: str, *, family: str = "ddpm", seeds: Sequence[int] = (3,), eta: float | None = None, steps: int = 5
) -> Row:
    compute = partial(_difference, ours, family, seeds, eta, steps)
    name = "ddpm" if eta is None else "ddim"
    return Row(ours, family, name, case, "DDPMPipeline" if eta is None else "DDIMPipeline", compute)


ROWS = [
    _row("ddpm", "5 steps"),
    _row("ddpm", "100 steps", steps=100),
    _row("ddpm", "batch of 4", seeds=FOUR),
    _row("improved_ddpm", "5 steps", family="improved_ddpm"),
    _row("improved_ddpm", "50 steps", family="improved_ddpm", steps=50),
    _row("improved_ddpm", "batch of 4", family="improved_ddpm", seeds=FOUR),
    *(_row("ddim", f"eta {eta}", eta=eta) for eta in (0.0, 0.5, 1.0)),
    _row("ddim", "eta 0.5, batch of 4", eta=0.5, seeds=FOUR),
]
