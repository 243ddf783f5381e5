"""Text to image and image to image with one text encoder: Stable Diffusion 1 and 2, and LDM with BERT."""

from __future__ import annotations

from functools import partial
from typing import Any

import torch

from tests.parity import oracle
from tests.parity.table import Row
from tests.parity.text_pipelines import PROMPT, SIX, STEPS, difference, ldm, run, sd

FOUR = (11, 12, 13, 14)
LDM_SCHEDULERS = ("default", "pndm", "dpmpp_2m", "dpmpp_singlestep", "deis", "unipc")
"""Those whose noise has variance 1: the LDM pipeline scales neither the first noise nor the model's input."""

CASES: dict[str, dict[str, Any]] = {
    "guidance 1": {"guidance_scale": 1.0},
    "negative prompt": {"negative_prompt": "the car"},
    "clip_skip 1": {"clip_skip": 1},
    "clip_skip 2": {"clip_skip": 2},
    "batch of 4": {"seeds": FOUR},
    "24x40 latents": {"height": 48, "width": 80},
}
STRENGTHS = (0.3, 0.6, 1.0)


def _row(model: str, scheduler: str, case: str, settings: dict[str, Any]) -> Row:
    oracle_name = "StableDiffusionImg2ImgPipeline" if "strength" in settings else "StableDiffusionPipeline"
    compute = partial(difference, sd, model, scheduler, **{"guidance_scale": 7.5, **settings})
    return Row("img2img" if "strength" in settings else "txt2img", model, scheduler, case, oracle_name, compute)


def _ldm(scheduler: str, case: str, settings: dict[str, Any]) -> Row:
    compute = partial(difference, ldm, "ldm_text2img", scheduler, **{"guidance_scale": 6.0, **settings})
    return Row("txt2img", "ldm_text2img", scheduler, case, "LDMTextToImagePipeline", compute)


def _schedule(scheduler: str, at: float, steps: int = 5) -> float:
    """The pipeline whose callback puts another prompt in the place of the first one."""
    later = "the car"

    def change(pipeline: Any, index: int, _timestep: Any, values: dict[str, Any]) -> dict[str, Any]:
        if index + 1 < at * pipeline.num_timesteps:
            return {}
        embedded, negative = pipeline.encode_prompt(later, "cpu", 1, True, negative_prompt="")
        return {"prompt_embeds": torch.cat([negative, embedded])}

    settings = {"guidance_scale": 7.5, "num_inference_steps": steps}
    expected = sd(
        "random:sd15", scheduler, (3,), **settings, callback_on_step_end=change,
        callback_on_step_end_tensor_inputs=["latents", "prompt_embeds"],
    )  # fmt: skip
    found = run(
        "prompt_schedule", model="random:sd15", scheduler=scheduler, prompt=PROMPT, later_prompt=later, switch_at=at,
        seed=3, steps=steps, guidance_scale=7.5,
    ).latents.samples  # fmt: skip
    assert not torch.equal(expected, sd("random:sd15", scheduler, (3,), **settings))
    return float((found - expected).abs().max())


def _changed(scheduler: str, at: float) -> Row:
    case = f"prompt changes at {at}"
    with_callback = "StableDiffusionPipeline with a callback"
    return Row("prompt_schedule", "sd15", scheduler, case, with_callback, partial(_schedule, scheduler, at))


def _variation(amount: float, seed: int) -> float:
    """At both ends, the picture of a seed."""
    expected = sd("random:sd15", "default", (seed,), guidance_scale=7.5)
    found = run(
        "variations", model="random:sd15", prompt=PROMPT, seed=3, variation_seed=8, amount=amount, variations=1,
        steps=STEPS, guidance_scale=7.5,
    ).latents.samples  # fmt: skip
    return float((found - expected).abs().max())


TWO = ("default", "euler_ancestral")
CHANGES = (("default", 0.4), ("euler_ancestral", 0.2), ("dpmpp_2m", 0.6), ("heun", 0.5))


def _varied(amount: float, seed: int) -> Row:
    compute = partial(_variation, amount, seed)
    return Row("variations", "sd15", "default", f"amount {amount}", "StableDiffusionPipeline", compute)


ROWS = [
    *(_row("sd15", name, "guidance 7.5", {}) for name in oracle.SCHEDULERS),
    *(_row("sd15", name, case, settings) for case, settings in CASES.items() for name in TWO),
    *(_row("sd21", name, "v-prediction", {}) for name in SIX),
    *(_row("sd21", "default", case, settings) for case, settings in CASES.items()),
    *(
        _row(model, name, f"strength {strength}", {"strength": strength})
        for model in ("sd15", "sd21") for strength in STRENGTHS for name in ("default", "euler_ancestral", "dpmpp_2m")
    ),
    *(_changed(name, at) for name, at in CHANGES),
    _varied(0.0, 3),
    _varied(1.0, 8),
    *(_ldm(name, "guidance 6", {}) for name in LDM_SCHEDULERS),
    _ldm("default", "guidance 1", {"guidance_scale": 1.0}),
    _ldm("default", "batch of 4", {"seeds": FOUR}),
    _ldm("default", "24x40 latents", {"height": 192, "width": 320}),
]  # fmt: skip
