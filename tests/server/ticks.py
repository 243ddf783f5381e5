"""Cheap jobs for tests: a loop of a slow node without torch, whose result is known."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from server.work.folders import Folders

TICKS = 8

PLUGIN = """
import time
from pathlib import Path

from graphcore import node

HURRY = Path(__file__).parents[1] / "hurry"


@node(category="test")
def tick(value: int, seed: int = 0, seconds: float = 0.08) -> int:
    '''One slow step: the next number of a sequence that depends on the seed.'''
    time.sleep(seconds / 50 if HURRY.exists() else seconds)
    return (value * 31 + seed) % 1_000_003
"""


def workflow(times: int = TICKS, seconds: float = 0.08) -> dict[str, Any]:
    """A loop of ticks with the input `seed` and the output `value`."""
    tick = {
        "type": "slow/tick",
        "inputs": {"value": {"from": "carry.value"}, "seed": {"from": "inputs.seed"}, "seconds": seconds},
    }
    loop = {
        "type": "loop",
        "times": times,
        "inputs": {"seed": {"from": "inputs.seed"}},
        "carry": {"value": 1},
        "body": {"nodes": {"tick": tick}, "carry": {"value": {"from": "tick"}}},
    }
    return {
        "stepgraph": 1,
        "inputs": {"seed": {"type": "integer", "default": 0}},
        "nodes": {"loop": loop},
        "outputs": {"value": {"from": "loop.value"}},
    }


WORKFLOW = workflow()


def expected(seed: int, times: int = TICKS) -> int:
    """The value that the workflow makes."""
    value = 1
    for _ in range(times):
        value = (value * 31 + seed) % 1_000_003
    return value


def make(data: Path) -> Folders:
    """A data folder with the plugin in it."""
    folders = Folders(data)
    folders.make()
    (folders.plugins / "slow.py").write_text(PLUGIN)
    return folders


def hurry(data: Path) -> None:
    """From now on steps are quick: the test has seen what it wanted of slow ones, however slow it was to look."""
    (data / "hurry").touch()
