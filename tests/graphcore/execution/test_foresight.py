"""The keys of outputs are known before a run, and what was foreseen holds until something changes that counts."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest

from graphcore import Engine, node
from graphcore.declare.node import declared
from graphcore.declare.registry import Registry
from graphcore.execution.dry_run import MOST_ITERATIONS
from graphcore.execution.foresight import Foresight, foresee
from graphcore.files.workflow import Workflow
from tests.graphcore.arithmetic import REGISTRY, workflow

ASKED: list[Path] = []

READ = '"r": {"type": "files/read", "inputs": {"file": {"from": "inputs.file"}}}'
MADE = workflow(READ, '"number": {"from": "r"}', '"file": {"type": "path"}')


def content(file: Path) -> str:
    ASKED.append(file)
    return file.read_text()


@node(category="numbers", fingerprint=content)
def read(file: Path) -> float:
    """The number in a file."""
    return float(file.read_text())


def registry() -> Registry:
    """A registry of its own, as a reload makes one."""
    mine = declared(read)
    assert mine is not None
    return REGISTRY.with_nodes("files", [mine])


@pytest.fixture
def engine(tmp_path: Path) -> Iterator[Engine]:
    with Engine(registry=registry(), cache=tmp_path / "cache", device="cpu") as made:
        yield made


def foreseen(engine: Engine, made: Workflow, file: Path) -> Foresight:
    found = foresee(engine, made, {"file": str(file)})
    assert found is not None
    return found


def test_the_keys_are_those_of_a_run(engine: Engine, tmp_path: Path) -> None:
    file = tmp_path / "number"
    file.write_text("5")
    found = foreseen(engine, MADE, file)
    run = engine.start(MADE, {"file": str(file)})
    run.finish()
    assert found.keys == run.keys


def test_it_holds_until_a_file_changes(engine: Engine, tmp_path: Path) -> None:
    file = tmp_path / "number"
    file.write_text("5")
    found = foreseen(engine, MADE, file)
    ASKED.clear()
    assert found.holds(engine, MADE, {"file": str(file)})
    assert len(ASKED) == 1, "the hook is asked each time"
    file.write_text("6")
    assert not found.holds(engine, MADE, {"file": str(file)})
    assert foreseen(engine, MADE, file).keys != found.keys
    file.write_text("5")
    assert found.holds(engine, MADE, {"file": str(file)})


def test_it_holds_for_one_workflow_and_its_node_types(engine: Engine, tmp_path: Path) -> None:
    file = tmp_path / "number"
    file.write_text("5")
    found = foreseen(engine, MADE, file)
    again = workflow(READ, '"number": {"from": "r"}', '"file": {"type": "path"}')
    assert not found.holds(engine, again, {"file": str(file)})
    engine.use(registry())
    assert not found.holds(engine, MADE, {"file": str(file)})
    assert foreseen(engine, MADE, file).holds(engine, MADE, {"file": str(file)})


def test_what_no_key_tells_is_not_foreseen(engine: Engine) -> None:
    effect = workflow('"t": {"type": "tell", "inputs": {"a": 1}}, "n": {"type": "number", "inputs": {"value": 2}}',
                      '"n": {"from": "n"}')  # fmt: skip
    assert foresee(engine, effect, {}) is None
    loop = """"loop": {"type": "loop", "times": {"from": "inputs.times"}, "carry": {"sum": 0}, "body": {
 "nodes": {"sum": {"type": "add", "inputs": {"a": {"from": "carry.sum"}}}}, "carry": {"sum": {"from": "sum"}}}}"""
    long = workflow(loop, '"sum": {"from": "loop.sum"}', '"times": {"type": "integer"}')
    assert foresee(engine, long, {"times": 3}) is not None
    assert foresee(engine, long, {"times": MOST_ITERATIONS + 1}) is None
