"""Muted and bypassed nodes: the same workflow as one that is edited by hand, down to the keys."""

from __future__ import annotations

import copy
import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from graphcore import Engine, Workflow
from graphcore.errors import CheckFailed, Problem, StepgraphError
from graphcore.files import reader
from tests.graphcore import arithmetic, small_world
from tests.graphcore.arithmetic import EFFECTS
from tests.graphcore.execution.test_any_workflow import bodies
from tests.graphcore.small_world import PARTS, place_of, problems_of

Json = dict[str, Any]

INPUTS: Json = {
    "a": {"type": "number"}, "b": {"type": "number"}, "many": {"type": "array", "items": "integer"},
}  # fmt: skip
VALUES: Json = {"a": 3.0, "b": -1.5, "many": [1, 2]}


@pytest.fixture
def engine() -> Iterator[Engine]:
    arithmetic.reset()
    with Engine(registry=arithmetic.REGISTRY, device="cpu") as made:
        yield made


def file(nodes: Json, outputs: Json, **more: Any) -> Json:
    return {"stepgraph": 1, "inputs": INPUTS, **more, "nodes": nodes, "outputs": outputs}


def link(name: str) -> Json:
    return {"from": name}


def add(a: Any, b: Any = 1.0, **more: Any) -> Json:
    return {"type": "add", **more, "inputs": {"a": a, "b": b}}


# -- the oracle: an editor of JSON that makes one change after the other -------------------------------------------

UNFIT = "nothing_fits"


def by_hand(document: Json) -> Json:
    """The document without its muted and bypassed nodes; a link to `UNFIT` stands where nothing can be linked."""
    edited = copy.deepcopy(document)
    _unlink(edited["nodes"], [edited["outputs"]])
    names = {f"inputs.{name}" for name in edited["inputs"]}
    while _remove_one(edited["nodes"], names):
        pass
    known = names | _outputs(edited["nodes"])
    edited["outputs"] = {name: value for name, value in edited["outputs"].items() if _there(value, known)}
    return edited


def _unlink(nodes: Json, ends: list[Json]) -> None:
    """Link what uses a bypassed node to what goes into it."""
    for name, node in list(nodes.items()):
        if node["type"] in ("loop", "map"):
            body = node["body"]
            _unlink(body["nodes"], [body.get(key, {}) for key in ("carry", "collect", "outputs")])
        if not node.get("bypass"):
            continue
        del nodes[name]
        for holder in [*ends, *nodes.values()]:
            _replace(holder, name, node)


def _replace(holder: Json, name: str, node: Json) -> None:
    for key, value in holder.items():
        if isinstance(value, dict) and str(value.get("from", "")).partition(".")[0] == name:
            holder[key] = _instead(node, value["from"].partition(".")[2])
        elif isinstance(value, list):
            items = dict(enumerate(value))
            _replace(items, name, node)  # type: ignore[arg-type]
            holder[key] = list(items.values())
        elif isinstance(value, dict) and key != "body":
            _replace(value, name, node)


def _instead(node: Json, output: str) -> Any:
    if node["type"] in ("add", "double"):
        return node["inputs"]["a"]
    if node["type"] == "switch":
        return next(iter(node["cases"].values()))
    return node["carry"][output] if output in node.get("carry", {}) else link(UNFIT)


def _remove_one(nodes: Json, names: set[str]) -> bool:
    """Make one change that a muted node asks for; whether there was one."""
    known = names | _outputs(nodes)
    for name, node in nodes.items():
        if node.get("mute") or _needs_what_is_gone(node, known):
            del nodes[name]
            return True
        if _drop_one(node, known):
            return True
        if node["type"] in ("loop", "map") and _remove_one(node["body"]["nodes"], _inside(node)):
            return True
    return False


def _inside(node: Json) -> set[str]:
    return {f"{part}.{name}" for part in ("inputs", "each", "carry") for name in node.get(part, {})} | {"index"}


def _outputs(nodes: Json) -> set[str]:
    found = {UNFIT}
    for name, node in nodes.items():
        body = node.get("body", {})
        several = [*node.get("carry", {}), *body.get("collect", {}), *body.get("outputs", {})]
        found |= {f"{name}.{output}" for output in several} if body else {name}
    return found


def _there(value: Any, known: set[str]) -> bool:
    return not isinstance(value, dict) or value["from"] in known


def _needs_what_is_gone(node: Json, known: set[str]) -> bool:
    if node["type"] == "switch":
        return not _there(node["cases"][node["select"]], known)
    if "body" not in node:
        needed = [value for port, value in node["inputs"].items() if port != "b"]
        return any(value == [] or not _there(value, known) for value in needed)
    body = node["body"]
    inner = _inside(node) | _outputs(body["nodes"])
    outer = [*node["each"].values(), *node.get("carry", {}).values()]
    return not all(_there(value, known) for value in outer) or not all(
        _there(value, inner) for value in body.get("carry", {}).values()
    )


def _drop_one(node: Json, known: set[str]) -> bool:
    """Delete one value that is gone and that the node can do without."""
    parts = [(node.get("inputs", {}), known), (node.get("cases", {}), known)]
    if "body" in node:
        inner = _inside(node) | _outputs(node["body"]["nodes"])
        parts += [(node["body"].get(key, {}), inner) for key in ("collect", "outputs")]
    for values, names in parts:
        for key, value in values.items():
            if not _there(value, names):
                del values[key]
                return True
            if isinstance(value, list) and not all(_there(item, names) for item in value):
                values[key] = [item for item in value if _there(item, names)]
                return True
    return False


# -- any workflow --------------------------------------------------------------------------------------------------


def _all_nodes(nodes: Json) -> Iterator[Json]:
    for node in nodes.values():
        yield node
        if "body" in node:
            yield from _all_nodes(node["body"]["nodes"])


@st.composite
def documents(draw: st.DrawFn) -> Json:
    """A workflow in which some nodes, at any depth, are muted or bypassed."""
    body = draw(bodies(("inputs.a", "inputs.b"), ("inputs.many",), 2))
    for node in _all_nodes(body["nodes"]):
        if node["type"] == "loop" and draw(st.booleans()):
            node["body"]["collect"] = {"all": node["body"]["carry"]["v"]}
        ways = ["", "", "", "mute", "mute" if node["type"] == "map" else "bypass"]
        if way := draw(st.sampled_from(ways)):
            node[way] = True
    numbers = {
        f"o{index}": link(f"{name}.v" if node["type"] == "loop" else f"{name}.out" if node["type"] == "map" else name)
        for index, (name, node) in enumerate(body["nodes"].items())
    }
    collected = {
        f"c_{name}": link(f"{name}.all")
        for name, node in body["nodes"].items()
        if "collect" in node.get("body", {}) and not node.get("bypass")
    }
    return file(body["nodes"], {**numbers, **collected})


@settings(max_examples=400, deadline=None, suppress_health_check=[HealthCheck.too_slow])
@given(documents())
def test_it_is_the_workflow_that_is_edited_by_hand(document: Json) -> None:
    edited = by_hand(document)
    unfit = f'"{UNFIT}"' in json.dumps(edited)
    with Engine(registry=arithmetic.REGISTRY, device="cpu") as engine:
        made = Workflow.parse(json.dumps(document))
        if unfit or not edited["outputs"]:
            with pytest.raises(CheckFailed) as caught:
                engine.run(made, **VALUES)
            assert {problem.code for problem in caught.value.problems} <= {"bypass", "mute"}
            assert unfit == ("bypass" in {problem.code for problem in caught.value.problems})
            return
        plain = engine.start(Workflow.parse(json.dumps(edited)), VALUES)
        expected = dict(plain.finish())
        run = engine.start(made, VALUES)
        assert dict(run.finish()) == expected
        assert run.keys == plain.keys
        assert run.tally.ran == 0


def test_the_oracle_itself() -> None:
    document = file(
        {
            "m": add(1.0, mute=True), "x": add(link("m")), "y": add(2.0, link("x")),
            "z": add(link("w"), 7.0), "w": add(link("y"), link("m"), bypass=True),
            "l": {"type": "total", "inputs": {"values": [link("m"), link("y"), 4.0]}},
        },
        {"x": link("x"), "y": link("y"), "z": link("z"), "l": link("l")},
    )  # fmt: skip
    edited = by_hand(document)
    assert edited["nodes"] == {
        "y": {"type": "add", "inputs": {"a": 2.0}},
        "z": add(link("y"), 7.0),
        "l": {"type": "total", "inputs": {"values": [link("y"), 4.0]}},
    }
    assert list(edited["outputs"]) == ["y", "z", "l"]


# -- single rules --------------------------------------------------------------------------------------------------


def made(engine: Engine, nodes: Json, outputs: Json, **more: Any) -> Json:
    return dict(engine.run(Workflow.parse(json.dumps(file(nodes, outputs, **more))), **VALUES))


def refused(nodes: Json, outputs: Json, **more: Any) -> Problem:
    """The one problem of a workflow of numbers."""
    text = json.dumps(file(nodes, outputs, **more), indent=2)
    with Engine(registry=arithmetic.REGISTRY, device="cpu") as engine, pytest.raises(CheckFailed) as caught:
        engine.run(Workflow.parse(text), **VALUES)
    (problem,) = caught.value.problems
    return problem


def test_an_effect_that_is_left_out_does_not_happen(engine: Engine) -> None:
    nodes = {
        "x": add(1.0), "y": add(5.0, mute=True), "first": {"type": "tell", "inputs": {"a": link("x")}},
        "second": {"type": "tell", "inputs": {"a": link("y")}},
        "third": {"type": "tell", "bypass": True, "inputs": {"a": link("x")}},
    }  # fmt: skip
    assert made(engine, nodes, {"x": link("x")}) == {"x": 2.0}
    assert EFFECTS == [2.0]


def test_no_output_is_left() -> None:
    nodes, outputs = {"x": add(1.0, mute=True), "y": add(link("x"))}, {"y": link("y"), "x": link("x")}
    problem = refused(nodes, outputs)
    place = place_of(json.dumps(file(nodes, outputs), indent=2), '"outputs"')
    assert (problem.code, (problem.line, problem.column)) == ("mute", place)
    assert problem.message == "no output is left: all need what is muted (`x`)"
    assert problem.fix == "take `mute` off `x`"


def test_an_output_that_is_left_out_cannot_be_asked_for(engine: Engine) -> None:
    workflow = Workflow.parse(
        json.dumps(file({"x": add(1.0, mute=True), "y": add(2.0)}, {"x": link("x"), "y": link("y")}))
    )
    assert engine.start(workflow, VALUES, outputs=["y"]).finish().y == 3.0
    with pytest.raises(StepgraphError, match="the output `x` is not made: it needs a node that is muted"):
        engine.start(workflow, VALUES, outputs=["x"])


def test_a_node_without_its_inputs_may_be_left_out(engine: Engine) -> None:
    nodes = {"x": {"type": "add", "mute": True}, "z": {"type": "add", "bypass": True, "inputs": {"b": 4.0}}}
    assert made(engine, {**nodes, "y": add(link("inputs.a"))}, {"y": link("y"), "z": link("z")}) == {"y": 4.0, "z": 4.0}


def test_a_loop_bypassed_gives_what_it_would_carry_and_nothing_else(engine: Engine) -> None:
    body = {"nodes": {"n": add(link("carry.v"))}, "carry": {"v": link("n")}, "collect": {"all": link("n")}}
    loop = {"type": "loop", "bypass": True, "times": 3, "carry": {"v": link("inputs.b")}, "body": body}
    assert made(engine, {"l": loop}, {"v": link("l.v")}) == {"v": -1.5}
    problem = refused({"l": loop}, {"v": link("l.v"), "all": link("l.all")})
    assert (problem.code, problem.node, problem.port) == ("bypass", "l", "all")
    assert problem.message == (
        "`all` of this bypassed node is used, but nothing can replace it: it is list[float], and a bypassed loop gives "
        "the values that it carries, and no others"
    )


def test_a_muted_node_in_a_loop(engine: Engine) -> None:
    """What is collected from it is not made; a carry that needs it takes the loop along."""
    body = {
        "nodes": {"n": add(link("carry.v")), "m": {**add(link("n")), "mute": True}},
        "carry": {"v": link("n")}, "collect": {"all": link("n"), "more": link("m")},
    }  # fmt: skip
    loop = {"type": "loop", "times": 2, "carry": {"v": 0.0}, "body": body}
    outputs = {"v": link("l.v"), "all": link("l.all"), "more": link("l.more")}
    assert made(engine, {"l": loop}, outputs) == {"v": 2.0, "all": [1.0, 2.0]}
    body["carry"] = {"v": link("m")}
    problem = refused({"l": loop}, outputs)
    assert problem.message.startswith("no output is left: all need what is muted (`l.m`)")


def test_a_map_bypassed_gives_the_first_list_that_fits(engine: Engine) -> None:
    body = {"nodes": {"n": add(link("each.i"), link("inputs.x"))}, "outputs": {"out": link("n")}}
    shell = {"type": "map", "bypass": True, "inputs": {"x": 2.0}, "each": {"i": link("inputs.many")}, "body": body}
    assert made(engine, {"m": shell}, {"out": link("m")}) == {"out": [1, 2]}
    inner = {"nodes": {"n": {"type": "sign", "inputs": {"a": link("each.i")}}}, "outputs": {"out": link("n")}}
    problem = refused({"m": {**shell, "body": inner}}, {"out": link("m")})
    assert problem.message.endswith("it is list[str], and it gets `x` is float, `i` is list[int]")


def test_a_switch(engine: Engine) -> None:
    def switch(**more: Any) -> Json:
        return {"type": "switch", "select": link("inputs.way"), "cases": {"p": link("x"), "q": link("y")}, **more}

    way = {"inputs": {**INPUTS, "way": {"type": "string", "default": "p"}}}
    nodes = {"x": add(1.0), "y": add(10.0, mute=True), "z": add(100.0)}
    assert made(engine, {**nodes, "s": switch(bypass=True)}, {"s": link("s")}, **way) == {"s": 2.0}
    assert made(engine, {**nodes, "s": switch()}, {"s": link("s")}, **way) == {"s": 2.0}
    problem = refused(
        {**nodes, "s": switch()}, {"s": link("s")}, inputs={**INPUTS, "way": {"type": "string", "default": "q"}}
    )
    assert problem.message == "the case `q` needs `y`, which is muted"
    assert problem.fix == "select another case, or take `mute` off `y`"
    outputs = {"s": link("s"), "z": link("z")}
    assert made(engine, {**nodes, "s": switch(default=link("z"))}, outputs, **way) == {"s": 2.0, "z": 101.0}
    other = {"inputs": {**INPUTS, "way": {"type": "string", "default": "q"}}}
    problem = refused({**nodes, "s": switch(default=link("z"))}, outputs, **other)
    assert problem.message == "the case `q` needs `y`, which is muted", "`z` does not silently take its place"
    assert made(engine, {**nodes, "s": switch(default=link("z"), select="r")}, outputs) == {"s": 101.0, "z": 101.0}
    assert made(engine, {**nodes, "s": switch(default=link("z"), select="q")}, outputs) == {"z": 101.0}
    assert made(engine, {**nodes, "s": switch(default=link("y"), select="p")}, outputs) == {"s": 2.0, "z": 101.0}
    assert made(engine, {**nodes, "s": switch(default=link("y"), select="r")}, outputs) == {"z": 101.0}
    computed = {**nodes, "w": {"type": "sign", "inputs": {"a": link("inputs.a")}}}
    late = {**switch(default=link("z")), "select": link("w"), "cases": {"minus": link("x"), "plus": link("y")}}
    with pytest.raises(StepgraphError, match="wants a case without muted nodes, got `plus`; or take `mute` off `y`"):
        made(engine, {**computed, "s": late}, outputs)
    muted = {**nodes, "x": add(1.0, mute=True)}
    assert made(engine, {**muted, "s": switch()}, outputs, **way) == {"z": 101.0}


SUB = {
    "stepgraph": 1,
    "inputs": {"n": {"type": "integer", "default": 2}, "x": {"type": "any"}, "y": {"type": "any", "default": 8.0}},
    "nodes": {"s": add(link("inputs.x"), link("inputs.y")), "t": {**add(link("s")), "mute": True}},
    "outputs": {"s": link("s"), "t": link("t")},
}


def with_sub(engine: Engine, nodes: Json, outputs: Json, sub: Json = SUB) -> Json:
    text = json.dumps(file(nodes, outputs))
    return dict(engine.run(Workflow.parse(text, files={"sub.json": json.dumps(sub)}), **VALUES))


def test_files_as_nodes(engine: Engine) -> None:
    def sub(**inputs: Any) -> Json:
        return {"type": "workflow", "path": "sub.json", "inputs": inputs}

    outputs = {"s": link("w.s"), "t": link("w.t"), "x": link("x")}
    nodes = {"x": add(0.0), "m": add(1.0, mute=True)}
    assert with_sub(engine, {**nodes, "w": sub(x=link("x"))}, outputs) == {"s": 9.0, "x": 1.0}
    assert with_sub(engine, {**nodes, "w": sub(x=link("x"), y=link("m"))}, outputs) == {"s": 9.0, "x": 1.0}
    assert with_sub(engine, {**nodes, "w": sub(x=link("m"))}, outputs) == {"x": 1.0}
    nothing = {**SUB, "nodes": {**SUB["nodes"], "s": {**add(1.0), "mute": True}}}  # type: ignore[dict-item]
    assert with_sub(engine, {**nodes, "w": sub(x=link("x"))}, outputs, nothing) == {"x": 1.0}
    with pytest.raises(CheckFailed, match=r"all need what is muted \(`w\.s`\)"):
        with_sub(engine, {**nodes, "w": sub(x=link("x"))}, {"s": link("w.s")}, nothing)


def test_a_file_bypassed_gives_the_first_value_of_the_outputs_type(engine: Engine) -> None:
    whole = {**SUB, "nodes": {"s": add(link("inputs.x"), link("inputs.y"))}, "outputs": {"s": link("s")}}
    words = {"type": "sign", "inputs": {"a": 1.0}}
    node = {"type": "workflow", "path": "sub.json", "bypass": True, "inputs": {"x": link("x"), "y": 5.0}}
    assert with_sub(engine, {"x": add(6.0), "w": node}, {"s": link("w")}, whole) == {"s": 7.0}
    node["inputs"] = {"y": 5.0, "x": link("x"), "n": 3}
    assert with_sub(engine, {"x": add(6.0), "w": node}, {"s": link("w")}, whole) == {"s": 3}, "`n` is declared first"
    through = {**whole, "nodes": {"s": words}, "outputs": {"s": link("inputs.x"), "word": link("s")}}
    with pytest.raises(CheckFailed, match="it is str, and it gets `n` is int, `x` is float, `y` is float"):
        with_sub(engine, {"x": add(6.0), "w": node}, {"s": link("w.word")}, through)


def test_in_a_file_that_takes_anything_the_ports_tell_the_types(engine: Engine) -> None:
    """`inputs.n` and `inputs.x` are `any`: what a bypassed node declares for them counts."""
    sub = {
        "stepgraph": 1,
        "inputs": {"n": {"type": "any"}, "word": {"type": "any"}},
        "nodes": {
            "l": {"type": "count", "inputs": {"n": link("inputs.n")}},
            "b": {"type": "total", "bypass": True, "inputs": {"values": link("l")}},
            "c": {"type": "double", "bypass": True, "inputs": {"kind": link("inputs.word"), "a": link("inputs.n")}},
        },
        "outputs": {"c": link("c")},
    }
    node = {"type": "workflow", "path": "sub.json", "inputs": {"n": 2, "word": "w"}}
    assert with_sub(engine, {"w": node}, {"c": link("w.c")}, sub) == {"c": 2}
    with pytest.raises(CheckFailed, match=r"it is float, and it gets `values` is list\[int\]"):
        with_sub(engine, {"w": node}, {"b": link("w.b")}, {**sub, "outputs": {"b": link("b")}})


# -- what the checker says -----------------------------------------------------------------------------------------


def test_nothing_fits() -> None:
    data = small_world.workflow(
        {**PARTS, "code": {"type": "encode", "bypass": True, "inputs": {"picture": {"from": "photo"}}}}
    )
    text = json.dumps(data, indent=2)
    (problem,) = problems_of(text)
    assert (problem.code, problem.node, problem.port) == ("bypass", "code", "output")
    assert (problem.line, problem.column) == place_of(text, '"bypass"')
    assert problem.message.endswith("nothing can replace it: it is Code, and it gets `picture` is Picture")
    data["nodes"]["code"] = {"type": "encode", "bypass": True}
    data["outputs"] = {"photo": {"from": "photo"}}
    assert problems_of(data) == [], "nobody uses the output"


def test_what_is_left_out_uses_nothing() -> None:
    nodes = {
        **PARTS, "code": {"type": "encode", "bypass": True, "inputs": {"picture": {"from": "photo"}}},
        "coder": {**PARTS["coder"], "mute": True},
        "again": {"type": "decode", "inputs": {"code": {"from": "code"}, "coder": {"from": "coder.coder"}}},
    }  # fmt: skip
    assert problems_of(small_world.workflow(nodes, {"out": {"from": "photo"}, "again": {"from": "again"}})) == []


def test_a_value_that_comes_in_place_of_an_output_is_checked_where_it_goes() -> None:
    """An int fits a float output, but not the port behind it that wants a number below 64."""
    nodes = {
        "sum": {"type": "add", "bypass": True, "inputs": {"value": 500}},
        "again": {"type": "add", "inputs": {"value": 1.0, "plus": {"from": "sum"}}},
    }
    (problem,) = problems_of(small_world.workflow(nodes))
    assert (problem.code, problem.node, problem.port) == ("literal", "again", "plus")


@pytest.mark.parametrize("way", ["mute", "bypass"])
def test_names_are_checked_in_nodes_that_are_left_out(way: str) -> None:
    nodes = {
        **PARTS, "bad": {"type": "encod", way: True}, "worse": {"type": "encode", way: True, "inputs": {"pictur": 1}},
        "worst": {"type": "encode", way: True, "inputs": {"picture": {"from": "foto"}}},
    }  # fmt: skip
    problems = problems_of(small_world.workflow(nodes, {"out": {"from": "code"}}))
    assert [(p.code, p.node) for p in problems] == [
        ("unknown-node-type", "bad"), ("unknown-port", "worse"), ("unknown-node", "worst"),
    ]  # fmt: skip


def test_a_circle_is_a_circle() -> None:
    nodes = {"x": add(link("y"), mute=True), "y": add(link("x"))}
    problem = refused(nodes, {"y": link("y")})
    assert problem.code == "cycle"


@pytest.mark.parametrize(("keys", "code"), [({"mute": 1}, "kind"), ({"bypass": None}, "kind"),
                                             ({"mute": True, "bypass": True}, "skip")])  # fmt: skip
def test_what_the_reader_refuses(keys: Json, code: str) -> None:
    for node in (add(1.0), {"type": "switch", "select": "p", "cases": {"p": 1.0}}):
        _, problems = reader.parse(json.dumps(file({"x": {**node, **keys}}, {"x": link("x")})))
        assert [(problem.code, problem.node) for problem in problems] == [(code, "x")]


def test_false_is_as_nothing(engine: Engine) -> None:
    assert made(engine, {"x": add(1.0, mute=False, bypass=False)}, {"x": link("x")}) == {"x": 2.0}


def test_explain_knows_nothing_of_them(tmp_path: Path) -> None:
    nodes = {"x": add(1.0), "y": add(link("x"), bypass=True), "z": add(link("y"))}
    workflow = Workflow.parse(json.dumps(file(nodes, {"z": link("z")})))
    with Engine(registry=arithmetic.REGISTRY, cache=tmp_path, device="cpu") as engine:
        assert [one.node for one in engine.explain(workflow, VALUES)] == ["x", "z"]
        engine.run(workflow, **VALUES)
        engine.flush()
        reasons = {one.node: one.reason for one in engine.explain(workflow, VALUES)}
    assert set(reasons) == {"x", "z"}
    assert "no earlier run" not in " ".join(reasons.values()), "the record of the run can be read again"
