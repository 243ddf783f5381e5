"""The calls that a run would make, each with its key and whether its value is there: known without running anything."""

from __future__ import annotations

from collections.abc import Callable, Collection, Iterable, Mapping
from dataclasses import dataclass
from typing import Any

from graphcore.execution.dry_run import DryRun, DryUnroller, static
from graphcore.execution.engine import Engine
from graphcore.execution.program import CallCode, Scope
from graphcore.execution.task import Ref, Task
from graphcore.execution.unroll import Frame
from graphcore.files.workflow import Workflow


@dataclass(frozen=True, slots=True)
class Call:
    """One call of a run.

    Args:
        key: Hexadecimal, as events tell it.
        cached: The cache has its value.
    """

    key: str
    cached: bool


@dataclass(frozen=True, slots=True)
class Calls:
    """Calls by path with iteration numbers (`denoise.loop[0].step`).

    Args:
        complete: These are all; else keys of further ones are known only once something has run.
    """

    found: Mapping[str, Call]
    complete: bool


def calls(engine: Engine, workflow: Workflow, inputs: Mapping[str, Any], nodes: Collection[str] | None = None) -> Calls:
    """What a run of a workflow would call.

    Args:
        nodes: Paths without iteration numbers of the nodes that are asked for; None for all.

    Raises:
        CheckFailed: with all that is wrong with workflow or inputs.
    """
    engine.check(workflow, inputs)
    with engine.rehearsal(_Rehearsal, workflow, inputs) as rehearsal:
        rehearsal.look(lambda key: False)  # what lies before a value that is there, too
        found = rehearsal.found(lambda task: engine.has(task.key), nodes)
    return Calls(found, not rehearsal.unknown)


class _Unroller(DryUnroller):
    """Remembers the frames."""

    def __init__(self, *known: Any) -> None:
        super().__init__(*known)
        self._frames: list[Frame] = []

    def open(self, scope: Scope, path: str, bound: Iterable[tuple[int, Ref | None]]) -> Frame:
        frame = super().open(scope, path, bound)
        self._frames.append(frame)
        return frame

    def placed(self) -> Iterable[tuple[str, Task]]:
        """Every call that has a key, by its path."""
        for frame in self._frames:
            for code in frame.scope.nodes:
                if isinstance(code, CallCode) and (ref := frame.slots[code.out]) is not None:
                    yield frame.path + code.name, ref[0]


class _Rehearsal(DryRun):
    """A dry run that remembers where it would call what: equal calls are one task, in whichever iterations."""

    unrolls = _Unroller
    _unroller: _Unroller

    def found(self, stored: Callable[[Task], bool], nodes: Collection[str] | None) -> dict[str, Call]:
        told: dict[str, Call] = {}
        known: dict[Task, Call] = {}
        for path, task in self._unroller.placed():
            if task not in self.needed or not (nodes is None or static(path) in nodes):
                continue
            if task not in known:
                assert task.type is not None
                known[task] = Call(task.key.hex(), task.type.pure and stored(task))
            told[path] = known[task]
        return told
