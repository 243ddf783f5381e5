"""Finding, loading, isolating and reloading plugins."""

from __future__ import annotations

import gc
import importlib.metadata
import sys
import threading
import weakref
from collections.abc import Callable, Iterator
from importlib.metadata import EntryPoint
from pathlib import Path
from typing import Any

import pytest

from graphcore.errors import PluginError
from graphcore.plugins import loader as plugins
from graphcore.plugins.digests import node_digest
from graphcore.plugins.imports import PLUGIN_PACKAGE
from graphcore.plugins.loader import Plugins, PluginState

NODE = '''
from graphcore import node

@node(category="test")
def {name}(x: int = 0) -> int:
    """Adds."""
    return x + {add}
'''


def source(name: str = "plus", add: object = 1) -> str:
    return NODE.format(name=name, add=add)


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    (tmp_path / "plugins").mkdir()
    return tmp_path / "plugins"


@pytest.fixture(autouse=True)
def nothing_left() -> Iterator[None]:
    """Each test begins without plugins of the one before."""
    yield
    for name in [name for name in sys.modules if name.startswith(f"{PLUGIN_PACKAGE}.")]:
        del sys.modules[name]
    for name in [name for name in vars(sys.modules.get(PLUGIN_PACKAGE, object)) if not name.startswith("__")]:
        delattr(sys.modules[PLUGIN_PACKAGE], name)


def write(folder: Path, files: dict[str, str]) -> None:
    for name, text in files.items():
        (folder / name).parent.mkdir(parents=True, exist_ok=True)
        (folder / name).write_text(text)


def state(found: Plugins, name: str) -> PluginState:
    (one,) = (s for s in found.states if s.name == name)
    return one


def call(found: Plugins, name: str, *arguments: Any) -> Any:
    return found.registry.get(name).function(*arguments)


# -- finding ---------------------------------------------------------------------------------------------------------


def test_the_built_in_library_comes_in_by_the_same_door() -> None:
    found = Plugins()
    built_in = state(found, "stepgraph")
    assert built_in.error == ""
    assert "stepgraph/load_model" in built_in.nodes
    assert {node_type.name for node_type in found.registry} >= set(built_in.nodes)
    assert found.registry.get("load_model") is found.registry.get("stepgraph/load_model")


def test_files_and_packages_are_plugins(folder: Path) -> None:
    write(
        folder,
        {
            "single.py": source(),
            "package/__init__.py": "from .inner import plus\n",
            "package/inner.py": source(add=10),
            "package/table.txt": "data",
            "_helper.py": "raise RuntimeError",
            ".hidden.py": "raise RuntimeError",
            "no_package/module.py": "raise RuntimeError",
            "notes.txt": "",
        },
    )
    found = Plugins([folder])
    assert [(s.name, s.path, s.nodes, s.error) for s in found.states[1:]] == [
        ("package", folder / "package", ("package/plus",), ""),
        ("single", folder / "single.py", ("single/plus",), ""),
    ]
    assert call(found, "single/plus", 1) == 2
    assert call(found, "package/plus", 1) == 11
    assert found.registry.find("plus") is None, "only built-ins go without a name space"


def test_the_nodes_are_those_that_the_top_module_holds(folder: Path) -> None:
    text = source() + "again = plus\nfrom nodes import load_model\nfrom .inner import shown\n"
    write(folder, {"p/__init__.py": text, "p/inner.py": source("shown") + source("kept_in")})
    assert state(Plugins([folder]), "p").nodes == ("p/plus", "p/shown")


def test_data_and_resources_beside_a_package(folder: Path) -> None:
    text = source() + (
        "import importlib.resources, pathlib\n"
        "by_file = (pathlib.Path(__file__).parent / 'table.txt').read_text()\n"
        "by_package = importlib.resources.files(__package__).joinpath('table.txt').read_text()\n"
    )
    write(folder, {"p/__init__.py": text, "p/table.txt": "data"})
    scope = Plugins([folder]).registry.get("p/plus").function.__globals__
    assert scope["by_file"] == scope["by_package"] == "data"
    assert not list(folder.rglob("__pycache__")), "loading leaves no traces in the folder"


def test_types_of_a_plugin_travel(folder: Path) -> None:
    text = (
        "from __future__ import annotations\nfrom dataclasses import dataclass\nfrom graphcore import node\n"
        "@dataclass(frozen=True)\nclass Wind:\n    speed: float\n"
        "@node(category='test')\ndef blow(wind: Wind) -> list[Wind]:\n    return [wind]\n"
    )
    write(folder, {"weather.py": text})
    found = Plugins([folder])
    wind = found.registry.types["weather/Wind"]
    assert call(found, "weather/blow", wind(3.0)) == [wind(3.0)]


def test_a_folder_that_is_none(folder: Path) -> None:
    with pytest.raises(PluginError, match="is not a folder"):
        Plugins([folder / "absent"])
    write(folder, {"p/__init__.py": source()})
    with pytest.raises(PluginError, match="is itself a plugin"):
        Plugins([folder / "p"])


# -- errors stay where they are --------------------------------------------------------------------------------------

BROKEN = {
    "syntax": ("x = 1\ndef f(:\n", "broken.py:2: SyntaxError"),
    "null": ("x = '\0'\n", "null bytes"),
    "encoding": ("# coding: nonsense\n", "nonsense"),
    "missing": ("import no_such_package.inner\n", "broken.py:1: it needs the package `no_such_package`"),
    "itself": ("import broken.inner\n", "broken.py:1: a plugin is loaded under a private name"),
    "sibling": ("from . import sibling\n", "sibling"),
    "exit": ("import sys\nsys.exit(3)\n", "broken.py:2: it called sys.exit(3)"),
    "recursion": ("def f(): f()\nf()\n", "RecursionError"),
    "zero": ("x = 1\n1 / 0\n", "broken.py:2: ZeroDivisionError: division by zero"),
    "untyped": (source().replace("x: int = 0", "x"), "DeclarationError: node `plus`, parameter `x` has no type"),
    "twice": (source() + "first = plus\n" + source(), "two nodes are called `broken/plus`"),
    "unreadable type": (
        "from __future__ import annotations\nfrom dataclasses import dataclass\nfrom graphcore import node\n"
        "@dataclass\nclass A:\n    b: Nowhere\n@node(category='t')\ndef f(a: A) -> A:\n    return a\n",
        "Nowhere",
    ),
    "error that cannot be said": (
        "class E(Exception):\n    def __str__(self): raise ValueError\nraise E\n",
        "broken.py:3: ",
    ),
    "memory": ("raise MemoryError\n", "MemoryError"),
}


@pytest.mark.parametrize("case", BROKEN)
def test_a_broken_plugin_is_its_own_affair(folder: Path, case: str) -> None:
    text, reason = BROKEN[case]
    write(folder, {"broken.py": text, "fine.py": source()})
    found = Plugins([folder])
    broken = state(found, "broken")
    assert reason in broken.error
    assert "\n" not in broken.error
    assert "importlib" not in broken.traceback, "how the engine came there says nothing to the author"
    assert broken.nodes == ()
    assert call(found, "fine/plus", 1) == 2
    assert not [name for name in sys.modules if name.startswith(f"{PLUGIN_PACKAGE}.broken")]


def test_the_traceback_begins_with_the_plugins_own_line(folder: Path) -> None:
    write(folder, {"p.py": "import json\njson.loads('{')\n"})
    lines = state(Plugins([folder]), "p").traceback.splitlines()
    assert lines[0].startswith("Traceback")
    assert lines[1].strip() == f'File "{folder / "p.py"}", line 2, in <module>'
    assert lines[-1].startswith("json.decoder.JSONDecodeError")


def test_an_interrupt_is_not_swallowed(folder: Path) -> None:
    write(folder, {"p.py": "raise KeyboardInterrupt\n"})
    with pytest.raises(KeyboardInterrupt):
        Plugins([folder])


def test_submodules_of_a_package_that_fails_leave_sys_modules(folder: Path) -> None:
    write(folder, {"p/__init__.py": "from . import fine\n1 / 0\n", "p/fine.py": ""})
    assert "ZeroDivisionError" in state(Plugins([folder]), "p").error
    assert not [name for name in sys.modules if name.startswith(f"{PLUGIN_PACKAGE}.p_")]


@pytest.mark.parametrize("name", ["my-plugin.py", "2fast.py", "with space.py"])
def test_a_name_must_be_an_identifier(folder: Path, name: str) -> None:
    write(folder, {name: source()})
    assert "cannot be a name space" in Plugins([folder]).states[1].error


def test_a_built_in_cannot_be_shadowed(folder: Path) -> None:
    write(folder, {"stepgraph.py": source("load_model")})
    found = Plugins([folder])
    refused = found.states[-1]
    assert "the name `stepgraph` is taken" in refused.error
    assert str(folder / "stepgraph.py") in refused.error
    assert found.registry.get("load_model").function.__module__ == "nodes.models.loading"


def test_a_clash_names_both_files(folder: Path, tmp_path: Path) -> None:
    write(folder, {"p.py": source()})
    write(tmp_path / "more", {"p.py": source(add=100)})
    found = Plugins([folder, tmp_path / "more"])
    first, second = found.states[1:]
    assert (first.error, second.nodes) == ("", ())
    assert str(folder / "p.py") in second.error
    assert str(tmp_path / "more/p.py") in second.error
    assert call(found, "p/plus", 1) == 2


def test_a_newcomer_does_not_take_a_name_over(folder: Path) -> None:
    write(folder, {"p.py": source()})
    found = Plugins([folder])
    write(folder, {"p/__init__.py": source(add=100)})  # sorts before p.py
    (changed,) = found.reload()
    assert changed.path == folder / "p"
    assert "clashes" in changed.error
    assert call(found, "p/plus", 1) == 2


@pytest.mark.parametrize("link", ["p.py", "package", "package/inner.py"])
def test_symbolic_links_that_leave_the_folder_are_refused(folder: Path, tmp_path: Path, link: str) -> None:
    write(tmp_path / "outside", {"p.py": source(), "__init__.py": source()})
    if "/" in link:
        write(folder, {"package/__init__.py": source()})
    target = tmp_path / "outside" if link == "package" else tmp_path / "outside/p.py"
    (folder / link).symlink_to(target)
    (refused,) = Plugins([folder]).states[1:]
    assert "symbolic link that leaves" in refused.error
    assert refused.nodes == ()


def test_symbolic_links_that_stay_and_broken_ones(folder: Path) -> None:
    write(folder, {"p/__init__.py": "from .other import plus\n", "p/inner.py": source()})
    (folder / "p/other.py").symlink_to("inner.py")
    (folder / "broken.py").symlink_to(folder / "absent.py")
    found = Plugins([folder])
    assert call(found, "p/plus", 1) == 2
    assert "FileNotFoundError" in state(found, "broken").error


# -- installed packages ----------------------------------------------------------------------------------------------


@pytest.fixture
def offer(monkeypatch: pytest.MonkeyPatch) -> Callable[..., None]:
    """Pretends that packages with these entry points are installed."""

    def pretend(*points: tuple[str, str, str]) -> None:
        found = []
        for name, value, distribution in points:
            point = EntryPoint(name, value, plugins.ENTRY_POINTS)
            owner = importlib.metadata.PathDistribution(Path())
            monkeypatch.setattr(type(owner), "name", property(lambda self: vars(self)["named"]), raising=False)
            vars(owner)["named"] = distribution
            vars(point)["dist"] = owner
            found.append(point)
        monkeypatch.setattr(plugins, "entry_points", lambda group: found)

    return pretend


def test_an_installed_package_offers_nodes(offer: Any, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    write(tmp_path, {"installed_nodes.py": source()})
    monkeypatch.syspath_prepend(str(tmp_path))
    offer(("extra", "installed_nodes", "someone"), ("broken", "no_such_module", "someone"))
    found = Plugins()
    assert state(found, "extra") == PluginState("extra", None, ("extra/plus",))
    assert "no_such_module" in state(found, "broken").error
    assert state(found, "stepgraph").nodes, "the built-ins of a checkout that is not installed"


def test_only_stepgraph_itself_may_offer_the_built_ins(offer: Any) -> None:
    offer(("stepgraph", "json", "stranger"))
    found = Plugins()
    assert "stranger may not use it" in found.states[-1].error
    assert found.registry.find("load_model")


def test_an_installed_name_is_refused_to_a_file(
    offer: Any, folder: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    write(tmp_path, {"installed_nodes.py": source()})
    monkeypatch.syspath_prepend(str(tmp_path))
    offer(("extra", "installed_nodes", "someone"))
    write(folder, {"extra.py": source(add=100)})
    found = Plugins([folder])
    assert "taken" in found.states[-1].error
    assert call(found, "extra/plus", 1) == 2


def test_an_entry_point_must_be_a_module(offer: Any) -> None:
    offer(("extra", "json:loads", "someone"))
    assert "is no module" in state(Plugins(), "extra").error


def test_broken_built_ins_are_an_error(offer: Any) -> None:
    offer(("stepgraph", "no_such_module", "stepgraph"))
    with pytest.raises(PluginError, match="built-in nodes cannot be loaded"):
        Plugins()


# -- reload ----------------------------------------------------------------------------------------------------------


def test_reload_swaps_in_the_new_version(folder: Path) -> None:
    write(folder, {"p.py": source(), "same.py": source()})
    found = Plugins([folder])
    old, unchanged = found.registry, found.registry.get("same/plus").function
    write(folder, {"p.py": source(add=2), "new.py": source()})
    assert sorted(s.name for s in found.reload()) == ["new", "p"]
    assert call(found, "p/plus", 1) == 3
    assert old.get("p/plus").function(1) == 2, "who holds the old snapshot keeps the old version"
    assert node_digest(old.get("p/plus")) != node_digest(found.registry.get("p/plus"))
    assert found.registry.get("same/plus").function is unchanged
    assert found.reload() == []


def test_deleted_names_do_not_linger(folder: Path) -> None:
    write(folder, {"p.py": source("one") + source("two")})
    found = Plugins([folder])
    write(folder, {"p.py": source("two")})
    found.reload()
    assert state(found, "p").nodes == ("p/two",)
    assert found.registry.find("p/one") is None


@pytest.mark.parametrize("case", BROKEN)
def test_the_old_version_stays_if_the_new_one_fails(folder: Path, case: str) -> None:
    write(folder, {"broken.py": source()})
    found = Plugins([folder])
    write(folder, {"broken.py": BROKEN[case][0]})
    (failed,) = found.reload()
    assert failed == state(found, "broken")
    assert BROKEN[case][1] in failed.error
    assert "the version before stays in use" in failed.error
    assert (failed.stale, failed.nodes) == (True, ("broken/plus",))
    assert call(found, "broken/plus", 1) == 2
    assert found.reload() == [], "the same failure is no news"
    write(folder, {"broken.py": source()})
    assert [s.error for s in found.reload()] == [""]


def test_a_deleted_plugin_disappears(folder: Path) -> None:
    write(folder, {"p.py": source(), "q/__init__.py": source()})
    found = Plugins([folder])
    (folder / "p.py").unlink()
    assert found.reload() == [PluginState("p", folder / "p.py")]
    assert found.registry.find("p/plus") is None
    assert not [name for name in sys.modules if name.startswith(f"{PLUGIN_PACKAGE}.p_")]
    assert call(found, "q/plus", 1) == 2


def test_a_changed_module_of_a_package_reloads_the_package(folder: Path) -> None:
    write(folder, {"p/__init__.py": "from .inner import plus\n", "p/inner.py": source()})
    found = Plugins([folder])
    write(folder, {"p/inner.py": source(add=5), "p/notes.txt": "data does not count"})
    assert [s.name for s in found.reload()] == ["p"]
    assert call(found, "p/plus", 1) == 6
    write(folder, {"p/notes.txt": "other data"})
    assert found.reload() == []


LAZY = """
from graphcore import node

@node(category="test")
def plus(x: int) -> int:
    from .late import ADD
    return x + ADD
"""


def test_a_module_imported_late_is_of_the_same_version(folder: Path) -> None:
    write(folder, {"p/__init__.py": LAZY, "p/late.py": "ADD = 1\n"})
    found = Plugins([folder])
    first = found.registry
    digest = node_digest(first.get("p/plus"))
    write(folder, {"p/late.py": "ADD = 2\n"})
    assert call(found, "p/plus", 1) == 2, "not loaded yet, and changed on disk: still the version that was read"
    found.reload()
    assert call(found, "p/plus", 1) == 3
    assert node_digest(found.registry.get("p/plus")) != digest
    assert node_digest(first.get("p/plus")) == digest


def test_a_replaced_version_can_still_import_its_modules(folder: Path) -> None:
    write(folder, {"p/__init__.py": LAZY, "p/late.py": "ADD = 1\n"})
    found = Plugins([folder])
    old = found.registry.get("p/plus")
    write(folder, {"p/late.py": "ADD = 2\n"})
    found.reload()
    assert len(node_digest(old)) == 64, "asked for the first time only now"
    assert old.function(1) == 2
    (folder / "p/late.py").unlink()
    found.reload()
    assert old.function(1) == 2


def test_replaced_versions_are_freed(folder: Path) -> None:
    write(folder, {"p/__init__.py": LAZY, "p/late.py": "ADD = 1\n"})
    found = Plugins([folder])
    assert call(found, "p/plus", 1) == 2
    old = weakref.ref(found.registry.get("p/plus").function)
    write(folder, {"p/late.py": "ADD = 2\n"})
    found.reload()
    loaded = [name for name in sys.modules if name.startswith(f"{PLUGIN_PACKAGE}.p_")]
    assert loaded == [found.registry.get("p/plus").module]
    gc.collect()
    assert old() is None


def test_going_back_to_an_earlier_version(folder: Path) -> None:
    write(folder, {"p.py": source()})
    found = Plugins([folder])
    digests = []
    for add in (1, 2, 1):
        write(folder, {"p.py": source(add=add)})
        found.reload()
        assert call(found, "p/plus", 0) == add
        digests.append(node_digest(found.registry.get("p/plus")))
    assert digests[0] == digests[2] != digests[1]


def test_what_was_missing_may_be_installed_later(folder: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    write(folder, {"p.py": "import arrives_later\n" + source()})
    found = Plugins([folder])
    assert "arrives_later" in state(found, "p").error
    write(tmp_path / "site", {"arrives_later.py": ""})
    monkeypatch.syspath_prepend(str(tmp_path / "site"))
    assert [s.error for s in found.reload()] == [""]


def test_two_loaders_of_one_folder_do_not_disturb_each_other(folder: Path) -> None:
    write(folder, {"p/__init__.py": LAZY, "p/late.py": "ADD = 1\n"})
    one, other = Plugins([folder]), Plugins([folder])
    write(folder, {"p/late.py": "ADD = 2\n"})
    one.reload()
    assert (call(one, "p/plus", 0), call(other, "p/plus", 0)) == (2, 1)


def test_the_digest_of_a_plugin_does_not_know_where_it_lies(folder: Path, tmp_path: Path) -> None:
    files = {"p/__init__.py": LAZY, "p/late.py": "ADD = 1\n"}
    write(folder, files)
    write(tmp_path / "copy", files)
    here, there = Plugins([folder]), Plugins([tmp_path / "copy"])
    assert node_digest(here.registry.get("p/plus")) == node_digest(there.registry.get("p/plus"))


def test_built_in_modules_that_a_plugin_imports_count(folder: Path) -> None:
    from graphcore.plugins import digests

    write(folder, {"p.py": source() + "from nodes.types import Latents\n", "q.py": source()})
    found = Plugins([folder])
    assert "nodes.types" in digests._closure(found.registry.get("p/plus").module)
    assert "nodes.types" not in digests._closure(found.registry.get("q/plus").module)


def test_reloads_at_once_from_several_threads(folder: Path) -> None:
    write(folder, {"p.py": source(add=0)})
    found = Plugins([folder])
    wrong: list[object] = []

    def use() -> None:
        for _ in range(30):
            found.reload()
            if not isinstance(call(found, "p/plus", 0), int):
                wrong.append(found.registry)

    threads = [threading.Thread(target=use) for _ in range(4)]
    for thread in threads:
        thread.start()
    for add in range(1, 10):
        write(folder, {"p.py.new": source(add=add)})
        (folder / "p.py.new").replace(folder / "p.py")
    for thread in threads:
        thread.join()
    found.reload()
    assert wrong == []
    assert call(found, "p/plus", 0) == 9


def test_a_folder_that_vanishes_and_comes_back(folder: Path) -> None:
    write(folder, {"p.py": source()})
    found = Plugins([folder])
    folder.rename(folder.with_name("away"))
    assert [s.name for s in found.reload()] == ["p"]
    folder.with_name("away").rename(folder)
    found.reload()
    assert call(found, "p/plus", 1) == 2
