"""What a code digest depends on: every byte of the source that counts, and nothing else.

The rule is coarse on purpose. That a comment changes the digest is the price of never reusing a value wrongly.
"""

from __future__ import annotations

import functools
import importlib
import subprocess
import sys
import textwrap
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from graphcore import StepgraphError, node
from graphcore.declare.node import declared
from graphcore.plugins import codeobjects, digests
from graphcore.plugins.digests import code_digest, node_digest

Package = Callable[[dict[str, str]], None]

SOURCES = {
    "__init__": "from toolbox.top import answer\n",
    "top": "from toolbox.direct import one\n\ndef answer():\n    from .lazy import two\n    return one + two\n",
    "direct": "import toolbox.deep as deep\none = deep.ONE\n",
    "deep": "ONE = 1\n",
    "lazy": "two = 2\n",
    "other": "three = 3\n",
}


@pytest.fixture
def package(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Package]:
    """Writes the package `toolbox` and forgets that it was ever imported: the next look is that of a new process."""
    monkeypatch.syspath_prepend(str(tmp_path))
    monkeypatch.setattr(sys, "dont_write_bytecode", True)

    def write(sources: dict[str, str]) -> None:
        for name, source in sources.items():
            file = tmp_path / "toolbox" / f"{name.replace('.', '/')}.py"
            file.parent.mkdir(parents=True, exist_ok=True)
            file.write_text(source)
        forget()

    def forget() -> None:
        for name in [name for name in sys.modules if name.partition(".")[0] == "toolbox"]:
            del sys.modules[name]
        importlib.invalidate_caches()

    yield write
    forget()


@pytest.mark.parametrize("changed", ["top", "direct", "deep", "lazy"])
def test_any_byte_of_what_is_imported_counts(package: Package, changed: str) -> None:
    package(SOURCES)
    before = code_digest("toolbox.top")
    package({changed: SOURCES[changed] + "# a comment\n"})
    assert code_digest("toolbox.top") != before
    package({changed: SOURCES[changed]})
    assert code_digest("toolbox.top") == before


@pytest.mark.parametrize("unrelated", ["other", "__init__"])
def test_what_is_not_imported_does_not_count(package: Package, unrelated: str) -> None:
    package(SOURCES)
    before = code_digest("toolbox.top")
    package({unrelated: SOURCES[unrelated] + "# a comment\n"})
    assert code_digest("toolbox.top") == before


@pytest.mark.parametrize(
    ("statement", "counts"),
    [
        ("from toolbox import other", ".other"),
        ("from . import other", ".other"),
        ("from .other import *", ".other"),
        ("import toolbox.other", ".other"),
        ("import toolbox.other as o", ".other"),
        ("from toolbox import answer", ""),
        ("import toolbox", ""),
        ("import toolbox.other", ""),
        ("from .inner import leaf", ".inner.leaf"),
        ("from .inner.leaf import three", ".other"),
        ("if True:\n    try:\n        from . import other\n    except ImportError:\n        pass", ".other"),
        ("match 1:\n    case 1:\n        from . import other", ".other"),
        ("class A:\n    def f(self):\n        from . import other", ".other"),
        ("import importlib\nimportlib.import_module('toolbox.other')", ".other"),
        ("from importlib import import_module\nx = [import_module('.other', __package__)]", ".other"),
        ("from importlib import import_module\nimport_module(f'toolbox.{chr(111)}ther')", ".other"),
        ("from importlib import import_module\nname = 'x'\ndef f(): return import_module(name)", ".inner.leaf"),
    ],
)
def test_forms_of_import(package: Package, statement: str, counts: str) -> None:
    package({**SOURCES, "inner.__init__": "", "inner.leaf": "from ..other import three", "user": statement})
    assert counts in digests._closure("toolbox.user")


def test_computed_names_count_only_what_they_can_mean(package: Package) -> None:
    package({**SOURCES, "user": "from importlib import import_module\nimport_module(f'{__name__}.utils')"})
    assert set(digests._closure("toolbox.user")) == {".user"}


def test_cycles_end(package: Package) -> None:
    package({"__init__": "", "a": "from toolbox import b", "b": "from toolbox import a"})
    assert set(digests._closure("toolbox.a")) == {".a", ".b"}


def test_the_digest_is_that_of_the_code_as_loaded(package: Package, tmp_path: Path) -> None:
    package(SOURCES)
    top = importlib.import_module("toolbox.top")
    loaded = code_digest("toolbox.top")
    (tmp_path / "toolbox/deep.py").write_text("ONE = 1  # edited under the running process\n")
    assert code_digest("toolbox.top") == loaded
    assert top.answer() == 3
    package({})  # forgotten: imported anew it is the new code
    assert code_digest("toolbox.top") != loaded


def test_importlib_reload_is_noticed(package: Package, tmp_path: Path) -> None:
    package(SOURCES)
    deep = importlib.import_module("toolbox.deep")
    before = code_digest("toolbox.deep")
    (tmp_path / "toolbox/deep.py").write_text("ONE = 10\n")
    assert importlib.reload(deep).ONE == 10
    assert code_digest("toolbox.deep") != before


def test_the_place_does_not_count(package: Package, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    package(SOURCES)
    before = code_digest("toolbox.top")
    (tmp_path / "elsewhere").mkdir()
    (tmp_path / "toolbox").rename(tmp_path / "elsewhere/toolbox")
    monkeypatch.syspath_prepend(str(tmp_path / "elsewhere"))
    package({})
    assert code_digest("toolbox.top") == before


@pytest.mark.parametrize("library", ["torch", "diffusers", "transformers"])
def test_versions_of_the_libraries_count(library: str, monkeypatch: pytest.MonkeyPatch) -> None:
    before = code_digest(__name__)
    monkeypatch.setattr(digests, "_digests", {})
    true_version = digests._version
    monkeypatch.setattr(digests, "_version", lambda name: "0.0" if name == library else true_version(name))
    digests._versions.cache_clear()
    try:
        assert code_digest(__name__) != before
    finally:
        digests._versions.cache_clear()


def test_another_process_says_the_same_without_importing_the_libraries() -> None:
    script = (
        "import sys, graphcore.plugins.digests as d; print(d.code_digest('graphcore.declare.registry'));"
        "print(sorted({'torch', 'diffusers', 'transformers'} & set(sys.modules)))"
    )
    said = subprocess.run([sys.executable, "-c", script], capture_output=True, text=True, check=True).stdout.split()
    assert said == [code_digest("graphcore.declare.registry"), "[]"]


def test_every_built_in_node_has_a_digest() -> None:
    nodes = importlib.import_module("nodes")
    found = [node_type for thing in vars(nodes).values() if (node_type := declared(thing))]
    assert found
    for node_type in found:
        assert len(node_digest(node_type)) == 64


# -- what the source does not say ------------------------------------------------------------------------------------


def factory(radius: Any, extra: Any = None) -> Callable[..., Any]:
    @node(category="test")
    def blur(image: int) -> float:
        return float(image * radius + bool(extra))

    return blur


def test_what_a_factory_closes_over_counts() -> None:
    three, also_three, five = (code_digest(__name__, factory(radius)) for radius in (3, 3, 5))
    assert three == also_three != five
    assert code_digest(__name__, factory(3.0)) != three, "types count"


def test_defaults_count() -> None:
    def made(default: int) -> Callable[..., Any]:
        def function(x: int = default) -> int:
            return x

        return function

    assert code_digest(__name__, made(1)) != code_digest(__name__, made(2))


PLAIN = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats(allow_nan=False) | st.text() | st.binary(),
    lambda inner: st.lists(inner) | st.tuples(inner, inner) | st.dictionaries(st.text(), inner),
)


@given(PLAIN, PLAIN)
def test_states_are_equal_exactly_if_the_values_are(first: Any, second: Any) -> None:
    same = repr(first) == repr(second)  # the repr of these types tells types and values apart, -0.0 and 0.0 as well
    assert (codeobjects.state(factory(1, first)) == codeobjects.state(factory(1, second))) is same


def interactive(source: str, name: str = "typed_in") -> dict[str, Any]:
    """What a REPL makes of a text: functions without a file."""
    scope: dict[str, Any] = {"__name__": name}
    exec(compile(textwrap.dedent(source), "<stdin>", "exec"), scope)
    return scope


DEFINITION = """
    SCALE = 2
    def helper(x): return x + 1
    def f(x):
        inner = lambda y: helper(y) * SCALE
        return inner(x)
    def unrelated(x): return {}
"""


def test_without_a_file_the_code_object_counts() -> None:
    before = code_digest("typed_in", interactive(DEFINITION)["f"])
    assert code_digest("typed_in", interactive(DEFINITION)["f"]) == before
    assert code_digest("typed_in", interactive("# a comment\n" + textwrap.dedent(DEFINITION))["f"]) == before
    assert code_digest("typed_in", interactive(DEFINITION.replace("{}", "7"))["f"]) == before
    for old, new in [("x + 1", "x + 2"), ("x + 1", "x - 1"), ("SCALE = 2", "SCALE = 2.0"), ("inner(x)", "inner(-x)")]:
        assert code_digest("typed_in", interactive(DEFINITION.replace(old, new))["f"]) != before, (old, new)


def test_functions_that_name_each_other_have_a_digest() -> None:
    source = "def even(n): return n == 0 or odd(n - 1)\ndef odd(n): return n != 0 and even(n - 1)"
    assert codeobjects.describe(interactive(source)["even"]) != codeobjects.describe(interactive(source)["odd"])


def test_sets_are_said_the_same_in_every_process() -> None:
    script = (
        "from graphcore.plugins import codeobjects\nscope = {'__name__': 'x'}\n"
        "exec(\"def f(s): return s in {'a', 'b', 'c', 'd'}\", scope)\nprint(codeobjects.describe(scope['f']))"
    )
    said = {
        subprocess.run(
            [sys.executable, "-c", script], capture_output=True, text=True, check=True, env={"PYTHONHASHSEED": seed}
        ).stdout
        for seed in ("1", "2", "3")
    }
    assert len(said) == 1


def test_a_deleted_file_falls_back_to_the_code_object(package: Package, tmp_path: Path) -> None:
    package({"__init__": "", "gone": "def f(x): return x"})
    gone = importlib.import_module("toolbox.gone")
    (tmp_path / "toolbox/gone.py").unlink()
    assert len(code_digest("toolbox.gone", gone.f)) == 64
    with pytest.raises(StepgraphError, match=r"toolbox\.gone.*no source"):
        code_digest("toolbox.gone")


def test_partials_and_methods_are_described() -> None:
    assert codeobjects.describe(functools.partial(factory, 1)) != codeobjects.describe(functools.partial(factory, 2))
    assert " at 0x" not in codeobjects.describe(functools.partial(factory, object()))


def test_nodes_of_a_test_module_have_that_file() -> None:
    assert Path(__file__).read_bytes() in digests._closure(__name__).values()


def test_a_script_has_its_file(tmp_path: Path) -> None:
    script = tmp_path / "script.py"
    text = (
        "from graphcore.plugins import digests\n"
        "print(list(digests._closure('__main__')), digests.code_digest('__main__'))\n"
    )
    said = []
    for comment in ("", "# a comment"):
        script.write_text(text + comment)
        environment = {"PYTHONPATH": str(Path(digests.__file__).parents[2])}
        run = subprocess.run([sys.executable, script], capture_output=True, text=True, check=True, env=environment)
        said.append(run.stdout)
    assert said[0].startswith("['']")
    assert said[0] != said[1]
