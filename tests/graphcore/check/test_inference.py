"""What the nodes' `infer` hooks say about a workflow, and what becomes of it."""

from __future__ import annotations

import copy
import json
from pathlib import Path
from typing import Any

import pytest

from graphcore import TensorSpec
from graphcore.check import inference
from graphcore.check.inference import UNKNOWN
from graphcore.declare.registry import Registry
from graphcore.files import reader
from tests.graphcore.small_world import PARTS, REGISTRY, Code, Picture, only, problems_of, workflow


def link(text: str) -> dict[str, str]:
    return {"from": text}


def outputs_of(data: Any, registry: Registry = REGISTRY, **inputs: Any) -> dict[str, Any]:
    """What is known of the outputs of a workflow that is all right."""
    read, problems = reader.parse(json.dumps(data))
    assert problems == []
    assert read is not None
    found = inference.infer(read, registry, inputs)
    assert found.problems == []
    return dict(found.outputs)


def add(value: Any, plus: Any = 1.0) -> dict[str, Any]:
    return {"type": "add", "inputs": {"value": value, "plus": plus}}


def test_shapes_flow_from_hook_to_hook() -> None:
    code = outputs_of(workflow(PARTS))["out"]
    assert isinstance(code, Code)
    assert code.samples == TensorSpec((8,))


def test_a_hook_that_refuses_gives_a_problem_at_the_port() -> None:
    data = workflow({**PARTS, "photo": {"type": "load", "inputs": {"path": "p", "width": 5}}})
    problem = only(json.dumps(data), models=True)
    assert (problem.code, problem.node, problem.port) == ("model", "code", "picture")
    assert problem.describe().endswith("`code.picture`: wants a picture 8 wide, got a picture 5 wide (resize it)")
    text = json.dumps(data)
    assert problem.column == text.index('"photo"}') + 1
    assert problems_of(data, models=False) == []


def test_a_hook_that_fails_is_named() -> None:
    data = workflow({"coder": {"type": "open_coder", "inputs": {"path": "broken"}}}, {"x": link("coder.size")})
    problem = only(data, models=True)
    assert problem.code == "infer"
    assert "the infer hook of `open_coder` failed: ZeroDivisionError: no luck (small_world.py, line" in problem.message


def test_hooks_resolve_files_relative_to_the_workflow(tmp_path: Path) -> None:
    data = workflow({"coder": {"type": "open_coder", "inputs": {"path": "relative"}}}, {"x": link("coder.size")})
    (tmp_path / "here.txt").write_text("x")
    read, _ = reader.parse(json.dumps(data), tmp_path / "w.json")
    assert read is not None
    assert inference.infer(read, REGISTRY, {}).problems == []


def test_what_is_not_known_stays_unknown_and_hooks_are_spared() -> None:
    data = workflow(
        {**PARTS, "picture": {"type": "decode", "inputs": {"coder": link("coder.coder"), "code": link("code")}},
         "again": {"type": "encode", "inputs": {"coder": link("coder.coder"), "picture": link("picture")}}},
    )  # fmt: skip
    assert outputs_of(data)["out"] is UNKNOWN


def test_values_given_to_the_workflow_are_known() -> None:
    inputs = {"n": {"type": "number", "default": 1}}
    data = workflow({"sum": add(link("inputs.n"))}, inputs=inputs)
    assert outputs_of(data)["out"] == 2.0
    assert outputs_of(data, n=4)["out"] == 5.0
    data["inputs"] = {"n": {"type": "number"}}
    assert outputs_of(data)["out"] is UNKNOWN


@pytest.mark.parametrize(("value", "words"), [(65, "less than or equal to 64, got 65 from `inputs.n`"), (0, "got 0")])
def test_a_value_that_comes_through_a_link_meets_the_bounds_of_the_port(value: int, words: str) -> None:
    nodes = {"coder": {"type": "open_coder", "inputs": {"path": "x", "width": link("inputs.n")}}}
    data = workflow(nodes, {"x": link("coder.size")}, inputs={"n": {"type": "integer", "default": 8}})
    assert problems_of(data, {}, models=True) == []
    problem = only(data, {"n": value}, models=True)
    assert (problem.code, problem.node, problem.port) == ("literal", "coder", "width")
    assert words in problem.message


def test_one_iteration_tells_the_shapes_of_a_loop() -> None:
    body = {
        "nodes": {
            "code": {"type": "encode", "inputs": {"coder": link("inputs.coder"), "picture": link("inputs.photo")}}
        },
        "carry": {"code": link("code")},
        "collect": {"codes": link("code")},
    }
    loop = {
        "type": "loop", "inputs": {"coder": link("coder.coder"), "photo": link("photo")},
        "each": {"t": link("coder.times")}, "carry": {"code": link("code")}, "body": body,
    }  # fmt: skip
    found = outputs_of(workflow({**PARTS, "loop": loop}, {"code": link("loop.code"), "codes": link("loop.codes")}))
    assert found["code"].samples == TensorSpec((8,))
    assert [code.samples for code in found["codes"]] == [TensorSpec((8,))] * 8


def test_a_mistake_in_a_body_is_reported_there_once() -> None:
    bad = {"type": "load", "inputs": {"path": "p", "width": 3}}
    code = {"type": "encode", "inputs": {"coder": link("inputs.coder"), "picture": link("bad")}}
    body = {"nodes": {"bad": bad, "code": code}, "carry": {"code": link("code")}}
    loop = {
        "type": "loop", "inputs": {"coder": link("coder.coder")}, "times": 5, "carry": {"code": None}, "body": body,
    }  # fmt: skip
    problem = only(workflow({**PARTS, "loop": loop}, {"x": link("loop.code")}), models=True)
    assert (problem.code, problem.node) == ("model", "loop.code")


@pytest.mark.parametrize(("times", "expected"), [(0, 5.0), (1, 6.0), (7, UNKNOWN)])
def test_a_carried_number_is_known_only_where_one_iteration_tells(times: int, expected: Any) -> None:
    body = {"nodes": {"next": add(link("carry.n"))}, "carry": {"n": link("next")}}
    data = workflow({"loop": {"type": "loop", "times": times, "carry": {"n": 5.0}, "body": body}})
    found = outputs_of(data)["out"]
    assert found is expected or found == expected


def test_a_map_is_gone_through_item_by_item() -> None:
    body = {"nodes": {"sum": add(link("each.a"), link("each.b"))}, "outputs": {"sums": link("sum")}}
    node = {"type": "map", "each": {"a": [1.0, 2.0], "b": [10.0, 20.0]}, "body": body}
    assert outputs_of(workflow({"map": node}))["out"] == [11.0, 22.0]
    assert outputs_of(workflow({"map": {**node, "mode": "product"}}))["out"] == [11.0, 21.0, 12.0, 22.0]
    bad = {**node, "each": {"a": [1.0, 2.0], "b": [10.0, 2000.0]}}
    problem = only(workflow({"map": bad}), models=True)
    assert (problem.node, problem.port) == ("map.sum", "plus")
    assert "got 2000.0 from `each.b`" in problem.message


def test_sequences_of_different_lengths_are_found_where_they_are_known() -> None:
    inputs = {"a": {"type": "array", "items": "number", "default": [1, 2]}}
    body = {"nodes": {"sum": add(link("each.a"), link("each.b"))}, "outputs": {"sums": link("sum")}}
    node = {"type": "map", "each": {"a": link("inputs.a"), "b": [10.0, 20.0]}, "body": body}
    data = workflow({"map": node}, inputs=inputs)
    assert problems_of(data, {}, models=True) == []
    problem = only(data, {"a": [1, 2, 3]}, models=True)
    assert (problem.code, problem.node, problem.port) == ("each", "map", "b")
    assert "`a` has 3, `b` has 2" in problem.message


def switched(select: Any, **more: Any) -> dict[str, Any]:
    """A switch between a photo that fits and one that does not."""
    nodes = copy.deepcopy(dict(PARTS))
    nodes["wrong"] = {"type": "load", "inputs": {"path": "p", "width": 3}}
    nodes["bad"] = {"type": "encode", "inputs": {"coder": link("coder.coder"), "picture": link("wrong")}}
    nodes["chosen"] = {"type": "switch", "select": select, "cases": {"good": link("code"), "bad": link("bad")}}
    return workflow(nodes, **more)


def test_only_the_case_that_is_taken_is_checked() -> None:
    inputs = {"which": {"type": "string", "default": "good"}}
    data = switched(link("inputs.which"), inputs=inputs)
    assert outputs_of(data)["out"].samples == TensorSpec((8,))
    assert only(data, {"which": "bad"}, models=True).node == "bad"
    problem = only(data, {"which": "worse"}, models=True)
    assert (problem.code, problem.node, problem.port) == ("switch", "chosen", "select")
    assert 'wants one of the cases `good`, `bad`, got "worse"' in problem.message
    unknown = switched(link("inputs.which"), inputs={"which": {"type": "string"}})
    assert outputs_of(unknown)["out"] is UNKNOWN


def test_nodes_that_no_output_needs_are_not_asked() -> None:
    data = switched("good")
    data["outputs"] = {"x": link("photo")}
    assert isinstance(outputs_of(data)["x"], Picture)


def test_a_file_is_checked_with_what_each_use_gives_it(tmp_path: Path) -> None:
    inputs = {"coder": {"type": "any"}, "picture": {"type": "any"}, "n": {"type": "integer", "default": 1}}
    code = {"type": "encode", "inputs": {"coder": link("inputs.coder"), "picture": link("inputs.picture")}}
    part = json.dumps(workflow({"code": code}, inputs=inputs))
    nodes = copy.deepcopy(dict(PARTS))
    nodes["wrong"] = {"type": "load", "inputs": {"path": "p", "width": 3}}
    for name, picture in {"one": "photo", "two": "wrong"}.items():
        given = {"coder": link("coder.coder"), "picture": link(picture)}
        nodes[name] = {"type": "workflow", "path": "part.json", "inputs": given}
    data = workflow(nodes, {"one": link("one"), "two": link("two")})
    read, problems = reader.parse(json.dumps(data), tmp_path / "top.json", {"part.json": part})
    assert problems == []
    assert read is not None
    found = inference.infer(read, REGISTRY, {})
    assert found.outputs["one"].samples == TensorSpec((8,))
    assert found.outputs["two"] is UNKNOWN
    [problem] = found.problems
    assert (problem.node, problem.file) == ("two.code", str(tmp_path / "part.json"))


def test_maps_in_maps_have_an_end() -> None:
    node: dict[str, Any] = {"type": "add", "inputs": {"value": 1.0}}
    for _ in range(12):
        node = {
            "type": "map",
            "each": {"i": list(range(20))},
            "body": {"nodes": {"n": node}, "outputs": {"o": link("n")}},
        }
    assert problems_of(workflow({"n": node}), models=True) == []
