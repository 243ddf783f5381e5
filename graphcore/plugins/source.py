"""The sources of a plugin at one moment, and the import of exactly these.

A plugin is read at once, hashed, and imported as `stepgraph_plugins.NAME_HASH` from what was read: a module of it that
is imported late, inside a function, is of the same version as the rest, whatever happened to the file meanwhile. No
`.pyc` is read or written.

A version that was replaced leaves `sys.modules`; it lives on for as long as somebody holds one of its functions, and
can still import its modules then.
"""

from __future__ import annotations

import hashlib
import importlib
import importlib.machinery
import importlib.util
import os
import sys
import weakref
from collections.abc import Iterator, Mapping, Sequence
from importlib.machinery import ModuleSpec
from pathlib import Path
from types import CodeType, ModuleType

from graphcore.errors import PluginError
from graphcore.plugins.imports import PLUGIN_PACKAGE

FILE_LIMIT = 2000
"""Source files in one plugin; more is a folder that somebody put there by mistake."""


class PluginSource:
    """All source files of a plugin, as read at one moment.

    Args:
        name: Name of the plugin.
        path: Its file, or its folder.
        sources: Relative path of each source file (empty for a plugin that is one file) to what is in it.
    """

    def __init__(self, name: str, path: Path, sources: Mapping[str, bytes]) -> None:
        self.path, self.sources = path, dict(sources)
        hasher = hashlib.sha256()
        for part in (str(path).encode(), *(p for file in sorted(sources) for p in (file.encode(), sources[file]))):
            hasher.update(len(part).to_bytes(8, "little") + part)
        self.version = hasher.hexdigest()[:16]
        self.module_name = f"{PLUGIN_PACKAGE}.{name}_{self.version}"
        self.modules: dict[str, ModuleType] = {}

    @classmethod
    def read(cls, name: str, path: Path) -> PluginSource:
        """Read a plugin.

        Args:
            path: A `.py` file or a folder with an `__init__.py`, in the folder of plugins.

        Raises:
            PluginError: a symbolic link that leaves the folder of plugins; too many files.
            OSError: a file that cannot be read.
        """
        files = {str(file.relative_to(path)): file for file in _sources(path)} if path.is_dir() else {"": path}
        folder = path.parent.resolve()
        for file in (path, *files.values()):
            if not file.resolve().is_relative_to(folder):
                raise PluginError(f"{file} is a symbolic link that leaves {path.parent}; put the file itself there")
        return cls(name, path, {relative: file.read_bytes() for relative, file in files.items()})

    def load(self) -> ModuleType:
        """Import the top module (at once, if this very version is still in memory)."""
        _prepare()
        alive = _versions.setdefault(self.module_name, self)
        try:
            return importlib.import_module(self.module_name)
        except BaseException:
            alive.unload()
            alive.modules.clear()
            raise

    def unload(self) -> None:
        """Take the modules out of `sys.modules`; who still holds a function of them can go on using it."""
        for name in [name for name in sys.modules if f"{name}.".startswith(f"{self.module_name}.")]:
            del sys.modules[name]
        vars(sys.modules[PLUGIN_PACKAGE]).pop(self.module_name.rpartition(".")[2], None)

    def find(self, name: str) -> tuple[Path, bytes, bool]:
        """File and source of a module, and whether it is a package.

        Raises:
            ModuleNotFoundError: no such module in this version.
        """
        inner = name.removeprefix(self.module_name).removeprefix(".").replace(".", os.sep)
        for relative in (f"{inner}.py", os.path.join(inner, "__init__.py")) if inner else ("", "__init__.py"):
            if (source := self.sources.get(relative)) is not None:
                return self.path / relative, source, relative.endswith("__init__.py")
        short = name.removeprefix(self.module_name).removeprefix(".")
        raise ModuleNotFoundError(f"the plugin {self.path} has no module `{short}`", name=name)


class _Loader(importlib.machinery.SourceFileLoader):
    """Loads from a snapshot; what else lies beside the sources (`get_data`) is read from the disk."""

    def __init__(self, name: str, path: str, source: PluginSource) -> None:
        super().__init__(name, path)
        self.plugin = source  # held by every function of the module through its globals: see `_versions`

    def get_data(self, path: str) -> bytes:
        return self.plugin.find(self.name)[1] if path == self.path else super().get_data(path)

    def get_code(self, fullname: str) -> CodeType:
        code: CodeType = compile(self.plugin.find(fullname)[1], self.path, "exec", dont_inherit=True)
        return code

    def create_module(self, spec: ModuleSpec) -> ModuleType | None:
        return self.plugin.modules.get(spec.name)

    def exec_module(self, module: ModuleType) -> None:
        if module.__name__ in self.plugin.modules:
            return  # executed before it left sys.modules
        self.plugin.modules[module.__name__] = module
        try:
            super().exec_module(module)
        except BaseException:
            self.plugin.modules.pop(module.__name__, None)
            raise


class _Finder:
    """Finds the modules of plugins, and nothing else."""

    @staticmethod
    def find_spec(name: str, path: Sequence[str] | None = None, target: ModuleType | None = None) -> ModuleSpec | None:
        top = ".".join(name.split(".")[:2])
        plugin = _versions.get(top) if name.startswith(f"{PLUGIN_PACKAGE}.") else None
        if plugin is None:
            return None
        file, _, is_package = plugin.find(name)
        loader = _Loader(name, str(file), plugin)
        folders = [str(file.parent)] if is_package else None
        return importlib.util.spec_from_file_location(name, file, loader=loader, submodule_search_locations=folders)


_versions: weakref.WeakValueDictionary[str, PluginSource] = weakref.WeakValueDictionary()
"""Versions in memory, by module name. A version is held by its own modules, hence by all of its functions."""


def _prepare() -> None:
    """Put the package of all plugins and the finder in their places."""
    if PLUGIN_PACKAGE not in sys.modules:
        spec = ModuleSpec(PLUGIN_PACKAGE, None, is_package=True)
        sys.modules[PLUGIN_PACKAGE] = importlib.util.module_from_spec(spec)
    if _Finder not in sys.meta_path:
        sys.meta_path.insert(0, _Finder)


def _sources(folder: Path) -> Iterator[Path]:
    """The source files below a folder, in order; hidden folders and `__pycache__` are left out."""
    found = 0
    for place, folders, files in os.walk(folder):
        folders[:] = sorted(f for f in folders if not f.startswith(".") and f != "__pycache__")
        for file in sorted(f for f in files if f.endswith(".py") and not f.startswith(".")):
            found += 1
            if found > FILE_LIMIT:
                raise PluginError(f"{folder} holds more than {FILE_LIMIT} source files: is this one plugin?")
            yield Path(place, file)
