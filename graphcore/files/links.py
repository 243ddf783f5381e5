"""What the links of a workflow's nodes say: which values a node reads, which case a switch takes."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

from graphcore.files.workflow import Link, ListOf, Loop, Map, Node, Switch, Value


def links(value: Value | None) -> Iterator[Link]:
    """The links in a value as written."""
    if isinstance(value, Link):
        yield value
    elif isinstance(value, ListOf):
        for item in value.items:
            yield from links(item)


def outer_values(node: Node) -> Iterator[Value]:
    """The values by which a node depends on its neighbours."""
    if isinstance(node, Switch):
        yield node.select
        yield from node.cases.values()
        if node.default is not None:
            yield node.default
        return
    yield from node.inputs.values()
    if isinstance(node, (Loop, Map)):
        yield from node.each.values()
    if isinstance(node, Loop):
        yield from node.carry.values()
        if node.times is not None:
            yield node.times


def select_case(selected: Any) -> str:
    """The name of the case that a selecting value means: `true`/`false` for booleans, digits for integers."""
    if isinstance(selected, bool):
        return "true" if selected else "false"
    return str(getattr(selected, "value", selected))
