"""The types of all ports: what nodes declare, and what follows from the links, at every depth."""

from __future__ import annotations

import copy
import json
from typing import Any

from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from graphcore.check.port_types import PortTypes, port_types
from graphcore.files import reader
from tests.graphcore.check.test_checker import whole
from tests.graphcore.check.test_checker_total import NAMES, VALUES, places
from tests.graphcore.small_world import PARTS, REGISTRY, workflow

DECODE = {"decode": {"type": "decode", "inputs": {"coder": {"from": "coder.coder"}, "code": {"from": "code"}}}}


def told(data: Any, files: Any = None) -> PortTypes:
    found, _ = reader.parse(json.dumps(data), "w.json", {name: json.dumps(one) for name, one in (files or {}).items()})
    assert found is not None
    return port_types(found, REGISTRY)


def test_ordinary_nodes_tell_what_they_declare() -> None:
    nodes = told(workflow(PARTS)).nodes
    assert nodes["coder"].outputs == {"coder": "Coder", "times": "Times", "size": "int"}
    assert (nodes["code"].inputs, nodes["code"].outputs) == (
        {"coder": "Coder", "picture": "Picture"},
        {"output": "Code"},
    )


def test_structures_tell_what_follows() -> None:
    body = {
        "nodes": {"next": {"type": "add", "inputs": {"value": {"from": "each.t"}, "plus": {"from": "inputs.plus"}}}},
        "carry": {"code": {"from": "carry.code"}},
        "collect": {"sums": {"from": "next"}},
    }
    loop = {
        "type": "loop", "each": {"t": {"from": "coder.times"}}, "inputs": {"plus": 2}, "body": body,
        "carry": {"code": {"from": "code"}},
    }  # fmt: skip
    switch = {"type": "switch", "select": "a", "cases": {"a": {"from": "loop.code"}}, "default": {"from": "loop.sums"}}
    nodes = told(workflow({**PARTS, "loop": loop, "which": switch})).nodes
    assert nodes["loop"].inputs == {"t": "Times", "code": "Code", "plus": "int"}
    assert nodes["loop"].outputs == {"sums": "list[float]", "code": "Code"}
    assert nodes["loop.next"].outputs == {"output": "float"}
    assert nodes["which"].inputs == {"select": "str", "a": "Code", "default": "list[float]"}
    assert nodes["which"].outputs == {"output": "Code"}
    assert list(nodes)[-1] == "loop.next", "the outer ones first"


def test_an_input_that_takes_anything_is_what_takes_it() -> None:
    inside = workflow(
        {
            "code": {"type": "encode", "inputs": {"coder": {"from": "inputs.c"}, "picture": {"from": "inputs.p"}}},
            "each": {"type": "map", "each": {"n": {"from": "inputs.many"}}, "body": {
                "nodes": {"sum": {"type": "add", "inputs": {"value": {"from": "each.n"}}}},
                "outputs": {"sum": {"from": "sum"}},
            }},
        },
        {"out": {"from": "code"}, "sums": {"from": "each.sum"}, "same": {"from": "inputs.free"}},
        inputs={name: {"type": "any"} for name in ("c", "p", "many", "free")},
    )  # fmt: skip
    types = told(inside)
    assert types.inputs == {"c": "Coder", "p": "Picture", "many": "list[float]", "free": "Any"}
    given_ = {"c": {"from": "coder.coder"}, "p": {"from": "photo"}, "many": [1], "free": {"from": "photo"}}
    outer = told(workflow({**PARTS, "sub": {"type": "workflow", "path": "in.json", "inputs": given_}},
                          {"out": {"from": "sub.same"}}), {"in.json": inside})  # fmt: skip
    assert outer.nodes["sub"].inputs == types.inputs
    assert outer.nodes["sub"].outputs == {"out": "Code", "sums": "list[float]", "same": "Picture"}
    assert outer.nodes["sub.each.sum"].inputs == {"value": "float", "plus": "float"}


def test_mistakes_leave_the_rest_known() -> None:
    wrong = {
        **copy.deepcopy(PARTS), **DECODE, "typo": {"type": "encod", "inputs": {}},
        "sub": {"type": "workflow", "path": "nowhere.json"},
    }  # fmt: skip
    wrong["code"]["inputs"]["picture"] = {"from": "nobody"}
    nodes = told(workflow(wrong, {"out": {"from": "decode"}})).nodes
    assert nodes["decode"].outputs == {"output": "Picture"}
    assert nodes["typo"].inputs == nodes["typo"].outputs == nodes["sub"].outputs == {}


def test_files_that_unfold_into_very_many_are_told_in_part() -> None:
    files = {"0.json": workflow({"x": {"type": "add", "inputs": {"value": 1}}})}
    for level in range(1, 8):
        uses = {f"n{i}": {"type": "workflow", "path": f"{level - 1}.json"} for i in range(6)}
        files[f"{level}.json"] = workflow(uses, {"out": {"from": "n0.out"}})
    assert len(told(files["7.json"], files).nodes) == 10_000


@given(st.data())
@settings(max_examples=100, deadline=None, suppress_health_check=[HealthCheck.too_slow, HealthCheck.data_too_large])
def test_no_change_to_a_workflow_raises(data: st.DataObject) -> None:
    mutated = copy.deepcopy(whole())
    for _ in range(data.draw(st.integers(1, 4))):
        container, key = data.draw(st.sampled_from(places(mutated)))
        if isinstance(container, dict) and data.draw(st.booleans()):
            container[data.draw(NAMES)] = container.pop(key)
        else:
            container[key] = data.draw(VALUES)
        if not places(mutated):
            break
    found, _ = reader.parse(json.dumps(mutated), "w.json", {})
    if found is not None:
        for node in port_types(found, REGISTRY).nodes.values():
            json.dumps([dict(node.inputs), dict(node.outputs)])
