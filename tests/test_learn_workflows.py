"""The workflows that teach: what they say on the canvas is true, and all of it can be seen."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest
import torch

from graphcore import Engine, Workflow
from graphcore.plugins.loader import Plugins
from nodes import resources

FOLDER = resources.workflow_folder()
NAMES = ("learn_loop", "learn_conditioning", "learn_plugin")


def document(name: str) -> dict[str, Any]:
    found: dict[str, Any] = json.loads((FOLDER / f"{name}.json").read_text(encoding="utf-8"))
    return found


def picture(name: str, **given: Any) -> torch.Tensor:
    """By an engine of its own: a value left by an earlier run may come from another batch, and differ in a last bit."""
    with Engine(cache=None, device="cpu", dtype="float32") as engine:
        found: torch.Tensor = engine.run(Workflow.load(FOLDER / f"{name}.json"), **given).image.pixels
    return found


def levels(body: dict[str, Any]) -> list[dict[str, Any]]:
    """A file, and the bodies of its loops."""
    inner = [node["body"] for node in body["nodes"].values() if "body" in node]
    return [body, *(found for one in inner for found in levels(one))]


@pytest.mark.parametrize("name", NAMES)
def test_every_node_has_its_place_beside_the_notes(name: str) -> None:
    for level in levels(document(name)):
        positions = level["layout"]["positions"]
        assert set(positions) == {*level["nodes"], "@inputs", "@outputs"}
        assert level["layout"]["notes"]
        for note in level["layout"]["notes"].values():
            (left, top), (width, height) = note["at"], note["size"]
            covered = [at for at in positions.values() if left <= at[0] < left + width and top <= at[1] < top + height]
            assert not covered, f"{note['text'][:30]!r} covers the corner of a node"


def test_the_loop_stands_in_the_file_itself() -> None:
    body = document("learn_loop")["nodes"]["loop"]["body"]
    assert [node["type"] for node in body["nodes"].values()].count("unet") == 2
    assert not any(node["type"] == "workflow" for node in body["nodes"].values())


def test_the_loop_gives_what_text_to_image_gives() -> None:
    given: dict[str, Any] = {"prompt": "a frog", "seed": 5, "steps": 3}
    assert torch.equal(picture("learn_loop", **given), picture("txt2img", **given))


@pytest.mark.parametrize("encoder", document("learn_conditioning")["inputs"]["encoder"]["enum"])
def test_the_switch_takes_what_its_enum_says(encoder: str) -> None:
    given: dict[str, Any] = {"prompt": "a cat", "seed": 2, "steps": 2, "encoder": encoder}
    assert torch.equal(picture("learn_conditioning", **given), picture("conditioning_switch", **given))


def test_the_plugin_that_the_note_shows_works_as_it_says(tmp_path: Path) -> None:
    file = document("learn_plugin")
    code = file["layout"]["notes"]["write"]["text"].partition("\n\n")[2]
    (tmp_path / "negative.py").write_text(code + "\n", encoding="utf-8")
    file["nodes"]["yours"] = {"type": "negative/negative", "inputs": {"image": {"from": "picture.image"}}}
    file["outputs"]["before"] = {"from": "picture.image"}
    plugins = Plugins([tmp_path])
    assert [state.error for state in plugins.states if state.error] == []
    workflow = Workflow.parse(json.dumps(file), FOLDER / "learn_plugin.json")
    with Engine(cache=None, device="cpu", dtype="float32", registry=plugins.registry) as engine:
        found = engine.run(workflow, steps=2)
    assert torch.equal(found.image.pixels, 1 - found.before.pixels)
