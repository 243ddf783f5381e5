"""The model-level check: the workflow is gone through with descriptions of values instead of values.

Literals and the workflow's inputs are known; a node with an `infer` hook says what it would give (tensors as
`TensorSpec`s) or refuses its inputs; all else is unknown and stays so. Nothing is loaded, nothing is run.
"""

from __future__ import annotations

import inspect
import itertools
from collections.abc import Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from graphcore.check import literals
from graphcore.check.topology import order
from graphcore.declare import ports
from graphcore.declare.node import SINGLE_OUTPUT, NodeType
from graphcore.declare.registry import Registry, short_name
from graphcore.errors import InputError, Problem, StepgraphError, say_foreign
from graphcore.files import described
from graphcore.files.links import links, outer_values, select_case
from graphcore.files.places import JsonPath
from graphcore.files.source import Source
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
)  # fmt: skip
from graphcore.runtime import Runtime, _runtime

UNKNOWN: Any = type("Unknown", (), {"__repr__": lambda self: "UNKNOWN", "__bool__": lambda self: False})()
"""Stands for a value of which nothing is known."""

_STEPS = 300_000
"""Nodes looked at in one check; maps within maps could ask for any number. What comes after is unknown."""
_BODY = 20
"""Steps that going through a body counts for, besides its nodes."""
_ROWS = 64
"""Iterations of a map that are looked at one by one."""
_LENGTH = 4096


@dataclass
class Inferred:
    """What is known of a workflow without running it."""

    problems: list[Problem]
    outputs: Mapping[str, Any]


def infer(
    workflow: Workflow,
    registry: Registry,
    inputs: Mapping[str, Any],
    *,
    faulty: frozenset[tuple[str, str]] = frozenset(),
) -> Inferred:
    """Ask the nodes' `infer` hooks about a workflow, from its inputs to its outputs.

    Args:
        faulty: Nodes with errors already found, as (file, node path): nothing is inferred from them.
    """
    base = workflow.path.parent if workflow.path is not None else Path.cwd()
    with surrounded(base):
        return Interpreter(registry, faulty).run(workflow, inputs)


@contextmanager
def surrounded(base: Path) -> Iterator[None]:
    """A runtime for hooks that ask for one; that of a run, if there is one."""
    if _runtime.get(None) is not None:
        yield
        return
    token = _runtime.set(Runtime(base=base))
    try:
        yield
    finally:
        _runtime.reset(token)


@dataclass(frozen=True)
class Place:
    """Where the nodes of a frame stand.

    Args:
        at: Path of their object in the file.
        local, full: What their names begin with in the file, and in all.
        calls: How often each of them runs; None if that is not known.
    """

    source: Source
    at: JsonPath
    local: str
    full: str
    calls: int | None

    def body(self, node: str, count: int | None) -> Place:
        at = (*self.at, node, "body", "nodes")
        calls = None if count is None or self.calls is None else self.calls * count
        return Place(self.source, at, f"{self.local}{node}.", f"{self.full}{node}.", calls)


@dataclass
class Frame:
    """The nodes of a file or of one iteration of a body, with what is known of their outputs."""

    nodes: Mapping[str, Node]
    values: Mapping[str, Any]
    place: Place
    results: dict[str, Mapping[str, Any]] = field(default_factory=dict)
    problems: dict[str, list[Problem]] = field(default_factory=dict)
    chosen: dict[str, list[Value]] = field(default_factory=dict)

    def value(self, value: Value) -> Any:
        if type(value) is Link:
            if (outputs := self.results.get(value.node)) is not None:
                if not value.output and len(outputs) == 1:
                    return next(iter(outputs.values()))
                return outputs.get(value.output, UNKNOWN)
            return self.values.get(str(value), UNKNOWN)
        if type(value) is Written:
            return UNKNOWN if value.value is MISSING else value.value
        assert type(value) is ListOf
        items = [self.value(item) for item in value.items]
        return UNKNOWN if UNKNOWN in _by_identity(items) else items

    def needed(self, wanted: Iterable[Value]) -> set[str]:
        """The nodes that the wanted values surely need: what a switch leaves out does not count."""
        seen: set[str] = set()
        stack = [link.node for value in wanted for link in links(value)]
        while stack:
            if (name := stack.pop()) in seen or name not in self.nodes:
                continue
            seen.add(name)
            read = self.chosen.get(name)
            values = outer_values(self.nodes[name]) if read is None else read
            stack.extend(link.node for value in values for link in links(value))
        return seen


class Interpreter:
    """Goes through workflows. Responsibilities: the order, bodies, files; what a call gives is `call`'s business."""

    lazy = True
    """Arguments are wanted for the hooks only."""

    def __init__(self, registry: Registry, faulty: frozenset[tuple[str, str]] = frozenset()) -> None:
        self.registry, self.faulty = registry, faulty
        self._left = _STEPS
        self._orders: dict[int, list[str]] = {}
        self._hooks: dict[str, _Hook | None] = {}

    def run(self, workflow: Workflow, inputs: Mapping[str, Any]) -> Inferred:
        values = {}
        for name, known in workflow.inputs.items():
            value = inputs.get(name, known.default)
            usable = value is not MISSING and described.refusal(known, value) is None
            values[f"inputs.{name}"] = value if usable else UNKNOWN
        outputs, problems = self.workflow(workflow, values, "", 1)
        return Inferred(list(dict.fromkeys(problems)), outputs)

    def workflow(
        self, workflow: Workflow, values: Mapping[str, Any], prefix: str, calls: int | None
    ) -> tuple[dict[str, Any], list[Problem]]:
        place = Place(Source(workflow.path, workflow.text), ("nodes",), "", prefix, calls)
        wanted = list(workflow.outputs.values())
        frame = self.frame(workflow.nodes, wanted, values, place)
        outputs = {name: frame.value(value) for name, value in workflow.outputs.items()}
        return outputs, self.found(frame, wanted)

    def frame(
        self, nodes: Mapping[str, Node], wanted: Sequence[Value], values: Mapping[str, Any], place: Place
    ) -> Frame:
        frame = Frame(nodes, values, place)
        self._left -= _BODY
        if (names := self._orders.get(id(nodes))) is None:
            asked = frame.needed(wanted)
            names = [name for name in order(nodes)[0] if name in asked]  # nodes in a circle are left out
            self._orders[id(nodes)] = names
        for name in names:
            if (place.source.name, place.local + name) not in self.faulty:
                frame.results[name] = self.node(nodes[name], frame)
        return frame

    def found(self, frame: Frame, wanted: Iterable[Value]) -> list[Problem]:
        """The problems of a frame, once it is filled."""
        if not frame.problems:
            return []
        needed = frame.needed(wanted)
        return [problem for name, problems in frame.problems.items() if name in needed for problem in problems]

    def node(self, node: Node, frame: Frame) -> Mapping[str, Any]:
        self._left -= 1
        if self._left < 0:
            return {}
        if isinstance(node, NodeCall):
            return self.call_node(node, frame)
        if isinstance(node, Switch):
            return self.switch(node, frame)
        if isinstance(node, Loop):
            return self.loop(node, frame)
        return self.map(node, frame) if isinstance(node, Map) else self.sub(node, frame)

    # -- calls -------------------------------------------------------------------------------------------------

    def call_node(self, node: NodeCall, frame: Frame) -> Mapping[str, Any]:
        node_type = self.registry.find(node.type)
        if node_type is None:
            return {}
        arguments: dict[str, Any] = {}
        for name, port in node_type.inputs.items():
            if (given := node.inputs.get(name)) is None:
                value = UNKNOWN if port.default is MISSING else port.default
            elif type(given) is Written and node_type.infer is None and self.lazy:
                continue  # checked already, and nobody asks
            else:
                value = frame.value(given)
                if value is not UNKNOWN and port.literal and _plain(value):
                    value = self.literal(value, given, name, node, node_type, frame)
            if value is not UNKNOWN:
                arguments[name] = value
        return self.call(node, node_type, arguments, frame)

    def literal(self, value: Any, given: Value, name: str, node: NodeCall, node_type: NodeType, frame: Frame) -> Any:
        """A known plain value as its port wants it; says so if the port refuses it."""
        port = node_type.inputs[name]
        if type(given) is not Link and value is None:
            return None
        if (refused := literals.refusal(port, value)) is not None:
            if isinstance(given, Link):
                self.wrong(frame, node.name, "literal", f"{refused.message} from `{given}`", name,
                           expected=refused.expected, got=refused.got, fix=refused.fix)  # fmt: skip
            return UNKNOWN
        return None if value is None else port.validate(value)

    def call(
        self, node: NodeCall, node_type: NodeType, arguments: Mapping[str, Any], frame: Frame
    ) -> Mapping[str, Any]:
        """The outputs of a node as its `infer` hook states them."""
        hook = self.hook(node_type)
        if hook is None or not hook.required <= arguments.keys():
            return {}
        known = {name: value for name, value in arguments.items() if hook.names is None or name in hook.names}
        try:
            result = hook.function(**known)
            return _outputs(node_type, result)
        except StepgraphError as error:
            self.refused(frame, node.name, error)
        except Exception as error:  # foreign code: a hook may raise anything
            name = short_name(node_type.name)
            self.wrong(frame, node.name, "infer", f"the infer hook of `{name}` failed: {say_foreign(error)}",
                       fix=f"this is a mistake in the code of `{name}`, not in the workflow")  # fmt: skip
        return {}

    def refused(self, frame: Frame, node: str, error: StepgraphError) -> None:
        """A node, or its hook, refuses what it is given."""
        if isinstance(error, InputError):
            message = f"wants {error.expected}, got {error.got}"
            self.wrong(frame, node, "model", message, error.port, expected=error.expected, got=error.got, fix=error.fix)
        else:
            self.wrong(frame, node, "model", str(error))

    def hook(self, node_type: NodeType) -> _Hook | None:
        if node_type.name not in self._hooks:
            self._hooks[node_type.name] = _hook(node_type)
        return self._hooks[node_type.name]

    def wrong(self, frame: Frame, node: str, code: str, message: str, port: str = "", **more: str) -> None:
        place = frame.place
        at: JsonPath = (*place.at, node)
        written = getattr(frame.nodes[node], "inputs", {})
        if port in written:
            at = (*at, "inputs", port, *(("from",) if isinstance(written[port], Link) else ()))
        elif port and port in getattr(frame.nodes[node], "each", {}):
            at = (*at, "each", port)
        found = place.source.problem(
            code, message, at, key=at[-1] == node, node=f"{place.full}{node}", port=port, **more
        )
        frame.problems.setdefault(node, []).append(found)

    # -- structures --------------------------------------------------------------------------------------------

    def switch(self, node: Switch, frame: Frame) -> Mapping[str, Any]:
        select = frame.value(node.select)
        cases = dict(node.cases)
        if select is UNKNOWN:
            frame.chosen[node.name] = [node.select]
            values = [frame.value(case) for case in (*cases.values(), *([node.default] if node.default else []))]
            agreed = bool(values) and all(_same(values[0], value) for value in values[1:])
            return {SINGLE_OUTPUT: values[0] if agreed else UNKNOWN}
        name = select_case(select)
        chosen = None if name in node.lost else cases.get(name, node.default)
        frame.chosen[node.name] = [node.select] if chosen is None else [node.select, chosen]
        if name in node.lost:
            muted = node.lost[name]
            self.wrong(frame, node.name, "switch", f"the case `{name}` needs `{muted}`, which is muted", "select",
                       got=name, fix=f"select another case, or take `mute` off `{muted}`")  # fmt: skip
            return {}
        if chosen is None:
            names = ", ".join(f"`{name}`" for name in cases)
            got = described.show(select)
            self.wrong(frame, node.name, "switch", f"`select` wants one of the cases {names}, got {got}", "select",
                       expected=f"one of {names}", got=got, fix="add the case, or a default")  # fmt: skip
            return {}
        return {SINGLE_OUTPUT: frame.value(chosen)}

    def sub(self, node: SubWorkflow, frame: Frame) -> Mapping[str, Any]:
        values = {}
        for name, known in node.workflow.inputs.items():
            given = node.inputs.get(name)
            value = known.default if given is None else frame.value(given)
            values[f"inputs.{name}"] = UNKNOWN if value is MISSING else value
            if given is None or not _plain(value) or value is MISSING:
                continue
            if isinstance(given, Link) and (refused := described.refusal(known, value)):
                message = f"wants {refused[0]}, got {refused[1]} from `{given}`"
                self.wrong(frame, node.name, "literal", message, name, expected=refused[0], got=refused[1])
                values[f"inputs.{name}"] = UNKNOWN
        outputs, problems = self.workflow(node.workflow, values, f"{frame.place.full}{node.name}.", frame.place.calls)
        frame.problems.setdefault(node.name, []).extend(problems)
        return outputs

    def loop(self, node: Loop, frame: Frame) -> Mapping[str, Any]:
        """One iteration from the first values, and one more if it changed their shapes."""
        items = {name: _items(frame.value(value)) for name, value in node.each.items()}
        lengths = {name: known.length for name, known in items.items()}
        if node.times is not None:
            times = frame.value(node.times)
            lengths["times"] = times if type(times) is int else None
        count = self.length(node, lengths, frame)
        first = {name: frame.value(value) for name, value in node.carry.items()}
        if count == 0:
            return {**first, **{name: [] for name in node.collect}}
        values = self.entering(node, frame) | {f"each.{name}": known.first for name, known in items.items()}
        wanted = [*node.next.values(), *node.collect.values()]
        before, after = first, first
        for _ in range(2):
            before = after
            carried = {f"carry.{name}": value for name, value in before.items()}
            place = frame.place.body(node.name, count)
            body = self.frame(node.nodes, wanted, {**values, **carried, "index": 0}, place)
            frame.problems.setdefault(node.name, []).extend(self.found(body, wanted))
            after = {name: body.value(node.next[name]) if name in node.next else UNKNOWN for name in first}
            if count == 1 or all(_same(before[name], after[name]) for name in first):
                break
        settled = {
            name: value if count == 1 or _settled(before[name], value) else UNKNOWN for name, value in after.items()
        }
        return settled | {name: _repeated(body.value(value), count) for name, value in node.collect.items()}

    def map(self, node: Map, frame: Frame) -> Mapping[str, Any]:
        """Every item where they are known and not many, else the first."""
        items = {name: _items(frame.value(value)) for name, value in node.each.items()}
        if node.mode == "zip":
            self.length(node, {name: known.length for name, known in items.items()}, frame)
        rows = _rows([known.all for known in items.values()], node.mode)
        sample = rows if rows is not None else [tuple(known.first for known in items.values())]
        values, wanted = self.entering(node, frame), list(node.outputs.values())
        place = frame.place.body(node.name, None if rows is None else 1)
        gathered: dict[str, list[Any]] = {name: [] for name in node.outputs}
        for index, row in enumerate(sample):
            each = {f"each.{name}": item for name, item in zip(items, row, strict=True)}
            number = index if rows is not None else UNKNOWN
            body = self.frame(node.nodes, wanted, {**values, **each, "index": number}, place)
            frame.problems.setdefault(node.name, []).extend(self.found(body, wanted))
            for name, value in node.outputs.items():
                gathered[name].append(body.value(value))
            if self._left < 0:
                return {}
        if rows is None:
            return {}
        return {name: UNKNOWN if UNKNOWN in _by_identity(found) else found for name, found in gathered.items()}

    def entering(self, node: Loop | Map, frame: Frame) -> dict[str, Any]:
        return {f"inputs.{name}": frame.value(value) for name, value in node.inputs.items()}

    def length(self, node: Loop | Map, lengths: Mapping[str, int | None], frame: Frame) -> int | None:
        """How many iterations there are, as far as is known; says so if the sequences differ in length."""
        known = {name: length for name, length in lengths.items() if length is not None}
        if len(set(known.values())) > 1:
            got = ", ".join(f"`{name}` has {length}" for name, length in known.items())
            message = f"sequences that are gone through together differ in length: {got}"
            self.wrong(frame, node.name, "each", message, list(known)[-1], got=got)
            return None
        return next(iter(known.values()), None)


@dataclass(frozen=True)
class _Hook:
    """An `infer` function, the names that it takes (None: any), those that it cannot do without."""

    function: Any
    names: frozenset[str] | None
    required: frozenset[str]


def _hook(node_type: NodeType) -> _Hook | None:
    if node_type.infer is None:
        return None
    try:
        parameters = inspect.signature(node_type.infer).parameters.values()
    except (TypeError, ValueError):  # a builtin
        return _Hook(node_type.infer, None, frozenset())
    anything = any(p.kind is p.VAR_KEYWORD for p in parameters)
    required = frozenset(
        p.name for p in parameters if p.default is p.empty and p.kind not in (p.VAR_KEYWORD, p.VAR_POSITIONAL)
    )
    return _Hook(node_type.infer, None if anything else frozenset(p.name for p in parameters), required)


def _outputs(node_type: NodeType, result: Any) -> Mapping[str, Any]:
    """The outputs that a hook states; None for one that cannot be None says that it is not known."""
    names = list(node_type.outputs)
    if result is UNKNOWN or (result is None and not node_type.single):
        return {}
    values = node_type.split(result)
    return {
        name: UNKNOWN if value is None and not ports.accepts_none(node_type.outputs[name].annotation) else value
        for name, value in zip(names, values, strict=True)
    }


@dataclass(frozen=True)
class _Items:
    """What is known of a sequence: its first item, its length, all items."""

    first: Any = UNKNOWN
    length: int | None = None
    all: Sequence[Any] | None = None


def _items(value: Any) -> _Items:
    if value is UNKNOWN or isinstance(value, (str, bytes)):
        return _Items()
    if isinstance(value, (list, tuple)):
        return _Items(value[0] if value else UNKNOWN, len(value), value)
    try:
        length = len(value)
    except Exception:  # foreign code, on a description: a length that it cannot tell is not known
        length = None
    try:
        return _Items(next(iter(value)) if length != 0 else UNKNOWN, length)
    except Exception:  # as above
        return _Items(UNKNOWN, length)


def _rows(columns: Sequence[Sequence[Any] | None], mode: str) -> list[tuple[Any, ...]] | None:
    known = [column for column in columns if column is not None]
    if len(known) < len(columns):
        return None
    rows: Iterator[tuple[Any, ...]] = itertools.product(*known) if mode == "product" else zip(*known, strict=False)
    found = list(itertools.islice(rows, _ROWS + 1))
    return found if len(found) <= _ROWS else None


def _by_identity(values: Iterable[Any]) -> list[Any]:
    """UNKNOWN where it stands, None else, so that `in` asks no foreign `__eq__`."""
    return [UNKNOWN if value is UNKNOWN else None for value in values]


def _plain(value: Any) -> bool:
    """Whether a value is JSON: what it says is all that it is."""
    if isinstance(value, (list, tuple)):
        return all(_plain(item) for item in value)
    if isinstance(value, dict):
        return all(_plain(item) for item in value.values())
    return value is None or isinstance(value, (bool, int, float, str))


def _settled(before: Any, after: Any) -> bool:
    """Whether further iterations leave a carried value as it is described."""
    return _same(before, after) and (not _plain(after) or (type(before) is type(after) and bool(before == after)))


def _repeated(value: Any, count: int | None) -> Any:
    if value is UNKNOWN or count is None or count > _LENGTH or (_plain(value) and count > 1):
        return UNKNOWN
    return [value] * count


def _same(first: Any, second: Any) -> bool:
    """Whether two values are described alike: same types, same shapes."""
    return first is second or _outline(first) == _outline(second)


def _outline(value: Any, depth: int = 6) -> Any:
    if value is UNKNOWN:
        return "unknown"
    if isinstance(shape := getattr(value, "shape", None), tuple):  # a TensorSpec, a tensor, an array
        return tuple(shape), str(getattr(value, "dtype", ""))
    if not depth:
        return type(value)
    if isinstance(value, (list, tuple)):
        return type(value), [_outline(item, depth - 1) for item in value[:_ROWS]], len(value)
    if isinstance(value, dict):
        return [(str(key), _outline(item, depth - 1)) for key, item in value.items()]
    fields = getattr(type(value), "__dataclass_fields__", None)
    if fields is None:
        return type(value)
    return type(value), [_outline(getattr(value, name, None), depth - 1) for name in fields]
