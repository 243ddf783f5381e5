"""What a link may name at one place of a file, and of which type it is."""

from __future__ import annotations

import types
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from typing import Any, TypeAlias, Union

from graphcore.declare import ports
from graphcore.declare.node import Port
from graphcore.files.workflow import Node

Outputs: TypeAlias = "Mapping[str, Any] | None"
"""Types of a node's outputs by name; None where the node is not known, so that anything goes."""

ANYTHING = Any


@dataclass(eq=False)
class Open:
    """The type of a file's input of type `any`: each use says what may be given to it, and to its items."""

    wanted: list[Port] = field(default_factory=list)
    items: Open | None = None

    def item(self) -> Open:
        self.items = self.items or Open()
        return self.items


@dataclass
class Scope:
    """The nodes of a file or body and the values that enter it.

    Args:
        owner: Path of the loop or map whose body this is; empty for a file.
        values: Types of `inputs.x`, `each.x`, `carry.x` by their first word; no entry where the word has no meaning.
    """

    nodes: Mapping[str, Node]
    values: Mapping[str, Mapping[str, Any]]
    owner: str = ""
    parent: Scope | None = None
    outputs: dict[str, Outputs] = field(default_factory=dict)

    @property
    def prefix(self) -> str:
        return f"{self.owner}." if self.owner else ""


def fits(given: Any, port: Port) -> bool:
    """`ports.fits`, where an open type notes what it meets."""
    if type(given) is Open:
        given.wanted.append(port)
        return True
    return ports.fits(given, port.type)


def meets(given: Any, wanted: Open) -> Any:
    """What a given type would have to be for the uses of an open one, but is not; None if all is well."""
    if given is ANYTHING:
        return None
    if type(given) is Open:
        given.wanted += wanted.wanted
        return None if wanted.items is None else meets(given.item(), wanted.items)
    for port in wanted.wanted:
        if not ports.fits(given, port.type):
            return port.type
    if wanted.items is None:
        return None
    item = ports.item_type(given)
    refused = list if item is None else meets(item, wanted.items)
    return refused if refused in (None, list) else list_of(refused)


def item_type(given: Any) -> Any:
    """The type of the items; None if there are none."""
    return given.item() if type(given) is Open else ports.item_type(given)


def union(given: Iterable[Any]) -> Any:
    """The type of a value that is of one of the types."""
    members = list(given)
    if len(members) == 1:
        return members[0]
    if not members or any(member is Any or type(member) is Open for member in members):
        return ANYTHING
    return Union[tuple(members)]  # noqa: UP007 (the members are known only here)


def list_of(item: Any) -> Any:
    return list[ANYTHING if type(item) is Open else item]  # type: ignore[misc]


def literal_type(value: Any) -> Any:
    """The type of a JSON literal."""
    if isinstance(value, list):
        kinds = {type(item) for item in value}
        return list[kinds.pop()] if len(kinds) == 1 and not kinds & {list, dict} else list[Any]  # type: ignore[misc]
    return types.NoneType if value is None else type(value)
