"""The workflow as written: a plain tree of what the JSON file says, before any node type is looked up.

`reader` makes it from JSON, `checker` checks it against the registry, `compiler` compiles it for the executor.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Literal, TypeAlias

from graphcore.errors import CheckFailed, Problem

MISSING: Any = type("Missing", (), {"__repr__": lambda self: "MISSING", "__bool__": lambda self: False})()
"""Stands where no default or value is given (None is a value)."""

SCOPE_NAMES = ("inputs", "each", "carry", "index")
"""Names that a link may use besides node names; no node may be called so."""


@dataclass(frozen=True, slots=True)
class Link:
    """`{"from": "node.output"}`; `output` is empty where the file names only the node."""

    node: str
    output: str = ""

    def __str__(self) -> str:
        return f"{self.node}.{self.output}" if self.output else self.node


@dataclass(frozen=True, slots=True)
class Written:
    """A JSON value written in the file (it holds no link)."""

    value: Any


@dataclass(frozen=True, slots=True)
class ListOf:
    """A JSON array with at least one link in it."""

    items: tuple[Value, ...]


Value: TypeAlias = Link | Written | ListOf


@dataclass(frozen=True, slots=True)
class WorkflowInput:
    """A named input: a JSON-Schema-like description. `type`: string, integer, number, boolean, path, array, any."""

    name: str
    type: str
    default: Any = MISSING
    description: str = ""
    minimum: float | None = None
    maximum: float | None = None
    enum: tuple[Any, ...] | None = None
    items: str = "any"


Skip: TypeAlias = Literal["", "mute", "bypass"]
"""How a node is left out of the graph, if it is (see `graphcore.check.left_out`)."""


@dataclass(frozen=True, slots=True)
class NodeCall:
    """An ordinary node."""

    name: str
    type: str
    inputs: Mapping[str, Value]
    skip: Skip = ""


@dataclass(frozen=True, slots=True)
class Loop:
    """`loop`: the body runs once per item of `each` (or `times` times), `carry` goes from one iteration to the next.

    In the body, links may start with `inputs.`, `each.`, `carry.` or be `index`. Outputs of the node: every carry by
    its name (the value after the last iteration), every `collect` by its name (a list, one item per iteration).
    """

    name: str
    inputs: Mapping[str, Value]
    each: Mapping[str, Value]
    times: Value | None
    carry: Mapping[str, Value]
    nodes: Mapping[str, Node]
    next: Mapping[str, Value]
    collect: Mapping[str, Value]
    skip: Skip = ""


@dataclass(frozen=True, slots=True)
class Map:
    """`map`: the body runs once per item (`zip`) or per combination of items (`product`, last name fastest).

    Outputs of the node: every body output by its name, as a list.
    """

    name: str
    inputs: Mapping[str, Value]
    each: Mapping[str, Value]
    mode: Literal["zip", "product"]
    nodes: Mapping[str, Node]
    outputs: Mapping[str, Value]
    skip: Skip = ""


@dataclass(frozen=True, slots=True)
class Switch:
    """`switch`: the value of the case that `select` names (`default` if none matches); the others are not computed.

    A boolean selects the case `true` or `false`, an integer the case of its decimal digits. One output. `lost` are
    cases that were left out, each with the muted node that it needs: selecting one is an error.
    """

    name: str
    select: Value
    cases: Mapping[str, Value]
    default: Value | None
    skip: Skip = ""
    lost: Mapping[str, str] = field(default_factory=dict)


@dataclass(frozen=True, slots=True)
class SubWorkflow:
    """`workflow`: another file as a node; its outputs are the outputs of the node."""

    name: str
    path: str
    inputs: Mapping[str, Value]
    workflow: Workflow
    skip: Skip = ""


Node: TypeAlias = NodeCall | Loop | Map | Switch | SubWorkflow


@dataclass(frozen=True, eq=False)
class Workflow:
    """A workflow file, read and well-formed (checked only as far as its own text goes).

    Args:
        path: The file; None for one made in memory.
        text: The file's text, as read.
        nodes, outputs: In the order of the file.
    """

    path: Path | None
    title: str
    description: str
    inputs: Mapping[str, WorkflowInput]
    nodes: Mapping[str, Node]
    outputs: Mapping[str, Value]
    text: str = field(default="", repr=False)

    @classmethod
    def load(cls, path: str | Path) -> Workflow:
        """Read a workflow file and the files that it names.

        Raises:
            CheckFailed: with all mistakes of form, each with its place (types and links are checked with a registry).
        """
        from graphcore.files import reader  # it builds on this module

        return _whole(*reader.read(path))

    @classmethod
    def parse(cls, text: str, path: str | Path | None = None, files: Mapping[str, str] | None = None) -> Workflow:
        """As `load`, for a text at hand; `path` says where it comes from, `files` holds texts of sub-workflows."""
        from graphcore.files import reader

        return _whole(*reader.parse(text, path, files))


def files(workflow: Workflow) -> Iterator[Workflow]:
    """The workflow and all that it uses, each once, each after those that it uses."""
    seen: set[int] = set()
    stack: list[tuple[Workflow, bool]] = [(workflow, False)]
    while stack:
        file, ready = stack.pop()
        if ready:
            yield file
        elif id(file) not in seen:
            seen.add(id(file))
            stack.append((file, True))
            stack.extend((sub.workflow, False) for sub in _subs(file.nodes))


def _subs(nodes: Mapping[str, Node]) -> Iterator[SubWorkflow]:
    for node in nodes.values():
        if type(node) is NodeCall:
            continue
        if isinstance(node, SubWorkflow):
            yield node
        elif isinstance(node, (Loop, Map)):
            yield from _subs(node.nodes)


def _whole(workflow: Workflow | None, problems: Sequence[Problem]) -> Workflow:
    if problems or workflow is None:
        raise CheckFailed(problems)
    return workflow
