"""The JSON Schema of workflow files, against the jsonschema library and against the checker."""

from __future__ import annotations

import copy
import enum
import json
from collections.abc import Callable
from pathlib import Path
from typing import Annotated, Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from jsonschema import Draft202012Validator
from pydantic import Field

from graphcore import node
from graphcore.declare import docstring
from graphcore.declare.node import declared
from graphcore.declare.registry import Registry
from graphcore.declare.schema import workflow_schema
from graphcore.plugins.loader import Plugins
from tests.graphcore.check.test_checker import CASES, whole, with_
from tests.graphcore.check.test_checker_total import VALUES, places
from tests.graphcore.small_world import REGISTRY, problems_of, types

SCHEMA = workflow_schema(REGISTRY)
VALIDATOR = Draft202012Validator(SCHEMA)
WORKFLOWS = sorted((Path(__file__).parents[3] / "workflows").glob("*.json"))


def test_it_is_valid_itself_and_can_be_written_as_json() -> None:
    Draft202012Validator.check_schema(SCHEMA)
    assert json.loads(json.dumps(SCHEMA)) == SCHEMA
    assert SCHEMA["$schema"] == "https://json-schema.org/draft/2020-12/schema"


def test_references_lead_somewhere() -> None:
    references = {value for _, value in ((k, c[k]) for c, k in places(SCHEMA) if k == "$ref") if isinstance(value, str)}
    assert references
    assert {reference.removeprefix("#/$defs/") for reference in references} <= SCHEMA["$defs"].keys()


@pytest.mark.parametrize("file", WORKFLOWS, ids=lambda file: file.name)
def test_the_shipped_workflows_are_valid(file: Path) -> None:
    schema = workflow_schema(Plugins().registry)
    Draft202012Validator.check_schema(schema)
    Draft202012Validator(schema).validate(json.loads(file.read_text(encoding="utf-8")))


def test_the_whole_is_valid_with_and_without_the_name_space() -> None:
    data = whole()
    VALIDATOR.validate(data)
    data["nodes"]["code"]["type"] = "stepgraph/encode"
    data["nodes"]["other"] = {"type": "my_plugin/depth_encoder", "inputs": {"picture": {"from": "photo"}}}
    VALIDATOR.validate(data)


REFUSED = [
    "node type", "plugin", "port", "far port", "missing", "missing literal", "text for a number", "above", "below",
    "choice", "in a list with links", "null", "a number for text", "literal for a link", "negative times",
]  # fmt: skip


@pytest.mark.parametrize("name", REFUSED)
def test_it_finds_what_can_be_seen_without_following_links(name: str) -> None:
    data = whole()
    CASES[name].change(data)
    assert not VALIDATOR.is_valid(data)


FORM: dict[str, Callable[[dict[str, Any]], None]] = {
    "top key": with_("node", {}),
    "version": with_("stepgraph", 2),
    "node key": with_("nodes/code/input", {}),
    "node name": with_("nodes/carry", {"type": "load", "inputs": {"path": "x"}}),
    "name": with_("nodes/a b", {"type": "load", "inputs": {"path": "x"}}),
    "link": with_("nodes/code/inputs/picture", {"from": "a.b.c"}),
    "link in a loop": with_("nodes/loop/carry/code", {"from": 3}),
    "loop": with_("nodes/loop/body", ...),
    "mode": with_("nodes/map/mode", "all"),
    "switch": with_("nodes/switch/select", ...),
    "input": with_("inputs", {"n": {"type": "int"}}),
    "outputs": with_("outputs", {}),
}


@pytest.mark.parametrize("change", FORM.values(), ids=FORM.keys())
def test_it_finds_mistakes_of_form(change: Callable[[dict[str, Any]], None]) -> None:
    data = whole()
    change(data)
    assert not VALIDATOR.is_valid(data)
    assert problems_of(data)


@given(st.data())
@settings(max_examples=150, deadline=None)
def test_it_refuses_nothing_that_the_checker_takes(data: st.DataObject) -> None:
    mutated = copy.deepcopy(whole())
    container, key = data.draw(st.sampled_from(places(mutated)))
    if data.draw(st.booleans()):
        container[key] = data.draw(VALUES)
    else:
        del container[key]
    if not problems_of(mutated):
        VALIDATOR.validate(json.loads(json.dumps(mutated)))


class Colour(enum.Enum):
    """A closed choice."""

    RED = "red"
    BLUE = "blue"


@node(category="test")
def paint(
    colour: Colour = Colour.RED, weight: Annotated[float, Field(ge=0, le=1)] = 0.5, tags: dict[str, int] | None = None
) -> str:
    """Paints.

    Several lines of help.

    Args:
        colour: What to paint with;
            or not.
        weight: Share of it.
    """
    raise NotImplementedError


def test_ports_have_bounds_choices_defaults_and_help() -> None:
    schema = workflow_schema(Registry().with_nodes("stepgraph", types(paint)))
    ports = schema["$defs"]["node.stepgraph.paint"]["else"]["properties"]["inputs"]["properties"]
    assert ports["colour"]["default"] == "red"
    assert ports["colour"]["description"] == "Colour. What to paint with; or not."
    assert ports["weight"]["anyOf"][0] == {"type": "number", "minimum": 0, "maximum": 1}
    assert schema["$defs"]["node"]["properties"]["type"]["enumDescriptions"][-1] == "Paints."
    validator = Draft202012Validator(schema)

    def valid(**inputs: Any) -> bool:
        nodes = {"p": {"type": "paint", "inputs": inputs}}
        return bool(validator.is_valid({"stepgraph": 1, "nodes": nodes, "outputs": {"x": {"from": "p"}}}))

    assert valid(colour="blue", weight=1, tags={"a": 1})
    assert valid(colour={"from": "p"}, tags=None)
    assert not valid(colour="green")
    assert not valid(weight=2)
    assert not valid(tags={"a": "b"})


LEFT_OUT: dict[str, tuple[dict[str, Any], bool]] = {
    "without inputs": ({"type": "encode", "mute": True}, True),
    "without an input": ({"type": "encode", "bypass": True, "inputs": {"picture": {"from": "photo"}}}, True),
    "with a wrong value": ({"type": "load", "mute": True, "inputs": {"path": 3}}, True),
    "not left out": ({"type": "encode", "mute": False, "bypass": False}, False),
    "with an unknown input": ({"type": "encode", "mute": True, "inputs": {"pictur": 1}}, False),
    "of an unknown type": ({"type": "encod", "mute": True}, False),
    "no boolean": ({"type": "load", "mute": 1, "inputs": {"path": "x"}}, False),
    "both": ({"type": "load", "mute": True, "bypass": True, "inputs": {"path": "x"}}, False),
}


@pytest.mark.parametrize("name", LEFT_OUT)
def test_nodes_that_are_left_out(name: str) -> None:
    """Schema and checker want of them only that their names are known."""
    node, right = LEFT_OUT[name]
    data = whole()
    data["nodes"]["other"] = node
    assert VALIDATOR.is_valid(data) == right
    assert (problems_of(data) == []) == right


def test_arguments_of_a_docstring() -> None:
    found = declared(paint)
    assert found is not None
    assert docstring.arguments(found.doc) == {"colour": "What to paint with; or not.", "weight": "Share of it."}
    several = "X.\n\nArgs:\n    a, b (int): Both.\n\n    c:\n        Below.\n\nReturns:\n    d: No."
    assert docstring.arguments(several) == {"a": "Both.", "b": "Both.", "c": "Below."}
    assert docstring.arguments("No arguments.") == {}
    assert docstring.summary("  One\n  two.\n\nThree.") == "One two."
