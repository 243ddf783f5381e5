"""The shipped workflows around prompts, on the embedded model: against `txt2img`, whose truth is diffusers."""

from __future__ import annotations

import shutil
from collections import Counter
from pathlib import Path

import pytest
import torch

from graphcore import Engine, StepgraphError, Workflow
from nodes import load_conditioning, resources

FOLDER = resources.workflow_folder()
STEPS = 3


class OneRun:
    """A new engine for each run: a value left by an earlier one may come from another batch, and differ in a bit."""

    def __init__(self, out: Path) -> None:
        self.out = out

    def run(self, *arguments, **inputs):
        with Engine(cache=None, device="cpu", dtype="float32", out=self.out) as engine:
            return engine.run(*arguments, **inputs)


@pytest.fixture
def engine(tmp_path):
    return OneRun(tmp_path / "out")


def workflow(name: str) -> Workflow:
    return Workflow.load(FOLDER / f"{name}.json")


def picture(engine: OneRun, name: str = "txt2img", **inputs) -> torch.Tensor:
    return engine.run(workflow(name), steps=STEPS, **inputs).image.pixels


def calls(engine: OneRun, **inputs) -> Counter[str]:
    events = []
    engine.run(workflow("conditioning_switch"), events.append, steps=STEPS, **inputs)
    return Counter(event.type.removeprefix("stepgraph/") for event in events if event.event == "finished")


@pytest.mark.parametrize(("encoder", "prompt"), [("text", "a red apple"), ("saved", "a frog")])
def test_the_switch_makes_the_picture_of_the_encoder_that_it_chose(engine, encoder, prompt):
    found = picture(engine, "conditioning_switch", encoder=encoder)
    assert torch.equal(found, picture(engine, prompt=prompt))


def test_a_mixture_lies_between_and_ends_in_both(engine):
    both = [picture(engine, prompt=prompt) for prompt in ("a red apple", "a frog")]
    for share, end in ((0.0, both[0]), (1.0, both[1])):
        assert torch.equal(picture(engine, "conditioning_switch", encoder="mixed", share=share), end)
    middle = picture(engine, "conditioning_switch", encoder="mixed")
    assert all(not torch.equal(middle, end) for end in both)


def test_one_prompt_in_two_areas_is_that_prompt(engine):
    """Masks of 0 and 1 at the edges of which both hold in part: means of equal predictions."""
    found = picture(engine, "area_prompts", prompt="a frog", other_prompt="a frog")
    assert (found - picture(engine, prompt="a frog")).abs().max() < 1e-3
    other = picture(engine, "area_prompts", prompt="a frog", other_prompt="a red apple")
    assert (found - other).abs().max() > 0.1


def test_nothing_is_zeros(engine):
    found, text = (picture(engine, "conditioning_switch", encoder=encoder) for encoder in ("nothing", "text"))
    assert not torch.equal(found, text)


def test_what_is_not_chosen_does_not_run(engine):
    text, saved = calls(engine, encoder="text"), calls(engine, encoder="saved")
    assert (text["encode_text"], text["load_conditioning"]) == (2, 0)
    assert (saved["encode_text"], saved["load_conditioning"]) == (1, 1), "the negative prompt is encoded"
    assert not text["combine"] + saved["combine"]


def test_the_example_is_what_the_embedded_model_makes(engine):
    """And what a person saves is what the switch reads."""
    [path] = [engine.run(workflow("save_conditioning"), name="mine").path]
    mine, shipped = (load_conditioning(Path(file)) for file in (path, FOLDER / "example_conditioning.safetensors"))
    torch.testing.assert_close(mine.context, shipped.context, rtol=0, atol=1e-5)
    assert mine.vector is shipped.vector is None
    found = picture(engine, "conditioning_switch", encoder="saved", saved=path)
    assert torch.equal(found, picture(engine, prompt="a frog"))


def test_a_saved_conditioning_of_another_model_is_refused_before_the_run(engine):
    events = []
    with pytest.raises(StepgraphError, match="32"):
        engine.run(workflow("conditioning_switch"), events.append, model="random:sd15", encoder="saved")
    assert not events


def test_a_prompt_that_does_not_change_is_no_schedule(engine):
    found = picture(engine, "prompt_schedule", prompt="a frog", later_prompt="a frog", switch_at=0.5)
    assert torch.equal(found, picture(engine, prompt="a frog"))


def test_the_later_prompt_draws_the_end(engine):
    """What was changed before the first step, or after the last, is no change."""
    found = picture(engine, "prompt_schedule", prompt="a cat", later_prompt="a frog", switch_at=0.001)
    first = picture(engine, prompt="a cat")
    assert not torch.equal(found, first)
    assert torch.equal(
        picture(engine, "prompt_schedule", prompt="a cat", later_prompt="a frog", switch_at=0.999), first
    )


def test_variations_without_an_amount_are_the_picture(engine):
    found = engine.run(workflow("variations"), steps=STEPS, seed=4, amount=0.0, variations=2).pictures.pixels
    alone = picture(engine, seed=4)
    assert (found - alone).abs().max() < 1e-3  # batches of other sizes add up in another order
    assert torch.equal(found[:1], found[1:])


def test_variations_come_near_the_picture_and_differ(engine):
    settings = {"steps": STEPS, "seed": 4, "variation_seed": 30, "variations": 3, "prompt": "a cat"}
    alone = picture(engine, seed=4, prompt="a cat")
    near, far = (engine.run(workflow("variations"), **settings, amount=a).pictures.pixels for a in (0.1, 1.0))
    assert len(near) == 3
    assert all(not torch.equal(near[0], other) for other in near[1:])
    assert (near - alone).abs().mean() < (far - alone).abs().mean()
    assert torch.allclose(far[:1], picture(engine, seed=30, prompt="a cat"), atol=1e-3)


@pytest.mark.parametrize("name", ["random:sd15", "random:sd21", "random:sdxl", "random:ldm_text2img"])
@pytest.mark.parametrize("file", ["prompt_schedule", "variations", "conditioning_switch"])
def test_every_text_model_can_be_used(engine, file, name):
    found = engine.run(workflow(file), model=name, steps=2, guidance_scale=3.0).latents.samples
    assert found.isfinite().all()


def test_weights_and_chunks_change_the_picture(engine):
    plain = picture(engine, prompt="a red apple")
    assert torch.equal(picture(engine, prompt="a (red:1.0) apple", weighting=True), plain)
    assert not torch.equal(picture(engine, prompt="a (red:1.4) apple", weighting=True), plain)
    assert not torch.equal(picture(engine, prompt="a red apple", chunks=2), plain)
    with pytest.raises(StepgraphError, match="alone"):
        picture(engine, prompt="a (red apple", weighting=True)


def test_a_workflow_in_another_folder_finds_the_prompt_workflow_beside_it(engine, tmp_path):
    for name in ("prompt", "prompt_schedule", "denoise"):
        shutil.copy(FOLDER / f"{name}.json", tmp_path)
    found = engine.run(Workflow.load(tmp_path / "prompt_schedule.json"), steps=1)
    assert found.image.pixels.shape == (1, 3, 64, 64)
