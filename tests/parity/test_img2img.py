"""The shipped workflow img2img against StableDiffusionImg2ImgPipeline: same weights, seeds and picture, same bits."""

from __future__ import annotations

from typing import get_args

import numpy as np
import pytest
import torch
from PIL import Image as Pillow

from graphcore import StepgraphError
from nodes.sampling.schedulers import SchedulerName
from tests.parity import oracle
from tests.parity.shipped import with_steps, workflow

STEPS = 6
NAMES = get_args(SchedulerName)
WHOLE_ONLY = ("pndm_prk",)
"""Runge-Kutta steps cannot begin in the middle."""
REFUSED = ("ipndm",)
"""It has no `add_noise`."""


@pytest.mark.parametrize(("prediction_type", "guidance_scale"), [("epsilon", 1.0), ("v_prediction", 7.5)])
@pytest.mark.parametrize("name", [name for name in NAMES if name not in REFUSED])
def test_every_scheduler_equals_the_pipeline_bit_for_bit(engine, model, picture, name, prediction_type, guidance_scale):
    pipeline, folder = model(prediction_type)
    settings = {"guidance_scale": guidance_scale, "strength": 1.0 if name in WHOLE_ONLY else 0.6}
    expected = oracle.img2img(
        pipeline, "a red apple", picture, name=name, seeds=[3], num_inference_steps=STEPS, **settings
    )
    found = engine.run(
        with_steps("img2img"), model=folder, image=str(picture), prompt="a red apple", seed=3, steps=STEPS,
        scheduler=name, **settings,
    )  # fmt: skip
    assert torch.isfinite(expected.pixels).all()
    assert len(found.steps) == len(expected.steps)
    for step, latents in zip(found.steps, expected.steps, strict=True):
        assert torch.equal(step.samples, latents)
    assert torch.equal(found.image.pixels, expected.pixels)


@pytest.mark.parametrize(("name", "strength"), [("ipndm", 1.0), ("ipndm", 0.6), ("pndm_prk", 0.6)])
def test_what_cannot_be_done_is_refused_before_anything_runs(engine, model, picture, name, strength):
    events = []
    with pytest.raises(StepgraphError, match=r"image-to-image|Runge-Kutta"):
        engine.run(
            workflow("img2img"), events.append, model=model()[1], image=str(picture), steps=STEPS, scheduler=name,
            strength=strength,
        )  # fmt: skip
    assert not events


def test_the_pipeline_cannot_do_it_either(model, picture):
    """For `ipndm`; `pndm_prk` it begins in the middle of a Runge-Kutta step, and says nothing."""
    with pytest.raises(AttributeError, match="add_noise"):
        oracle.img2img(model()[0], "a cat", picture, name="ipndm", num_inference_steps=STEPS, strength=0.6)


@pytest.mark.parametrize("strength", [0.3, 0.6, 1.0])
@pytest.mark.parametrize("name", ["default", "euler", "heun", "dpmpp_sde", "pndm"])
def test_strength(engine, model, picture, name, strength):
    pipeline, folder = model()
    settings = {"guidance_scale": 7.5, "strength": strength, "negative_prompt": "a cat"}
    expected = oracle.img2img(pipeline, "the apple", picture, name=name, seeds=[4], num_inference_steps=10, **settings)
    found = engine.run(
        with_steps("img2img"), model=folder, image=str(picture), prompt="the apple", seed=4, steps=10, scheduler=name,
        **settings,
    )  # fmt: skip
    assert len(found.steps) == len(expected.steps)
    assert torch.equal(found.image.pixels, expected.pixels)


def test_eta_of_ddim(engine, model, picture):
    pipeline, folder = model()
    settings = {"guidance_scale": 7.5, "strength": 0.6, "eta": 0.5}
    expected = oracle.img2img(pipeline, "a cat", picture, name="ddim", num_inference_steps=STEPS, **settings)
    found = engine.run(
        workflow("img2img"), model=folder, image=str(picture), prompt="a cat", steps=STEPS, scheduler="ddim", **settings
    )
    assert torch.equal(found.image.pixels, expected.pixels)


@pytest.mark.parametrize("name", ["ddim", "euler_ancestral", "dpmpp_2m_sde"])
def test_a_batch_from_one_picture(engine, model, picture, name):
    pipeline, folder = model()
    settings = {"guidance_scale": 7.5, "strength": 0.6}
    expected = oracle.img2img(
        pipeline, "a cat", picture, name=name, seeds=[11, 12, 13], num_inference_steps=STEPS, **settings
    )
    found = engine.run(
        workflow("img2img"), model=folder, image=str(picture), prompt="a cat", seed=11, batch_size=3, steps=STEPS,
        scheduler=name, **settings,
    )  # fmt: skip
    assert torch.equal(found.image.pixels, expected.pixels)


def test_a_picture_of_another_size_and_shape(engine, model, tmp_path):
    """48 x 80 pixels, 24 x 40 latents; the picture is resampled as the pipeline's image processor does it."""
    pipeline, folder = model()
    path = tmp_path / "wide.png"
    Pillow.fromarray(np.random.default_rng(1).integers(0, 256, (61, 95, 3), dtype=np.uint8)).save(path)
    resampled = tmp_path / "resampled.png"
    Pillow.open(path).resize((80, 48), Pillow.Resampling.LANCZOS).save(resampled)
    settings = {"guidance_scale": 7.5, "strength": 0.6}
    expected = oracle.img2img(pipeline, "a cat", resampled, seeds=[5], num_inference_steps=STEPS, **settings)
    found = engine.run(
        workflow("img2img"), model=folder, image=str(path), prompt="a cat", seed=5, steps=STEPS, width=80, height=48,
        **settings,
    )  # fmt: skip
    assert found.latents.samples.shape == (1, 4, 24, 40)
    assert torch.equal(found.image.pixels, expected.pixels)
