"""Compiles a workflow for the executor: names become slot numbers, sub-workflows are laid open, nothing is run.

Compile only what the checker has passed.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Mapping
from functools import lru_cache

from graphcore.declare.node import SINGLE_OUTPUT, Port
from graphcore.declare.registry import Registry
from graphcore.execution.program import CallCode, Carry, Feed, ListCode, LoopCode, Program, Scope, SwitchCode, Yield
from graphcore.execution.task import Ref, constant
from graphcore.files.links import links, outer_values
from graphcore.files.workflow import (
    MISSING,
    Link,
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


def compile_workflow(workflow: Workflow, registry: Registry) -> Program:
    """Compile a checked workflow, of which muted and bypassed nodes have been taken out."""
    scope = Scope()
    inputs = {name: scope.slot() for name in workflow.inputs}
    names = {f"inputs.{name}": slot for name, slot in inputs.items()}
    builder = _Builder(scope, registry, names, "")
    acting = [Link(name) for name, node in workflow.nodes.items() if _acts(node, registry)]
    builder.add_nodes(workflow.nodes, [*workflow.outputs.values(), *acting])
    outputs = {name: builder.value(value, name) for name, value in workflow.outputs.items()}
    return Program(scope, inputs, outputs, tuple(builder.effects))


def _acts(node: Node, registry: Registry) -> bool:
    """A node with an effect outside runs although nobody reads its outputs."""
    return isinstance(node, NodeCall) and not registry.get(node.type).pure


class _Builder:
    """Fills one scope from the nodes of one file or body; `names` maps what a link may say to slots."""

    def __init__(self, scope: Scope, registry: Registry, names: dict[str, int], prefix: str) -> None:
        self.scope, self.registry, self.names, self.prefix = scope, registry, names, prefix
        self.effects: list[int] = []

    def add_nodes(self, nodes: Mapping[str, Node], wanted: Iterable[Value]) -> None:
        wanted = list(wanted)
        order = _order(nodes, wanted)
        used = _used_outputs(nodes, order, wanted)
        for name in order:
            self.add_node(nodes[name], used.get(name, set()))

    def add_node(self, node: Node, used: set[str]) -> None:
        assert not node.skip, node.name
        if isinstance(node, NodeCall):
            self.add_call(node)
        elif isinstance(node, (Loop, Map)):
            self.add_loop(node, used)
        elif isinstance(node, Switch):
            self.add_switch(node)
        else:
            self.add_workflow(node, used)

    def value(self, value: Value, name: str, port: Port | None = None) -> int:
        """The slot of a value as written; `name` is for the list that a `ListOf` needs."""
        if isinstance(value, Link):
            return self.names[str(value)]
        if isinstance(value, Written):
            return self.scope.constant(constant(port.validate(value.value) if port else value.value))
        arguments = tuple(self.value(item, f"{name}[{i}]") for i, item in enumerate(value.items))
        out = self.scope.slot()
        self.scope.add(ListCode(self.prefix + name, arguments, out), out)
        return out

    def publish(self, node: str, outputs: Mapping[str, int], total: int) -> None:
        """Let links find the outputs of a node, and the node alone where it has one output in all."""
        for output, slot in outputs.items():
            self.names[f"{node}.{output}"] = slot
        if total == 1 and outputs:
            self.names[node] = next(iter(outputs.values()))

    def add_call(self, node: NodeCall) -> None:
        found = self.registry.get(node.type)
        arguments = []
        for port in found.inputs.values():
            if (given := node.inputs.get(port.name)) is None:
                arguments.append(self.scope.constant(_default(port)))
            else:
                arguments.append(self.value(given, f"{node.name}.{port.name}", port))
        outs = [self.scope.slot() for _ in range(found.width)]
        ports = tuple(found.inputs.values())
        linked = tuple((i, port) for i, port in enumerate(ports) if isinstance(node.inputs.get(port.name), Link))
        code = CallCode(self.prefix + node.name, found, ports, tuple(arguments), linked, outs[0])
        self.scope.add(code, *outs)
        self.publish(node.name, dict(zip(found.outputs, outs, strict=False)), len(found.outputs))
        if not found.pure:
            self.effects.append(outs[0])

    def feeds(self, node: str, values: Mapping[str, Value], kind: str, body: Scope) -> dict[str, Feed]:
        return {
            f"{kind}.{name}": Feed(name, self.value(value, f"{node}.{name}"), body.slot())
            for name, value in values.items()
        }

    def add_loop(self, node: Loop | Map, used: set[str]) -> None:
        body, out = Scope(), self.scope.slot
        inputs = self.feeds(node.name, node.inputs, "inputs", body)
        each = self.feeds(node.name, node.each, "each", body)
        carried = self.feeds(node.name, node.carry, "carry", body) if isinstance(node, Loop) else {}
        index = body.slot()
        names = {name: feed.body for name, feed in {**inputs, **each, **carried}.items()} | {"index": index}
        gathered = {
            name: value
            for name, value in (node.collect if isinstance(node, Loop) else node.outputs).items()
            if name in used
        }
        following = node.next if isinstance(node, Loop) else {}
        inner = _Builder(body, self.registry, names, "")
        inner.add_nodes(node.nodes, [*following.values(), *gathered.values()])
        carries = tuple(
            Carry(feed.name, feed.body, feed.outside, inner.value(following[feed.name], feed.name), out())
            for feed in carried.values()
        )
        body.carried.update(carry.next for carry in carries)
        yields = tuple(Yield(name, inner.value(value, name), out()) for name, value in gathered.items())
        times = self.value(node.times, node.name) if isinstance(node, Loop) and node.times is not None else None
        mode = "zip" if isinstance(node, Loop) else node.mode
        code = LoopCode(
            self.prefix + node.name, body, tuple(inputs.values()), tuple(each.values()), times, mode, carries, yields,
            index,
        )  # fmt: skip
        slots = {carry.name: carry.out for carry in carries} | {part.name: part.out for part in yields}
        self.scope.add(code, *slots.values())
        self.publish(node.name, slots, len(list(_outputs(node))))

    def add_switch(self, node: Switch) -> None:
        cases = {name: self.value(value, f"{node.name}.{name}") for name, value in node.cases.items()}
        default = None if node.default is None else self.value(node.default, f"{node.name}.default")
        select, out = self.value(node.select, f"{node.name}.select"), self.scope.slot()
        self.scope.add(SwitchCode(self.prefix + node.name, select, cases, default, out, node.lost), out)
        self.publish(node.name, {SINGLE_OUTPUT: out}, 1)

    def add_workflow(self, node: SubWorkflow, used: set[str]) -> None:
        """Lay the file open: its nodes join this scope under the node's name, its inputs are slots of ours."""
        inner = node.workflow
        names = {}
        for name, described in inner.inputs.items():
            given = node.inputs.get(name)
            if given is None and described.default is MISSING:
                continue
            value = Written(described.default) if given is None else given
            names[f"inputs.{name}"] = self.value(value, f"{node.name}.{name}")
        builder = _Builder(self.scope, self.registry, names, f"{self.prefix}{node.name}.")
        outputs = {name: value for name, value in inner.outputs.items() if name in used}
        builder.add_nodes(inner.nodes, outputs.values())
        slots = {name: builder.value(value, name) for name, value in outputs.items()}
        self.publish(node.name, slots, len(inner.outputs))


@lru_cache(4096)
def _default(port: Port) -> Ref:
    """The default of a port, encoded once for all nodes of its type."""
    return constant(port.default)


def _neighbours(nodes: Mapping[str, Node], values: Iterable[Value]) -> Iterator[str]:
    for value in values:
        for link in links(value):
            if link.node in nodes:
                yield link.node


def _order(nodes: Mapping[str, Node], wanted: Iterable[Value]) -> list[str]:
    """Names of the nodes that the wanted values need, each after what it needs, else in the order of the file."""
    needed = _reach(nodes, _neighbours(nodes, wanted), lambda name: _neighbours(nodes, outer_values(nodes[name])))
    order: dict[str, None] = {}
    for start in nodes:
        if start not in needed or start in order:
            continue
        stack = [(start, _neighbours(nodes, outer_values(nodes[start])))]
        while stack:
            name, remaining = stack[-1]
            following = next((other for other in remaining if other not in order), None)
            if following is None:
                order[name] = None
                stack.pop()
            else:
                stack.append((following, _neighbours(nodes, outer_values(nodes[following]))))
    return list(order)


def _reach(nodes: Mapping[str, Node], starts: Iterable[str], step: Callable[[str], Iterator[str]]) -> set[str]:
    seen: set[str] = set()
    stack = list(starts)
    while stack:
        if (name := stack.pop()) not in seen:
            seen.add(name)
            stack.extend(step(name))
    return seen


def _used_outputs(nodes: Mapping[str, Node], order: Iterable[str], wanted: Iterable[Value]) -> dict[str, set[str]]:
    """Which outputs of each node somebody reads (a link without output reads the only one)."""
    used: dict[str, set[str]] = {}
    values = [*wanted, *(value for name in order for value in outer_values(nodes[name]))]
    for value in values:
        for link in links(value):
            if link.node in nodes:
                used.setdefault(link.node, set()).update([link.output] if link.output else _outputs(nodes[link.node]))
    return used


def _outputs(node: Node) -> Iterable[str]:
    if isinstance(node, Loop):
        return [*node.carry, *node.collect]
    if isinstance(node, Map):
        return node.outputs
    return node.workflow.outputs if isinstance(node, SubWorkflow) else []
