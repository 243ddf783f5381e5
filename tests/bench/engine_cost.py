"""What the engine itself costs per node: chains, fans, trees and loops of trivial nodes, new and fully cached.

    python -m tests.bench.engine_cost [--sizes 100 1000 10000 100000] [--repeat 5] [--json FILE]

Microseconds per node, medians. `read` is JSON to workflow, `check` the checker, `compile` workflow to program, `new` a
first run with both tiers of the cache, `again` the same run in the same engine, when nothing but keys is computed,
`whole` that again with everything around it, from the file's text on.
"""

from __future__ import annotations

import argparse
import json
import statistics
import tempfile
import time
from collections.abc import Callable
from pathlib import Path

from graphcore import Engine, Workflow, node
from graphcore.check import checker
from graphcore.declare.node import declared
from graphcore.declare.registry import Registry
from graphcore.execution.compiler import compile_workflow

PHASES = ("read", "check", "compile", "new", "again", "whole")


@node(category="bench")
def add(a: float, b: float = 1.0) -> float:
    """The sum of a and b."""
    return a + b


@node(category="bench")
def total(values: list[float]) -> float:
    """The sum of a list."""
    return sum(values)


REGISTRY = Registry().with_nodes("stepgraph", [found for f in (add, total) if (found := declared(f))])


def chain(size: int) -> dict[str, object]:
    """Each node adds 1 to the one before."""
    nodes = {"n0": {"type": "add", "inputs": {"a": 0.5}}}
    for i in range(1, size):
        nodes[f"n{i}"] = {"type": "add", "inputs": {"a": {"from": f"n{i - 1}"}}}  # type: ignore[dict-item]
    return {"stepgraph": 1, "nodes": nodes, "outputs": {"o": {"from": f"n{size - 1}"}}}


def fan(size: int) -> dict[str, object]:
    """Nodes that know nothing of each other, and one that takes them all."""
    nodes: dict[str, object] = {f"n{i}": {"type": "add", "inputs": {"a": i + 0.5}} for i in range(size - 1)}
    nodes["t"] = {"type": "total", "inputs": {"values": [{"from": name} for name in nodes]}}
    return {"stepgraph": 1, "nodes": nodes, "outputs": {"o": {"from": "t"}}}


def tree(size: int) -> dict[str, object]:
    """Node i adds nodes 2 i + 1 and 2 i + 2."""
    nodes: dict[str, object] = {}
    for i in reversed(range(size)):
        children = [{"from": f"n{c}"} if c < size else c + 0.5 for c in (2 * i + 1, 2 * i + 2)]
        nodes[f"n{i}"] = {"type": "add", "inputs": {"a": children[0], "b": children[1]}}
    return {"stepgraph": 1, "nodes": nodes, "outputs": {"o": {"from": "n0"}}}


def loop(size: int) -> dict[str, object]:
    """One node that runs `size` times, each time on what it gave before."""
    step = {"type": "add", "inputs": {"a": {"from": "carry.value"}, "b": 2.0}}
    body = {"nodes": {"step": step}, "carry": {"value": {"from": "step"}}}
    spin = {"type": "loop", "times": size, "carry": {"value": 0.5}, "body": body}
    return {"stepgraph": 1, "nodes": {"spin": spin}, "outputs": {"o": {"from": "spin.value"}}}


def seconds(action: Callable[[], object]) -> float:
    begin = time.perf_counter()
    action()
    return time.perf_counter() - begin


def measure(document: dict[str, object], size: int, repeat: int) -> dict[str, float]:
    """Medians in microseconds per node."""
    text = json.dumps(document)
    found: dict[str, list[float]] = {name: [] for name in PHASES}
    for _ in range(repeat):
        found["read"].append(seconds(lambda: Workflow.parse(text)))
        workflow = Workflow.parse(text)
        found["check"].append(seconds(lambda workflow=workflow: checker.check(workflow, REGISTRY)))
        found["compile"].append(seconds(lambda workflow=workflow: compile_workflow(workflow, REGISTRY)))
        with tempfile.TemporaryDirectory() as folder, Engine(registry=REGISTRY, cache=folder, device="cpu") as engine:
            run = engine.start(workflow)  # checks and compiles
            found["new"].append(seconds(run.finish))
            run = engine.start(workflow)
            found["again"].append(seconds(run.finish))
            found["whole"].append(seconds(lambda engine=engine: engine.run(Workflow.parse(text))))
    return {name: round(1e6 * statistics.median(values) / size, 2) for name, values in found.items()}


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--sizes", type=int, nargs="+", default=[100, 1_000, 10_000, 100_000])
    parser.add_argument("--repeat", type=int, default=5)
    parser.add_argument("--json", type=Path)
    options = parser.parse_args()
    rows = []
    print(f"{'shape':6} {'nodes':>8} {' '.join(f'{name:>8}' for name in PHASES)}   us per node")
    for shape in (chain, fan, tree, loop):
        for size in options.sizes:
            row = measure(shape(size), size, options.repeat if size < 100_000 else 1)
            rows.append({"shape": shape.__name__, "nodes": size, **row})
            figures = " ".join(f"{row[name]:8.1f}" for name in PHASES)
            print(f"{shape.__name__:6} {size:8d} {figures}", flush=True)
    if options.json:
        options.json.write_text(json.dumps(rows, indent=2))


if __name__ == "__main__":
    main()
