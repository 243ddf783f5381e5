"""What the editor writes, held to what the engine reads.

The files beside this are what the editor's own tests (`server/editor/tests`) make of shipped workflows; they hold the
editor to them, and this holds them to the checker and to the canonical layout.
"""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from graphcore.check import checker
from graphcore.declare.description import describe
from graphcore.files import canonical
from graphcore.plugins.loader import Plugins

HERE = Path(__file__).parent
NODES = HERE.parents[2] / "server" / "editor" / "tests" / "fixtures" / "nodes.json"

MADE = sorted((HERE / "made").glob("*.json"))
EDITED = sorted((HERE / "edited").glob("*.json"))


@pytest.mark.parametrize("path", MADE, ids=lambda path: path.stem)
def test_the_checker_finds_nothing_in_sub_workflows_and_their_callers(path: Path) -> None:
    assert checker.check_file(path, Plugins().registry) == []


@pytest.mark.parametrize("path", [*MADE, *EDITED], ids=lambda path: f"{path.parent.name}-{path.stem}")
def test_what_the_editor_writes_is_canonical(path: Path) -> None:
    text = path.read_text(encoding="utf-8")
    assert canonical.text(json.loads(text)) == text


def test_the_editors_tests_know_node_types_as_they_are() -> None:
    """To write the list anew, take `described` of each type of the registry."""
    registry = Plugins().registry
    known = json.loads(NODES.read_text(encoding="utf-8"))
    assert known == {name: described(name) for name in known if registry.find(name)}


def described(name: str) -> dict[str, object]:
    """The ports of a node type, as the editor's tests want them."""
    found = describe(Plugins().registry.get(name))
    inputs = {port: {key: one[key] for key in ("type", "required", "literal")} for port, one in found["inputs"].items()}
    return {"inputs": inputs, "outputs": {port: one["type"] for port, one in found["outputs"].items()}}
