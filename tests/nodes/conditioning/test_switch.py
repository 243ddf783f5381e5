"""The conditioning switch: text, masked picture, class or brain activity by name; what is not chosen is not run."""

from __future__ import annotations

from typing import Any

import pytest
import torch

from graphcore import Engine, Event
from tests.parity.shipped import REGISTRY, workflow

MODELS = {"text": "random:sd15", "mask": "random:sd15_inpaint", "class": "random:ldm_class", "fmri": "random:fmri"}

ALONE: dict[str, tuple[str, dict[str, Any]]] = {
    "text": ("txt2img", {"prompt": "a cat", "guidance_scale": 3.0}),
    "mask": ("inpaint", {"prompt": "a cat", "guidance_scale": 3.0}),
    "class": ("class_conditional", {"class_id": 4, "guidance_scale": 3.0}),
    "fmri": ("fmri", {"scheduler": "default"}),
}
"""The shipped workflow that knows this condition only."""

OWN = {
    "text": {"said.tokens"},
    "mask": {"said.tokens", "photo", "mask_picture", "masked", "masked_said"},
    "class": {"class", "null_class"},
    "fmri": {"training", "measured", "voxels", "brain"},
}
"""Nodes that a condition needs."""


@pytest.mark.parametrize("kind", MODELS)
def test_one_condition_is_run_as_by_its_own_workflow_and_the_others_are_not(kind: str) -> None:
    events: list[Event] = []
    name, settings = ALONE[kind]
    given = {key: value for key, value in settings.items() if key != "scheduler"}
    with Engine(registry=REGISTRY, cache=None, device="cpu", dtype="float32") as engine:
        found = engine.run(
            workflow("any_conditioning"), events.append, condition=kind, seed=5, steps=2,
            **{f"{kind}_model": MODELS[kind]}, **given,
        )  # fmt: skip
    with Engine(registry=REGISTRY, cache=None, device="cpu", dtype="float32") as engine:
        alone = engine.run(workflow(name), model=MODELS[kind], seed=5, steps=2, **settings)
    assert torch.isfinite(found.latents.samples).all()
    assert torch.equal(found.latents.samples, alone.latents.samples)
    ran = {event.node for event in events if event.event == "finished"}
    assert ran >= OWN[kind]
    for other in set(MODELS) - {kind}:
        assert not ran & (OWN[other] - OWN[kind])
    assert [event.type for event in events if event.event == "finished"].count("stepgraph/load_model") == 1
