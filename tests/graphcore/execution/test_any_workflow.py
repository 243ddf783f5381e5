"""Any workflow of loops, maps and switches within each other gives what a plain interpreter gives."""

from __future__ import annotations

import itertools
import json
from typing import Any

from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from graphcore import Engine, Workflow
from tests.graphcore import arithmetic
from tests.graphcore.arithmetic import CALLS, REGISTRY

Json = dict[str, Any]


@st.composite
def bodies(draw: st.DrawFn, scope: tuple[str, ...], lists: tuple[str, ...], depth: int) -> Json:
    """Nodes over numbers in `scope` and lists in `lists` (names that a link may say); the last one gives `result`."""
    nodes: Json = {}
    scope_now, lists_now = list(scope), list(lists)
    for number in range(draw(st.integers(1, 3))):
        name = f"n{number}"
        kinds = ["add", "double", "count", "total"] + (["loop", "map", "switch"] if depth else [])
        kind = draw(st.sampled_from(kinds))
        nodes[name] = draw(_node(kind, tuple(scope_now), tuple(lists_now), depth))
        if kind == "count":
            lists_now.append(name)
        elif kind == "map":
            lists_now.append(f"{name}.out")
        else:
            scope_now.append(f"{name}.v" if kind == "loop" else name)
    return {"nodes": nodes, "result": draw(st.sampled_from(scope_now)), "list": draw(st.sampled_from(lists_now))}


def _value(scope: tuple[str, ...]) -> st.SearchStrategy[Any]:
    links = st.sampled_from(scope).map(lambda name: {"from": name})
    return links | st.sampled_from([0.0, 1.0, 2.5])


@st.composite
def _node(draw: st.DrawFn, kind: str, scope: tuple[str, ...], lists: tuple[str, ...], depth: int) -> Json:
    value = _value(scope)
    if kind == "add":
        return {"type": "add", "inputs": {"a": draw(value), "b": draw(value)}}
    if kind == "double":
        return {"type": "double", "inputs": {"a": draw(value)}}
    if kind == "count":
        return {"type": "count", "inputs": {"n": draw(st.integers(0, 3))}}
    if kind == "total":
        return {"type": "total", "inputs": {"values": draw(st.lists(value, min_size=1, max_size=3))}}
    if kind == "switch":
        select = draw(st.sampled_from(["plus", "minus"]))
        cases = {"plus": draw(value), "minus": draw(value)}
        return {"type": "switch", "select": select, "cases": cases}
    each = {"from": draw(st.sampled_from(lists))}
    inner = ("inputs.x", "each.i", "index")
    shell: Json = {"type": kind, "inputs": {"x": draw(value)}, "each": {"i": each}}
    if kind == "map":
        body = draw(bodies(inner, ("inputs.l",), depth - 1))
        shell["inputs"]["l"] = {"from": draw(st.sampled_from(lists))}
        shell["body"] = {"nodes": body["nodes"], "outputs": {"out": {"from": body["result"]}}}
        return shell
    body = draw(bodies((*inner, "carry.v"), ("inputs.l",), depth - 1))
    shell["inputs"]["l"] = {"from": draw(st.sampled_from(lists))}
    shell["carry"] = {"v": draw(st.sampled_from([0.0, 1.0, 2.5]))}  # an int could not go on as a float
    shell["body"] = {"nodes": body["nodes"], "carry": {"v": {"from": body["result"]}}}
    return shell


def interpret(body: Json, outside: dict[str, Any]) -> dict[str, Any]:
    """The values of all names of a body, by plain recursion."""
    names = dict(outside)

    def value(given: Any) -> Any:
        if isinstance(given, list):
            return [value(item) for item in given]
        return names[given["from"]] if isinstance(given, dict) else given

    for name, node in body["nodes"].items():
        kind = node["type"]
        if kind == "switch":
            names[name] = value(node["cases"][node["select"]])
        elif kind in ("loop", "map"):
            names.update(_repeat(name, node, value))
        else:
            inputs = {port: value(given) for port, given in node["inputs"].items()}
            names[name] = {
                "add": lambda a=0, b=0: a + b, "double": lambda a=0: a * 2, "count": lambda n=0: list(range(n)),
                "total": lambda values=(): sum(values),
            }[kind](**inputs)  # fmt: skip
    return names


def _repeat(name: str, node: Json, value: Any) -> dict[str, Any]:
    inputs = {f"inputs.{key}": value(given) for key, given in node["inputs"].items()}
    carried = {f"carry.{key}": value(given) for key, given in node.get("carry", {}).items()}
    rows = []
    for index, item in enumerate(value(node["each"]["i"])):
        inside = interpret(node["body"], {**inputs, **carried, "each.i": item, "index": index})
        carried = {f"carry.{key}": inside[given["from"]] for key, given in node["body"].get("carry", {}).items()}
        rows += [inside[given["from"]] for given in node["body"].get("outputs", {}).values()]
    if node["type"] == "map":
        return {f"{name}.out": rows}
    return {f"{name}.{key.removeprefix('carry.')}": given for key, given in carried.items()}


@settings(max_examples=150, deadline=None, suppress_health_check=[HealthCheck.too_slow])
@given(bodies(("inputs.a", "inputs.b"), ("inputs.many",), 2), st.sampled_from([0, 2**20]))
def test_the_engine_computes_what_an_interpreter_computes(body: Json, memory: int) -> None:
    given_values: dict[str, Any] = {"a": 3.0, "b": -1.5, "many": [1, 2]}
    names = interpret(body, {f"inputs.{name}": value for name, value in given_values.items()})
    text = {
        "stepgraph": 1,
        "inputs": {"a": {"type": "number"}, "b": {"type": "number"}, "many": {"type": "array", "items": "integer"}},
        "nodes": body["nodes"],
        "outputs": {"result": {"from": body["result"]}, "list": {"from": body["list"]}},
    }
    workflow = Workflow.parse(json.dumps(text))
    arithmetic.reset()
    with Engine(registry=REGISTRY, device="cpu", memory_limit=memory) as engine:
        outputs = engine.run(workflow, **given_values)
        assert outputs.result == names[body["result"]]
        assert list(outputs.list) == list(names[body["list"]])
        calls = sum(CALLS.values())
        assert dict(engine.run(workflow, **given_values)) == dict(outputs)
        if memory:
            assert sum(CALLS.values()) == calls


def test_the_interpreter_itself() -> None:
    loop = {
        "type": "loop", "inputs": {"x": 1.0}, "each": {"i": {"from": "c"}}, "carry": {"v": 0.0},
        "body": {
            "nodes": {"s": {"type": "add", "inputs": {"a": {"from": "carry.v"}, "b": {"from": "each.i"}}}},
            "carry": {"v": {"from": "s"}},
        },
    }  # fmt: skip
    names = interpret({"nodes": {"c": {"type": "count", "inputs": {"n": 4}}, "l": loop}}, {})
    assert names["l.v"] == sum(itertools.accumulate([0, 1, 1, 1])) == 6
