"""A small world of numbers for engine tests: every node counts its calls."""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping, Sequence
from typing import Annotated, Any, NamedTuple

from pydantic import Field

from graphcore import Batch, Workflow, node
from graphcore.declare.node import declared
from graphcore.declare.registry import Registry

CALLS: Counter[str] = Counter()
SHARED: list[int] = []
"""Sizes of the groups that `double` was called with."""


@node(category="numbers")
def number(value: float) -> float:
    """The number itself."""
    CALLS["number"] += 1
    return value


@node(category="numbers")
def add(a: float, b: float = 1.0) -> float:
    """A + b."""
    CALLS["add"] += 1
    return a + b


@node(category="numbers")
def divide(a: float, b: float) -> float:
    """A / b; fails for b = 0."""
    CALLS["divide"] += 1
    return a / b


@node(category="numbers")
def count(n: Annotated[int, Field(ge=0)]) -> list[int]:
    """[0, 1, ..., n - 1]."""
    CALLS["count"] += 1
    return list(range(n))


@node(category="numbers")
def total(values: list[float]) -> float:
    """The sum of a list."""
    CALLS["total"] += 1
    return sum(values)


@node(category="numbers")
def sign(a: float) -> str:
    """`plus` or `minus`."""
    CALLS["sign"] += 1
    return "plus" if a >= 0 else "minus"


class Parts(NamedTuple):
    """Quotient and remainder."""

    quotient: int
    remainder: int


@node(category="numbers")
def split(a: int, by: int = 10) -> Parts:
    """Whole division."""
    CALLS["split"] += 1
    return Parts(*divmod(a, by))


def _double_all(calls: Sequence[Mapping[str, Any]]) -> list[float]:
    SHARED.append(len(calls))
    CALLS["double"] += len(calls)
    return [call["a"] * 2 for call in calls]


@node(category="numbers", batch=Batch(group=lambda call: call["kind"], run=_double_all, limit=3))
def double(a: float, kind: str = "") -> float:
    """2 a; calls of equal kind share."""
    CALLS["double"] += 1
    SHARED.append(1)
    return a * 2


EFFECTS: list[float] = []


@node(category="numbers", pure=False)
def tell(a: float) -> None:
    """An effect: writes the number down."""
    EFFECTS.append(a)


REGISTRY = Registry().with_nodes(
    "stepgraph", [d for f in (number, add, divide, count, total, sign, split, double, tell) if (d := declared(f))]
)


def reset() -> None:
    """Forget all calls."""
    CALLS.clear()
    SHARED.clear()
    EFFECTS.clear()


def workflow(nodes: str, outputs: str, inputs: str = "") -> Workflow:
    """A workflow from the insides of its three objects."""
    return Workflow.parse(f'{{"stepgraph": 1, "inputs": {{{inputs}}}, "nodes": {{{nodes}}}, "outputs": {{{outputs}}}}}')
