"""The shipped workflows, run with the embedded model: against diffusers, and for what they are to show."""

from __future__ import annotations

from collections import Counter
from pathlib import Path

import numpy as np
import pytest
import torch
from diffusers import DDIMScheduler, StableDiffusionImg2ImgPipeline, StableDiffusionPipeline
from PIL import Image as Pillow

from graphcore import Engine, Workflow
from graphcore.files import provenance
from nodes import resources
from nodes.pictures import pixels

FOLDER = resources.workflow_folder()
MODEL = resources.model_folder("emoji")


@pytest.fixture
def engine():
    """A new one for each test: a value left by an earlier run may come from another batch, and differ in a last bit."""
    with Engine(cache=None, device="cpu", dtype="float32") as made:
        yield made


@pytest.fixture(scope="module")
def pipeline():
    made = StableDiffusionPipeline.from_pretrained(MODEL, safety_checker=None, local_files_only=True)
    made.to(torch.float32).set_progress_bar_config(disable=True)
    return made


def workflow(name: str) -> Workflow:
    return Workflow.load(FOLDER / f"{name}.json")


def seeded(*seeds: int) -> list[torch.Generator]:
    return [torch.Generator("cpu").manual_seed(seed) for seed in seeds]


def drawn(result) -> torch.Tensor:
    """The pictures of a pipeline as (batch, 3, height, width)."""
    return torch.from_numpy(result.images).permute(0, 3, 1, 2)


@pytest.mark.parametrize("guidance_scale", [1.0, 4.0])
def test_txt2img_equals_the_pipeline_bit_for_bit(engine, pipeline, guidance_scale):
    settings = {"prompt": "a frog", "negative_prompt": "white background", "guidance_scale": guidance_scale}
    found = engine.run(workflow("txt2img"), **settings, seed=5, steps=4)
    expected = pipeline(**settings, generator=seeded(5), num_inference_steps=4, output_type="np")
    assert torch.equal(found.image.pixels, drawn(expected))


def test_a_batch_equals_the_pipeline_given_a_list_of_generators(engine, pipeline):
    found = engine.run(workflow("txt2img"), prompt="a cat", seed=5, steps=3, batch_size=2, scheduler="ddim", eta=0.5)
    ddim = StableDiffusionPipeline.from_pipe(pipeline)
    ddim.scheduler = DDIMScheduler.from_config(pipeline.scheduler.config)
    ddim.set_progress_bar_config(disable=True)
    expected = ddim(
        ["a cat"] * 2, generator=seeded(5, 6), num_inference_steps=3, guidance_scale=4.0, eta=0.5, output_type="np"
    )
    assert torch.equal(found.image.pixels, drawn(expected))


def test_img2img_equals_the_pipeline(engine, pipeline):
    found = engine.run(workflow("img2img"), prompt="a tomato", seed=2, steps=6, strength=0.6)
    img2img = StableDiffusionImg2ImgPipeline.from_pipe(pipeline)
    img2img.set_progress_bar_config(disable=True)
    expected = img2img(
        "a tomato", image=Pillow.open(FOLDER / "example.png"), strength=0.6, num_inference_steps=6, guidance_scale=4.0,
        generator=seeded(2), output_type="np",
    )  # fmt: skip
    assert torch.equal(found.image.pixels, drawn(expected))


def calls(engine, name: str, **inputs) -> Counter[str]:
    run = engine.start(workflow(name), inputs)
    return Counter(event.type for event in run if event.event == "finished")


def test_without_guidance_the_unet_is_called_once_a_step_and_the_negative_prompt_not_at_all(engine):
    guided = calls(engine, "txt2img", prompt="a dog", steps=3, guidance_scale=4.0)
    plain = calls(engine, "txt2img", prompt="a dog", steps=3, guidance_scale=1.0, seed=1)
    assert guided["stepgraph/unet"] == 6
    assert guided["stepgraph/encode_text"] == 2
    assert guided["stepgraph/classifier_free_guidance"] == 3
    assert plain["stepgraph/unet"] == 3
    assert plain["stepgraph/encode_text"] == 0, "the positive one is known from before, the negative one not wanted"
    assert plain["stepgraph/classifier_free_guidance"] == 0


def test_width_and_height_are_pixels(engine):
    found = engine.run(workflow("txt2img"), steps=1, width=96, height=32)
    assert found.image.pixels.shape == (1, 3, 32, 96)
    found = engine.run(workflow("img2img"), steps=1, strength=1.0, width=96, height=32)
    assert found.image.pixels.shape == (1, 3, 32, 96)


def test_the_sampler_comparison_holds_the_pictures_of_txt2img(engine):
    schedulers, step_counts = ["euler", "unipc"], [1, 2, 3]
    sheet = engine.run(workflow("sampler_comparison"), schedulers=schedulers, step_counts=step_counts).image.pixels
    for row, scheduler in enumerate(schedulers):
        for column, steps in enumerate(step_counts):
            single = engine.run(workflow("txt2img"), scheduler=scheduler, steps=steps).image.pixels
            top, left = position(sheet, single)
            assert (top * 2 // sheet.shape[2], left * 3 // sheet.shape[3]) == (row, column)


def position(sheet: torch.Tensor, picture: torch.Tensor) -> tuple[int, int]:
    """Where a picture stands in a sheet, exactly."""
    height, width = picture.shape[2:]
    corners = (sheet[0] == picture[0, :, :1, :1]).all(0).nonzero().tolist()
    found = [(y, x) for y, x in corners if torch.equal(sheet[:, :, y : y + height, x : x + width], picture)]
    assert len(found) == 1, f"{len(found)} places in the sheet hold the picture"
    return found[0]


def test_denoising_steps_ends_in_the_picture_of_txt2img(engine):
    sheet = engine.run(workflow("denoising_steps"), steps=4, prompt="a rocket").image.pixels
    last = engine.run(workflow("txt2img"), steps=4, prompt="a rocket").image.pixels
    top, left = position(sheet, last)
    assert sheet.shape[3] - left - 64 < 20, "the last step stands at the right end"
    assert top + 64 + 6 == sheet.shape[2]


def test_the_loop_collects_every_step_and_prediction(engine, tmp_path):
    (tmp_path / "denoise.json").write_text((FOLDER / "denoise.json").read_text())
    (tmp_path / "all.json").write_text(
        (FOLDER / "txt2img.json")
        .read_text()
        .replace('"latents": {"from": "denoise.latents"}\n', '"steps": {"from": "denoise.steps"},\n'
                 '"preds": {"from": "denoise.noise_preds"}, "latents": {"from": "denoise.latents"}\n')
    )  # fmt: skip
    found = engine.run(Workflow.load(tmp_path / "all.json"), steps=3)
    assert len(found.steps) == len(found.preds) == 3
    assert torch.equal(found.steps[-1].samples, found.latents.samples)


def test_the_example_picture_is_one_that_the_model_made(engine):
    """And not one of a person's, say: the licence of the repository covers it."""
    made = engine.run(workflow("txt2img"), prompt="a red apple", seed=3).image
    shipped = np.asarray(Pillow.open(FOLDER / "example.png").convert("RGB"), dtype=np.int16)
    assert np.abs(np.asarray(pixels.to_pictures(made.pixels)[0], dtype=np.int16) - shipped).max() <= 3


@pytest.mark.parametrize("name", ["apple", "frog", "img2img", "pair", "samplers", "steps"])
def test_pictures_in_the_readme_are_made_by_the_shipped_workflows(name):
    record = provenance.read(Path(__file__).parent.parent / "docs" / f"{name}.png")
    assert (FOLDER / record["workflow"]).is_file()
    assert record["inputs"]["model"] == "builtin:emoji"
    assert not [value for value in record["inputs"].values() if str(value).startswith(("/", "~"))]
