"""The embedded model, which is no random one: text to image and image to image, as the workflows do by default."""

from __future__ import annotations

from functools import partial
from pathlib import Path
from typing import Any

from graphcore import Engine
from nodes import resources
from tests.parity import oracle
from tests.parity.parts import parts
from tests.parity.shipped import REGISTRY, workflow
from tests.parity.table import Row

MODEL = "builtin:emoji"
STEPS = 4
PICTURE: Path = resources.workflow_folder() / "example.png"


class _Pipeline:
    """The parts of the embedded model by the names that the oracle asks for."""

    def __init__(self) -> None:
        for name, part in parts(MODEL).items():
            setattr(self, name, part)


def difference(task: str, scheduler: str, seeds: tuple[int, ...], **settings: Any) -> float:
    """Of the latents after the last step."""
    with Engine(registry=REGISTRY, cache=None, device="cpu", dtype="float32") as engine:
        given = {"prompt": "a red apple", "steps": STEPS, "scheduler": scheduler, "guidance_scale": 4.0, **settings}
        found = engine.run(workflow(task), model=MODEL, seed=seeds[0], batch_size=len(seeds), **given)
    more = {"guidance_scale": 4.0, "num_inference_steps": STEPS, **settings}
    run = partial(oracle.img2img, picture=PICTURE) if task == "img2img" else oracle.txt2img
    expected = run(_Pipeline(), "a red apple", name=scheduler, seeds=seeds, **more)
    return float((found.latents.samples - expected.steps[-1]).abs().max())


def _row(task: str, scheduler: str, case: str, seeds: tuple[int, ...] = (5,), **settings: Any) -> Row:
    kind = "StableDiffusionPipeline" if task == "txt2img" else "StableDiffusionImg2ImgPipeline"
    return Row(task, "builtin:emoji", scheduler, case, kind, partial(difference, task, scheduler, seeds, **settings))


ROWS = [
    _row("txt2img", "default", "guidance 4"),
    _row("txt2img", "dpmpp_2m_karras", "guidance 4"),
    _row("txt2img", "euler_ancestral", "batch of 2", (5, 6)),
    _row("img2img", "default", "strength 0.5", strength=0.5),
]
