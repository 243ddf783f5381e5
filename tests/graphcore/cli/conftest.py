"""A folder of one's own per test: home, plugins with small nodes, workflows that use them."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

NODES = '''
from __future__ import annotations

import time
from pathlib import Path
from typing import Annotated

from pydantic import Field

from graphcore import node, note, runtime


@node(category="test")
def add(a: int, b: int = 1) -> int:
    """The sum of two numbers."""
    return a + b


@node(category="test")
def slow(value: int, seconds: Annotated[float, Field(ge=0, le=60)] = 0.03) -> int:
    """The value plus one, after a while."""
    end = time.monotonic() + seconds
    while time.monotonic() < end:
        time.sleep(0.005)
    return value + 1


@node(category="test")
def divide(a: float, b: float) -> float:
    """A quotient."""
    return _quotient(a, b)


def _quotient(a: float, b: float) -> float:
    return a / b


@node(category="test")
def speak(text: str) -> str:
    """Says a note."""
    note(f"said {text}")
    time.sleep(0.03)
    return text


def _digest(path: Path) -> str:
    return runtime().readable(path).read_text()


@node(category="test", fingerprint=_digest)
def read(path: Path) -> str:
    """The text of a file."""
    return runtime().readable(path).read_text()
'''


@pytest.fixture
def place(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """An empty current folder, with STEPGRAPH_HOME below it and a plugin `my` in ./plugins."""
    monkeypatch.setenv("STEPGRAPH_HOME", str(tmp_path / "home"))
    here = tmp_path / "here"
    (here / "plugins").mkdir(parents=True)
    (here / "plugins" / "my.py").write_text(NODES)
    monkeypatch.chdir(here)
    return here


@pytest.fixture
def write(place: Path) -> Callable[..., Path]:
    """Writes a workflow file: name, inputs, nodes, outputs."""

    def write_file(name: str, nodes: dict[str, Any], outputs: dict[str, str], **inputs: Any) -> Path:
        path = place / name
        document = {
            "stepgraph": 1,
            "inputs": inputs,
            "nodes": nodes,
            "outputs": {output: {"from": link} for output, link in outputs.items()},
        }
        path.write_text(json.dumps(document, indent=2))
        return path

    return write_file


@pytest.fixture
def counting(write: Callable[..., Path]) -> Path:
    """A workflow `counting.json`: a loop of `steps` slow steps from `start`, then one addition."""
    return write(
        "counting.json",
        {
            "count": {
                "type": "loop",
                "times": {"from": "inputs.steps"},
                "inputs": {"seconds": {"from": "inputs.seconds"}},
                "carry": {"number": {"from": "inputs.start"}},
                "body": {
                    "nodes": {
                        "step": {
                            "type": "my/slow",
                            "inputs": {"value": {"from": "carry.number"}, "seconds": {"from": "inputs.seconds"}},
                        }
                    },
                    "carry": {"number": {"from": "step"}},
                },
            },
            "sum": {"type": "my/add", "inputs": {"a": {"from": "count.number"}, "b": {"from": "inputs.more"}}},
        },
        {"sum": "sum"},
        start={"type": "integer", "default": 0},
        more={"type": "integer", "default": 100},
        steps={"type": "integer", "default": 4, "minimum": 1},
        seconds={"type": "number", "default": 0.03},
    )
