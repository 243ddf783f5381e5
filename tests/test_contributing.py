"""CONTRIBUTING.md tells the truth: its code runs."""

from __future__ import annotations

import re
from pathlib import Path
from typing import Any

import pytest
import torch

from graphcore import Engine, Workflow
from graphcore.plugins.loader import Plugins
from nodes.types import Image

ROOT = Path(__file__).parent.parent
TEXT = (ROOT / "CONTRIBUTING.md").read_text(encoding="utf-8")


def block(marker: str, language: str = "python") -> str:
    """The one block that holds a marker."""
    (found,) = [code for code in re.findall(rf"```{language}\n(.*?)```", TEXT, re.DOTALL) if marker in code]
    return str(found)


@pytest.fixture
def plugins(tmp_path: Path) -> Plugins:
    (tmp_path / "contrast.py").write_text(block("def contrast("))
    (tmp_path / "reading.py").write_text(block("def read_text("))
    (tmp_path / "mean.py").write_text(block("def add_to_mean("))
    found = Plugins([tmp_path])
    assert [state.error for state in found.states] == [""] * len(found.states)
    return found


def test_the_first_example_is_a_node_of_ten_lines(plugins: Plugins) -> None:
    declared = plugins.registry.get("contrast/contrast")
    assert list(declared.inputs) == ["image", "amount"]
    with pytest.raises(ValueError, match="less than or equal to 4"):
        declared.inputs["amount"].validate(5)
    pixels = torch.rand(1, 3, 4, 4)
    assert torch.allclose(declared.function(Image(pixels), 1.0).pixels, pixels)


def test_its_test_passes(plugins: Plugins) -> None:
    scope: dict[str, Any] = {}
    exec(block("def test_contrast"), scope)
    test = next(value for name, value in scope.items() if name.startswith("test_"))
    test(plugins.registry.get("contrast/contrast").function)


def test_the_fingerprint_is_that_of_the_content(plugins: Plugins, tmp_path: Path) -> None:
    declared = plugins.registry.get("reading/read_text")
    first, copy, other = (tmp_path / name for name in ("first.txt", "copy.txt", "other.txt"))
    for path, text in ((first, "one"), (copy, "one"), (other, "two")):
        path.write_text(text)
    assert declared.fingerprint is not None
    assert declared.fingerprint(first) == declared.fingerprint(copy) != declared.fingerprint(other)
    assert declared.function(first) == "one"


def test_a_type_of_ones_own_is_carried_through_a_loop(plugins: Plugins) -> None:
    workflow = Workflow.parse(block("mean/add_to_mean", "json"), ROOT / "workflows" / "mean.json")
    contrast = plugins.registry.get("contrast/contrast").function
    with Engine(registry=plugins.registry) as engine:
        picture = plugins.registry.get("load_image").function(ROOT / "workflows" / "example.png")
        run = engine.start(workflow, previews=True)
        previews = [event for event in run if event.event == "preview" and event.node.endswith("add")]
    expected = torch.stack([picture.pixels, *(contrast(picture, amount).pixels for amount in (0.5, 1.5, 2.0))]).mean(0)
    assert torch.allclose(run.outputs.image.pixels, expected, atol=1e-6)
    assert [event.preview[:4] for event in previews] == [b"\x89PNG"] * 3


def test_it_names_all_hooks() -> None:
    import inspect

    from graphcore import node

    hooks = set(inspect.signature(node).parameters) - {"category", "pure"}
    assert hooks == set(re.findall(r"^\| `(\w+)` \|", TEXT, re.MULTILINE))


def test_its_links_lead_somewhere() -> None:
    for target in re.findall(r"\]\(([^)#:]+)\)", TEXT):
        assert (ROOT / target).exists(), target
