"""Nodes and hooks that do what they must not: the error says whose fault it is, and the engine goes on."""

from __future__ import annotations

import json
from typing import Any, NamedTuple

import pytest

from graphcore import Batch, Engine, StepgraphError, Workflow, node
from graphcore.declare.node import declared
from graphcore.declare.registry import Registry


class Two(NamedTuple):
    first: int
    second: int


def stumbles(a: int) -> Any:
    raise ZeroDivisionError("by zero")


@node(category="test")
def leave(a: int) -> int:
    """Ends the process, if it may."""
    raise SystemExit(3)


@node(category="test")
def short(a: int) -> Two:
    """One value too few."""
    return (a,)  # type: ignore[return-value]


@node(category="test", fingerprint=stumbles)
def marked(a: int) -> int:
    """A hook that fails."""
    return a


@node(category="test", pieces=stumbles)
def cut(a: int) -> list[int]:
    """Another."""
    return [a]


@node(category="test", batch=Batch(group=lambda call: 1, run=lambda calls: calls[:1], limit=9))
def together(a: int) -> int:
    """Loses all calls but one."""
    return a


@node(category="test")
def good(a: int) -> int:
    """As it should be."""
    return a


REGISTRY = Registry().with_nodes(
    "stepgraph", [found for f in (leave, short, marked, cut, together, good) if (found := declared(f))]
)


def over(items: Any, type_: str) -> dict[str, Any]:
    """A map over items that calls one node."""
    call = {"type": type_, "inputs": {"a": {"from": "each.a"}}}
    return {"type": "map", "each": {"a": items}, "body": {"nodes": {"n": call}, "outputs": {"x": {"from": "n"}}}}


def call(type_: str) -> dict[str, Any]:
    return {"type": type_, "inputs": {"a": 5}}


def run(engine: Engine, nodes: dict[str, Any], output: str) -> Any:
    document = {"stepgraph": 1, "nodes": nodes, "outputs": {"x": {"from": output}}}
    return engine.run(Workflow.parse(json.dumps(document)))["x"]


@pytest.mark.parametrize(
    ("nodes", "output", "words"),
    [
        ({"n": call("leave")}, "n", r"node `n` .*leave\) failed: RuntimeError: it called sys.exit\(3\)"),
        ({"n": call("short")}, "n.first", r"node `n` .*short\) failed: TypeError: it gave 1 values for 2 outputs"),
        ({"n": call("marked")}, "n", r"`fingerprint` hook of .*marked failed: ZeroDivisionError: by zero \(test_for"),
        ({"n": call("cut"), "m": over({"from": "n"}, "good")}, "m.x", r"`pieces` hook of .*cut failed: ZeroDivision"),
        ({"m": over([1, 2], "together")}, "m.x", r"node `m\[0\].n` .*its `batch` hook gave 1 values for 2 calls"),
    ],
)
def test_what_foreign_code_must_not_do(nodes: dict[str, Any], output: str, words: str) -> None:
    with Engine(registry=REGISTRY) as engine:
        with pytest.raises(StepgraphError, match=words):
            run(engine, nodes, output)
        assert run(engine, {"n": call("good")}, "n") == 5
