"""From a JSON text to a `Workflow`, with all mistakes of form at once.

Where a part cannot be read, the workflow has a hole that fits everything (a literal MISSING, a node without type), so
that the checker can go on and no mistake is reported twice. Files with problems are never run.
"""

from __future__ import annotations

import posixpath
import re
from collections.abc import Callable, Collection, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from graphcore.errors import Problem
from graphcore.files import shipped, source
from graphcore.files.described import show
from graphcore.files.input_reader import InputReader
from graphcore.files.places import JsonPath
from graphcore.files.source import Source
from graphcore.files.suggest import Suggester
from graphcore.files.workflow import (
    MISSING,
    SCOPE_NAMES,
    Link,
    ListOf,
    Loop,
    Map,
    Node,
    NodeCall,
    Skip,
    SubWorkflow,
    Switch,
    Value,
    Workflow,
    Written,
)  # fmt: skip

VERSION = 1
NEST_LIMIT = 32
"""Bodies and files within each other."""
SIZE_LIMIT = 1_000_000
"""Nodes, where every use of a file counts."""

STRUCTURES = ("loop", "map", "switch", "workflow")
"""Node types that are part of the format."""

_LINK = re.compile(r"([A-Za-z_][A-Za-z0-9_-]*)(?:\.([A-Za-z_][A-Za-z0-9_-]*))?\Z")
_HOLE = Written(MISSING)

_ANY_NODE = frozenset({"type", "title", "note", "mute", "bypass"})
_PLAIN = frozenset({"type", "inputs"})
_TOP = frozenset({"$schema", "stepgraph", "title", "description", "inputs", "nodes", "outputs", "layout"})
_KEYS: Mapping[str, frozenset[str]] = {
    "call": _ANY_NODE | {"inputs"},
    "loop": _ANY_NODE | {"inputs", "each", "times", "carry", "body"},
    "map": _ANY_NODE | {"inputs", "each", "mode", "body"},
    "switch": _ANY_NODE | {"select", "cases", "default"},
    "workflow": _ANY_NODE | {"path", "inputs"},
}
_LOOP_BODY = frozenset({"nodes", "carry", "collect", "layout"})
_MAP_BODY = frozenset({"nodes", "outputs", "layout"})


def read(path: str | Path) -> tuple[Workflow | None, list[Problem]]:
    """Read a workflow file and the files that it names.

    Returns: the workflow, as far as it could be read (None: not at all), and every mistake of form. Run or keep only
        a workflow without problems: one with problems has holes.
    """
    return _start(source.load(path), None)


def parse(
    text: str, path: str | Path | None = None, files: Mapping[str, str] | None = None
) -> tuple[Workflow | None, list[Problem]]:
    """As `read`, for a text at hand.

    Args:
        path: Where the text comes from: sub-workflows are found relative to it (None: to the current folder).
        files: The texts of sub-workflows by path relative to the first file, as `texts` gives them; then no file is
            read, save shipped ones that are not among them.
    """
    return _start(source.parse(text, Path(path) if path is not None else None), files)


def texts(workflow: Workflow) -> dict[str, str]:
    """The texts of all files that a workflow names, for `parse(..., files=...)`: it can then be made again anywhere."""
    found: dict[str, str] = {}
    stack: list[tuple[Mapping[str, Node], str]] = [(workflow.nodes, "")]
    while stack:
        nodes, folder = stack.pop()
        for node in nodes.values():
            if isinstance(node, (Loop, Map)):
                stack.append((node.nodes, folder))
            elif isinstance(node, SubWorkflow):
                name = posixpath.normpath(posixpath.join(folder, node.path))
                if name not in found:
                    found[name] = node.workflow.text
                    stack.append((node.workflow.nodes, posixpath.dirname(name)))
    return found


def _start(top: Source, files: Mapping[str, str] | None) -> tuple[Workflow | None, list[Problem]]:
    folder = top.path.parent if top.path is not None else Path()
    session = _Session(files)
    name = str(_resolved(top.path)) if top.path is not None and files is None else ""
    done = session.read(top, name, _Home(folder, _resolved(folder), ""), 0)
    return done.workflow, session.problems


def _resolved(path: Path) -> Path:
    try:
        return path.resolve()
    except (OSError, ValueError, RuntimeError):  # a loop of symbolic links, a null character
        return path.absolute()


@dataclass(frozen=True, slots=True)
class _Home:
    """Where a file lies: its folder, the folder that its sub-workflows may not leave, its folder within `files`."""

    folder: Path
    root: Path
    inside: str


@dataclass(frozen=True, slots=True)
class _Done:
    """A file that was read: `height` bodies and files within each other, `size` nodes in all."""

    workflow: Workflow | None
    height: int = 0
    size: int = 0


@dataclass
class _Session:
    """One reading of a file and of all it names; each file is read once."""

    files: Mapping[str, str] | None
    problems: list[Problem] = field(default_factory=list)
    done: dict[str, _Done] = field(default_factory=dict)
    open: list[str] = field(default_factory=list)
    suggester: Suggester = field(default_factory=Suggester)

    def read(self, file: Source, name: str, home: _Home, level: int) -> _Done:
        self.open.append(name)
        self.problems.extend(file.problems)
        if file.data is MISSING or any(problem.code == "encoding" for problem in file.problems):
            done = _Done(None)
        else:
            reader = _Reader(self, file, home)
            workflow = reader.workflow(level)
            done = _Done(workflow, reader.height - level, reader.size)
        self.open.pop()
        self.done[name] = done
        return done

    def find(self, path: str, home: _Home) -> tuple[str, _Home, Callable[[], Source]] | str:
        """Identity, home and source of a sub-workflow; or why it may not be read."""
        if self.files is not None:
            name = posixpath.normpath(posixpath.join(home.inside, path))
            if (text := self.files.get(name)) is not None:
                inner = _Home(home.folder, home.root, posixpath.dirname(name))
                return name, inner, lambda: source.parse(text, home.folder / name)
        else:
            place = home.folder / path
            if not path.endswith(".json") and not place.exists():
                place = home.folder / f"{path}.json"
            real = _resolved(place)
            if not real.is_relative_to(home.root):
                return "it lies outside the folder of the first file"
            if place.exists():
                return str(real), _Home(place.parent, home.root, ""), lambda: source.load(place)
        if (found := shipped.find(path)) is not None:
            return str(found), _Home(found.parent, found.parent, ""), lambda: source.load(found)
        return "there is no such file"


class _Reader(InputReader):
    """Reads one file. Responsibilities: form only; the registry is the checker's."""

    def __init__(self, session: _Session, file: Source, home: _Home) -> None:
        super().__init__(file, session.problems, session.suggester)
        self.session, self.home = session, home
        self.height, self.size = 0, 0
        self._holes = any(problem.code == "number" for problem in file.problems)

    # -- the file ----------------------------------------------------------------------------------------------

    def workflow(self, level: int) -> Workflow | None:
        data = self.file.data
        if not self.kind(data, dict, (), "an object {...}", fix="a workflow is one JSON object"):
            return None
        if not self.version(data):
            return None
        self.keys(data, (), _TOP, ("nodes", "outputs"))
        if "$schema" in data:
            self.kind(data["$schema"], str, ("$schema",), "text")
        inputs = {name: self.input(name, raw) for name, raw in self.object(data, "inputs", ()).items()}
        nodes = self.nodes(self.object(data, "nodes", ()), ("nodes",), level)
        outputs = self.values(data, "outputs", ())
        if data.get("outputs") == {}:
            fix = 'name what you want to have, such as "outputs": {"image": {"from": "decode"}}'
            self.wrong("missing-key", "no outputs: nothing would run", ("outputs",), fix=fix)
        return Workflow(
            self.file.path, self.text(data, "title", ()), self.text(data, "description", ()),
            inputs, nodes, outputs, self.file.text,
        )  # fmt: skip

    def version(self, data: Mapping[str, Any]) -> bool:
        """Whether the file is a workflow of a version that can be read."""
        fix = f'begin with "stepgraph": {VERSION}'
        if "stepgraph" not in data:
            if not data.keys() & {"nodes", "outputs"} or isinstance(data.get("nodes"), list):
                message = 'this is not a Stepgraph workflow (it has no "stepgraph" key)'
                self.wrong("version", message, (), expected='"stepgraph": 1', fix="name a workflow file")
                return False
            self.wrong("version", 'the key "stepgraph" is missing', (), expected='"stepgraph": 1', fix=fix)
        elif type(data["stepgraph"]) is not int or data["stepgraph"] < 1:
            got = show(data["stepgraph"])
            self.wrong("version", f"not a version: {got}", ("stepgraph",), expected=str(VERSION), got=got, fix=fix)
        elif data["stepgraph"] > VERSION:
            got = show(data["stepgraph"])
            message = f"the file is of version {got}; this Stepgraph reads version {VERSION}"
            self.wrong("version", message, ("stepgraph",), expected=str(VERSION), got=got, fix="update Stepgraph")
            return False
        return True

    # -- nodes -------------------------------------------------------------------------------------------------

    def nodes(self, raw: Mapping[str, Any], at: JsonPath, level: int) -> dict[str, Node]:
        self.height = max(self.height, level)
        self.size += len(raw)
        for name in raw:
            if name in SCOPE_NAMES:
                message = f"a node cannot be called `{name}`: links use this name for something else"
                self.wrong("name", message, (*at, name), key=True, got=name, fix=f"call it `{name}_`")
            else:
                self.name(name, (*at, name), "a node")
        return {name: self.node(name, node, (*at, name), level) for name, node in raw.items()}

    def node(self, name: str, raw: Any, at: JsonPath, level: int) -> Node:
        if type(raw) is not dict:
            self.kind(raw, dict, at, "an object {...}", fix='write {"type": "...", "inputs": {...}}')
            return NodeCall(name, "", {})
        kind = raw.get("type", "")
        if type(kind) is not str or not kind:
            if "type" in raw:
                self.kind(raw["type"] or 0, str, (*at, "type"), "the name of a node type")
            else:
                self.keys(raw, at, raw, ("type",))
            return NodeCall(name, "", {})
        if kind not in STRUCTURES:
            skip = "" if raw.keys() <= _PLAIN else self.common(raw, at, _KEYS["call"], ())
            return NodeCall(name, kind, self.values(raw, "inputs", at, named=False), skip)
        if kind == "switch":
            return self.switch(name, raw, at)
        if level >= NEST_LIMIT:
            self.wrong("depth", f"bodies and files within each other, more than {NEST_LIMIT} deep", at, key=True)
            return NodeCall(name, "", {})
        if kind == "loop":
            return self.loop(name, raw, at, level)
        return self.map(name, raw, at, level) if kind == "map" else self.sub(name, raw, at, level)

    def common(self, raw: Mapping[str, Any], at: JsonPath, known: frozenset[str], required: Collection[str]) -> Skip:
        """What nodes of any type have; says whether the node is muted or bypassed."""
        self.keys(raw, at, known, required)
        self.text(raw, "title", at)
        self.text(raw, "note", at)
        mute, bypass = self.flag(raw, "mute", at), self.flag(raw, "bypass", at)
        if mute and bypass:
            message = "the node is both muted and bypassed; it can be left out in one way only"
            self.wrong("skip", message, (*at, "bypass"), key=True, fix="remove `mute` or `bypass`")
        return "mute" if mute else "bypass" if bypass else ""

    def loop(self, name: str, raw: Mapping[str, Any], at: JsonPath, level: int) -> Loop:
        skip = self.common(raw, at, _KEYS["loop"], ("body",))
        if "each" not in raw and "times" not in raw:
            fix = 'say what to go through with "each", or how often with "times"'
            self.wrong("missing-key", "a loop needs `each` or `times`", at, key=True, expected="each or times", fix=fix)
        inside, body = (*at, "body"), self.object(raw, "body", at)
        if body:
            self.keys(body, inside, _LOOP_BODY, ("nodes",))
        times = self.value(raw["times"], (*at, "times")) if "times" in raw else None
        if raw.get("each") == {} and times is None:
            self.wrong("missing-key", "`each` is empty", (*at, "each"), fix="name a sequence to go through")
        return Loop(
            name, self.values(raw, "inputs", at), self.values(raw, "each", at), times, self.values(raw, "carry", at),
            self.nodes(self.object(body, "nodes", inside), (*inside, "nodes"), level + 1),
            self.values(body, "carry", inside), self.values(body, "collect", inside), skip,
        )  # fmt: skip

    def map(self, name: str, raw: Mapping[str, Any], at: JsonPath, level: int) -> Map:
        skip = self.common(raw, at, _KEYS["map"], ("each", "body"))
        if raw.get("each") == {}:
            self.wrong("missing-key", "`each` is empty", (*at, "each"), fix="name a sequence to go through")
        mode = raw.get("mode", "zip")
        if mode not in ("zip", "product"):
            if mode is not MISSING:
                message = f'wants "zip" or "product", got {show(mode)}'
                self.wrong("kind", message, (*at, "mode"), expected='"zip" or "product"', got=show(mode))
            mode = "zip"
        inside, body = (*at, "body"), self.object(raw, "body", at)
        if body:
            self.keys(body, inside, _MAP_BODY, ("nodes", "outputs"))
        return Map(
            name, self.values(raw, "inputs", at), self.values(raw, "each", at), mode,
            self.nodes(self.object(body, "nodes", inside), (*inside, "nodes"), level + 1),
            self.values(body, "outputs", inside), skip,
        )  # fmt: skip

    def switch(self, name: str, raw: Mapping[str, Any], at: JsonPath) -> Switch:
        skip = self.common(raw, at, _KEYS["switch"], ("select", "cases"))
        select = self.value(raw["select"], (*at, "select")) if "select" in raw else _HOLE
        default = self.value(raw["default"], (*at, "default")) if "default" in raw else None
        cases = self.object(raw, "cases", at)
        if raw.get("cases") == {} and default is None:
            self.wrong("missing-key", "a switch without cases", (*at, "cases"), fix="name at least one case")
        values = {case: self.value(value, (*at, "cases", case)) for case, value in cases.items()}
        return Switch(name, select, values, default, skip)

    def sub(self, name: str, raw: Mapping[str, Any], at: JsonPath, level: int) -> Node:
        skip = self.common(raw, at, _KEYS["workflow"], ("path",))
        inputs = self.values(raw, "inputs", at, named=False)
        path = raw.get("path", MISSING)
        if path is MISSING or not self.kind(path, str, (*at, "path"), "the path of a workflow file"):
            return NodeCall(name, "", {})
        done = self.sub_file(path, (*at, "path"), level + 1)
        if done is None or done.workflow is None:
            return NodeCall(name, "", {})
        self.height = max(self.height, level + 1 + done.height)
        self.size += done.size
        return SubWorkflow(name, path, inputs, done.workflow, skip)

    def sub_file(self, path: str, at: JsonPath, level: int) -> _Done | None:
        session = self.session
        try:
            found = session.find(path, self.home)
        except (OSError, ValueError) as error:
            found = str(error)
        if isinstance(found, str):
            fix = "" if "outside" in found else session.suggester.near(path, self.neighbours())
            self.wrong("file", f"cannot use {show(path)}: {found}", at, got=path[:200], fix=fix)
            return None
        name, home, load = found
        if name in session.open:
            chain = [Path(file).name or "this text" for file in session.open[session.open.index(name) :]]
            way = " -> ".join([*chain, chain[0]])
            self.wrong("recursion", f"the file uses itself: {way}", at, got=way, fix="a loop repeats things")
            return None
        done = session.done.get(name) or session.read(load(), name, home, level)
        if level + done.height > NEST_LIMIT:
            self.wrong("depth", f"bodies and files within each other, more than {NEST_LIMIT} deep", at)
            return None
        if self.size + done.size > SIZE_LIMIT:
            self.wrong("size", f"the files unfold into more than {SIZE_LIMIT} nodes", at)
            return None
        return done

    def neighbours(self) -> list[str]:
        if self.session.files is not None:
            return [*self.session.files, *shipped.names()]
        return [*(file.name for file in self.home.folder.glob("*.json")), *shipped.names()]

    # -- values ------------------------------------------------------------------------------------------------

    def values(self, given: Mapping[str, Any], key: str, at: JsonPath, *, named: bool = True) -> dict[str, Value]:
        """The values under a key; `named`: their names are given here, not declared elsewhere."""
        if key not in given:
            return {}
        raw = given[key]
        if type(raw) is not dict:
            raw = self.object(given, key, at)
        inside = (*at, key)
        for name in raw if named else ():
            self.name(name, (*inside, name), "a value")
        return {name: self.value(value, (*inside, name)) for name, value in raw.items()}

    def value(self, raw: Any, at: JsonPath) -> Value:
        if type(raw) is dict:
            return self.link(raw, at) if "from" in raw else self.literal(raw, at)
        if type(raw) is list and any(type(item) in (dict, list) for item in raw):
            items = tuple(self.value(item, (*at, index)) for index, item in enumerate(raw))
            return self.literal(raw, at) if all(type(item) is Written for item in items) else ListOf(items)
        return Written(raw) if not self._holes else self.literal(raw, at)

    def link(self, raw: Mapping[str, Any], at: JsonPath) -> Value:
        text = raw["from"]
        if type(text) is str and len(raw) == 1:
            if match := _LINK.match(text):
                return Link(match[1], match[2] or "")
            if text in self._strange:
                return Link(text)
        if text is MISSING:
            return _HOLE
        fix = 'write {"from": "node.output"}, or {"from": "node"} where the node has one output'
        if len(raw) > 1:
            other = next(key for key in raw if key != "from")
            self.wrong("link", f"unknown key {show(other)} beside `from`", (*at, other), key=True, got=other, fix=fix)
        elif type(text) is not str:
            self.wrong("link", f"`from` wants text, got {show(text)}", (*at, "from"), got=show(text), fix=fix)
        elif text.partition(".")[0] not in self._strange and text.rpartition(".")[0] not in self._strange:
            self.wrong("link", f"{show(text)} is no link", (*at, "from"), got=text[:80], fix=fix)
        return _HOLE

    def literal(self, raw: Any, at: JsonPath) -> Written:
        """A literal that may have others in it: no links in objects, no holes."""
        stack: list[tuple[Any, JsonPath]] = [(raw, at)]
        while stack:
            value, place = stack.pop()
            if value is MISSING:
                return _HOLE
            if type(value) is dict:
                if type(value.get("from")) is str and len(value) == 1 and place != at:
                    self.wrong("link", "a link cannot stand inside an object", place, fix="a node must make the object")
                    return _HOLE
                stack.extend((item, (*place, key)) for key, item in value.items())
            elif type(value) is list:
                stack.extend((item, (*place, index)) for index, item in enumerate(value))
        return Written(raw)
