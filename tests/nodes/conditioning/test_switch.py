"""The conditioning switch: a text, a masked picture or brain activity by name; what is not chosen is not run."""

from __future__ import annotations

import json
from typing import Any

import pytest
import torch

from graphcore import Engine, Event, Workflow
from tests.parity.shipped import REGISTRY, workflow

MODELS = {"text": "random:sd15", "mask": "random:sd15_inpaint", "fmri": "random:fmri"}

CHANNELS = {"text": 4, "mask": 4, "fmri": 3}


def link(text: str) -> dict[str, str]:
    return {"from": text}


def call(type_: str, **inputs: Any) -> dict[str, Any]:
    return {"type": type_, "inputs": inputs}


def switch(cases: dict[str, str]) -> dict[str, Any]:
    return {"type": "switch", "select": link("inputs.kind"), "cases": {k: link(v) for k, v in cases.items()}}


def document() -> dict[str, Any]:
    """txt2img with three models and three encoders, each chosen by the input `kind`."""
    models = {f"{kind}_model": call("load_model", path=path) for kind, path in MODELS.items()}

    def said(kind: str) -> dict[str, Any]:
        tokens = call("tokenize", tokenizer=link(f"{kind}_model.tokenizer"), text="a cat")
        encoder = link(f"{kind}_model.text_encoder")
        return {
            f"{kind}_tokens": tokens,
            f"{kind}_said": call("encode_text", text_encoder=encoder, tokens=link(f"{kind}_tokens")),
        }

    nodes = {
        **models, **said("text"), **said("mask"),
        "photo": call("load_image", path="example.png"), "mask": call("load_mask", path="example.png"),
        "generators": call("seed_generators", seed=1),
        "masked": call("encode_masked_image", vae=link("mask_model.vae"), image=link("photo"), mask=link("mask"),
                       generators=link("generators")),
        "mask_condition": call("add_concat", conditioning=link("mask_said"), concat=link("masked.concat")),
        "voxels": call("load_fmri", path="random:64"),
        "fmri_condition": call("encode_fmri", encoder=link("fmri_model.encoder"), voxels=link("voxels")),
        "condition": switch({"text": "text_said", "mask": "mask_condition", "fmri": "fmri_condition"}),
        **{
            part: switch({kind: f"{kind}_model.{part}" for kind in MODELS})
            for part in ("unet", "scheduler", "latent_space")
        },
        "noise": call("init_noise", space=link("latent_space"), generators=link("generators"), width=64, height=64),
        "schedule": call("make_schedule", scheduler=link("scheduler"), steps=2),
        "start": call("prepare_latents", solver=link("schedule.solver"), noise=link("noise.noise"),
                      timesteps=link("schedule.timesteps")),
        "denoise": {"path": "denoise.json", **call(
            "workflow", unet=link("unet"), timesteps=link("schedule.timesteps"), solver=link("schedule.solver"),
            latents=link("start"), positive=link("condition"), negative=link("condition"), guidance_scale=1,
        )},
    }  # fmt: skip
    inputs = {"kind": {"type": "string", "enum": list(MODELS), "default": "text"}}
    return {"stepgraph": 1, "inputs": inputs, "nodes": nodes, "outputs": {"latents": link("denoise.latents")}}


OWN = {
    "text": {"text_tokens", "text_said"},
    "mask": {"mask_tokens", "mask_said", "photo", "mask", "masked", "mask_condition"},
    "fmri": {"voxels", "fmri_condition"},
}
"""The nodes that only one kind of condition needs, beside its model."""


@pytest.mark.parametrize("kind", MODELS)
def test_one_kind_is_run_and_the_others_are_not(kind: str) -> None:
    beside = workflow("txt2img").path
    assert beside is not None
    events: list[Event] = []
    with Engine(registry=REGISTRY, cache=None, device="cpu", dtype="float32") as engine:
        found = engine.run(Workflow.parse(json.dumps(document()), beside), events.append, kind=kind)
    assert found.latents.samples.shape[1] == CHANNELS[kind]
    assert torch.isfinite(found.latents.samples).all()
    ran = {event.node for event in events if event.event == "finished"}
    assert ran >= OWN[kind] | {f"{kind}_model"}
    for other in set(MODELS) - {kind}:
        assert not ran & (OWN[other] | {f"{other}_model"})
