"""What `explain` says: cached, or will run and why; nothing is run for it, and a run then does just that."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any, NamedTuple

import pytest

from graphcore import Engine, Workflow, content, node
from graphcore.declare.node import NodeType, declared
from graphcore.declare.registry import Registry
from graphcore.errors import CheckFailed, StepgraphError
from graphcore.execution import executor
from graphcore.execution.dry_run import static
from graphcore.execution.explain import Explanation
from graphcore.plugins import digests
from tests.graphcore import arithmetic
from tests.graphcore.arithmetic import CALLS, workflow


def _content(path: str) -> str:
    return content.digest(path)


@node(category="numbers", fingerprint=_content)
def read(path: str) -> float:
    """The number in a file."""
    CALLS["read"] += 1
    return float(Path(path).read_text())


class Two(NamedTuple):
    first: float
    second: float


def _each(folder: str) -> tuple[str, ...]:
    return tuple(content.digest(Path(folder) / name) for name in ("first", "second"))


@node(category="numbers", fingerprint=_each)
def read_two(folder: str) -> Two:
    """The numbers in two files of a folder; each output is known by its own file."""
    CALLS["read_two"] += 1
    return Two(*(float((Path(folder) / name).read_text()) for name in ("first", "second")))


@node(category="numbers", fingerprint=lambda folder: ("only one",))
def read_badly(folder: str) -> Two:
    """A hook that gives fewer texts than there are outputs."""
    return Two(0.0, 0.0)


FUNCTIONS = (arithmetic.number, arithmetic.add, arithmetic.count, arithmetic.tell, read, read_two, read_badly)
REGISTRY = Registry().with_nodes("stepgraph", [d for f in FUNCTIONS if (d := declared(f))])


@pytest.fixture(autouse=True)
def fresh(monkeypatch: pytest.MonkeyPatch) -> None:
    """Every value is worth being stored."""
    arithmetic.reset()
    monkeypatch.setattr(executor, "WORTH_SECONDS", -1.0)


@pytest.fixture
def make(tmp_path: Path) -> Iterator[Callable[[], Engine]]:
    """Engines on one cache folder, each with an empty memory, as in a new process."""
    engines: list[Engine] = []

    def new() -> Engine:
        for engine in engines:
            engine.flush()
        engines.append(Engine(registry=REGISTRY, cache=tmp_path / "cache", device="cpu"))
        return engines[-1]

    yield new
    for engine in engines:
        engine.close()


Make = Callable[[], Engine]


def explain(make: Make, made: Workflow, **inputs: Any) -> dict[str, Explanation]:
    before = CALLS.copy()
    found = {one.node: one for one in make().explain(made, inputs)}
    assert before == CALLS, "explaining ran a node"
    return found


def run(make: Make, made: Workflow, **inputs: Any) -> Counter[str]:
    """Run, and count the nodes that really ran."""
    with make() as engine:
        running = engine.start(made, inputs)
        started = Counter(static(event.node) for event in running if event.event == "started")
    return started


def predicted(found: dict[str, Explanation]) -> Counter[str]:
    return Counter({name: one.total - one.cached for name, one in found.items() if one.total > one.cached})


CHAIN = """
"a": {"type": "add", "inputs": {"a": {"from": "inputs.x"}, "b": 1}},
"b": {"type": "add", "inputs": {"a": {"from": "a"}, "b": 20}},
"c": {"type": "add", "inputs": {"a": {"from": "b"}, "b": {"from": "side"}}},
"side": {"type": "number", "inputs": {"value": 300}}
"""
INPUTS = '"x": {"type": "number", "default": 0}'
OUTPUT = '"c": {"from": "c"}, "b": {"from": "b"}, "a": {"from": "a"}, "side": {"from": "side"}'


def test_before_the_first_run(make: Make) -> None:
    found = explain(make, workflow(CHAIN, OUTPUT, INPUTS))
    assert {name: one.state for name, one in found.items()} == dict.fromkeys(["a", "b", "c", "side"], "run")
    assert {one.reason for one in found.values()} == {"there was no earlier run of this workflow"}
    assert (found["a"].type, found["side"].type) == ("add", "number")
    assert found["a"].as_dict()["total"] == 1


def test_after_a_run_all_is_cached(make: Make) -> None:
    run(make, workflow(CHAIN, OUTPUT, INPUTS))
    found = explain(make, workflow(CHAIN, OUTPUT, INPUTS))
    assert {one.state for one in found.values()} == {"cached"}
    assert {one.reason for one in found.values()} == {""}
    assert run(make, workflow(CHAIN, OUTPUT, INPUTS)) == Counter()


def test_only_what_is_needed_is_told(make: Make) -> None:
    run(make, workflow(CHAIN, OUTPUT, INPUTS))
    assert set(explain(make, workflow(CHAIN, '"c": {"from": "c"}', INPUTS))) == {"c"}


def test_a_changed_input(make: Make) -> None:
    made = workflow(CHAIN, OUTPUT, INPUTS)
    run(make, made)
    found = explain(make, made, x=5)
    assert {name: one.state for name, one in found.items()} == {"a": "run", "b": "run", "c": "run", "side": "cached"}
    assert found["a"].reason == "`a` changed from 0.0 to 5.0"
    assert found["b"].reason == found["c"].reason == "in `a`, `a` changed from 0.0 to 5.0"
    assert predicted(found) == run(make, made, x=5)


def test_a_changed_literal(make: Make) -> None:
    run(make, workflow(CHAIN, OUTPUT, INPUTS))
    made = workflow(CHAIN.replace('"b": 20', '"b": 21'), OUTPUT, INPUTS)
    found = explain(make, made)
    assert {name: one.state for name, one in found.items()} == {"a": "cached", "b": "run", "c": "run", "side": "cached"}
    assert found["b"].reason == "`b` changed from 20.0 to 21.0"
    assert found["c"].reason == "in `b`, `b` changed from 20.0 to 21.0"
    assert predicted(found) == run(make, made)


def test_a_changed_link_and_a_changed_type(make: Make) -> None:
    run(make, workflow(CHAIN, OUTPUT, INPUTS))
    relinked = workflow(CHAIN.replace('{"from": "side"}', '{"from": "a"}'), OUTPUT, INPUTS)
    assert explain(make, relinked)["c"].reason == "`b` comes from `a`, no longer from `side`"
    unlinked = workflow(CHAIN.replace('{"from": "side"}', "7"), OUTPUT, INPUTS)
    assert explain(make, unlinked)["c"].reason == "`b` changed from a link to `side` to 7.0"
    retyped = CHAIN.replace('"type": "number", "inputs": {"value": 300}', '"type": "add", "inputs": {"a": 300}')
    found = explain(make, workflow(retyped, OUTPUT, INPUTS))
    assert (found["side"].reason, found["c"].reason) == ("it was a number", "in `side`, it was a number")


def test_several_changes_are_all_named(make: Make) -> None:
    run(make, workflow(CHAIN, OUTPUT, INPUTS))
    made = workflow(CHAIN.replace("300", "301"), OUTPUT, INPUTS)
    reason = explain(make, made, x=1)["c"].reason
    assert set(reason.split("; ")) == {
        "in `a`, `a` changed from 0.0 to 1.0", "in `side`, `value` changed from 300.0 to 301.0",
    }  # fmt: skip


def test_changed_code(make: Make, monkeypatch: pytest.MonkeyPatch) -> None:
    made = workflow(CHAIN, OUTPUT, INPUTS)
    run(make, made)
    original = digests.node_digest

    def edited(type_: NodeType) -> str:
        return original(type_)[::-1] if type_.name == "stepgraph/number" else original(type_)

    monkeypatch.setattr(digests, "node_digest", edited)
    found = explain(make, made)
    assert {name: one.state for name, one in found.items()} == {"a": "cached", "b": "cached", "c": "run", "side": "run"}
    assert found["side"].reason == "its code changed (or a library, the device, the dtype)"
    assert found["c"].reason == f"in `side`, {found['side'].reason}"
    assert predicted(found) == run(make, made)


def test_changed_content_of_a_file(make: Make, tmp_path: Path) -> None:
    file, other = tmp_path / "number.txt", tmp_path / "other.txt"
    file.write_text("5")
    other.write_text("5")
    made = workflow(
        '"r": {"type": "read", "inputs": {"path": {"from": "inputs.path"}}}, '
        '"s": {"type": "add", "inputs": {"a": {"from": "r"}}}',
        '"s": {"from": "s"}, "r": {"from": "r"}',
        '"path": {"type": "string"}',
    )
    run(make, made, path=str(file))
    assert {one.state for one in explain(make, made, path=str(file)).values()} == {"cached"}
    assert {one.state for one in explain(make, made, path=str(other)).values()} == {"cached"}  # content, not name
    file.write_text("6")
    found = explain(make, made, path=str(file))
    assert found["r"].reason == "the content of a file that it reads changed"
    assert found["s"].reason == "in `r`, the content of a file that it reads changed"
    assert predicted(found) == run(make, made, path=str(file))


LOOP = """
"l": {"type": "loop", "times": {"from": "inputs.n"}, "carry": {"v": {"from": "inputs.x"}}, "body": {
  "nodes": {"s": {"type": "add", "inputs": {"a": {"from": "carry.v"}, "b": {"from": "index"}}}},
  "carry": {"v": {"from": "s"}}}}
"""
LOOP_INPUTS = '"n": {"type": "integer", "default": 4}, "x": {"type": "number", "default": 0}'


def test_a_longer_loop_is_partly_cached(make: Make) -> None:
    made = workflow(LOOP, '"v": {"from": "l.v"}', LOOP_INPUTS)
    run(make, made)
    assert {name: one.state for name, one in explain(make, made).items()} == {"l.s": "cached"}
    found = explain(make, made, n=7)
    assert (found["l.s"].state, found["l.s"].total - found["l.s"].cached) == ("partly", 3)
    assert found["l.s"].reason == "the nearest earlier run had no such node"
    assert predicted(found) == run(make, made, n=7)
    assert explain(make, made, n=7, x=1)["l.s"].reason == "`a` changed from 0.0 to 1.0"


def test_the_nearest_of_several_runs_is_compared(make: Make) -> None:
    made = workflow(CHAIN, OUTPUT, INPUTS)
    run(make, made, x=1)
    run(make, workflow(CHAIN.replace("300", "555").replace('"b": 20', '"b": 99'), OUTPUT, INPUTS), x=2)
    found = explain(make, workflow(CHAIN.replace("300", "301"), OUTPUT, INPUTS), x=1)
    assert found["side"].reason == "`value` changed from 300.0 to 301.0"


EACH = """
"n": {"type": "count", "inputs": {"n": {"from": "inputs.n"}}},
"m": {"type": "map", "each": {"i": {"from": "n"}}, "body": {
  "nodes": {"s": {"type": "add", "inputs": {"a": {"from": "each.i"}, "b": {"from": "inputs.x"}}}},
  "outputs": {"s": {"from": "s"}}}, "inputs": {"x": {"from": "inputs.x"}}}
"""


def test_a_loop_whose_length_is_not_known(make: Make) -> None:
    made = workflow(EACH, '"s": {"from": "m.s"}', LOOP_INPUTS)
    found = explain(make, made)
    assert (found["m"].state, found["m"].type) == ("unknown", "loop")
    assert found["m"].reason == "known once `n` has run"
    assert found["n"].state == "run"
    run(make, made)
    assert {one.state for one in explain(make, made).values()} == {"cached"}  # now its length is in the journal
    found = explain(make, made, x=2)
    assert (found["m.s"].state, found["m.s"].total) == ("run", 4)
    assert found["m.s"].reason == "`b` changed from 0.0 to 2.0"
    assert explain(make, made, n=5)["m"].state == "unknown"


def test_effects_run_every_time(make: Make) -> None:
    made = workflow(
        '"s": {"type": "add", "inputs": {"a": 1}}, "t": {"type": "tell", "inputs": {"a": {"from": "s"}}}',
        '"s": {"from": "s"}',
    )
    run(make, made)
    found = explain(make, made)
    assert (found["s"].state, found["t"].state) == ("cached", "run")
    assert found["t"].reason == "it has an effect outside and runs every time"
    assert predicted(found) == run(make, made)


def test_values_that_were_not_kept(make: Make, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(executor, "WORTH_SECONDS", 1000.0)
    made = workflow(CHAIN, OUTPUT, INPUTS)
    run(make, made)
    found = explain(make, made)
    assert {one.state for one in found.values()} == {"run"}
    assert {one.reason for one in found.values()} == {
        "its value was not kept: it is quickly made again, or it left the cache"
    }


def test_a_lost_or_damaged_journal_costs_reasons_only(make: Make, tmp_path: Path) -> None:
    made = workflow(CHAIN, OUTPUT, INPUTS)
    run(make, made)
    (tmp_path / "cache" / "journal.sqlite").write_bytes(b"no journal" * 500)
    found = explain(make, made, x=5)
    assert {name: one.state for name, one in found.items()} == {"a": "run", "b": "run", "c": "run", "side": "cached"}
    assert found["a"].reason == "there was no earlier run of this workflow"


def test_without_a_cache_everything_runs() -> None:
    with Engine(registry=REGISTRY, device="cpu") as engine:
        engine.run(workflow(CHAIN, OUTPUT, INPUTS))
        assert {one.state for one in engine.explain(workflow(CHAIN, OUTPUT, INPUTS))} == {"run"}


def test_a_wrong_workflow_is_refused(make: Make) -> None:
    with pytest.raises(CheckFailed):
        make().explain(workflow(CHAIN.replace("number", "nunber"), OUTPUT, INPUTS))


TWO = """
"files": {"type": "read_two", "inputs": {"folder": {"from": "inputs.folder"}}},
"a": {"type": "add", "inputs": {"a": {"from": "files.first"}, "b": 1}},
"b": {"type": "add", "inputs": {"a": {"from": "files.second"}, "b": 1}},
"c": {"type": "add", "inputs": {"a": {"from": "a"}, "b": {"from": "b"}}}
"""


def test_other_content_behind_one_output_changes_only_what_uses_it(make: Make, tmp_path: Path) -> None:
    made = workflow(TWO, '"c": {"from": "c"}', '"folder": {"type": "string"}')
    for name, folders in {"first": ("x", "y"), "second": ("x", "y")}.items():
        for number, folder in enumerate(folders):
            (tmp_path / folder).mkdir(exist_ok=True)
            (tmp_path / folder / name).write_text(str(number if name == "second" else 5))
    assert run(make, made, folder=str(tmp_path / "x")) == Counter({"files": 1, "a": 1, "b": 1, "c": 1})
    other = explain(make, made, folder=str(tmp_path / "y"))
    assert other["a"].state == "cached"
    assert other["b"].state == other["c"].state == "run"
    assert "content of a file" in other["b"].reason or "folder" in other["b"].reason
    assert run(make, made, folder=str(tmp_path / "y")) == Counter({"files": 1, "b": 1, "c": 1})


def test_a_fingerprint_has_a_text_for_each_output(make: Make) -> None:
    made = workflow(TWO.replace("read_two", "read_badly"), '"c": {"from": "c"}', '"folder": {"type": "string"}')
    with make() as engine, pytest.raises(StepgraphError, match="1 texts for 2 outputs"):
        engine.run(made, folder="x")
