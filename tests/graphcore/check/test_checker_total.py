"""No input makes the checker raise: bytes, texts, and workflows with anything changed anywhere."""

# ruff: noqa: E501 (a table has one case per line)

from __future__ import annotations

import copy
import json
from pathlib import Path
from typing import Any

from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from graphcore.check import checker
from graphcore.errors import Problem
from graphcore.files import reader
from tests.graphcore.check.test_checker import whole
from tests.graphcore.small_world import REGISTRY

WORDS = [
    "stepgraph", "nodes", "outputs", "inputs", "type", "from", "loop", "map", "switch", "workflow", "body", "carry", "each",
    "collect", "times", "select", "cases", "default", "path", "mode", "layout", "index", "add", "encode", "coder", "coder.coder",
    "code", "photo", "inputs.x", "carry.code", "each.t", "loop.code", "integer", "string", "array", "enum", "minimum", "",
]  # fmt: skip
NAMES = st.sampled_from(WORDS) | st.text(max_size=5)
SCALARS = (
    st.none()
    | st.booleans()
    | st.integers()
    | st.floats()
    | NAMES
    | st.just(10**400)
    | st.builds(lambda n: {"from": n}, NAMES)
)
VALUES = st.recursive(
    SCALARS, lambda inner: st.lists(inner, max_size=3) | st.dictionaries(NAMES, inner, max_size=4), max_leaves=8
)


def places(value: Any) -> list[tuple[Any, Any]]:
    """Every (container, key) in a JSON value."""
    steps = (
        list(value.items()) if isinstance(value, dict) else list(enumerate(value)) if isinstance(value, list) else []
    )
    return [found for key, inner in steps for found in [(value, key), *places(inner)]]


def sane(problems: list[Problem]) -> None:
    for problem in problems:
        problem.describe().encode()
        json.dumps(problem.as_dict())
        assert problem.code
        assert problem.message


@given(st.data())
@settings(max_examples=400, deadline=None, suppress_health_check=[HealthCheck.too_slow, HealthCheck.data_too_large])
def test_no_change_to_a_workflow_makes_the_checker_raise(data: st.DataObject) -> None:
    mutated = copy.deepcopy(whole())
    mutated["inputs"] = {"x": {"type": "integer", "default": 1}}
    for _ in range(data.draw(st.integers(1, 4))):
        container, key = data.draw(st.sampled_from(places(mutated)))
        action = data.draw(st.sampled_from(["set", "set", "remove", "rename", "copy"]))
        if action == "set":
            container[key] = data.draw(VALUES)
        elif action == "remove":
            del container[key]
        elif action == "rename" and isinstance(container, dict):
            container[data.draw(NAMES)] = container.pop(key)
        else:
            other, where = data.draw(st.sampled_from(places(mutated)))
            container[key] = copy.deepcopy(other[where])
        if not places(mutated):
            break
    workflow, problems = reader.parse(json.dumps(mutated), "w.json", {})
    sane(problems)
    if workflow is not None:
        sane(checker.check(workflow, REGISTRY))
        sane(checker.check(workflow, REGISTRY, data.draw(st.dictionaries(NAMES, VALUES, max_size=3))))


@given(VALUES)
@settings(deadline=None)
def test_any_json_is_checked(value: Any) -> None:
    workflow, problems = reader.parse(json.dumps(value), None, {})
    sane(problems)
    if workflow is not None:
        sane(checker.check(workflow, REGISTRY))


@given(st.data())
@settings(deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture, HealthCheck.too_slow])
def test_no_damage_to_a_file_makes_the_checker_raise(tmp_path: Path, data: st.DataObject) -> None:
    content = bytearray(json.dumps(whole()).encode())
    for _ in range(data.draw(st.integers(1, 5))):
        at = data.draw(st.integers(0, len(content) - 1))
        content[at : at + data.draw(st.integers(0, 9))] = data.draw(st.binary(max_size=9))
    file = tmp_path / "w.json"
    file.write_bytes(content)
    sane(checker.check_file(file, REGISTRY))


@given(st.binary(max_size=300))
@settings(deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture, HealthCheck.too_slow])
def test_any_bytes_are_checked(tmp_path: Path, content: bytes) -> None:
    file = tmp_path / "w.json"
    file.write_bytes(content)
    problems = checker.check_file(file, REGISTRY)
    sane(problems)
    assert problems
