"""Slow nodes that write down each call, so that several processes can be watched.

The log's path comes from the environment: it is no part of any key.
"""

from __future__ import annotations

import itertools
import os
import signal
import time
from pathlib import Path

from graphcore import Engine, Workflow, node
from graphcore.cache import DiskCache
from graphcore.declare.node import declared
from graphcore.declare.registry import Registry

STEPS = 12
SECONDS = 0.04
LETTERS_OF_A_PAGE = 60_000
LOG = "SLOW_WORLD_LOG"


def _write_down(line: str) -> None:
    if path := os.environ.get(LOG):
        with open(path, "a", encoding="ascii") as log:
            log.write(f"{line}\n")


def _in_step(number: int) -> None:
    """What else happens in a step: nothing, as long as nobody wants the process killed."""


def _kill_in(call: int, cache: Path) -> None:
    """Have this process kill itself in its step number `call`, as soon as all steps before are on the disk."""
    global _in_step
    calls, disk = itertools.count(1), DiskCache(cache, 1 << 40, {})

    def kill(number: int) -> None:
        if next(calls) == call:
            while disk.info().entries < number:
                time.sleep(0.001)
            os.kill(os.getpid(), signal.SIGKILL)

    _in_step = kill


@node(category="numbers")
def step(value: str, number: int) -> str:
    """The value with one more number, and enough text that it needs room."""
    _write_down(f"step {number}")
    _in_step(number)
    time.sleep(SECONDS)
    return f"{value},{number}"


@node(category="numbers")
def page(number: int) -> str:
    """A page full of text."""
    _write_down(f"page {number}")
    time.sleep(0.012)
    return f"{number:02d}" * (LETTERS_OF_A_PAGE // 2)


@node(category="numbers")
def count(texts: list[str]) -> int:
    """Letters in all texts."""
    return sum(map(len, texts))


REGISTRY = Registry().with_nodes("stepgraph", [d for f in (step, page, count) if (d := declared(f))])

LOOP = Workflow.parse(
    """{"stepgraph": 1, "inputs": {"begin": {"type": "string", "default": "go"}}, "nodes": {
      "loop": {"type": "loop", "times": 12, "carry": {"value": {"from": "inputs.begin"}}, "body": {
        "nodes": {"step": {"type": "step", "inputs": {"value": {"from": "carry.value"}, "number": {"from": "index"}}}},
        "carry": {"value": {"from": "step"}}}}},
    "outputs": {"value": {"from": "loop.value"}}}"""
)
RIGHT = "go," + ",".join(map(str, range(STEPS)))

LEAVES = 30
PAGES = Workflow.parse(
    """{"stepgraph": 1, "nodes": {
      "pages": {"type": "map", "each": {"n": NUMBERS}, "body": {
        "nodes": {"page": {"type": "page", "inputs": {"number": {"from": "each.n"}}}},
        "outputs": {"page": {"from": "page"}}}},
      "count": {"type": "count", "inputs": {"texts": {"from": "pages"}}}},
    "outputs": {"letters": {"from": "count"}}}""".replace("NUMBERS", str(list(range(LEAVES))))
)
LETTERS = LEAVES * LETTERS_OF_A_PAGE


def engine(cache: Path) -> Engine:
    """An engine whose memory does not outlive it."""
    return Engine(registry=REGISTRY, cache=cache, device="cpu")


def main(folder: str, name: str, last: int = 0) -> None:
    """Run one of the workflows on a cache folder and print its outputs, or be killed in the step number `last`."""
    if last:
        _kill_in(last, Path(folder))
    with engine(Path(folder)) as made:
        print(*made.run({"loop": LOOP, "pages": PAGES}[name]).values())
