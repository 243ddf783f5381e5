"""Sequences that a node cuts: what runs per item of a piece is what ran per item of the whole."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Any, NamedTuple

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from graphcore import Engine, Workflow, node
from graphcore.declare.node import declared
from graphcore.declare.registry import Registry
from graphcore.errors import StepgraphError
from graphcore.execution import executor
from tests.graphcore import arithmetic
from tests.graphcore.arithmetic import CALLS, workflow


class Halves(NamedTuple):
    first: list[float]
    rest: list[float]


@node(
    category="numbers",
    pieces=lambda at: (("values", 0), ("values", at)),
    infer=lambda at=0, values=None: None if values is None else Halves(values[:at], values[at:]),
)
def cut(values: list[float], at: int) -> Halves:
    """The first items, and the rest."""
    return Halves(values[:at], values[at:])


@node(category="numbers", pieces=lambda: (("value", 0),))
def cut_badly(values: list[float]) -> list[float]:
    """A hook that names an input which is none."""
    return values


@node(category="numbers", infer=lambda n=0: [float(i) for i in range(n)])
def ramp(n: int) -> list[float]:
    """0, 1, ..., n - 1."""
    return [float(i) for i in range(n)]


@node(category="numbers")
def whole_total(values: list[int]) -> int:
    """The sum of whole numbers."""
    return sum(values)


FUNCTIONS = (arithmetic.add, arithmetic.count, cut, cut_badly, ramp, whole_total)
REGISTRY = Registry().with_nodes("stepgraph", [found for f in FUNCTIONS if (found := declared(f))])


@pytest.fixture
def engine() -> Iterator[Engine]:
    arithmetic.reset()
    with Engine(registry=REGISTRY, device="cpu") as made:
        yield made


def loop(name: str, each: str, start: str, body: str = "") -> str:
    """A loop that adds up the items of a sequence."""
    step = f'"s": {{"type": "add", "inputs": {{"a": {{"from": "carry.v"}}, "b": {{"from": "each.i"}}}}}}{body}'
    return (
        f'"{name}": {{"type": "loop", "each": {{"i": {{"from": "{each}"}}}}, "carry": {{"v": {start}}}, '
        f'"body": {{"nodes": {{{step}}}, "carry": {{"v": {{"from": "s"}}}}}}}}'
    )


RAMP = '"ramp": {"type": "ramp", "inputs": {"n": 9}}'
INPUTS = '"at": {"type": "integer", "default": 4}, "many": {"type": "array", "default": [2.0, 3.0, 5.0]}'
V = '"v": {"from": "l.v"}'


def split(at: str = '{"from": "inputs.at"}', of: str = "ramp") -> str:
    return f'"cut": {{"type": "cut", "inputs": {{"values": {{"from": "{of}"}}, "at": {at}}}}}'


def halves(more: str = RAMP, at: str = '{"from": "inputs.at"}', of: str = "ramp") -> Workflow:
    """Two loops, the second from where the first has come to."""
    first, rest = loop("k", "cut.first", "0.5"), loop("l", "cut.rest", '{"from": "k.v"}')
    return workflow(", ".join(part for part in (more, split(at, of), first, rest) if part), V, INPUTS)


@settings(max_examples=20, deadline=None)
@given(st.integers(0, 9))
def test_two_loops_over_the_pieces_are_one_over_the_whole(at: int) -> None:
    with Engine(registry=REGISTRY, device="cpu") as engine:
        whole = engine.start(workflow(f"{RAMP}, {loop('l', 'ramp', '0.5')}", V, INPUTS))
        value = whole.finish().v
        arithmetic.reset()
        run = engine.start(halves(), {"at": at})
        assert run.finish().v == value == 36.5
        assert run.keys == whole.keys
        assert CALLS["add"] == 0, "all steps are known"
    with Engine(registry=REGISTRY, device="cpu") as engine:
        assert engine.run(halves(), at=at).v == value, "and without the cache"


def test_what_changes_after_the_cut_leaves_the_steps_before_alone(engine: Engine) -> None:
    engine.run(workflow(f"{RAMP}, {loop('l', 'ramp', '0.5')}", V, INPUTS))
    arithmetic.reset()
    other = halves(f'{RAMP}, "shift": {{"type": "add", "inputs": {{"a": {{"from": "k.v"}}, "b": 100}}}}')
    text = other.text.replace('"carry": {"v": {"from": "k.v"}}', '"carry": {"v": {"from": "shift"}}')
    assert engine.run(Workflow.parse(text)).v == 136.5
    assert CALLS["add"] == 1 + 5


def test_a_piece_of_a_piece(engine: Engine) -> None:
    engine.run(workflow(f"{RAMP}, {loop('l', 'ramp', '6.0')}", V, INPUTS))
    again = '"again": {"type": "cut", "inputs": {"values": {"from": "cut.rest"}, "at": 2}}'
    nodes = f"{RAMP}, {split('1')}, {again}, {loop('l', 'again.rest', '6.0')}"
    arithmetic.reset()
    engine.run(workflow(f"{RAMP}, {loop('l', 'ramp', '6.0')}", V, INPUTS))
    assert CALLS["add"] == 0
    assert engine.run(workflow(nodes, V, INPUTS)).v == 6 + sum(range(3, 9))
    assert CALLS["add"] == 6, "from 6 on, not from 6 + 0 + 1 + 2"
    arithmetic.reset()
    first, rest = loop("k", "cut.first", "6.0"), loop("m", "again.first", '{"from": "k.v"}')
    last = loop("l", "again.rest", '{"from": "m.v"}')
    assert engine.run(workflow(f"{RAMP}, {split('1')}, {again}, {first}, {rest}, {last}", V, INPUTS)).v == 42
    assert CALLS["add"] == 0


def test_items_of_literals_are_literals(engine: Engine, tmp_path: Path) -> None:
    whole = engine.start(workflow(loop("l", "inputs.many", "0.5"), V, INPUTS))
    whole.finish()
    made = halves("", "1", "inputs.many")
    run = engine.start(made)
    run.finish()
    assert run.keys == whole.keys
    with Engine(registry=REGISTRY, cache=tmp_path, device="cpu") as other:
        assert {one.node: one.total for one in other.explain(made)} == {"cut": 1, "k.s": 1, "l.s": 2}


def test_where_the_cut_is_computed_items_have_keys_of_their_own(engine: Engine) -> None:
    """The same in a run and before it: the value is not known then."""
    three = '"n": {"type": "count", "inputs": {"n": 3}}'
    at = '"at": {"type": "whole_total", "inputs": {"values": {"from": "n"}}}'
    engine.run(workflow(f"{RAMP}, {loop('l', 'ramp', '0.5')}", V, INPUTS))
    arithmetic.reset()
    assert engine.run(halves(f"{RAMP}, {three}, {at}", '{"from": "at"}')).v == 36.5
    assert CALLS["add"] == 9


def test_explain_foresees_that_nothing_runs(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(executor, "WORTH_SECONDS", -1.0)
    with Engine(registry=REGISTRY, cache=tmp_path, device="cpu") as engine:
        engine.run(workflow(f"{RAMP}, {loop('l', 'ramp', '0.5')}", V, INPUTS))
        engine.flush()
        found: dict[str, Any] = {one.node: one for one in engine.explain(halves())}
    assert found["l.s"].state == "cached"
    assert "k.s" not in found or found["k.s"].state == "cached"


def test_a_hook_that_names_no_input(engine: Engine) -> None:
    bad = '"bad": {"type": "cut_badly", "inputs": {"values": {"from": "ramp"}}}'
    made = workflow(f"{RAMP}, {bad}, {loop('l', 'bad', '0.5')}", V)
    with pytest.raises(StepgraphError, match=r"the pieces of stepgraph/cut_badly are \(\('value', 0\),\); wanted is"):
        engine.run(made)
