"""The shared loop: what it computes only where it is asked for, its guidance, and the words of the checker."""

from __future__ import annotations

import dataclasses
from collections import Counter
from collections.abc import Iterator
from typing import Any

import pytest
import torch

from graphcore import Engine, Workflow
from graphcore.check import checker
from graphcore.files.workflow import Link, NodeCall, Written
from tests.parity.rows.guidance import guided
from tests.parity.shipped import REGISTRY, workflow

STEPS = 6
SETTINGS: dict[str, Any] = {"model": "random:sd15", "steps": STEPS, "scheduler": "ddim", "seed": 3}


@pytest.fixture
def engine() -> Iterator[Engine]:
    with Engine(registry=REGISTRY, cache=None, device="cpu", dtype="float32") as made:
        yield made


def run(engine: Engine, shipped: Workflow, **inputs: Any) -> tuple[Any, Counter[str]]:
    """What a workflow gives, and how often each type of node ran."""
    events: list[Any] = []
    found = engine.run(shipped, events.append, **{**SETTINGS, **inputs})
    ran = Counter(event.type.partition("/")[2] for event in events if event.event == "finished" and event.type)
    return found, ran


def with_originals() -> Workflow:
    shipped = workflow("txt2img")
    return dataclasses.replace(shipped, outputs={**shipped.outputs, "originals": Link("denoise", "originals")})


def test_originals_are_computed_only_where_they_are_asked_for(engine: Engine) -> None:
    plain, ran = run(engine, workflow("txt2img"), guidance_scale=7.5)
    assert ran["predict_original"] == 0
    assert ran["rescale_guidance"] == 0
    found, ran = run(engine, with_originals(), guidance_scale=7.5)
    assert ran["predict_original"] == STEPS
    assert len(found.originals) == STEPS
    assert torch.equal(found.latents.samples, plain.latents.samples)
    # with `set_alpha_to_one` false DDIM ends at the first noise level, nearly there
    torch.testing.assert_close(found.originals[-1].samples, found.latents.samples, rtol=0.05, atol=0.1)


def test_the_cost_of_a_step(engine: Engine) -> None:
    """Nodes of the engine per step: guidance adds two to the model's two calls, and nothing else does."""
    for scale, per_step in ((1.0, 4), (7.5, 6)):
        _, few = run(engine, workflow("txt2img"), guidance_scale=scale, seed=10)
        _, many = run(engine, workflow("txt2img"), guidance_scale=scale, seed=10, steps=2 * STEPS)
        assert (many - few).total() == per_step * STEPS


def test_guidance_in_a_part_of_the_schedule(engine: Engine) -> None:
    """From 1/3 to 2/3 of six steps: two of them call the UNet twice; the first two are those without guidance."""
    _, ran = run(engine, guided(guidance_start=0.33, guidance_end=0.66), guidance_scale=7.5)
    assert ran["unet"] == STEPS + 2
    assert ran["classifier_free_guidance"] == 2
    steps = {"outputs": {"steps": Link("denoise", "steps")}}
    none, _ = run(engine, dataclasses.replace(workflow("txt2img"), **steps), guidance_scale=1.0)
    part, _ = run(engine, dataclasses.replace(guided(guidance_start=0.33), **steps), guidance_scale=7.5)
    equal = [torch.equal(a.samples, b.samples) for a, b in zip(none.steps, part.steps, strict=True)]
    assert equal == [True, True, False, False, False, False]


def test_the_defaults_change_nothing(engine: Engine) -> None:
    """And a rule of the other workflow with its usual settings is this loop."""
    plain, _ = run(engine, workflow("txt2img"), guidance_scale=7.5)
    whole, _ = run(engine, guided(guidance_rescale=0.0, guidance_start=0.0, guidance_end=1.0), guidance_scale=7.5)
    assert torch.equal(plain.latents.samples, whole.latents.samples)
    cfg, _ = run(engine, workflow("guidance"), prompt="a red apple", kind="cfg", guidance_scale=7.5)
    assert torch.equal(plain.latents.samples, cfg.latents.samples)
    shared, _ = run(engine, guided(guidance_rescale=0.7), guidance_scale=7.5)
    rescaled, _ = run(engine, workflow("guidance"), prompt="a red apple", kind="rescaled", guidance_scale=7.5)
    assert torch.equal(shared.latents.samples, rescaled.latents.samples)
    constant, _ = run(engine, workflow("guidance"), kind="scheduled", guidance_scale=7.5, last_scale=7.5)
    assert torch.equal(plain.latents.samples, constant.latents.samples)


def test_every_rule_calls_the_model_as_often_as_it_must(engine: Engine) -> None:
    expected = {"none": 1, "cfg": 2, "scheduled": 2, "perpendicular": 3, "adaptive_projected": 2, "zero_star": 2}
    for seed, (kind, calls) in enumerate(expected.items()):  # another seed each, as the engine remembers what it ran
        _, ran = run(engine, workflow("guidance"), kind=kind, negative_prompt="the cat", seed=seed)
        assert ran["unet"] == calls * STEPS, kind


# --- what the checker says --------------------------------------------------------------------------------------------


def with_scheduler_of(model: str, another: str) -> Workflow:
    """The shipped txt2img of a model, its scheduler from another one."""
    shipped = workflow("txt2img")
    other = NodeCall("other", "load_model", {"path": Written(another)})
    own = dataclasses.replace(shipped.nodes["model"], inputs={"path": Written(model)})
    schedule = shipped.nodes["schedule"]
    linked = dataclasses.replace(schedule, inputs={**schedule.inputs, "scheduler": Link("other", "scheduler")})
    return dataclasses.replace(shipped, nodes={**shipped.nodes, "model": own, "other": other, "schedule": linked})


@pytest.mark.parametrize(
    ("model", "other", "words"),
    [
        ("random:sd21", "random:sd15", ("prediction of type epsilon", "v_prediction", "from one model")),
        ("random:sd15", "random:sd21", ("prediction of type v_prediction", "epsilon", "from one model")),
        ("random:sd15", "random:improved_ddpm", ("`variance_type` is learned_range", "without", "from one model")),
    ],
)
def test_a_scheduler_of_another_model(model: str, other: str, words: tuple[str, ...]) -> None:
    """Said by a check, before anything loads; once."""
    [problem] = checker.check(with_scheduler_of(model, other), REGISTRY)
    said = f"{problem.expected} {problem.got} {problem.fix}"
    assert all(word in said for word in words), said
