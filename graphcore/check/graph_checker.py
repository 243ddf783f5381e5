"""The graph of one file: node types, ports, bodies, circles. Values are checked by the base class."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from graphcore.check import hints
from graphcore.check.scope import ANYTHING, Open, Outputs, Scope, fits, item_type, list_of, meets, union
from graphcore.check.topology import circles, order
from graphcore.check.value_checker import ValueChecker
from graphcore.declare import ports
from graphcore.declare.node import SINGLE_OUTPUT, NodeType
from graphcore.declare.registry import Registry, short_name
from graphcore.errors import Problem
from graphcore.files import described
from graphcore.files.links import select_case
from graphcore.files.places import JsonPath
from graphcore.files.reader import STRUCTURES
from graphcore.files.source import Source
from graphcore.files.suggest import Suggester
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
    WorkflowInput,
    Written,
)  # fmt: skip


@dataclass(frozen=True, slots=True)
class _Known:
    """What is looked up of a node type once per file."""

    type: NodeType
    required: frozenset[str]
    outputs: Mapping[str, Any]


class GraphChecker(ValueChecker):
    """Checks the graph of one file. Responsibilities: names, types and shape of the graph; not values that flow."""

    def __init__(
        self, workflow: Workflow, registry: Registry, checked: Mapping[int, GraphChecker], suggester: Suggester
    ) -> None:
        super().__init__(Source(workflow.path, workflow.text), registry, suggester)
        self.workflow, self.checked = workflow, checked
        self.inputs = {name: _open(described.annotation(known)) for name, known in workflow.inputs.items()}
        self.outputs: dict[str, Any] = {}
        self.scopes: dict[str, Scope] = {}
        self._types: dict[str, _Known | None] = {}

    def run(self) -> list[Problem]:
        scope = Scope(self.workflow.nodes, {"inputs": self.inputs})
        self.body(scope, ("nodes",))
        for name, value in self.workflow.outputs.items():
            self.outputs[name] = self.type_of(value, ("outputs", name), scope, "", name)
        return self.problems

    # -- bodies ------------------------------------------------------------------------------------------------

    def body(self, scope: Scope, at: JsonPath) -> None:
        """Check the nodes of a file or body, each after those that it needs."""
        self.scopes[scope.owner] = scope
        done, stuck = order(scope.nodes)
        if stuck:
            self.circles(scope, stuck, at)
        for name, node in scope.nodes.items():
            if type(node) is NodeCall:
                known = self.type(node.type)
                scope.outputs[name] = known.outputs if known else None
        for name in (*done, *stuck):
            node, place, path = scope.nodes[name], (*at, name), scope.prefix + name
            if type(node) is NodeCall:
                self.call(node, place, path, scope)
            else:
                scope.outputs[name] = self.structure(node, place, path, scope)

    def structure(self, node: Node, at: JsonPath, path: str, scope: Scope) -> Outputs:
        if isinstance(node, Loop):
            return self.loop(node, at, path, scope)
        if isinstance(node, Map):
            return self.map(node, at, path, scope)
        if isinstance(node, Switch):
            return self.switch(node, at, path, scope)
        assert isinstance(node, SubWorkflow)
        return self.sub(node, at, path, scope)

    def circles(self, scope: Scope, stuck: list[str], at: JsonPath) -> None:
        for circle in circles(scope.nodes, stuck):
            shown = [*circle[:20], f"... ({len(circle) - 20} more)"] if len(circle) > 20 else circle
            way = " -> ".join([*shown, circle[0]])
            fix = "remove one of these links; to repeat something, use a loop"
            self.wrong("cycle", f"nodes that need each other: {way}", (*at, circle[0]), scope.prefix + circle[0],
                       key=True, got=way, fix=fix)  # fmt: skip

    def type(self, name: str) -> _Known | None:
        if name not in self._types:
            found = self.registry.find(name)
            self._types[name] = None if found is None else _Known(
                found, frozenset(port.name for port in found.inputs.values() if port.required),
                {name: port.type for name, port in found.outputs.items()},
            )  # fmt: skip
        return self._types[name]

    # -- nodes -------------------------------------------------------------------------------------------------

    def call(self, node: NodeCall, at: JsonPath, path: str, scope: Scope) -> None:
        known = self.type(node.type)
        if known is None:
            if node.type:
                message = f"there is no node type `{node.type[:80]}`"
                self.wrong("unknown-node-type", message, (*at, "type"), path, got=node.type[:80],
                           fix=self.near_type(node.type))  # fmt: skip
            self.loose(node.inputs, (*at, "inputs"), path, scope)
            return
        node_type, required = known.type, known.required
        unknown = []
        for name, value in node.inputs.items():
            port = node_type.inputs.get(name)
            place = (*at, "inputs", name)
            if port is None:
                unknown.append(name)
                fix = self.suggester.near_or_list(name, list(node_type.inputs), "its inputs")
                message = f"`{node.type}` has no input `{name[:80]}`"
                self.wrong("unknown-port", message, place, path, name, key=True, got=name[:80], fix=fix)
                self.type_of(value, place, scope, path, name)
            elif type(value) is Link:
                given = self.resolve(value, place, scope, path, name, port.type)
                if given is not port.type and given is not ANYTHING and not fits(given, port):
                    self.mismatch(value, given, port.type, place, scope, path, name)
            else:
                self.value(value, port, place, scope, path)
        if not required <= node.inputs.keys():
            self.missing([name for name in node_type.inputs if name in required and name not in node.inputs],
                         unknown, node_type, at, path)  # fmt: skip

    def missing(self, names: list[str], unknown: list[str], node_type: NodeType, at: JsonPath, path: str) -> None:
        for name in names:
            if any(self.suggester.near(other, [name]) for other in unknown):
                continue  # the misspelt one has been reported
            port = node_type.inputs[name]
            what = ports.say(port.type)
            fix = hints.makers(self.registry, port.type) or 'write it under "inputs"'
            message = f"the input `{name}` is missing; it wants {what}"
            self.wrong("missing-input", message, at, path, name, key=True, expected=what, fix=fix)

    def near_type(self, name: str) -> str:
        """What to do about a node type that nobody has."""
        names = [short_name(known.name) for known in self.registry]
        spaces = {known.name.partition("/")[0] for known in self.registry}
        space, slash, short = name.rpartition("/")
        if slash and space not in spaces:
            near = self.suggester.near(space, sorted(spaces))
            missing = f"no plugin `{space[:80]}` is loaded; put it into the plugins folder, or name one with --plugins"
            return near or missing
        if slash:
            inside = [known for known in names if known.startswith(f"{space}/")] if space != "stepgraph" else names
            return self.suggester.near(name if space != "stepgraph" else short, inside)
        elsewhere = [known for known in names if known.rpartition("/")[2] == name]
        if elsewhere:
            return f"did you mean `{elsewhere[0]}`?"
        near = self.suggester.near(name, [*names, *STRUCTURES])
        return near or "`stepgraph nodes` lists what there is"

    # -- structures --------------------------------------------------------------------------------------------

    def loop(self, node: Loop, at: JsonPath, path: str, scope: Scope) -> Outputs:
        each = self.each(node.each, at, path, scope)
        if node.times is not None:
            self.times(node.times, (*at, "times"), path, scope)
        inputs = self.types_of(node.inputs, (*at, "inputs"), path, scope)
        carried = self.types_of(node.carry, (*at, "carry"), path, scope)
        for name in carried.keys() & node.next.keys():
            carried[name] = self.widened(carried[name], node.next[name], node.nodes)
        values = {"inputs": inputs, "each": each, "carry": carried, "index": {}}
        inner = Scope(node.nodes, values, path, scope)
        inside = (*at, "body")
        self.body(inner, (*inside, "nodes"))
        self.carries(node, carried, inside, path, inner)
        collected = self.types_of(node.collect, (*inside, "collect"), path, inner)
        for name in node.collect.keys() & node.carry.keys():
            message = f"`{name}` is both a carry and a collect; the loop would have two outputs of this name"
            self.wrong("collect", message, (*inside, "collect", name), path, name, key=True, fix="rename one")
        return {**{name: list_of(given) for name, given in collected.items()}, **carried}

    def carries(self, node: Loop, carried: Mapping[str, Any], inside: JsonPath, path: str, inner: Scope) -> None:
        """Every carry has a first and a next value of one type."""
        for name in node.carry:
            if name not in node.next and not any(self.suggester.near(other, [name]) for other in node.next):
                message = f"the body does not say how the carry `{name}` goes on"
                fix = 'write it under "carry" in the body; a value that stays the same belongs under "inputs"'
                self.wrong("carry", message, (*inside[:-1], "carry", name), path, name, key=True, fix=fix)
        for name, value in node.next.items():
            place = (*inside, "carry", name)
            given = self.type_of(value, place, inner, path, name)
            if name not in node.carry:
                fix = self.suggester.near(name, list(node.carry)) or 'write the first value under the loop\'s "carry"'
                message = f"the carry `{name}` has no first value"
                self.wrong("carry", message, place, path, name, key=True, got=name[:80], fix=fix)
            elif not _flows(given, carried[name]):
                expected, got = ports.say(carried[name]), ports.say(given)
                message = f"the carry `{name}` begins as {expected}, but goes on as {got}"
                if isinstance(value, Link):
                    message += f" from `{value}`"
                fix = hints.conversion(self.registry, given, carried[name])
                self.wrong("carry", message, self.link_place(value, place), path, name, expected=expected, got=got,
                           fix=fix)  # fmt: skip

    def widened(self, first: Any, following: Value, nodes: Mapping[str, Node]) -> Any:
        """The type of a carry whose first value is narrower than the next ones: 0 for a float, null for latents."""
        if not isinstance(following, Link) or not isinstance(node := nodes.get(following.node), NodeCall):
            return first
        known = self.type(node.type)
        outputs = known.outputs if known else {}
        name = following.output or (next(iter(outputs)) if len(outputs) == 1 else "")
        if name not in outputs or type(first) is Open:
            return first
        if first is type(None):
            return union([first, outputs[name]])
        return outputs[name] if ports.fits(first, outputs[name]) else first

    def map(self, node: Map, at: JsonPath, path: str, scope: Scope) -> Outputs:
        each = self.each(node.each, at, path, scope, node.mode == "zip")
        inputs = self.types_of(node.inputs, (*at, "inputs"), path, scope)
        inner = Scope(node.nodes, {"inputs": inputs, "each": each, "index": {}}, path, scope)
        self.body(inner, (*at, "body", "nodes"))
        outputs = self.types_of(node.outputs, (*at, "body", "outputs"), path, inner)
        return {name: list_of(given) for name, given in outputs.items()}

    def each(
        self, values: Mapping[str, Value], at: JsonPath, path: str, scope: Scope, together: bool = True
    ) -> dict[str, Any]:
        items = {}
        for name, value in values.items():
            place = (*at, "each", name)
            given = self.type_of(value, place, scope, path, name)
            items[name] = item_type(given)
            if items[name] is None:
                got = ports.say(given)
                message = f"`each` goes through a sequence, but `{name}` is {got}"
                self.wrong("each", message, self.link_place(value, place), path, name, expected="a sequence", got=got,
                           fix='for a value that stays the same, use "inputs"')  # fmt: skip
                items[name] = ANYTHING
        if together:
            self.lengths(values, at, path)
        return items

    def lengths(self, values: Mapping[str, Value], at: JsonPath, path: str) -> None:
        """Lists that are written in the file and gone through together are of one length."""
        counts = {name: n for name, value in values.items() if (n := _written_length(value)) is not None}
        if len(set(counts.values())) > 1:
            got = ", ".join(f"`{name}` has {count}" for name, count in counts.items())
            name = list(counts)[-1]
            message = f"sequences that are gone through together differ in length: {got}"
            self.wrong("each", message, (*at, "each", name), path, name, got=got)

    def times(self, value: Value, at: JsonPath, path: str, scope: Scope) -> None:
        given = self.type_of(value, at, scope, path, "times")
        number = value.value if isinstance(value, Written) else 0
        if not _flows(given, int) or (type(number) is int and number < 0):
            got = described.show(number) if isinstance(value, Written) else ports.say(given)
            message = f"`times` wants a whole number, 0 or more, got {got}"
            self.wrong("literal" if isinstance(value, Written) else "type", message, self.link_place(value, at), path,
                       "times", expected="a whole number", got=got)  # fmt: skip

    def switch(self, node: Switch, at: JsonPath, path: str, scope: Scope) -> Outputs:
        types = self.types_of(node.cases, (*at, "cases"), path, scope)
        if node.default is not None:
            types["default "] = self.type_of(node.default, (*at, "default"), scope, path, "default")
        place = (*at, "select")
        given = self.type_of(node.select, place, scope, path, "select")
        if not _flows(given, str | int | bool):
            got = ports.say(given)
            message = f"`select` wants text, a whole number or true/false, got {got}"
            self.wrong("switch", message, self.link_place(node.select, place), path, "select",
                       expected="text, a whole number or true/false", got=got)  # fmt: skip
        elif isinstance(node.select, Written) and node.select.value is not MISSING:
            name = select_case(node.select.value)
            if name not in node.cases and node.default is None:
                fix = self.suggester.near_or_list(name, list(node.cases), "its cases") or "add the case, or a default"
                self.wrong("switch", f"there is no case `{name[:80]}`", place, path, "select", got=name[:80], fix=fix)
                return None
            return {SINGLE_OUTPUT: types.get(name, types.get("default "))}
        return {SINGLE_OUTPUT: union(types.values())}

    def sub(self, node: SubWorkflow, at: JsonPath, path: str, scope: Scope) -> Outputs:
        """A file as a node: what is given to an input that takes anything must suit what the file does with it."""
        inner, known = self.checked[id(node.workflow)], node.workflow.inputs
        given: dict[str, Any] = {}
        for name, value in node.inputs.items():
            place = (*at, "inputs", name)
            if name not in known:
                fix = self.suggester.near_or_list(name, list(known), "its inputs")
                message = f"`{node.path}` has no input `{name[:80]}`"
                self.wrong("unknown-port", message, place, path, name, key=True, got=name[:80], fix=fix)
            given[name] = self.sub_value(value, known.get(name), inner.inputs.get(name), place, scope, path)
        for name, described_input in known.items():
            if name in node.inputs or described_input.default is not MISSING:
                continue
            if not any(self.suggester.near(other, [name]) for other in node.inputs.keys() - known.keys()):
                message = f"the input `{name}` of `{node.path}` is missing"
                self.wrong("missing-input", message, at, path, name, key=True, expected=described_input.type)
        through = {id(inner.inputs[name]): kind for name, kind in given.items() if name in inner.inputs}
        return {
            name: through.get(id(kind), ANYTHING) if type(kind) is Open else kind
            for name, kind in inner.outputs.items()
        }

    def sub_value(
        self, value: Value, known: WorkflowInput | None, wanted: Any, at: JsonPath, scope: Scope, path: str
    ) -> Any:
        name = str(at[-1])
        given = self.type_of(value, at, scope, path, name, None if type(wanted) is Open else wanted)
        if known is None or value == Written(MISSING):
            return ANYTHING
        if isinstance(value, Written) and (refused := described.refusal(known, value.value)):
            message = f"wants {refused[0]}, got {refused[1]}"
            self.wrong("literal", message, at, path, name, expected=refused[0], got=refused[1])
        elif type(wanted) is Open:
            if not isinstance(value, Written) and (refused := meets(given, wanted)) is not None:
                self.mismatch(value, given, refused, at, scope, path, name)
        elif not isinstance(value, Written) and not _flows(given, wanted):
            self.mismatch(value, given, wanted, at, scope, path, name)
        return given


def _open(annotation: Any) -> Any:
    return Open() if annotation is Any else annotation


def _flows(given: Any, wanted: Any) -> bool:
    return type(given) is Open or type(wanted) is Open or bool(ports.fits(given, wanted))


def _written_length(value: Value) -> int | None:
    if isinstance(value, ListOf):
        return len(value.items)
    return len(value.value) if isinstance(value, Written) and isinstance(value.value, list) else None
