"""The calls of a run are known before it: the very keys that its events then tell, and no others."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest

from graphcore import Engine
from graphcore.errors import CheckFailed
from graphcore.execution import executor
from graphcore.execution.calls import calls
from tests.graphcore import arithmetic
from tests.graphcore.arithmetic import CALLS, REGISTRY, workflow

LOOP = """
"first": {"type": "add", "inputs": {"a": {"from": "inputs.x"}}},
"loop": {"type": "loop", "times": {"from": "inputs.times"}, "inputs": {"x": {"from": "inputs.x"}},
 "carry": {"sum": {"from": "first"}}, "body": {
  "nodes": {
   "same": {"type": "number", "inputs": {"value": {"from": "inputs.x"}}},
   "sum": {"type": "add", "inputs": {"a": {"from": "carry.sum"}, "b": {"from": "same"}}},
   "unused": {"type": "number", "inputs": {"value": {"from": "index"}}}
  }, "carry": {"sum": {"from": "sum"}}}},
"spare": {"type": "number", "inputs": {"value": 5}}
"""
INPUTS = '"x": {"type": "number", "default": 1}, "times": {"type": "integer", "default": 3}'
OUTPUT = '"sum": {"from": "loop.sum"}'


@pytest.fixture(autouse=True)
def fresh(monkeypatch: pytest.MonkeyPatch) -> None:
    arithmetic.reset()
    monkeypatch.setattr(executor, "WORTH_SECONDS", -1.0)


@pytest.fixture
def engine(tmp_path: Path) -> Iterator[Engine]:
    with Engine(registry=REGISTRY, cache=tmp_path / "cache", device="cpu") as made:
        yield made


def other(engine: Engine, tmp_path: Path) -> Engine:
    """An engine that knows of the first one's values what is on the disk."""
    engine.flush()
    return Engine(registry=REGISTRY, cache=tmp_path / "cache", device="cpu")


def test_the_keys_are_those_of_a_run(engine: Engine, tmp_path: Path) -> None:
    made = workflow(LOOP, OUTPUT, INPUTS)
    before = calls(engine, made, {})
    assert not CALLS, "nothing is run"
    assert before.complete
    iterations = {f"loop[{i}].{name}" for i in range(3) for name in ("same", "sum")}
    assert before.found.keys() == {"first", *iterations}, "what nobody needs is not called"
    assert not any(call.cached for call in before.found.values())
    same = {before.found[f"loop[{i}].same"].key for i in range(3)}
    assert len(same) == 1, "equal calls have one key, told at each of their places"
    told = {event.node: event.key for event in engine.start(made) if event.event == "finished"}
    assert told
    assert {node: before.found[node].key for node in told} == told
    with other(engine, tmp_path) as after:
        assert {call.cached for call in calls(after, made, {}).found.values()} == {True}
        longer = calls(after, made, {"times": 4}).found
        assert [path for path, call in longer.items() if not call.cached] == ["loop[3].sum"]


def test_some_nodes(engine: Engine) -> None:
    found = calls(engine, workflow(LOOP, OUTPUT, INPUTS), {}, nodes=["loop.sum", "nowhere"]).found
    assert list(found) == ["loop[0].sum", "loop[1].sum", "loop[2].sum"]


def test_what_a_value_decides_is_known_after_it_was_made(engine: Engine) -> None:
    nodes = """
    "items": {"type": "count", "inputs": {"n": 2}},
    "halves": {"type": "map", "each": {"i": {"from": "items"}}, "body": {
     "nodes": {"half": {"type": "divide", "inputs": {"a": {"from": "each.i"}, "b": 2}}},
     "outputs": {"half": {"from": "half"}}}}
    """
    made = workflow(nodes, '"out": {"from": "halves.half"}')
    before = calls(engine, made, {})
    assert (list(before.found), before.complete) == (["items"], False)
    engine.run(made)
    engine.flush()
    after = calls(engine, made, {})
    assert (list(after.found), after.complete) == (["items", "halves[0].half", "halves[1].half"], True)


def test_an_effect_is_never_cached(engine: Engine) -> None:
    made = workflow('"t": {"type": "tell", "inputs": {"a": 1}}, "n": {"type": "number", "inputs": {"value": 2}}',
                    '"n": {"from": "n"}')  # fmt: skip
    engine.run(made)
    assert {path: call.cached for path, call in calls(engine, made, {}).found.items()} == {"t": False, "n": True}


def test_more_iterations_than_can_be_held(engine: Engine) -> None:
    found = calls(engine, workflow(LOOP, OUTPUT, INPUTS), {"times": 10**15})
    assert (list(found.found), found.complete) == ([], False)


def test_what_is_wrong_is_said(engine: Engine) -> None:
    with pytest.raises(CheckFailed):
        calls(engine, workflow(LOOP, OUTPUT, INPUTS), {"x": "text"})
