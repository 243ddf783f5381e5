"""Python modules as text: where their source is and which modules it imports. Nothing is imported to find out.

What counts as an import: `import a.b`, `from a import b`, `from . import b`, at the top of a module or inside a
function, and `import_module("a.b")`. A module that imports by a computed name is taken to import all modules of its
package that the name can mean (`f"library.{name}"`: those that begin so).

A package's `__init__` counts when something is imported from it that is no submodule of it, not when it merely lies
above: it often gathers the whole package, and then one changed module would change the digests of all.
"""

from __future__ import annotations

import ast
import pkgutil
import re
import sys
import threading
from collections.abc import Collection, Iterator
from dataclasses import dataclass
from functools import lru_cache
from importlib.machinery import ModuleSpec
from pathlib import Path
from typing import NamedTuple

PLUGIN_PACKAGE = "stepgraph_plugins"
"""Plugins are loaded as `stepgraph_plugins.NAME_HASH`; the hash is that of all their sources."""


@dataclass(frozen=True, slots=True)
class Module:
    """The source of a module; `folders` is where the submodules of a package lie (empty: no package)."""

    name: str
    source: bytes
    folders: tuple[str, ...]


class _Import(NamedTuple):
    """`dots` as in a relative import; `attribute` is empty for `import module`."""

    dots: int
    module: str
    attribute: str


def root(name: str) -> str:
    """The package or plugin that a module belongs to."""
    parts = name.split(".")
    return ".".join(parts[:2] if parts[0] == PLUGIN_PACKAGE else parts[:1])


def identity(name: str) -> object | None:
    """An object that stays the same for as long as the same loading of a module is in memory; None: not loaded."""
    if name.startswith(f"{PLUGIN_PACKAGE}."):
        return _PLUGIN  # its name holds the hash of its source, and a reference to it would keep it in memory
    module = sys.modules.get(name)
    return getattr(module, "__spec__", None) or module


_PLUGIN = object()
_loaded: dict[str, tuple[object, Module | None]] = {}


def read(name: str) -> Module | None:
    """The source of a module, loaded or not; of a loaded one, as it was when first asked for. None: no source."""
    which = identity(name)
    if which is None:
        return _read(name)
    if name not in _loaded or _loaded[name][0] is not which:
        _loaded[name] = (which, _read(name))
    return _loaded[name][1]


def _read(name: str) -> Module | None:
    spec = _spec(name)
    loader = spec.loader if spec else None
    origin = spec.origin if spec else getattr(sys.modules.get(name), "__file__", None)
    if not origin:
        return None
    try:
        get_data = getattr(loader, "get_data", None)  # not every loader has it: pytest's has none
        source = get_data(origin) if get_data else Path(origin).read_bytes()
    except OSError:
        return None
    return Module(name, source, tuple((spec.submodule_search_locations or ()) if spec else ()))


def _spec(name: str) -> ModuleSpec | None:
    if name in sys.modules:
        spec: ModuleSpec | None = getattr(sys.modules[name], "__spec__", None)
        return spec
    above = name.rpartition(".")[0]
    folders: list[str] | None = None
    if above:
        parent = _spec(above)
        folders = list((parent.submodule_search_locations or ()) if parent else ())
        if not folders and above != PLUGIN_PACKAGE:
            return None
    for finder in sys.meta_path:
        try:
            found = finder.find_spec(name, folders) if hasattr(finder, "find_spec") else None
        except ImportError:
            return None
        if found is not None:
            return found
    return None


def imported(module: Module, roots: Collection[str]) -> Iterator[str]:
    """Names of the modules that a module imports from some packages (there or not)."""
    found, computed = _imports(module.source)
    package = module.name if module.folders else module.name.rpartition(".")[0]
    for dots, base, attribute in found:
        if dots:
            above = package.split(".")[: package.count(".") + 2 - dots]
            base = ".".join([*above, base] if base else above)
        if root(base) in roots:
            yield _target(base, attribute)
    for pattern in computed:
        yield from (name for name in _siblings(root(module.name)) if re.fullmatch(pattern, name))


def _target(base: str, attribute: str) -> str:
    """The module that `from base import attribute` reads: a submodule if there is one."""
    package = read(base) if attribute else None
    submodule = f"{base}.{attribute}"
    return submodule if package and package.folders and read(submodule) else base


def _siblings(package: str) -> Iterator[str]:
    """All modules of a package."""
    waiting = [package]
    while waiting:
        module = read(waiting.pop())
        for found in pkgutil.iter_modules(module.folders, f"{module.name}.") if module else ():
            yield found.name
            waiting.append(found.name)


_PARSER = threading.Lock()
"""Python 3.11 counts the depth of syntax trees over all threads, and raises SystemError where two are made at once."""


@lru_cache(maxsize=4096)
def _imports(source: bytes) -> tuple[tuple[_Import, ...], tuple[str, ...]]:
    """What a source imports, and patterns of the names that it computes."""
    found: list[_Import] = []
    computed: list[str] = []
    try:
        with _PARSER:
            tree = ast.parse(source)
    except (SyntaxError, ValueError):
        return (), ()  # an extension module, or a broken one that nobody could import
    calls = b"import_module" in source or b"__import__" in source
    for item in ast.walk(tree) if calls else _statements(tree):
        if isinstance(item, ast.Import):
            for alias in item.names:
                found.append(_Import(0, alias.name, ""))
                if not alias.asname:  # `import a.b` binds `a`: whatever `a` holds may be used
                    found.append(_Import(0, alias.name.split(".")[0], ""))
        elif isinstance(item, ast.ImportFrom):
            found.extend(_Import(item.level, item.module or "", alias.name) for alias in item.names)
        elif isinstance(item, ast.Call) and _called(item) in ("import_module", "__import__"):
            name = item.args[0] if item.args else None
            if isinstance(name, ast.Constant) and isinstance(name.value, str):
                found.append(_Import(len(name.value) - len(name.value.lstrip(".")), name.value.lstrip("."), ""))
            else:
                computed.append(_pattern(name))
    return tuple(dict.fromkeys(found)), tuple(dict.fromkeys(computed))


def _pattern(name: ast.expr | None) -> str:
    """A regular expression for the values of an expression: what is constant in an f-string has to be there."""
    if not isinstance(name, ast.JoinedStr):
        return ".*"
    parts = [re.escape(str(part.value)) if isinstance(part, ast.Constant) else ".*" for part in name.values]
    return "".join(parts) if not parts[0].startswith(r"\.") else ".*" + "".join(parts)


def _statements(tree: ast.AST) -> Iterator[ast.AST]:
    """As `ast.walk`, but without going into expressions, where no import statement can be: four times as fast."""
    waiting = [tree]
    while waiting:
        item = waiting.pop()
        yield item
        for name in ("body", "orelse", "handlers", "finalbody", "cases"):
            inside = getattr(item, name, None)
            if isinstance(inside, list):
                waiting.extend(inside)


def _called(call: ast.Call) -> str:
    if isinstance(call.func, ast.Attribute):
        return call.func.attr
    return call.func.id if isinstance(call.func, ast.Name) else ""
