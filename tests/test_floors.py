"""The house stands: imports point down, and what must be light is light."""

from __future__ import annotations

import ast
import os
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

import graphcore

ROOT = Path(__file__).parent.parent
HEAVY = ("torch", "diffusers", "transformers", "aiohttp")

MAY_IMPORT = {
    "graphcore": {"graphcore"},
    "nodes": {"graphcore", "nodes"},
    "plugins": {"graphcore", "nodes.types"},
    "server": {"graphcore", "server"},
}
"""For each floor, what it may import of ours."""

ROOMS = {
    "graphcore": [
        "errors", "events", "home", "database", "content", "runtime", "values", "cache", "files", "declare", "plugins",
        "check", "execution", "cli",
    ],
    "nodes": ["types", "resources", "models", "sampling", "pictures", "conditioning"],
    "server": ["settings", "jobs", "files", "workflows", "work", "http"],
}  # fmt: skip
"""The rooms of a floor, from the ground up: one imports only from those before it."""

BY_NAME = {"nodes/types.py imports nodes.pictures.png"}
"""What is imported only when it is called: how a picture is written is no part of what it is."""

OURS = ("graphcore", "nodes", "plugins", "server", "tests")


def modules(floor: str) -> list[Path]:
    return sorted((ROOT / floor).rglob("*.py"))


def imports(path: Path) -> Iterator[tuple[str, bool]]:
    """Modules that a file imports anywhere in it, and whether it does so when it is itself imported."""
    tree = ast.parse(path.read_text(encoding="utf-8"))
    for item in ast.walk(tree):
        if isinstance(item, ast.Import):
            names = [alias.name for alias in item.names]
        elif isinstance(item, ast.ImportFrom) and not item.level:
            names = [f"{item.module}.{alias.name}" for alias in item.names]
        elif isinstance(item, ast.Call) and item.args and _is_import_call(item.func):
            names = [item.args[0].value] if isinstance(item.args[0], ast.Constant) else []
        else:
            continue
        at_top = item in tree.body
        yield from ((name, at_top) for name in names)


def _is_import_call(function: ast.expr) -> bool:
    name = function.attr if isinstance(function, ast.Attribute) else getattr(function, "id", "")
    return name in ("import_module", "__import__")


def within(name: str, packages: set[str] | tuple[str, ...]) -> bool:
    return any(name == package or name.startswith(f"{package}.") for package in packages)


@pytest.mark.parametrize("floor", MAY_IMPORT)
def test_imports_point_down(floor):
    wrong = [
        f"{path.relative_to(ROOT)} imports {name}"
        for path in modules(floor)
        for name, _ in imports(path)
        if within(name, OURS) and not within(name, MAY_IMPORT[floor])
    ]
    assert modules(floor), f"no modules in {floor}/: this test looks in the wrong place"
    assert not wrong


@pytest.mark.parametrize("floor", ROOMS)
def test_rooms_stand_one_upon_another(floor):
    order = {room: height for height, room in enumerate(ROOMS[floor])}
    wrong = []
    for path in modules(floor):
        room = path.relative_to(ROOT / floor).parts[0].removesuffix(".py")
        for name, _ in imports(path):
            _, _, inner = name.partition(f"{floor}.")
            other = inner.partition(".")[0]
            if name.startswith(f"{floor}.") and order.get(other, -1) > order.get(room, len(order)):
                wrong.append(f"{path.relative_to(ROOT)} imports {name}")
    assert set(wrong) <= BY_NAME


@pytest.mark.parametrize("floor", ["nodes", "plugins"])
def test_the_public_api_is_enough_for_nodes(floor):
    """The built-in library is proof that a plugin needs no private name of the engine."""
    public = {f"graphcore.{name}" for name in graphcore.__all__}
    wrong = [
        f"{path.relative_to(ROOT)} imports {name}"
        for path in modules(floor)
        for name, _ in imports(path)
        if within(name, ("graphcore",)) and name not in public
    ]
    assert not wrong


def test_graphcore_imports_torch_in_one_module_only():
    using = {path.name for path in modules("graphcore") for name, _ in imports(path) if within(name, ("torch",))}
    assert using <= {"tensors.py"}


def test_graphcore_knows_nothing_of_diffusion():
    for path in modules("graphcore"):
        found = [name for name, _ in imports(path) if within(name, ("diffusers", "transformers", "PIL", "aiohttp"))]
        assert not found, f"{path.relative_to(ROOT)} imports {found[0]}"


def fresh(code: str) -> str:
    """What a new interpreter prints."""
    environment = {**os.environ, "PYTHONPATH": str(ROOT)}
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, env=environment, cwd=ROOT)
    assert done.returncode == 0, done.stderr
    return done.stdout


LOADED = f"import sys; print([name for name in {HEAVY!r} if name in sys.modules])"


@pytest.mark.parametrize(
    "code",
    [
        "import graphcore",
        "from graphcore import Batch, TensorSpec, Workflow, node",
        "import nodes",
        "import nodes.resources",
        "from graphcore.plugins.loader import Plugins; assert len(Plugins().registry) > 15",
        "from graphcore.files import provenance; provenance.environment()",
        "import graphcore.check.checker, graphcore.cli",
        "from graphcore.check.checker import check_file; from graphcore.plugins.loader import Plugins\n"
        "assert not check_file('workflows/img2img.json', Plugins().registry)",
    ],
)
def test_what_must_be_light_loads_no_heavy_library(code):
    assert fresh(f"{code}\n{LOADED}").strip() == "[]"
