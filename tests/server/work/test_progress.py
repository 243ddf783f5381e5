"""Progress against loops whose work is known: it never goes back, says nothing that it does not know, ends at 1."""

from __future__ import annotations

import json

import pytest

from graphcore import Engine, Event, Workflow, node
from graphcore.declare.node import declared
from graphcore.declare.registry import Registry
from server.work.progress import Progress, kind


@node(category="test")
def step(value: int, by: int = 1) -> int:
    """The next number."""
    return value + by


REGISTRY = Registry().with_nodes("stepgraph", [found for f in (step,) if (found := declared(f))])
PACES = {kind("step"): 2.0}


def nested(outer: int, inner: int) -> Workflow:
    """A node, then a loop of loops."""
    once = {"type": "step", "inputs": {"value": {"from": "carry.v"}}}
    deep = {
        "type": "loop",
        "times": inner,
        "carry": {"v": {"from": "carry.v"}},
        "body": {"nodes": {"s": once}, "carry": {"v": {"from": "s"}}},
    }
    shallow = {
        "type": "loop",
        "times": outer,
        "carry": {"v": {"from": "first"}},
        "body": {"nodes": {"deep": deep}, "carry": {"v": {"from": "deep.v"}}},
    }
    nodes = {"first": {"type": "step", "inputs": {"value": 0}}, "shallow": shallow}
    return Workflow.parse(json.dumps({"stepgraph": 1, "nodes": nodes, "outputs": {"v": {"from": "shallow.v"}}}))


def follow(workflow: Workflow, engine: Engine, paces: dict[str, float]) -> list[tuple[float | None, float | None]]:
    progress, found = Progress(workflow, paces), []

    def hear(event: Event) -> None:
        progress(event)
        found.append(progress.report())

    engine.run(workflow, hear)
    return found


@pytest.mark.parametrize("timed", [False, True])
def test_loops_in_loops(timed: bool) -> None:
    workflow = nested(3, 4)
    with Engine(registry=REGISTRY, device="cpu") as engine:
        found = follow(workflow, engine, PACES if timed else {})
    assert found[0] == (None, None)
    shares = [share for share, _ in found if share is not None]
    assert shares == sorted(shares)
    assert {round(share * 13) for share in shares} >= set(range(2, 14))
    assert shares[-1] == 1.0
    left = [seconds for _, seconds in found if seconds is not None]
    assert left == [] if not timed else (left[-1] == 0.0 and max(left) <= 26.0)


def test_what_a_cached_step_makes_needless_is_done() -> None:
    workflow = nested(2, 5)
    with Engine(registry=REGISTRY, device="cpu") as engine:
        engine.run(nested(1, 5))
        found = follow(workflow, engine, PACES)
    shares = [share for share, _ in found if share is not None]
    assert shares == sorted(shares)
    assert shares[-1] >= 10 / 11


def test_seconds_of_nodes_that_ran_are_measured() -> None:
    workflow = nested(1, 3)
    with Engine(registry=REGISTRY, device="cpu") as engine:
        progress = Progress(workflow, {})
        engine.run(workflow, progress)
        assert list(progress.measured()) == [kind("step")]
        again = Progress(workflow, {})
        engine.run(workflow, again)
    assert again.measured() == {}
