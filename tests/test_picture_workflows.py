"""The shipped workflows around pictures: what is kept, how large they are, and what every step shows."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image as Pillow

from graphcore import Engine, Workflow
from graphcore.errors import CheckFailed
from graphcore.events import Event
from nodes import load_image, load_mask, resources

FOLDER = resources.workflow_folder()
STEPS = 3


@pytest.fixture
def engine() -> Iterator[Engine]:
    with Engine(cache=None, device="cpu", dtype="float32") as made:
        yield made


def workflow(name: str) -> Workflow:
    return Workflow.load(FOLDER / f"{name}.json")


def test_inpaint_repaints_what_is_white_and_nothing_else(engine: Engine) -> None:
    original, white = load_image(FOLDER / "example.png").pixels, load_mask(FOLDER / "example_mask.png").values
    found = engine.run(workflow("inpaint"), steps=STEPS, feather=0.0).image.pixels
    inside = (white >= 0.5).expand_as(found)
    assert torch.equal(found[~inside], original[~inside])
    assert float((found - original)[inside].abs().mean()) > 0.1


def test_inpaint_serves_models_that_are_told_of_the_mask(engine: Engine) -> None:
    events: list[Event] = []
    found = engine.run(workflow("inpaint"), events.append, steps=STEPS, model="random:sd15_inpaint")
    ran = {event.node for event in events if event.event == "finished"}
    assert found.image.pixels.shape == (1, 3, 32, 32)
    assert any(node.startswith("repaint.told.") for node in ran)
    assert not any(node.startswith("repaint.blended.") for node in ran)
    assert "repaint.original" not in ran, "at strength 1 such a model does not need the picture's latents"


def test_the_soft_edge_lies_between(engine: Engine) -> None:
    hard = engine.run(workflow("inpaint"), steps=STEPS, feather=0.0).image.pixels
    soft = engine.run(workflow("inpaint"), steps=STEPS, feather=3.0).image.pixels
    repainted = engine.run(workflow("inpaint"), steps=STEPS, keep=False).image.pixels
    original = load_image(FOLDER / "example.png").pixels
    low, high = torch.minimum(original, repainted), torch.maximum(original, repainted)
    assert ((soft >= low - 1e-6) & (soft <= high + 1e-6)).all()
    assert not torch.equal(soft, hard)


def test_outpaint_adds_room_and_keeps_the_picture(engine: Engine) -> None:
    found = engine.run(workflow("outpaint"), steps=STEPS, left=10, top=4, right=0, overlap=0, feather=0.0).image.pixels
    original = load_image(FOLDER / "example.png").pixels
    assert found.shape == (1, 3, 68, 76)  # multiples of 4
    assert torch.equal(found[:, :, 4:, 10:74], original)


@pytest.mark.parametrize("upscale", ["picture", "latents"])
def test_the_second_pass_is_larger_and_follows_the_first(engine: Engine, upscale: str) -> None:
    found = engine.run(workflow("hires_fix"), steps=6, upscale=upscale, strength=0.34)
    assert found.first_image.pixels.shape == (1, 3, 48, 48)
    assert found.image.pixels.shape == (1, 3, 64, 64)
    small = torch.nn.functional.interpolate(found.image.pixels, size=(48, 48), mode="area")
    both = np.corrcoef(small.flatten().numpy(), found.first_image.pixels.flatten().numpy())
    assert both[0, 1] > 0.6


def test_the_embedded_mask_fits_the_example() -> None:
    with Pillow.open(FOLDER / "example_mask.png") as mask, Pillow.open(FOLDER / "example.png") as picture:
        assert mask.size == picture.size


@pytest.mark.parametrize("show", ["latents", "expected"])
def test_steps_in_colours_need_no_decoder(engine: Engine, show: str) -> None:
    events: list[Event] = []
    found = engine.run(
        workflow("denoising_steps"), events.append, steps=STEPS, show=show, preview="colours",
        model="random:sd15",
    )  # fmt: skip
    ran = [event.type for event in events if event.event == "finished"]
    assert ran.count("stepgraph/fit_preview") == 1
    assert ran.count("stepgraph/preview_latents") == ran.count("stepgraph/scheduler_step")
    assert "stepgraph/vae_decode" not in ran
    assert ("stepgraph/predict_original" in ran) == (show == "expected")
    assert found.image.pixels.shape[1] == 3


def test_steps_by_a_tiny_decoder(engine: Engine) -> None:
    inputs = {"steps": STEPS, "model": "random:sd15", "show": "expected"}
    tiny = engine.run(workflow("denoising_steps"), **inputs, preview="tiny").image.pixels
    own = engine.run(workflow("denoising_steps"), **inputs).image.pixels
    assert tiny.shape == own.shape
    assert not torch.equal(tiny, own)


def test_a_tiny_decoder_of_another_model_is_refused(engine: Engine) -> None:
    with pytest.raises(CheckFailed, match="downsampling 2"):
        engine.run(workflow("denoising_steps"), preview="tiny")


def test_a_mask_of_another_size_is_resized(engine: Engine, tmp_path: Path) -> None:
    Pillow.new("L", (10, 10), 255).save(tmp_path / "all.png")
    found = engine.run(workflow("inpaint"), steps=STEPS, mask=str(tmp_path / "all.png"), model="random:sd15")
    assert found.image.pixels.shape == (1, 3, 32, 32)
