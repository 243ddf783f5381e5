"""Inpainting and the second pass of hires-fix: against the pipelines of diffusers."""

from __future__ import annotations

import dataclasses
import functools
import tempfile
from collections.abc import Sequence
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import diffusers
import numpy as np
import torch
from PIL import Image as Pillow

from graphcore import Engine
from graphcore.files.workflow import Link
from nodes.pictures import pixels
from tests.parity import oracle
from tests.parity.parts import parts
from tests.parity.shipped import REGISTRY, workflow
from tests.parity.table import Row

STEPS = 5
PROMPT = "a red cat on the apple"
GUIDANCE = 4.0
SQUARE, WIDE = (32, 32), (80, 48)
"""Pixels; the wide one makes 24 x 40 latents."""


@functools.cache
def _files() -> Path:
    """A folder with a picture of random pixels, and a mask of random grey of another size."""
    folder = Path(tempfile.mkdtemp(prefix="stepgraph-parity-"))
    random = np.random.default_rng(0)
    Pillow.fromarray(random.integers(0, 256, (50, 70, 3), dtype=np.uint8)).save(folder / "picture.png")
    soft = Pillow.fromarray(random.integers(0, 256, (6, 5), dtype=np.uint8)).resize((60, 45), Pillow.Resampling.BICUBIC)
    soft.save(folder / "mask.png")
    return folder


def inpaint(model: str, name: str, strength: float, size: tuple[int, int], seeds: Sequence[int]) -> float:
    """Ours against `StableDiffusion(XL)InpaintPipeline`: largest difference of the final latents."""
    folder = _files()
    with Engine(registry=REGISTRY, cache=None, device="cpu", dtype="float32") as engine:
        found = engine.run(
            workflow("inpaint"), model=model, image=str(folder / "picture.png"), mask=str(folder / "mask.png"),
            prompt=PROMPT, strength=strength, steps=STEPS, scheduler=name, width=size[0], height=size[1],
            seed=seeds[0], batch_size=len(seeds), guidance_scale=GUIDANCE,
        )  # fmt: skip
    picture = Pillow.open(folder / "picture.png").convert("RGB")
    expected = _oracle("Inpaint", model, name, seeds)(
        image=[picture] * len(seeds), mask_image=Pillow.open(folder / "mask.png"), strength=strength, width=size[0],
        height=size[1], generator=oracle.generators(seeds),
    )  # fmt: skip
    return _difference(found.latents.samples, expected)


def hires(model: str, name: str, upscale: str, strength: float, seeds: Sequence[int]) -> float:
    """The second pass against `StableDiffusion(XL)Img2ImgPipeline`, given the same enlarged picture or latents."""
    shipped = workflow("hires_fix")
    larger = Link("larger_latents" if upscale == "latents" else "larger_image", "")
    wanted = dataclasses.replace(shipped, outputs={**shipped.outputs, "larger": larger})
    with Engine(registry=REGISTRY, cache=None, device="cpu", dtype="float32") as engine:
        found = engine.run(
            wanted, model=model, prompt=PROMPT, steps=STEPS, scheduler=name, seed=seeds[0], batch_size=len(seeds),
            guidance_scale=GUIDANCE, upscale=upscale, strength=strength, scale=1.5, width=32,
            height=32,
        )  # fmt: skip
    opened = oracle.generators(seeds)
    for generator in opened:
        torch.randn(1, 4, 16, 16, generator=generator)  # the noise of the first pass
    image = found.larger.samples if upscale == "latents" else pixels.to_pictures(found.larger.pixels)
    expected = _oracle("Img2Img", model, name, seeds)(image=image, strength=strength, generator=opened)
    return _difference(found.latents.samples, expected)


def _difference(ours: torch.Tensor, theirs: torch.Tensor) -> float:
    assert ours.shape == theirs.shape
    return float((ours - theirs).abs().max())


def _oracle(task: str, model: str, name: str, seeds: Sequence[int]) -> Any:
    """A diffusers pipeline on the same modules, as a function of what is special to the task; gives latents."""
    own = parts(model)
    kind = "StableDiffusionXL" if "text_encoder_2" in own else "StableDiffusion"
    chosen = oracle.scheduler(SimpleNamespace(scheduler=own["scheduler"]), name, seeds)
    more = {"add_watermarker": False} if "text_encoder_2" in own else {
        "safety_checker": None, "feature_extractor": None, "requires_safety_checker": False,
    }  # fmt: skip
    pipeline = getattr(diffusers, f"{kind}{task}Pipeline")(**{**own, "scheduler": chosen}, **more)
    pipeline.set_progress_bar_config(disable=True)

    def run(**settings: Any) -> torch.Tensor:
        made = pipeline(
            prompt=PROMPT, num_images_per_prompt=len(seeds), num_inference_steps=STEPS, guidance_scale=GUIDANCE,
            output_type="latent", **settings,
        )  # fmt: skip
        latents: torch.Tensor = made.images
        return latents

    return run


def _inpaint(
    family: str, scheduler: str, strength: float, size: tuple[int, int] = SQUARE, seeds: Sequence[int] = (3,)
) -> Row:
    kind = "XL" if family.startswith("sdxl") else ""
    case = f"strength {strength:g}" + (", 24x40 latents" if size == WIDE else "")
    case += f", batch of {len(seeds)}" if len(seeds) > 1 else ""
    return Row(
        "inpaint", family, scheduler, case, f"StableDiffusion{kind}InpaintPipeline",
        lambda: inpaint(f"random:{family}", scheduler, strength, size, seeds),
    )  # fmt: skip


def _hires(family: str, scheduler: str, upscale: str, strength: float, seeds: Sequence[int] = (3,)) -> Row:
    kind = "XL" if family.startswith("sdxl") else ""
    case = f"{upscale}, strength {strength:g}" + (f", batch of {len(seeds)}" if len(seeds) > 1 else "")
    return Row(
        "hires_fix", family, scheduler, case, f"StableDiffusion{kind}Img2ImgPipeline",
        lambda: hires(f"random:{family}", scheduler, upscale, strength, seeds),
    )  # fmt: skip


FOUR = (3, 4, 5, 6)

ROWS = [
    *(_inpaint(family, "default", strength) for family in ("sd15", "sd15_inpaint") for strength in (1.0, 0.6, 0.3)),
    *(_inpaint("sd15", name, 1.0) for name in ("ddim", "euler_ancestral", "dpmpp_2m_karras", "unipc", "heun")),
    *(_inpaint("sd15", name, 0.6) for name in ("euler", "dpmpp_2m_sde", "kdpm2_ancestral", "lms", "ddpm")),
    *(_inpaint("sd15_inpaint", name, 1.0) for name in ("ddim", "euler_ancestral", "dpmpp_2m_karras", "heun")),
    *(_inpaint("sd15_inpaint", name, 0.6) for name in ("euler", "unipc", "dpmpp_2m_sde")),
    *(_inpaint(family, "euler_ancestral", 0.6, WIDE, FOUR) for family in ("sd15", "sd15_inpaint")),
    *(_inpaint(family, "ddim", 1.0, WIDE, FOUR) for family in ("sd15", "sd15_inpaint")),
    _inpaint("sd21", "ddim", 0.6),
    *(_inpaint(family, "default", strength) for family in ("sdxl", "sdxl_inpaint") for strength in (1.0, 0.6)),
    _inpaint("sdxl_inpaint", "euler_ancestral", 0.6, WIDE, FOUR),
    _hires("sd15", "default", "latents", 0.5),
    _hires("sd15", "euler_ancestral", "latents", 0.7, FOUR),
    _hires("sd15", "ddim", "picture", 0.4),
    _hires("sd15", "dpmpp_2m_karras", "picture", 0.7, FOUR),
    _hires("sdxl", "default", "picture", 0.6),
]
