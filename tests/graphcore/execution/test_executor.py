"""The executor: what runs, in which order, how often, and what it says."""

from __future__ import annotations

import threading
from collections.abc import Iterator
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from graphcore import Engine, Event, Workflow
from graphcore.errors import Cancelled, CheckFailed, NodeFailed, StepgraphError
from graphcore.execution.run import Run
from tests.graphcore import arithmetic
from tests.graphcore.arithmetic import CALLS, EFFECTS, REGISTRY, SHARED, workflow


@pytest.fixture(autouse=True)
def fresh() -> None:
    arithmetic.reset()


@pytest.fixture
def engine() -> Iterator[Engine]:
    with Engine(registry=REGISTRY, device="cpu") as made:
        yield made


def test_outputs_by_name(engine: Engine) -> None:
    made = workflow(
        '"s": {"type": "add", "inputs": {"a": {"from": "inputs.x"}, "b": 2}}, '
        '"p": {"type": "split", "inputs": {"a": 47}}',
        '"sum": {"from": "s"}, "rest": {"from": "p.remainder"}',
        '"x": {"type": "number", "default": 1}',
    )
    outputs = engine.run(made)
    assert dict(outputs) == {"sum": 3.0, "rest": 7}
    assert outputs.sum == 3.0
    assert engine.run(made, x=40).sum == 42.0


def test_nothing_is_computed_twice(engine: Engine) -> None:
    text = '"s": {"type": "add", "inputs": {"a": 1}}, "t": {"type": "add", "inputs": {"a": {"from": "s"}}}'
    assert engine.run(workflow(text, '"t": {"from": "t"}')).t == 3.0
    assert engine.run(workflow(text, '"t": {"from": "t"}, "s": {"from": "s"}')).s == 2.0  # another file, same nodes
    assert CALLS["add"] == 2


def test_equal_calls_of_one_run_are_one_call(engine: Engine) -> None:
    nodes = ", ".join(f'"n{i}": {{"type": "add", "inputs": {{"a": 1}}}}' for i in range(5))
    outputs = ", ".join(f'"n{i}": {{"from": "n{i}"}}' for i in range(5))
    assert set(engine.run(workflow(nodes, outputs)).values()) == {2.0}
    assert CALLS["add"] == 1


def test_a_literal_and_an_input_of_equal_value_have_equal_keys(engine: Engine) -> None:
    engine.run(workflow('"s": {"type": "number", "inputs": {"value": 7.0}}', '"s": {"from": "s"}'))
    linked = workflow(
        '"s": {"type": "number", "inputs": {"value": {"from": "inputs.x"}}}',
        '"s": {"from": "s"}',
        '"x": {"type": "number"}',
    )
    assert engine.run(linked, x=7).s == 7.0  # 7 becomes 7.0 at a float port
    assert CALLS["number"] == 1


def test_only_what_an_output_needs_runs(engine: Engine) -> None:
    made = workflow(
        '"bad": {"type": "divide", "inputs": {"a": 1, "b": 0}}, "good": {"type": "number", "inputs": {"value": 1}}',
        '"good": {"from": "good"}, "bad": {"from": "bad"}',
    )
    assert engine.start(made, outputs=["good"]).finish() == {"good": 1.0}
    with pytest.raises(StepgraphError, match="no output `goood`; did you mean `good`"):
        engine.start(made, outputs=["goood"])


def test_nodes_with_an_effect_run_every_time(engine: Engine) -> None:
    made = workflow(
        '"s": {"type": "add", "inputs": {"a": 1}}, "tell": {"type": "tell", "inputs": {"a": {"from": "s"}}}',
        '"s": {"from": "s"}',
    )
    engine.run(made)
    engine.run(made)
    assert EFFECTS == [2.0, 2.0]
    assert CALLS["add"] == 1


LOOP = """
"n": {"type": "count", "inputs": {"n": {"from": "inputs.n"}}},
"loop": {
  "type": "loop", "inputs": {"step": 1.0}, "each": {"i": {"from": "n"}}, "carry": {"value": {"from": "inputs.x"}},
  "body": {
    "nodes": {
      "more": {"type": "add", "inputs": {"a": {"from": "carry.value"}, "b": {"from": "each.i"}}},
      "out": {"type": "add", "inputs": {"a": {"from": "more"}, "b": {"from": "inputs.step"}}}
    },
    "carry": {"value": {"from": "out"}}, "collect": {"all": {"from": "more"}, "where": {"from": "index"}}
  }
}"""
LOOP_INPUTS = '"n": {"type": "integer", "default": 4}, "x": {"type": "number", "default": 0}'


def test_a_loop_carries_and_collects(engine: Engine) -> None:
    made = workflow(
        LOOP, '"v": {"from": "loop.value"}, "all": {"from": "loop.all"}, "i": {"from": "loop.where"}', LOOP_INPUTS
    )
    assert dict(engine.run(made)) == {"v": 10.0, "all": [0.0, 2.0, 5.0, 9.0], "i": [0, 1, 2, 3]}
    assert dict(engine.run(made, n=0, x=5)) == {"v": 5, "all": [], "i": []}


def test_a_longer_loop_reuses_the_steps_that_are_equal() -> None:
    with Engine(registry=REGISTRY, device="cpu") as engine:
        made = workflow(LOOP.replace('{"from": "n"}', "[5, 6, 7]"), '"v": {"from": "loop.value"}', LOOP_INPUTS)
        assert engine.run(made).v == 21.0
        before = CALLS["add"]
        longer = workflow(LOOP.replace('{"from": "n"}', "[5, 6, 7, 8]"), '"v": {"from": "loop.value"}', LOOP_INPUTS)
        assert engine.run(longer).v == 30.0
        assert CALLS["add"] - before == 2  # one iteration of two nodes


def test_times_without_each(engine: Engine) -> None:
    body = '{"nodes": {"d": {"type": "double", "inputs": {"a": {"from": "carry.v"}}}}, "carry": {"v": {"from": "d"}}}'
    made = workflow(
        f'"l": {{"type": "loop", "times": 5, "carry": {{"v": 1.0}}, "body": {body}}}', '"v": {"from": "l.v"}'
    )
    assert engine.run(made).v == 32.0


ADD_EACH = '{"type": "add", "inputs": {"a": {"from": "each.a"}, "b": {"from": "each.b"}}}'


def test_sequences_of_unequal_length_are_refused(engine: Engine) -> None:
    body = f'{{"nodes": {{"d": {ADD_EACH}}}, "outputs": {{"d": {{"from": "d"}}}}}}'
    each = '{"a": {"from": "n"}, "b": [1.0, 2.0]}'
    nodes = f'"n": {{"type": "count", "inputs": {{"n": 3}}}}, "m": {{"type": "map", "each": {each}, "body": {body}}}'
    with pytest.raises(NodeFailed, match=r"node `m`.*sequences of equal length, got `a` has 3, `b` has 2"):
        engine.run(workflow(nodes, '"d": {"from": "m.d"}'))


def test_map_zip_and_product(engine: Engine) -> None:
    body = f'{{"nodes": {{"s": {ADD_EACH}}}, "outputs": {{"s": {{"from": "s"}}}}}}'
    nodes = f'"m": {{"type": "map", "each": {{"a": [10, 20], "b": [1, 2]}}, "mode": "MODE", "body": {body}}}'
    assert engine.run(workflow(nodes.replace("MODE", "zip"), '"s": {"from": "m"}')).s == [11.0, 22.0]
    assert engine.run(workflow(nodes.replace("MODE", "product"), '"s": {"from": "m.s"}')).s == [11.0, 12.0, 21.0, 22.0]


SWITCH = """
"which": {"type": "sign", "inputs": {"a": {"from": "inputs.x"}}},
"bad": {"type": "divide", "inputs": {"a": 1, "b": 0}},
"good": {"type": "add", "inputs": {"a": {"from": "inputs.x"}}},
"switch": {
  "type": "switch", "select": {"from": "which"}, "cases": {"plus": {"from": "good"}, "minus": {"from": "bad"}}
},
"after": {"type": "add", "inputs": {"a": {"from": "switch"}, "b": 10}}
"""


def test_a_switch_is_lazy_also_where_a_computed_value_selects(engine: Engine) -> None:
    made = workflow(SWITCH, '"o": {"from": "after"}', '"x": {"type": "number", "default": 1}')
    assert engine.run(made).o == 12.0
    with pytest.raises(NodeFailed, match="node `bad`"):
        engine.run(made, x=-1)


def test_a_switch_is_transparent_for_keys(engine: Engine) -> None:
    made = workflow(SWITCH, '"o": {"from": "after"}', '"x": {"type": "number", "default": 1}')
    engine.run(made)
    before = CALLS["add"]
    direct = workflow(
        SWITCH.replace('"from": "switch"', '"from": "good"'),
        '"o": {"from": "after"}',
        '"x": {"type": "number", "default": 1}',
    )
    assert engine.run(direct).o == 12.0
    assert CALLS["add"] == before


def test_a_loop_in_the_case_that_is_not_taken_does_not_unroll(engine: Engine) -> None:
    nodes = (
        LOOP.replace('{"from": "inputs.n"}', '{"from": "huge.quotient"}')
        + ', "huge": {"type": "split", "inputs": {"a": 1, "by": 0}}'
        + ', "s": {"type": "switch", "select": "b", "cases": {"a": {"from": "loop.value"}, "b": {"from": "n1"}}}'
        + ', "n1": {"type": "number", "inputs": {"value": 1}}'
    )
    assert engine.run(workflow(nodes, '"s": {"from": "s"}', LOOP_INPUTS)).s == 1.0


def test_a_loop_whose_length_is_computed_inside_another_loop(engine: Engine) -> None:
    inner = (
        '{"type": "map", "inputs": {"v": {"from": "carry.v"}}, "each": {"i": {"from": "n"}}, "body": {"nodes": '
        '{"q": {"type": "add", "inputs": {"a": {"from": "inputs.v"}, "b": {"from": "each.i"}}}}, '
        '"outputs": {"q": {"from": "q"}}}}'
    )
    nodes = (
        '"l": {"type": "loop", "times": 3, "carry": {"v": 1.0}, "body": {"nodes": {'
        '"n": {"type": "count", "inputs": {"n": 2}}, '
        f'"m": {inner}, "t": {{"type": "total", "inputs": {{"values": {{"from": "m"}}}}}}'
        '}, "carry": {"v": {"from": "t"}}, "collect": {"rows": {"from": "m"}}}}'
    )
    outputs = engine.run(workflow(nodes, '"v": {"from": "l.v"}, "rows": {"from": "l.rows"}'))
    assert outputs.v == 15.0  # v -> 2 v + 1, three times
    assert outputs.rows == [[1.0, 2.0], [3.0, 4.0], [7.0, 8.0]]


def test_calls_that_may_share_a_forward_pass_do(engine: Engine) -> None:
    calls = ", ".join(
        f'"d{i}": {{"type": "double", "inputs": {{"a": {i}, "kind": "{"odd" if i % 2 else "even"}"}}}}'
        for i in range(7)
    )
    outputs = ", ".join(f'"d{i}": {{"from": "d{i}"}}' for i in range(7))
    made = engine.run(workflow(calls, outputs))
    assert [made[f"d{i}"] for i in range(7)] == [0.0, 2.0, 4.0, 6.0, 8.0, 10.0, 12.0]
    assert sorted(SHARED) == [1, 3, 3]  # four even calls by limit 3, three odd ones


def test_a_failure_names_the_node_and_keeps_the_original(engine: Engine) -> None:
    node = '{"type": "divide", "inputs": {"a": 1, "b": {"from": "each.i"}}}'
    body = f'{{"nodes": {{"d": {node}}}, "outputs": {{"d": {{"from": "d"}}}}}}'
    made = workflow(f'"m": {{"type": "map", "each": {{"i": [2.0, 0.0]}}, "body": {body}}}', '"d": {"from": "m"}')
    with pytest.raises(NodeFailed, match=r"node `m\[1\]\.d` \(stepgraph/divide\) failed: ZeroDivisionError") as caught:
        engine.run(made)
    assert isinstance(caught.value.__cause__, ZeroDivisionError)
    assert caught.value.__cause__.__traceback__ is not None


def test_wrong_inputs_are_refused_before_anything_runs(engine: Engine) -> None:
    made = workflow(LOOP, '"v": {"from": "loop.value"}', LOOP_INPUTS)
    with pytest.raises(CheckFailed, match="did you mean `n`"):
        engine.run(made, nn=3)
    with pytest.raises(CheckFailed):
        engine.run(made, n="3")
    assert not CALLS


def test_events_tell_every_decision(engine: Engine) -> None:
    made = workflow(LOOP, '"v": {"from": "loop.value"}', LOOP_INPUTS)
    run = engine.start(made)
    events = list(run)
    assert run.outputs.v == 10.0
    assert [e.event for e in events[:3]] == ["run_started", "started", "finished"]
    assert ("expanded", "loop", 4) in [(e.event, e.node, e.total) for e in events]
    finished = [e.node for e in events if e.event == "finished"]
    assert finished == ["n", *(f"loop[{i}].{name}" for i in range(4) for name in ("more", "out"))]
    assert events[-1].event == "run_finished"
    again: list[Event] = []
    engine.run(made, again.append)
    assert [(e.event, e.node, e.cached) for e in again if e.event == "cached"] == [
        ("cached", "n", "memory"),
        ("cached", "loop[3].out", "memory"),
    ]


def _cancel_after(run: Run, node: str) -> None:
    for event in run:
        if event.event == "finished" and event.node == node:
            run.cancel()


def test_cancelling_keeps_finished_steps(engine: Engine) -> None:
    made = workflow(LOOP, '"v": {"from": "loop.value"}', LOOP_INPUTS)
    run = engine.start(made)
    with pytest.raises(Cancelled):
        _cancel_after(run, "loop[1].out")
    done = CALLS["add"]
    assert done == 4
    assert engine.run(made).v == 10.0
    assert CALLS["add"] == 8  # the other two iterations


def test_two_threads_drive_two_runs_of_one_engine(engine: Engine) -> None:
    made = workflow(LOOP, '"v": {"from": "loop.value"}', LOOP_INPUTS)
    found: dict[int, float] = {}

    def go(x: int) -> None:
        found[x] = engine.run(made, x=x, n=40).v

    threads = [threading.Thread(target=go, args=(x,)) for x in range(6)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert found == {x: float(x + 820) for x in range(6)}


def test_values_are_freed_when_nobody_needs_them() -> None:
    with Engine(registry=REGISTRY, device="cpu", memory_limit=0) as engine:
        made = workflow(LOOP, '"v": {"from": "loop.value"}', LOOP_INPUTS)
        run = engine.start(made, {"n": 50})
        for _ in run:
            tasks = [t for t in run._unroller._tasks.values() if t.outputs is not None]
            assert len(tasks) <= 4
        assert run.outputs.v == 1275.0


def test_a_memory_that_keeps_nothing_changes_no_result() -> None:
    with Engine(registry=REGISTRY, device="cpu", memory_limit=0) as engine:
        made = workflow(
            SWITCH, '"o": {"from": "after"}, "g": {"from": "good"}', '"x": {"type": "number", "default": 1}'
        )
        assert dict(engine.run(made)) == {"o": 12.0, "g": 2.0}
        assert CALLS["add"] == 2


# -- any graph -------------------------------------------------------------------------------------------------------


@st.composite
def graphs(draw: st.DrawFn) -> list[tuple[int | float, int | float]]:
    """Each node adds two earlier nodes (an int: its index) or literals (a float)."""
    size = draw(st.integers(1, 12))
    nodes: list[tuple[int | float, int | float]] = []
    for index in range(size):
        earlier: st.SearchStrategy[Any] = st.integers(0, index - 1) if index else st.nothing()
        argument = earlier | st.sampled_from([0.5, 1.0, 2.0])
        nodes.append((draw(argument), draw(argument)))
    return nodes


def text_of(nodes: list[tuple[int | float, int | float]], order: list[int]) -> Workflow:
    def argument(value: int | float) -> str:
        return f'{{"from": "n{value}"}}' if isinstance(value, int) else str(value)

    written = [
        f'"n{i}": {{"type": "add", "inputs": {{"a": {argument(nodes[i][0])}, "b": {argument(nodes[i][1])}}}}}'
        for i in order
    ]
    return workflow(", ".join(written), ", ".join(f'"o{i}": {{"from": "n{i}"}}' for i in range(len(nodes))))


@settings(max_examples=60, deadline=None)
@given(graphs(), st.randoms(use_true_random=False))
def test_any_graph_in_any_order_of_the_file_gives_the_same_values_and_keys(
    nodes: list[tuple[int | float, int | float]], random: Any
) -> None:
    expected: list[float] = []
    for a, b in nodes:
        expected.append((expected[a] if isinstance(a, int) else a) + (expected[b] if isinstance(b, int) else b))
    shuffled = random.sample(range(len(nodes)), len(nodes))
    found = []
    for order in (list(range(len(nodes))), shuffled):
        with Engine(registry=REGISTRY, device="cpu") as engine:
            run = engine.start(text_of(nodes, order))
            starts = [e.node for e in run if e.event == "finished"]
            assert [run.outputs[f"o{i}"] for i in range(len(nodes))] == expected
            found.append((run.keys, len(starts), starts == [e.node for e in _again(nodes, order)]))
    assert found[0][:2] == found[1][:2]
    assert found[0][2]
    assert found[1][2]


def _again(nodes: list[tuple[int | float, int | float]], order: list[int]) -> Iterator[Event]:
    """The same run in a fresh engine: the order is deterministic."""
    with Engine(registry=REGISTRY, device="cpu") as engine:
        yield from (e for e in engine.start(text_of(nodes, order)) if e.event == "finished")
