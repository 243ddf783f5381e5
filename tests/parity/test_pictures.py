"""The shipped workflows of many pictures, with a tiny model: sizes, and the steps of the pipeline's callback."""

from __future__ import annotations

import pytest
import torch

from tests.parity import oracle
from tests.parity.shipped import with_steps, workflow


def places(sheet: torch.Tensor, picture: torch.Tensor, tolerance: float = 0.0) -> list[tuple[int, int]]:
    """Where a picture stands in a sheet, pixel for pixel."""
    height, width = picture.shape[2:]
    near = ((sheet[0] - picture[0, :, :1, :1]).abs() <= tolerance).all(0).nonzero().tolist()
    inside = [(y, x) for y, x in near if y + height <= sheet.shape[2] and x + width <= sheet.shape[3]]
    cut = {(y, x): sheet[:, :, y : y + height, x : x + width] for y, x in inside}
    return [place for place, part in cut.items() if (part - picture).abs().max() <= tolerance]


def decoded(pipeline, latents: torch.Tensor) -> torch.Tensor:
    """As the pipeline does it at its end."""
    with torch.no_grad():
        pixels = pipeline.vae.decode(latents / pipeline.vae.config.scaling_factor, return_dict=False)[0]
    return (pixels * 0.5 + 0.5).clamp(0, 1)


@pytest.mark.parametrize("name", ["default", "euler_ancestral", "heun"])
def test_the_strip_shows_every_step_of_the_pipeline(engine, model, name):
    pipeline, folder = model()
    settings = {"guidance_scale": 4.0}
    expected = oracle.txt2img(pipeline, "a cat", name=name, seeds=[2], num_inference_steps=4, **settings)
    given = {"model": folder, "prompt": "a cat", "seed": 2, "steps": 4, "scheduler": name, **settings}
    found = engine.run(with_steps("denoising_steps"), **given)
    count = len(expected.steps)
    for step, latents in zip(found.steps, expected.steps, strict=True):
        assert torch.equal(step.samples, latents)
    strip = found.image.pixels
    assert strip.shape[:2] == (1, 3)
    assert strip.shape[3] >= count * 32
    corners = [places(strip, decoded(pipeline, latents)) for latents in expected.steps]
    assert [len(found) for found in corners] == [1] * count
    assert [place[0][1] for place in corners] == sorted(place[0][1] for place in corners), "from noise to picture"
    assert len({place[0][0] for place in corners}) == 1, "side by side"


def test_the_sampler_comparison_shows_what_the_pipeline_makes(engine, model):
    """Not bit for bit: the UNet calls of all its pictures share forward passes, and a batch of another size moves the
    last bits (some 1e-6 a call, times the guidance scale).
    """
    pipeline, folder = model("v_prediction")
    names, counts = ["ddim", "euler", "dpmpp_2m_karras"], [2, 4]
    found = engine.run(
        workflow("sampler_comparison"), model=folder, prompt="a cat", schedulers=names, step_counts=counts, seed=9,
        guidance_scale=3.0, width=48, height=16,
    )  # fmt: skip
    sheet = found.image.pixels
    assert sheet.shape[2] >= len(names) * 16
    assert sheet.shape[3] >= len(counts) * 48
    rows, columns = [], []
    for name in names:
        for steps in counts:
            expected = oracle.txt2img(
                pipeline, "a cat", name=name, seeds=[9], num_inference_steps=steps, guidance_scale=3.0, width=48,
                height=16,
            )  # fmt: skip
            [(top, left)] = places(sheet, expected.pixels, 1e-4)
            rows.append(top)
            columns.append(left)
    assert rows == sorted(rows)
    assert len(set(rows)) == len(names)
    assert columns == columns[: len(counts)] * len(names)


@pytest.mark.parametrize(
    ("name", "given", "rows", "columns"),
    [("sampler_comparison", {"step_counts": [1, 2]}, 5, 2), ("denoising_steps", {}, 1, 10)],
)
def test_they_run_with_the_embedded_model(engine, name, given, rows, columns):
    """And their other defaults; pictures of 64 x 64 pixels, each with its label above it."""
    pixels = engine.run(workflow(name), **given).image.pixels
    side = 64
    assert rows * side < pixels.shape[2] < rows * side * 1.6
    assert columns * side < pixels.shape[3] < columns * side * 1.6
    assert 0 <= pixels.min() < pixels.max() <= 1
