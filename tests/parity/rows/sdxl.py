"""SDXL: two text encoders, pooled text, sizes; its refiner."""

from __future__ import annotations

from functools import partial
from typing import Any

from tests.parity import oracle
from tests.parity.table import Row
from tests.parity.text_pipelines import PROMPT, SIX, difference, run, xl

FOUR = (11, 12, 13, 14)

CASES: dict[str, dict[str, Any]] = {
    "guidance 1": {"guidance_scale": 1.0},
    "negative prompt": {"negative_prompt": "the car"},
    "clip_skip 1": {"clip_skip": 1},
    "batch of 4": {"seeds": FOUR},
    "24x40 latents": {"height": 48, "width": 80},
}
STRENGTHS = (0.3, 0.6, 1.0)


def _row(scheduler: str, case: str, settings: dict[str, Any]) -> Row:
    image = "strength" in settings
    name = "StableDiffusionXLImg2ImgPipeline" if image else "StableDiffusionXLPipeline"
    compute = partial(difference, xl, "sdxl", scheduler, **{"guidance_scale": 5.0, **settings})
    return Row("img2img" if image else "txt2img", "sdxl", scheduler, case, name, compute)


def _refiner(scheduler: str, case: str, settings: dict[str, Any]) -> Row:
    """Its pipeline encodes an empty negative prompt."""
    given = {"guidance_scale": 5.0, "negative_prompt": "", **settings}
    compute = partial(difference, xl, "sdxl_refiner", scheduler, **given)
    return Row("img2img", "sdxl_refiner", scheduler, case, "StableDiffusionXLImg2ImgPipeline", compute)


def _ensemble(scheduler: str, at: float, steps: int, seeds: tuple[int, ...]) -> float:
    """The base up to a share of the diffusion, then the refiner; the generators go on from one to the other."""
    settings = {"guidance_scale": 5.0, "num_inference_steps": steps}
    drawn = oracle.generators(seeds)
    base = xl("random:sdxl", scheduler, seeds, **settings, generator=drawn, denoising_end=at)
    expected = xl(
        "random:sdxl_refiner", scheduler, seeds, **settings, generator=drawn, image=base, denoising_start=at,
        negative_prompt="",
    )  # fmt: skip
    found = run(
        "sdxl_base_refiner", prompt=PROMPT, seed=seeds[0], batch_size=len(seeds), steps=steps, scheduler=scheduler,
        guidance_scale=5.0, refine_from=at,
    )  # fmt: skip
    assert float((found.unrefined.samples - base).abs().max()) == 0
    assert float((expected - base).abs().max()) > 0
    return float((found.latents.samples - expected).abs().max())


def _split(scheduler: str, at: float = 0.8, steps: int = 5, seeds: tuple[int, ...] = (3,)) -> Row:
    case = f"denoising_end {at}" + (" batch of 4" if len(seeds) > 1 else "")
    pair = "StableDiffusionXLPipeline + StableDiffusionXLImg2ImgPipeline"
    compute = partial(_ensemble, scheduler, at, steps, seeds)
    return Row("sdxl_base_refiner", "sdxl + refiner", scheduler, case, pair, compute)


ROWS = [
    *(_row(name, "guidance 5", {}) for name in SIX),
    *(_row(name, case, settings) for case, settings in CASES.items() for name in ("default", "euler_ancestral")),
    *(
        _row(name, f"strength {strength}", {"strength": strength})
        for strength in STRENGTHS for name in ("default", "euler_ancestral", "dpmpp_2m")
    ),
    *(_split(name) for name in (*SIX, "dpmpp_2m_sde", "unipc")),
    *(_split("default", at) for at in (0.2, 0.5)),
    _split("euler_ancestral", seeds=FOUR),
    *(_refiner("default", f"strength {strength}", {"strength": strength}) for strength in STRENGTHS),
]  # fmt: skip
