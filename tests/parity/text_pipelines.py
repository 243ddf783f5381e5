"""The diffusers pipelines that make pictures from text, on the very modules of our random models; and our runs."""

from __future__ import annotations

import functools
import tempfile
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from types import SimpleNamespace
from typing import Any
from unittest import mock

import diffusers
import numpy as np
import transformers
from PIL import Image as Pillow
from torch import Tensor

from graphcore import Engine, Workflow
from tests.parity import oracle
from tests.parity.parts import parts
from tests.parity.shipped import REGISTRY, workflow

PROMPT = "a red apple on the cat"
STEPS = 4

NO_GUARDS = {"safety_checker": None, "feature_extractor": None, "image_encoder": None, "requires_safety_checker": False}
NO_EXTRAS = {"feature_extractor": None, "image_encoder": None, "add_watermarker": False}

SIX = ("default", "ddim", "euler", "euler_ancestral", "dpmpp_2m_karras", "heun")
"""Schedulers of different kinds: one step and several, first and second order, with noise and without."""


def run(name: str | Workflow, **inputs: Any) -> Any:
    """What a shipped workflow gives, without a cache."""
    with Engine(registry=REGISTRY, cache=None, device="cpu", dtype="float32") as engine:
        return engine.run(workflow(name) if isinstance(name, str) else name, **inputs)


def scheduler(own: Any, name: str, seeds: Sequence[int]) -> Any:
    """A scheduler in the place of the model's own."""
    return oracle.scheduler(SimpleNamespace(scheduler=own), name, seeds)


@functools.cache
def picture() -> Path:
    """A picture file of 32 x 32 random pixels."""
    path = Path(tempfile.mkdtemp()) / "random.png"
    Pillow.fromarray(np.random.default_rng(0).integers(0, 256, (32, 32, 3), dtype=np.uint8)).save(path)
    return path


def pictures(count: int) -> list[Any]:
    return [Pillow.open(picture()).convert("RGB")] * count


@contextmanager
def with_text_model() -> Iterator[None]:
    """Give CLIPTextModel the `text_model` that transformers 5.6 took from it and that diffusers 0.42 looks for with a
    `clip_skip`.
    """
    itself = property(lambda module: module)
    with mock.patch.object(transformers.CLIPTextModel, "text_model", itself, create=True):
        yield


def latents(pipeline: Any, seeds: Sequence[int], **settings: Any) -> Tensor:
    """The final latents of a pipeline; one picture and one generator per seed.

    The prompt is given once, as it is to ours: text encoders add up in another order for another batch size.
    """
    pipeline.set_progress_bar_config(disable=True)
    settings = {
        "prompt": PROMPT, "num_inference_steps": STEPS, "generator": oracle.generators(seeds), **settings
    }  # fmt: skip
    with with_text_model():
        return pipeline(num_images_per_prompt=len(seeds), output_type="latent", **settings).images


def sd(model: str, name: str, seeds: Sequence[int], **settings: Any) -> Tensor:
    """StableDiffusionPipeline, or its img2img with `strength`."""
    own = parts(model)
    given = {part: own[part] for part in ("vae", "text_encoder", "tokenizer", "unet")}
    kind = diffusers.StableDiffusionPipeline
    if "strength" in settings:
        kind, settings["image"] = diffusers.StableDiffusionImg2ImgPipeline, pictures(len(seeds))
    made = kind(**given, **NO_GUARDS, scheduler=scheduler(own["scheduler"], name, seeds))
    return latents(made, seeds, **settings)


def xl(model: str, name: str, seeds: Sequence[int], **settings: Any) -> Tensor:
    """StableDiffusionXLPipeline, or its img2img with `strength` or `image`."""
    own = parts(model)
    given = {part: own.get(part) for part in ("vae", "unet")}
    given |= {f"{part}{end}": own.get(f"{part}{end}") for part in ("text_encoder", "tokenizer") for end in ("", "_2")}
    if given["text_encoder_2"] is None:  # the refiner's only one
        for part in ("text_encoder", "tokenizer"):
            given[f"{part}_2"], given[part] = given[part], None
    refiner = given["text_encoder"] is None
    kind: Callable[..., Any] = diffusers.StableDiffusionXLPipeline
    if "strength" in settings or "image" in settings:
        kind = functools.partial(diffusers.StableDiffusionXLImg2ImgPipeline, requires_aesthetics_score=refiner)
        settings.setdefault("image", pictures(len(seeds)))
    made = kind(
        **given, **NO_EXTRAS, scheduler=scheduler(own["scheduler"], name, seeds),
        force_zeros_for_empty_prompt=not refiner,
    )  # fmt: skip
    return latents(made, seeds, **settings)


def ldm(model: str, name: str, seeds: Sequence[int], **settings: Any) -> Tensor:
    """LDMTextToImagePipeline, which decodes whatever one wants: the latents of its last step."""
    own = parts(model)
    chosen = scheduler(own["scheduler"], name, seeds)
    steps: list[Tensor] = []
    plain = chosen.step

    @functools.wraps(plain)
    def step(*arguments: Any, **options: Any) -> Any:
        found = plain(*arguments, **options)
        steps.append(found.prev_sample)
        return found

    chosen.step = step
    made = diffusers.LDMTextToImagePipeline(
        vqvae=own["vae"], bert=own["text_encoder"], tokenizer=own["tokenizer"], unet=own["unet"], scheduler=chosen
    )
    made.set_progress_bar_config(disable=True)
    made(
        [PROMPT] * len(seeds), generator=oracle.generators(seeds), num_inference_steps=STEPS, output_type="pt",
        **settings,
    )  # fmt: skip
    return steps[-1]


def difference(
    make: Callable[..., Tensor], model: str, name: str, seeds: Sequence[int] = (3,), **settings: Any
) -> float:
    """How far the shipped workflow is from a pipeline, in the final latents.

    Args:
        settings: Of both.
    """
    expected = make(f"random:{model}", name, seeds, **settings)
    which = "img2img" if "strength" in settings else "txt2img"
    own = {"image": str(picture())} if which == "img2img" else {}
    inputs = {**settings, **own}
    found = run(
        which, model=f"random:{model}", scheduler=name, prompt=PROMPT, seed=seeds[0], batch_size=len(seeds),
        steps=STEPS, **inputs,
    ).latents.samples  # fmt: skip
    assert found.shape == expected.shape
    assert expected.isfinite().all()
    assert expected.abs().max() > 0
    return float((found - expected).abs().max())
