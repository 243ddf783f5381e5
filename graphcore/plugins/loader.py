"""Where node types come from: installed packages (the built-in library is one of them) and folders of plugins.

One rule for all: the nodes of a plugin are the `@node` functions that its top module holds as attributes. Installed
packages name that module under the entry point group `stepgraph.nodes`. In a folder of plugins, each `NAME.py` and each
package `NAME/__init__.py` is one plugin. The name (of the entry point, file or folder) is the name space of the nodes.

Loading a plugin runs its code with all rights of this process: there is no sandbox. What a plugin does wrong while it
is loaded stays its own affair: the others load, and its `PluginState` says what happened.
"""

from __future__ import annotations

import threading
from collections.abc import Callable, Collection, Iterable, Mapping, Sequence
from dataclasses import dataclass, replace
from importlib.metadata import EntryPoint, entry_points
from pathlib import Path
from types import ModuleType
from typing import Any

from graphcore.declare.node import NodeType, declared
from graphcore.declare.registry import BUILT_IN, Registry
from graphcore.errors import DeclarationError, PluginError
from graphcore.plugins import failures
from graphcore.plugins.digests import BUILT_IN_PACKAGE
from graphcore.plugins.source import PluginSource

ENTRY_POINTS = "stepgraph.nodes"
"""The entry point group through which installed packages offer nodes."""

DISTRIBUTION = "stepgraph"
"""The distribution that may name its entry point `stepgraph`."""


@dataclass(frozen=True)
class PluginState:
    """What became of one plugin.

    Args:
        name: Its name space.
        path: Its file or folder; None for an installed package.
        nodes: Full names of its nodes that can be used now.
        error: Why it (or its newest version) could not be loaded, in a line; empty if all is well.
        traceback: From its own first line on; empty where `error` says it all.
        stale: The newest version failed, and `nodes` are those of the version before.
        version: Changes whenever a source file does; empty for an installed package and where nothing is in use.
    """

    name: str
    path: Path | None
    nodes: tuple[str, ...] = ()
    error: str = ""
    traceback: str = ""
    stale: bool = False
    version: str = ""

    def as_dict(self) -> dict[str, Any]:
        """JSON-ready."""
        return {
            "name": self.name,
            "path": str(self.path) if self.path else None,
            "nodes": list(self.nodes),
            "error": self.error or None,
            "traceback": self.traceback or None,
        }


@dataclass(frozen=True)
class _Loaded:
    """A plugin's state, with the version that is in use."""

    state: PluginState
    nodes: tuple[NodeType, ...] = ()
    source: PluginSource | None = None


class Plugins:
    """All node types at hand. Responsibilities: find, load, isolate errors, reload.

    `registry` is a snapshot: `reload` replaces it in one assignment, and who holds the former one (a run) keeps it.

    Args:
        folders: Folders of plugins.

    Raises:
        PluginError: the built-in library cannot be loaded, or a folder is none.
    """

    def __init__(self, folders: Sequence[Path] = ()) -> None:
        self.folders = tuple(Path(folder).absolute() for folder in folders)
        for folder in self.folders:
            if not folder.is_dir():
                raise PluginError(f"{folder} is not a folder; give the folder that holds the plugins")
            if (folder / "__init__.py").exists():
                raise PluginError(f"{folder} is itself a plugin; give the folder that it lies in, {folder.parent}")
        self._lock = threading.Lock()
        self._installed = _installed()
        self._plugins: dict[Path, _Loaded] = {}
        self.registry = Registry()
        self.reload()

    @property
    def states(self) -> list[PluginState]:
        """The states of all plugins: the built-in library, installed packages, then folder by folder."""
        return [plugin.state for plugin in (*self._installed, *self._plugins.values())]

    def reload(self) -> list[PluginState]:
        """Load what is new or changed, forget what is gone; a version that fails leaves the one before in use.

        Only source files count as a change: data that a plugin reads is its own business (a `fingerprint` hook). A
        plugin that failed is tried again, since what it lacked may have been installed.

        Returns:
            The states of the plugins that changed; of one that is gone, a state without nodes.
        """
        with self._lock:
            before, after = self._plugins, self._load_folders()
            self.registry, self._plugins = _gather([*self._installed, *after.values()]), after
            _release(before, after)
        changed = [new.state for path, new in after.items() if path not in before or before[path].state != new.state]
        return changed + [PluginState(old.state.name, path) for path, old in before.items() if path not in after]

    def _load_folders(self) -> dict[Path, _Loaded]:
        paths = [path for folder in dict.fromkeys(self.folders) for path in _candidates(folder)]
        owners = {
            plugin.state.name: f"the installed package that offers `{plugin.state.name}`" for plugin in self._installed
        }
        taken = frozenset(node_type.function for plugin in self._installed for node_type in plugin.nodes)
        loaded: dict[Path, _Loaded] = {}
        for path in sorted(paths, key=lambda path: path not in self._plugins):  # a newcomer does not take a name over
            name = path.stem if path.suffix == ".py" else path.name
            before = self._plugins.get(path)
            if (owner := owners.setdefault(name, str(path))) != str(path):
                clash = PluginError(f"the name `{name}` is taken: {path} clashes with {owner}; rename one of them")
                loaded[path] = _failed(name, path, None, clash)
            else:
                loaded[path] = _load(name, path, before, taken)
        return {path: loaded[path] for path in paths}


def _candidates(folder: Path) -> list[Path]:
    """The plugins in a folder: sources and packages, but nothing whose name starts with `_` or `.`."""
    if not folder.is_dir():
        return []
    entries = sorted(entry for entry in folder.iterdir() if not entry.name.startswith(("_", ".")))
    return [e for e in entries if (e.suffix == ".py" and not e.is_dir()) or (e / "__init__.py").exists()]


def _load(name: str, path: Path, before: _Loaded | None, taken: Collection[Callable[..., Any]]) -> _Loaded:
    try:
        if not name.isidentifier():
            raise PluginError(f"`{name}` cannot be a name space; name {path} in letters, digits and underscores")
        source = PluginSource.read(name, path)
        if before and before.source and before.source.version == source.version and not before.state.error:
            return before
        nodes = _import(name, source, taken)
    except (Exception, SystemExit) as error:  # foreign code; the state says what it was
        return _failed(name, path, before, error)
    names = tuple(f"{name}/{node_type.name}" for node_type in nodes)
    return _Loaded(PluginState(name, path, names, version=source.version), nodes, source)


def _import(name: str, source: PluginSource, taken: Collection[Callable[..., Any]]) -> tuple[NodeType, ...]:
    """Import a version aside and check it; what fails leaves nothing behind."""
    module = source.load()
    try:
        nodes = _nodes(module, taken)
        _check(name, nodes)
    except BaseException:
        source.unload()
        raise
    return nodes


def _nodes(module: ModuleType, taken: Collection[Callable[..., Any]] = ()) -> tuple[NodeType, ...]:
    """The nodes that a module holds; those of others, imported to be called, stay where they are."""
    found = {thing: node_type for thing in vars(module).values() if (node_type := declared(thing))}
    return tuple(node_type for function, node_type in found.items() if function not in taken)


def _check(name: str, nodes: tuple[NodeType, ...]) -> None:
    """What would fail later, when somebody lists or checks: two nodes of one name, types without a schema."""
    registry = Registry().with_nodes(name, nodes)
    try:
        _ = registry.types
    except NameError as error:
        raise DeclarationError(f"a type that travels on links cannot be read: {error}") from error
    for node_type in registry:
        for port in node_type.inputs.values():
            if port.literal:
                port.json_schema()


def _failed(name: str, path: Path | None, before: _Loaded | None, error: BaseException) -> _Loaded:
    story, reason = failures.story(path, error), failures.reason(name, path, error)
    if before is None or before.source is None:
        return _Loaded(PluginState(name, path, error=reason, traceback=story))
    reason += "; the version before stays in use"
    return replace(before, state=replace(before.state, error=reason, traceback=story, stale=True))


def _gather(plugins: Iterable[_Loaded]) -> Registry:
    registry = Registry()
    for plugin in plugins:
        if plugin.nodes:  # one that was refused for its name must not empty the name space of the owner
            registry = registry.with_nodes(plugin.state.name, plugin.nodes)
    return registry


def _release(before: Mapping[Path, _Loaded], after: Mapping[Path, _Loaded]) -> None:
    """Take versions that were replaced out of `sys.modules`; running nodes of theirs go on undisturbed."""
    in_use = {new.source.module_name for new in after.values() if new.source}
    for old in before.values():
        if old.source and old.source.module_name not in in_use:
            old.source.unload()


def _installed() -> list[_Loaded]:
    """The built-in library, then the other installed packages by name."""
    points = {(point.name, point.value): point for point in sorted(entry_points(group=ENTRY_POINTS))}.values()
    own = [point for point in points if point.name == BUILT_IN and _distribution(point) == DISTRIBUTION]
    built_in = own[0] if own else EntryPoint(BUILT_IN, BUILT_IN_PACKAGE, ENTRY_POINTS)  # a checkout, not installed
    found = {BUILT_IN: _load_installed(built_in)}
    if error := found[BUILT_IN].state.error:
        raise PluginError(f"the built-in nodes cannot be loaded: {error}\n\n{found[BUILT_IN].state.traceback}")
    refused = []
    for point in points:
        if point.name in found and point is not built_in:
            clash = f"the name `{point.name}` is taken; {_distribution(point)} may not use it for {point.value}"
            refused.append(_failed(point.name, None, None, PluginError(clash)))
        elif point is not built_in:
            found[point.name] = _load_installed(point)
    return [*found.values(), *refused]


def _load_installed(point: EntryPoint) -> _Loaded:
    try:
        module = point.load()
        if not isinstance(module, ModuleType):
            raise PluginError(f"the entry point {point.value} is no module; its nodes are attributes of a module")
        nodes = _nodes(module)
        if point.name != BUILT_IN:
            _check(point.name, nodes)
    except (Exception, SystemExit) as error:  # foreign code; the state says what it was
        return _failed(point.name, None, None, error)
    names = tuple(f"{point.name}/{node_type.name}" for node_type in nodes)
    return _Loaded(PluginState(point.name, None, names), nodes)


def _distribution(point: EntryPoint) -> str:
    return point.dist.name if point.dist else ""
