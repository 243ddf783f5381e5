"""The node types at hand: an immutable snapshot, so that a run keeps the version it started with."""

from __future__ import annotations

import dataclasses
import enum
import typing
from collections.abc import Iterable, Iterator, Mapping
from functools import cached_property
from types import MappingProxyType
from typing import Any, get_args

from graphcore.declare import ports
from graphcore.declare.node import NodeType
from graphcore.errors import PluginError, StepgraphError, did_you_mean

BUILT_IN = "stepgraph"
"""The name space whose nodes may be written without it."""


class Registry:
    """Node types by full name. Responsibilities: look up, suggest, list; `with_nodes` makes the next snapshot."""

    def __init__(self, nodes: Mapping[str, NodeType] = MappingProxyType({})) -> None:
        self._nodes = dict(nodes)

    def __iter__(self) -> Iterator[NodeType]:
        return iter(self._nodes.values())

    def __len__(self) -> int:
        return len(self._nodes)

    def find(self, name: str) -> NodeType | None:
        """The node type of a name as written in a file."""
        return self._nodes.get(name) or self._nodes.get(f"{BUILT_IN}/{name}")

    def get(self, name: str) -> NodeType:
        """As `find`, with an error that suggests the nearest names."""
        if found := self.find(name):
            return found
        raise StepgraphError(f"there is no node type `{name}`; {self.suggest(name) or '`stepgraph nodes` lists them'}")

    def suggest(self, name: str) -> str:
        return did_you_mean(name, [short_name(known) for known in self._nodes])

    def with_nodes(self, namespace: str, nodes: Iterable[NodeType]) -> Registry:
        """A snapshot in which the nodes of a name space are exactly these."""
        kept = {name: known for name, known in self._nodes.items() if not name.startswith(f"{namespace}/")}
        for declared in nodes:
            name = f"{namespace}/{declared.name}"
            if name in kept:
                first, second = (t.function.__code__.co_filename for t in (kept[name], declared))
                raise PluginError(f"two nodes are called `{name}`: one in {first}, one in {second}; rename one")
            kept[name] = declared.named(name)
        return Registry(kept)

    @cached_property
    def types(self) -> Mapping[str, type]:
        """Classes that travel on links, by wire name: what the cache may store and, above all, may build again."""
        found: dict[str, type] = {}
        for declared in self._nodes.values():
            namespace = declared.name.split("/")[0]
            for port in (*declared.inputs.values(), *declared.outputs.values()):
                _collect(port.annotation, namespace, found)
        return MappingProxyType(found)


def short_name(name: str) -> str:
    """The name as people write it: built-ins without their name space."""
    return name.removeprefix(f"{BUILT_IN}/")


def _collect(annotation: Any, namespace: str, found: dict[str, type]) -> None:
    for member in ports.members(annotation):
        for arg in get_args(member):
            if arg is not Ellipsis and not isinstance(arg, (str, int, bool)):
                _collect(arg, namespace, found)
        if not isinstance(member, type) or member in found.values():
            continue
        if dataclasses.is_dataclass(member):
            found.setdefault(f"{namespace}/{member.__qualname__}", member)
            for hint in typing.get_type_hints(member, include_extras=True).values():
                _collect(hint, namespace, found)
        elif issubclass(member, enum.Enum) or (issubclass(member, tuple) and hasattr(member, "_fields")):
            found.setdefault(f"{namespace}/{member.__qualname__}", member)
