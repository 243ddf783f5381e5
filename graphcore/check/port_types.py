"""The types of all ports of a workflow, in words: those that nodes declare, and those that follow from the links.

The graph checker knows them while it works; here it goes over the files once more, writes them down, and keeps silent
about mistakes: what is wrong is a type that is not known.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

from graphcore.check.graph_checker import GraphChecker
from graphcore.check.scope import ANYTHING, Open, Scope, list_of
from graphcore.declare import ports
from graphcore.declare.registry import Registry
from graphcore.files.places import JsonPath
from graphcore.files.suggest import Suggester
from graphcore.files.workflow import Loop, Map, Node, NodeCall, SubWorkflow, Switch, Value, Workflow, files

MOST = 10_000
"""Nodes whose types are told: files within files may unfold into a million."""


@dataclass(frozen=True)
class NodeTypes:
    """Types of a node's ports by name, in words."""

    inputs: Mapping[str, str]
    outputs: Mapping[str, str]


@dataclass(frozen=True)
class PortTypes:
    """Of a workflow: its inputs, and its nodes by path (`denoise.loop.step`), the outer ones first."""

    inputs: Mapping[str, str] = field(default_factory=dict)
    nodes: Mapping[str, NodeTypes] = field(default_factory=dict)


def port_types(workflow: Workflow, registry: Registry) -> PortTypes:
    """The types of all ports, as far as they are known; the workflow may have mistakes, and holes."""
    read: dict[int, _TypeReader] = {}
    for file in files(workflow):
        read[id(file)] = reader = _TypeReader(file, registry, read, Suggester())
        reader.run()
    nodes: dict[str, NodeTypes] = {}
    waiting = deque([("", workflow)])
    while waiting and len(nodes) < MOST:
        prefix, file = waiting.popleft()
        told = read[id(file)].told()
        nodes.update((prefix + path, types) for path, (_, types) in told.items())
        waiting.extend(
            (f"{prefix}{path}.", node.workflow) for path, (node, _) in told.items() if isinstance(node, SubWorkflow)
        )
    inputs = {name: _say(kind) for name, kind in read[id(workflow)].inputs.items()}
    return PortTypes(inputs, dict(list(nodes.items())[:MOST]))


class _TypeReader(GraphChecker):
    """Goes over one file as the checker does, and remembers what it knew at each node."""

    def wrong(self, code: str, message: str, at: JsonPath, node: str, port: str = "", **more: Any) -> None:
        """Mistakes are the checker's business."""

    def told(self) -> dict[str, tuple[Node, NodeTypes]]:
        """Each node of the file by its path in it, with its types; after `run`."""
        return {
            scope.prefix + name: (node, NodeTypes(_words(self._takes(node, scope)), _words(scope.outputs.get(name))))
            for scope in self.scopes.values()
            for name, node in scope.nodes.items()
        }

    def _takes(self, node: Node, scope: Scope) -> Mapping[str, Any]:
        """What a node declares for its inputs; of structures what is given to them."""
        if isinstance(node, NodeCall):
            known = self.type(node.type)
            return {} if known is None else {name: port.type for name, port in known.type.inputs.items()}
        if isinstance(node, SubWorkflow):
            return self.checked[id(node.workflow)].inputs
        return {name: self._given(value, scope) for name, value in _values(node).items()}

    def _given(self, value: Value, scope: Scope) -> Any:
        return self.type_of(value, (), scope, "", "")


def _values(node: Loop | Map | Switch) -> dict[str, Value]:
    """All values that a structure takes, by the names under which they stand in it."""
    if isinstance(node, Switch):
        default = {} if node.default is None else {"default": node.default}
        return {"select": node.select, **node.cases, **default}
    if isinstance(node, Map):
        return {**node.each, **node.inputs}
    times = {} if node.times is None else {"times": node.times}
    return {**node.each, **times, **node.carry, **node.inputs}


def _words(types: Mapping[str, Any] | None) -> dict[str, str]:
    return {name: _say(kind) for name, kind in (types or {}).items()}


def _say(kind: Any) -> str:
    return ports.say(_closed(kind))


def _closed(kind: Any) -> Any:
    """The type that an open one turned out to have: that of a port that takes it, or a list of what takes its items."""
    if type(kind) is not Open:
        return kind
    if kind.items is not None and not kind.wanted:
        return list_of(_closed(kind.items))
    return next((port.type for port in kind.wanted if port.type not in (ANYTHING, object)), ANYTHING)
