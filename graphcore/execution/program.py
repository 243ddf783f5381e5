"""A workflow as the executor takes it, compiled: sheets of slots, and the nodes that fill them.

A `Scope` is a sheet of numbered slots: the top level has one, each body of a loop or map has one. A slot will hold
the value of one output (or of one input of the scope). Nodes read slots and write slots; the executor fills a fresh
copy of the sheet per iteration.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from functools import cached_property
from typing import Literal, TypeAlias

from graphcore.declare.node import NodeType, Port
from graphcore.execution.task import Ref


@dataclass(frozen=True, slots=True, eq=False)
class CallCode:
    """Call `type` with the values of `arguments` (slots, one per port); write outputs to `out`, `out + 1`, ...

    `linked` are the positions (and ports) of arguments that are no literals of this node.
    """

    name: str
    type: NodeType
    ports: tuple[Port, ...]
    arguments: tuple[int, ...]
    linked: tuple[tuple[int, Port], ...]
    out: int


@dataclass(frozen=True, slots=True, eq=False)
class ListCode:
    """Gather slots into one list."""

    name: str
    arguments: tuple[int, ...]
    out: int


@dataclass(frozen=True, slots=True, eq=False)
class Carry:
    """A carried value: slot in the body, slot of the first value outside, slot of the next value in the body."""

    name: str
    body: int
    initial: int
    next: int
    out: int


@dataclass(frozen=True, slots=True, eq=False)
class Feed:
    """A value that enters a body: `outside` is a slot of the enclosing scope, `body` one of the body."""

    name: str
    outside: int
    body: int


@dataclass(frozen=True, slots=True, eq=False)
class Yield:
    """A value that a body gives per iteration, gathered into a list at `out`."""

    name: str
    body: int
    out: int


@dataclass(frozen=True, slots=True, eq=False)
class LoopCode:
    """Run `body` once per item of `each`, or `times` times. A map is a loop without carries, zipped or a product."""

    name: str
    body: Scope
    inputs: tuple[Feed, ...]
    each: tuple[Feed, ...]
    times: int | None
    mode: Literal["zip", "product"]
    carries: tuple[Carry, ...]
    yields: tuple[Yield, ...]
    index: int


@dataclass(frozen=True, slots=True, eq=False)
class SwitchCode:
    """Slot `out` is the slot of the case that `select` names."""

    name: str
    select: int
    cases: Mapping[str, int]
    default: int | None
    out: int
    lost: Mapping[str, str]


Code: TypeAlias = CallCode | ListCode | LoopCode | SwitchCode


@dataclass(eq=False)
class Scope:
    """A sheet of slots and the nodes that fill it, in an order in which every node stands after what it needs.

    `carried` are the slots of a loop's body that the next iteration begins with.
    """

    size: int = 0
    carried: set[int] = field(default_factory=set)
    constants: dict[int, Ref] = field(default_factory=dict)
    nodes: list[Code] = field(default_factory=list)
    producer: dict[int, Code] = field(default_factory=dict)

    @cached_property
    def template(self) -> list[Ref | None]:
        """The sheet as each frame begins it: literals are there, all else is open."""
        return [self.constants.get(slot) for slot in range(self.size)]

    def slot(self) -> int:
        self.size += 1
        return self.size - 1

    def constant(self, ref: Ref) -> int:
        slot = self.slot()
        self.constants[slot] = ref
        return slot

    def add(self, code: Code, *outs: int) -> None:
        self.nodes.append(code)
        self.producer.update(dict.fromkeys(outs, code))


@dataclass(frozen=True, eq=False)
class Program:
    """A compiled workflow: the top scope, the slots of its inputs, of its outputs, of its nodes with an effect."""

    scope: Scope
    inputs: Mapping[str, int]
    outputs: Mapping[str, int]
    effects: tuple[int, ...] = ()

    @cached_property
    def types(self) -> set[NodeType]:
        """The node types that it calls, in bodies too."""
        found, stack = set(), [self.scope]
        while stack:
            for code in stack.pop().nodes:
                if isinstance(code, CallCode):
                    found.add(code.type)
                elif isinstance(code, LoopCode):
                    stack.append(code.body)
        return found

    @property
    def pure(self) -> bool:
        """Whether keys say all that it gives: no node has an effect outside, or runs anew each time."""
        return not self.effects and all(type_.pure for type_ in self.types)
