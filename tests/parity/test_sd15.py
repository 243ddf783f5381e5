"""The true architecture of Stable Diffusion 1.5, random weights: equal to the pipeline, bit for bit (4 GiB on disk)."""

from __future__ import annotations

import gc
import shutil

import pytest
import torch
from diffusers import StableDiffusionPipeline

from tests.parity import oracle, sd15
from tests.parity.shipped import workflow

pytestmark = pytest.mark.slow


@pytest.fixture(scope="module")
def sd15_folder(tmp_path_factory):
    made = sd15.folder(tmp_path_factory.mktemp("sd15"))
    yield str(made)
    shutil.rmtree(made)


@pytest.mark.parametrize(("name", "guidance_scale", "size"), [("default", 7.5, 128), ("euler", 1.0, 256)])
def test_txt2img_equals_the_pipeline_bit_for_bit(engine, sd15_folder, name, guidance_scale, size):
    settings = {"guidance_scale": guidance_scale, "width": size, "height": size}
    pipeline = StableDiffusionPipeline.from_pretrained(sd15_folder, local_files_only=True)
    counts = {part: sum(p.numel() for p in getattr(pipeline, part).parameters()) for part in sd15.PARAMETERS}
    assert counts == sd15.PARAMETERS
    expected = oracle.txt2img(pipeline, "a red apple", name=name, seeds=[1], num_inference_steps=2, **settings)
    del pipeline
    gc.collect()
    found = engine.run(
        workflow("txt2img"), model=sd15_folder, prompt="a red apple", seed=1, steps=2, scheduler=name, **settings
    )
    assert torch.isfinite(expected.pixels).all()
    assert torch.equal(found.latents.samples, expected.steps[-1])
    assert torch.equal(found.image.pixels, expected.pixels)
