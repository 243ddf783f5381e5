"""The shipped workflow txt2img against StableDiffusionPipeline: same weights and settings, same bits (CPU, fp32)."""

from __future__ import annotations

from typing import get_args

import pytest
import torch
from diffusers import StableDiffusionPipeline

from nodes import resources
from nodes.sampling.schedulers import SchedulerName
from tests.nodes import tiny
from tests.parity import oracle
from tests.parity.shipped import with_steps, workflow

STEPS = 5
NAMES = get_args(SchedulerName)
ROW_TOLERANCE = 1e-4
"""Largest difference, relative to the largest latent, of an image made in a batch and alone: the libraries behind the
UNet add up in another order for another batch size (some 1e-6 a call), and guidance multiplies that by its scale."""


def test_the_oracle_knows_every_scheduler():
    assert set(oracle.SCHEDULERS) == set(NAMES)


@pytest.mark.parametrize(("prediction_type", "guidance_scale"), [("epsilon", 1.0), ("v_prediction", 7.5)])
@pytest.mark.parametrize("name", NAMES)
def test_every_scheduler_equals_the_pipeline_at_every_step(engine, model, name, prediction_type, guidance_scale):
    """That every scheduler does so with guidance of an epsilon, rows of the parity table say (`rows/text.py`)."""
    pipeline, folder = model(prediction_type)
    expected = oracle.txt2img(
        pipeline, "a red apple", name=name, seeds=[3], num_inference_steps=STEPS, guidance_scale=guidance_scale
    )
    found = engine.run(
        with_steps("txt2img"), model=folder, prompt="a red apple", seed=3, steps=STEPS, scheduler=name,
        guidance_scale=guidance_scale,
    )  # fmt: skip
    assert torch.isfinite(expected.pixels).all()
    assert len(found.steps) == len(expected.steps) >= STEPS
    for step, latents in zip(found.steps, expected.steps, strict=True):
        assert torch.equal(step.samples, latents)
    assert torch.equal(found.latents.samples, expected.steps[-1])
    assert torch.equal(found.image.pixels, expected.pixels)


@pytest.mark.parametrize("guidance_scale", [1.0, 7.5])
@pytest.mark.parametrize("name", ["ddim", "euler_ancestral", "dpmpp_2m_sde", "dpmpp_sde", "ddpm", "sa_solver", "lcm"])
def test_a_batch_equals_the_pipeline_with_a_list_of_generators(engine, model, name, guidance_scale):
    pipeline, folder = model()
    seeds = [11, 12, 13]
    expected = oracle.txt2img(
        pipeline, "a cat", name=name, seeds=seeds, num_inference_steps=STEPS, guidance_scale=guidance_scale
    )
    found = engine.run(
        workflow("txt2img"), model=folder, prompt="a cat", seed=11, batch_size=3, steps=STEPS, scheduler=name,
        guidance_scale=guidance_scale,
    )  # fmt: skip
    assert torch.equal(found.latents.samples, expected.steps[-1])
    assert torch.equal(found.image.pixels, expected.pixels)


@pytest.mark.parametrize("name", NAMES)
def test_an_image_of_a_batch_is_the_image_made_alone(engine, model, name):
    folder = model()[1]
    settings = {"model": folder, "prompt": "a cat", "steps": STEPS, "scheduler": name, "guidance_scale": 3.0}
    batch = engine.run(workflow("txt2img"), **settings, seed=20, batch_size=2).latents.samples
    alone = [engine.run(workflow("txt2img"), **settings, seed=20 + k).latents.samples for k in range(2)]
    difference = (batch - torch.cat(alone)).abs().max() / batch.abs().max()
    assert difference < ROW_TOLERANCE
    assert (alone[0] - alone[1]).abs().max() / batch.abs().max() > 0.1, "other seeds make other images"


@pytest.mark.parametrize("eta", [0.5, 1.0])
def test_eta_of_ddim(engine, model, eta):
    pipeline, folder = model()
    settings = {"guidance_scale": 7.5, "eta": eta}
    expected = oracle.txt2img(pipeline, "a cat", name="ddim", seeds=[5], num_inference_steps=STEPS, **settings)
    plain = engine.run(workflow("txt2img"), model=folder, prompt="a cat", seed=5, steps=STEPS, scheduler="ddim")
    found = engine.run(
        workflow("txt2img"), model=folder, prompt="a cat", seed=5, steps=STEPS, scheduler="ddim", **settings
    )
    assert not torch.equal(plain.latents.samples, found.latents.samples)
    assert torch.equal(found.latents.samples, expected.steps[-1])


@pytest.mark.parametrize("prediction_type", ["epsilon", "v_prediction"])
def test_sizes_and_a_negative_prompt(engine, model, prediction_type):
    """24 x 40 latents: neither square nor the size that the model was made for."""
    pipeline, folder = model(prediction_type)
    settings = {"negative_prompt": "on the cat", "guidance_scale": 7.5, "width": 80, "height": 48}
    expected = oracle.txt2img(pipeline, "a red apple", seeds=[6], num_inference_steps=STEPS, **settings)
    found = engine.run(workflow("txt2img"), model=folder, prompt="a red apple", seed=6, steps=STEPS, **settings)
    assert found.latents.samples.shape == (1, 4, 24, 40)
    assert found.image.pixels.shape == (1, 3, 48, 80)
    assert torch.equal(found.image.pixels, expected.pixels)


def test_a_prompt_longer_than_the_text_encoder_takes(engine, model):
    pipeline, folder = model()
    prompt = tiny.long_prompt()
    expected = oracle.txt2img(pipeline, prompt, seeds=[7], num_inference_steps=2, guidance_scale=7.5)
    found = engine.run(workflow("txt2img"), model=folder, prompt=prompt, seed=7, steps=2, guidance_scale=7.5)
    assert torch.equal(found.image.pixels, expected.pixels)


@pytest.mark.parametrize("weighting", [False, True])
def test_chunks_and_weights_equal_the_pipeline_given_the_embeddings(engine, model, weighting):
    """A pipeline reads neither, but takes embeddings: each chunk of 75 words encoded by the pipeline itself, and the
    weight laid on by hand.
    """
    pipeline, folder = model()
    words = tiny.long_prompt(150).split(" ")
    with torch.no_grad():
        parts = [pipeline.encode_prompt(" ".join(words[k : k + 75]), "cpu", 1, False)[0] for k in (0, 75)]
        empty = pipeline.encode_prompt("", "cpu", 1, False)[0]
    if weighting:
        heavy = parts[1].clone()
        heavy[:, 4] *= 1.5  # the start token and three words come before
        parts[1] = heavy * (parts[1].mean() / heavy.mean())
        words[78] = f"({words[78]}:1.5)"
    made = StableDiffusionPipeline(
        **{part: getattr(pipeline, part) for part in ("vae", "text_encoder", "tokenizer", "unet", "scheduler")},
        safety_checker=None, feature_extractor=None, image_encoder=None, requires_safety_checker=False,
    )  # fmt: skip
    made.set_progress_bar_config(disable=True)
    expected = made(
        prompt_embeds=torch.cat(parts, dim=1), negative_prompt_embeds=torch.cat([empty, empty], dim=1),
        generator=oracle.generators([9]), num_inference_steps=STEPS, guidance_scale=7.5, output_type="latent",
    ).images  # fmt: skip
    found = engine.run(
        workflow("txt2img"), model=folder, prompt=" ".join(words), chunks=2, weighting=weighting, seed=9, steps=STEPS,
        guidance_scale=7.5,
    ).latents.samples  # fmt: skip
    cut = engine.run(
        workflow("txt2img"),
        model=folder,
        prompt=" ".join(words[:75]),
        chunks=2,
        seed=9,
        steps=STEPS,
        guidance_scale=7.5,
    ).latents.samples
    # Two chunks share a forward pass of the text encoder: its last bits are those of another batch size.
    torch.testing.assert_close(found, expected, rtol=0, atol=1e-3)
    assert (found - cut).abs().max() > 0.01


def test_the_embedded_model(engine, emoji):
    """With the workflow's own defaults, as a newcomer runs it."""
    shipped = workflow("txt2img")
    scale = shipped.inputs["guidance_scale"].default
    expected = oracle.txt2img(emoji, "a frog", seeds=[8], num_inference_steps=20, guidance_scale=scale)
    found = engine.run(shipped, prompt="a frog", seed=8)
    assert torch.equal(found.image.pixels, expected.pixels)


@pytest.fixture(scope="module")
def emoji():
    made = StableDiffusionPipeline.from_pretrained(resources.model_folder("emoji"), local_files_only=True)
    return made.to(torch.float32)
