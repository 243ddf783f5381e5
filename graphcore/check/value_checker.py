"""What flows into ports: the types of links and literals, and what is wrong with them."""

from __future__ import annotations

import dataclasses
from collections.abc import Iterable, Mapping
from typing import Any

from graphcore.check import hints, literals
from graphcore.check.scope import ANYTHING, Scope, fits, list_of, literal_type, union
from graphcore.declare import ports
from graphcore.declare.node import SINGLE_OUTPUT
from graphcore.declare.registry import Registry
from graphcore.errors import Problem
from graphcore.files.places import JsonPath
from graphcore.files.source import Source
from graphcore.files.suggest import Suggester, listing
from graphcore.files.workflow import MISSING, SCOPE_NAMES, Link, ListOf, Loop, Map, Node, Value, Written


class ValueChecker:
    """Checks the values of one file. Responsibilities: what a link names, and whether a port takes it."""

    def __init__(self, source: Source, registry: Registry, suggester: Suggester) -> None:
        self.source, self.registry, self.suggester = source, registry, suggester
        self.problems: list[Problem] = []

    def wrong(self, code: str, message: str, at: JsonPath, node: str, port: str = "", **more: Any) -> None:
        self.problems.append(self.source.problem(code, message, at, node=node, port=port, **more))

    def loose(self, values: Mapping[str, Value], at: JsonPath, path: str, scope: Scope) -> None:
        """Values for ports that are not known: their links are checked all the same."""
        for name, value in values.items():
            self.type_of(value, (*at, name), scope, path, name)

    def types_of(self, values: Mapping[str, Value], at: JsonPath, path: str, scope: Scope) -> dict[str, Any]:
        return {name: self.type_of(value, (*at, name), scope, path, name) for name, value in values.items()}

    def type_of(self, value: Value, at: JsonPath, scope: Scope, path: str, port: str, wanted: Any = None) -> Any:
        """The type of a value where any would do."""
        if type(value) is Link:
            return self.resolve(value, at, scope, path, port, wanted)
        if type(value) is Written:
            return ANYTHING if value.value is MISSING else literal_type(value.value)
        assert type(value) is ListOf
        return list_of(union([self.type_of(item, (*at, i), scope, path, port) for i, item in enumerate(value.items)]))

    def value(self, value: Value, port: Any, at: JsonPath, scope: Scope, path: str) -> None:
        """Check a value for a port."""
        if type(value) is Link:
            given = self.resolve(value, at, scope, path, port.name, port.type)
            if not fits(given, port):
                self.mismatch(value, given, port.type, at, scope, path, port.name)
        elif type(value) is Written:
            if value.value is not MISSING and (refused := literals.refusal(port, value.value)):
                fix = refused.fix or self.link_hint(value.value, scope) or hints.makers(self.registry, port.type)
                self.wrong("literal", refused.message, at, path, port.name, expected=refused.expected,
                           got=refused.got, fix=fix)  # fmt: skip
        else:
            assert type(value) is ListOf
            self.list(value, port, at, scope, path)

    def list(self, value: ListOf, port: Any, at: JsonPath, scope: Scope, path: str) -> None:
        item = ports.item_type(port.type)
        if item is None:
            expected = ports.say(port.type)
            self.wrong("type", f"wants {expected}, got a list", at, path, port.name, expected=expected, got="a list",
                       fix="write one link, without [ ]" if len(value.items) == 1 else "")  # fmt: skip
            return
        inner = dataclasses.replace(port, annotation=item, default=MISSING)
        for index, element in enumerate(value.items):
            self.value(element, inner, (*at, index), scope, path)

    def link_hint(self, value: Any, scope: Scope) -> str:
        """For text that looks like a link."""
        first = value.partition(".")[0] if isinstance(value, str) else ""
        if first and (first in scope.nodes or (first in scope.values and "." in value)):
            return f'for a link, write {{"from": "{value[:80]}"}}'
        if isinstance(value, dict) and self.suggester.near("from", list(value)):
            return 'a link is written {"from": "node.output"}'
        return ""

    def mismatch(self, value: Value, given: Any, wanted: Any, at: JsonPath, scope: Scope, path: str, port: str) -> None:
        expected, got = ports.say(wanted), ports.say(given)
        source = f" from `{value}`" if isinstance(value, Link) else ""
        fix = ""
        if isinstance(value, Link):
            fix = hints.other_output(value.node, scope.outputs.get(value.node), wanted)
            if (item := ports.item_type(wanted)) not in (None, Any) and ports.fits(given, item):
                fix = f'write a list: [{{"from": "{value}"}}]'
            elif (item := ports.item_type(given)) not in (None, Any) and ports.fits(item, wanted):
                fix = fix or "to do this for every item, use a `map`"
        fix = fix or hints.conversion(self.registry, given, wanted)
        message = f"wants {expected}, got {got}{source}"
        self.wrong("type", message, self.link_place(value, at), path, port, expected=expected, got=got, fix=fix)

    def link_place(self, value: Value, at: JsonPath) -> JsonPath:
        return (*at, "from") if type(value) is Link else at

    # -- links -------------------------------------------------------------------------------------------------

    def resolve(self, link: Link, at: JsonPath, scope: Scope, path: str, port: str, wanted: Any = None) -> Any:
        """The type of what a link names; anything if it names nothing, which is then reported."""
        if link.node in scope.outputs:
            outputs = scope.outputs[link.node]
            if outputs is None:
                return ANYTHING
            if link.output in outputs:
                return outputs[link.output]
            if not link.output and len(outputs) == 1:
                return next(iter(outputs.values()))
            return self.no_output(link, outputs, at, path, port, wanted)
        if link.node in scope.nodes:
            return ANYTHING  # in a circle, which has been reported
        if link.node == "index" and "index" in scope.values:
            if link.output:
                fix = 'write {"from": "index"}'
                self.wrong("unknown-output", "`index` is a number, without outputs", (*at, "from"), path, port, fix=fix)
            return int
        values = scope.values.get(link.node)
        if values is not None and link.output in values:
            return values[link.output]
        if values is not None:
            names = [f"{link.node}.{name}" for name in values]
            what = f"`{link}`" if link.output else f"`{link.node}` alone"
            fix = self.suggester.near_or_list(str(link), names, "there are")
            fix = fix or f"nothing is given under `{link.node}` here"
            self.wrong("unknown-name", f"{what} names nothing", (*at, "from"), path, port, got=str(link)[:80], fix=fix)
            return ANYTHING
        return self.no_node(link, at, scope, path, port)

    def no_output(self, link: Link, outputs: Mapping[str, Any], at: JsonPath, path: str, port: str, wanted: Any) -> Any:
        names = list(outputs)
        fix = ""
        if not names:
            message = f"`{link.node}` has no outputs"
        elif not link.output:
            message = f"`{link.node}` has several outputs; the link must name one: {listing(names)}"
            fix = hints.other_output(link.node, outputs, wanted) if wanted is not None else ""
        else:
            message = f"`{link.node}` has no output `{link.output[:80]}`"
            alone = f'it has one: write {{"from": "{link.node}"}}' if names == [SINGLE_OUTPUT] else ""
            fix = alone or self.suggester.near_or_list(link.output, names, "its outputs")
        code = "unknown-output" if link.output else "output-missing"
        self.wrong(code, message, (*at, "from"), path, port, got=str(link)[:160], fix=fix)
        return ANYTHING

    def no_node(self, link: Link, at: JsonPath, scope: Scope, path: str, port: str) -> Any:
        code, place, got = "unknown-node", (*at, "from"), str(link)[:160]
        outer = scope.parent
        while outer is not None and link.node not in outer.nodes:
            outer = outer.parent
        if outer is not None:
            short = link.output or link.node
            fix = (
                f"pass it through the inputs of `{scope.owner.rpartition('.')[2]}`: "
                f'"inputs": {{"{short}": {{"from": "{link}"}}}}, and link `inputs.{short}` here'
            )
            code, message = "scope", f"`{link.node}` is outside of this body"
        elif link.node in SCOPE_NAMES:
            where = "a loop or map" if link.node in ("each", "index") else "a loop" if link.node == "carry" else "here"
            message, fix = f"`{link.node}` has a meaning only in the body of {where}", ""
        elif owner := _owner(scope.nodes, link.node):
            code, message = "scope", f"`{link.node}` is inside the body of `{owner}`"
            fix = f"link an output of `{owner}`: {listing(list(_declared(scope.nodes[owner])))}"
        else:
            message = f"there is no node `{link.node[:80]}`"
            if not link.output and link.node in scope.values.get("inputs", {}):
                fix = f"did you mean `inputs.{link.node}`?"
            else:
                fix = self.suggester.near(link.node, [*scope.nodes, *scope.values])
        self.wrong(code, message, place, path, port, got=got, fix=fix)
        return ANYTHING


def _declared(node: Node) -> Iterable[str]:
    """Names of the outputs of a structure, as written."""
    if isinstance(node, Loop):
        return [*node.carry, *node.collect]
    return node.outputs if isinstance(node, Map) else []


def _owner(nodes: Mapping[str, Node], name: str) -> str:
    """The loop or map in whose body a node of this name is."""
    stack = [(owner, node) for owner, node in nodes.items() if isinstance(node, (Loop, Map))]
    for owner, node in stack:
        assert isinstance(node, (Loop, Map))
        if name in node.nodes:
            return owner
        stack.extend((owner, inner) for inner in node.nodes.values() if isinstance(inner, (Loop, Map)))
    return ""
