"""Muted and bypassed nodes, taken out: what is left is a workflow as one would write it by hand without them.

A muted node goes with all that cannot do without it. Of a bypassed one, each output is replaced by the first of its
inputs whose value is of a fitting type. Everything after this (the program, keys, the cache) knows plain nodes only.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass, field, replace
from typing import Any, TypeAlias

from graphcore.check.graph_checker import GraphChecker
from graphcore.check.scope import Open, Scope
from graphcore.check.topology import order
from graphcore.declare import ports
from graphcore.declare.registry import Registry
from graphcore.errors import Problem
from graphcore.files.links import select_case
from graphcore.files.places import JsonPath
from graphcore.files.suggest import Suggester, listing
from graphcore.files.workflow import (
    MISSING,
    Link,
    ListOf,
    Loop,
    Map,
    Node,
    NodeCall,
    SubWorkflow,
    Switch,
    Value,
    Workflow,
    Written,
    files,
)  # fmt: skip

_NAMES = frozenset(
    {
        "unknown-node-type", "unknown-port", "unknown-node", "unknown-output", "output-missing", "unknown-name",
        "scope",
    }
)  # fmt: skip
"""Codes of problems with what a file names: that must be there in the file as written, left out or not."""

_HOLE = Written(MISSING)


@dataclass(frozen=True, slots=True)
class Rest:
    """What is left of a workflow.

    Args:
        problems: With its names, as written, and with taking nodes out.
        whole: Nothing was taken out.
    """

    workflow: Workflow
    problems: tuple[Problem, ...] = ()
    whole: bool = True

    def flow_only(self, problems: Iterable[Problem]) -> list[Problem]:
        """Of the problems of a file of the rest, those that are not about names, which are among ours already."""
        return [problem for problem in problems if self.whole or problem.code not in _NAMES]


def plain(workflow: Workflow, registry: Registry) -> Workflow:
    """A checked workflow without its muted and bypassed nodes."""
    return take_out(workflow, registry).workflow


def take_out(workflow: Workflow, registry: Registry) -> Rest:
    """Take the muted and bypassed nodes out of a workflow and of the files that it uses."""
    if not any(_skips(file.nodes) for file in files(workflow)):
        return Rest(workflow)
    checked: dict[int, GraphChecker] = {}
    left: dict[int, _File] = {}
    problems: list[Problem] = []
    suggester = Suggester()
    for written in files(workflow):
        checked[id(written)] = checker = GraphChecker(written, registry, checked, suggester)
        problems += [problem for problem in checker.run() if problem.code in _NAMES]
        left[id(written)] = file = _File(checker, left)
        file.take_out()
        problems += file.problems
    top = left[id(workflow)]
    if top.absent and not top.rest.outputs:
        problems.append(top.nothing_left())
    return Rest(top.rest, tuple(problems), whole=False)


def _skips(nodes: Mapping[str, Node]) -> bool:
    for node in nodes.values():
        if node.skip or (type(node) is not NodeCall and isinstance(node, (Loop, Map)) and _skips(node.nodes)):
            return True
    return False


@dataclass(frozen=True, slots=True)
class _Absent:
    """Stands where a value cannot be had: the node of the path `muted` is left out."""

    muted: str


@dataclass(frozen=True, slots=True)
class _Unfit:
    """Stands for an output of a bypassed node that nothing can replace; a problem if somebody wants it."""

    node: str
    output: str
    message: str


_Found: TypeAlias = Value | _Absent


class _File:
    """One file. Responsibilities: its outputs, and what is wrong; its nodes are the business of `_Body`."""

    def __init__(self, checker: GraphChecker, left: Mapping[int, _File]) -> None:
        self.checker, self.left = checker, left
        self.rest = checker.workflow
        self.absent: dict[str, _Absent] = {}
        self.problems: list[Problem] = []

    def take_out(self) -> None:
        written = self.checker.workflow
        body = _Body(self, self.checker.scopes[""], ("nodes",))
        nodes = body.nodes()
        outputs, self.absent = body.values(written.outputs)
        self.rest = replace(written, nodes=nodes, outputs=outputs)

    def unfit(self, found: _Unfit, at: JsonPath) -> None:
        fix = "mute the node, or link what uses the output to something else"
        source = self.checker.source
        self.problems.append(
            source.problem("bypass", found.message, at, key=True, node=found.node, port=found.output, fix=fix)
        )

    def nothing_left(self) -> Problem:
        muted = list(dict.fromkeys(absent.muted for absent in self.absent.values()))
        message = f"no output is left: all need what is muted ({listing(muted)})"
        fix = f"take `mute` off `{muted[0]}`"
        return self.checker.source.problem("mute", message, ("outputs",), key=True, fix=fix)


@dataclass
class _Body:
    """The nodes of a file, or of the body of a loop or map.

    Args:
        scope: As the checker found it in the file as written.
        instead: What replaces a link, by its full text (`node.output`); where there is nothing, the link stays.
        gone: What replaces any link to a node.
    """

    file: _File
    scope: Scope
    at: JsonPath
    instead: dict[str, _Found | _Unfit] = field(default_factory=dict)
    gone: dict[str, _Found] = field(default_factory=dict)

    def nodes(self) -> dict[str, Node]:
        """The nodes that are left, in the order of the file. Those in a circle stay: that is reported elsewhere."""
        left = dict(self.scope.nodes)
        for name in order(left)[0]:
            if (rest := self.node(left[name])) is None:
                del left[name]
            else:
                left[name] = rest
        return left

    def node(self, node: Node) -> Node | None:
        if node.skip == "bypass":
            self.bypass(node)
            return None
        before = len(self.file.problems)
        rest = _Absent(self.scope.prefix + node.name) if node.skip == "mute" else self.rest(node)
        if isinstance(rest, _Absent):
            self.gone[node.name] = rest
            del self.file.problems[before:]  # what is absent uses nothing
            return None
        return rest

    # -- values ------------------------------------------------------------------------------------------------

    def value(self, value: Value) -> _Found:
        if isinstance(value, Link):
            return self.link(value)
        return self.list(value) if isinstance(value, ListOf) else value

    def link(self, link: Link) -> _Found:
        if link.node in self.gone:
            return self.gone[link.node]
        outputs = self.scope.outputs.get(link.node) or {}
        output = link.output or (next(iter(outputs)) if len(outputs) == 1 else "")
        found = self.instead.get(f"{link.node}.{output}", link)
        if isinstance(found, _Unfit):
            self.file.unfit(found, (*self.at, link.node, "bypass"))
            return _HOLE
        return found

    def list(self, value: ListOf) -> _Found:
        """A list does without an item that is absent, but not without all."""
        items = [self.value(item) for item in value.items]
        there = [item for item in items if not isinstance(item, _Absent)]
        if not there:
            return items[0]
        written = [item.value for item in there if isinstance(item, Written)]
        if MISSING in written:
            return _HOLE
        return Written(written) if len(written) == len(there) else ListOf(tuple(there))

    def values(self, values: Mapping[str, Value]) -> tuple[dict[str, Value], dict[str, _Absent]]:
        """Values that are there, and those that are absent."""
        found = {name: self.value(value) for name, value in values.items()}
        there = {name: value for name, value in found.items() if not isinstance(value, _Absent)}
        return there, {name: value for name, value in found.items() if isinstance(value, _Absent)}

    # -- what is left of nodes ---------------------------------------------------------------------------------

    def rest(self, node: Node) -> Node | _Absent:
        """A node without what is absent; absent itself if it cannot do without that."""
        if isinstance(node, NodeCall):
            return self.call(node)
        if isinstance(node, Switch):
            return self.switch(node)
        if isinstance(node, SubWorkflow):
            return self.sub(node)
        return self.loop(node) if isinstance(node, Loop) else self.map(node)

    def call(self, node: NodeCall) -> Node | _Absent:
        known = self.file.checker.registry.find(node.type)
        required = {port.name for port in known.inputs.values() if port.required} if known else set()
        inputs, absent = self.values(node.inputs)
        return _first(absent, required) or replace(node, inputs=inputs)

    def sub(self, node: SubWorkflow) -> Node | _Absent:
        file = self.file.left[id(node.workflow)]
        required = {name for name, known in node.workflow.inputs.items() if known.default is MISSING}
        inputs, absent = self.values(node.inputs)
        self.lose(node.name, {name: self.inside(node, by) for name, by in file.absent.items()})
        return _first(absent, required) or replace(node, inputs=inputs, workflow=file.rest)

    def switch(self, node: Switch) -> Node | _Absent:
        """A switch does without a case that is absent, as long as that is not selected."""
        select = self.value(node.select)
        if isinstance(select, _Absent):
            return select
        cases, absent = self.values(node.cases)
        default, no_default = self.values({} if node.default is None else {"default": node.default})
        if isinstance(select, Written):
            case = select_case(select.value)
            if case in absent or (case not in cases and no_default):
                return absent.get(case) or no_default["default"]
        elif not cases and not default and (gone := _first({**absent, **no_default})):
            return gone
        lost = {name: by.muted for name, by in absent.items()}
        return replace(node, select=select, cases=cases, default=default.get("default"), lost=lost)

    def loop(self, node: Loop) -> Node | _Absent:
        each, no_each = self.values(node.each)
        carry, no_carry = self.values(node.carry)
        times = None if node.times is None else self.value(node.times)
        if isinstance(times, _Absent):
            return times
        inputs, body = self.body(node)
        nodes = body.nodes()
        following, no_next = body.values(node.next)
        collect, no_collect = body.values(node.collect)
        self.lose(node.name, no_collect)
        return _first({**no_each, **no_carry, **no_next}) or replace(
            node, inputs=inputs, each=each, times=times, carry=carry, nodes=nodes, next=following, collect=collect
        )

    def map(self, node: Map) -> Node | _Absent:
        each, no_each = self.values(node.each)
        inputs, body = self.body(node)
        nodes = body.nodes()
        outputs, no_outputs = body.values(node.outputs)
        self.lose(node.name, no_outputs)
        return _first(no_each) or replace(node, inputs=inputs, each=each, nodes=nodes, outputs=outputs)

    def body(self, node: Loop | Map) -> tuple[dict[str, Value], _Body]:
        """What enters a body, and the body without what does not."""
        inputs, absent = self.values(node.inputs)
        scope = self.file.checker.scopes[self.scope.prefix + node.name]
        missing: dict[str, _Found | _Unfit] = {f"inputs.{name}": by for name, by in absent.items()}
        return inputs, _Body(self.file, scope, (*self.at, node.name, "body", "nodes"), missing)

    def lose(self, node: str, outputs: Mapping[str, _Absent]) -> None:
        self.instead.update({f"{node}.{name}": absent for name, absent in outputs.items()})

    def inside(self, node: SubWorkflow, absent: _Absent) -> _Absent:
        return _Absent(f"{self.scope.prefix}{node.name}.{absent.muted}")

    # -- bypasses ----------------------------------------------------------------------------------------------

    def bypass(self, node: Node) -> None:
        """Note what replaces each output of a node."""
        outputs = self.scope.outputs.get(node.name)
        if isinstance(node, Switch):
            first = next(iter(node.cases.values()), node.default)
            self.gone[node.name] = _HOLE if first is None else self.value(first)
        elif outputs is None:  # of a type that nobody knows
            self.gone[node.name] = _HOLE
        else:
            for name, wanted in outputs.items():
                self.instead[f"{node.name}.{name}"] = self.replacement(node, name, wanted)

    def replacement(self, node: Node, output: str, wanted: Any) -> _Found | _Unfit:
        if isinstance(node, Loop) and output in node.carry:
            return self.value(node.carry[output])
        path, given = self.scope.prefix + node.name, []
        for name, value, port in () if isinstance(node, Loop) else self.candidates(node):
            kind = self.file.checker.type_of(value, self.at, self.scope, path, name)
            if _suits(kind, wanted, port):
                return self.value(value)
            given.append(f"`{name}` is {_say(kind, port)}")
        what = "a bypassed loop gives the values that it carries, and no others" if isinstance(node, Loop) else ""
        there = what or f"it gets {', '.join(given) or 'nothing'}"
        message = f"`{output}` of this bypassed node is used, but nothing can replace it: "
        return _Unfit(path, output, f"{message}it is {_say(wanted)}, and {there}")

    def candidates(self, node: Node) -> Iterator[tuple[str, Value, Any]]:
        """The values that a node is given, in the order in which its inputs are declared, with the ports' types."""
        if isinstance(node, NodeCall):
            known = self.file.checker.registry.get(node.type).inputs
            kinds = {name: port.type for name, port in known.items()}
        elif isinstance(node, SubWorkflow):
            kinds = self.file.checker.checked[id(node.workflow)].inputs
        else:
            assert isinstance(node, Map)
            for name, value in (*node.inputs.items(), *node.each.items()):
                yield name, value, Any
            return
        for name, kind in kinds.items():
            if name in node.inputs:
                yield name, node.inputs[name], kind


def _first(absent: Mapping[str, _Absent], required: Iterable[str] | None = None) -> _Absent | None:
    """Why a node is absent: the first value that it cannot do without."""
    return next((by for name, by in absent.items() if required is None or name in required), None)


def _suits(given: Any, wanted: Any, port: Any) -> bool:
    """Whether a value may take the place of an output; where its type is not known, that of its port counts."""
    if wanted is Any or given is wanted:
        return True
    if given is Any:
        given = port
    if type(wanted) is Open:
        return False
    if type(given) is Open:
        return any(use.type is not Any and ports.fits(use.type, wanted) for use in given.wanted)
    return bool(ports.fits(given, wanted))


def _say(kind: Any, port: Any = Any) -> str:
    kind = port if kind is Any else kind
    if type(kind) is Open:
        kind = next((use.type for use in kind.wanted if use.type is not Any), Any)
    return "of any type" if kind is Any else ports.say(kind)
