"""A run of which nothing runs: the workflow is unrolled as far as its keys are known before.

`infer` hooks tell how long the sequences are that loops go over; else the journal does, if an earlier run saw them.
"""

from __future__ import annotations

import itertools
import re
from collections import deque
from collections.abc import Callable, Mapping
from functools import cached_property
from typing import Any

from graphcore.declare.node import NodeType
from graphcore.errors import StepgraphError, TooManyIterations
from graphcore.execution import pieces
from graphcore.execution.identity import Header, Identify, call_name
from graphcore.execution.journal import Journal
from graphcore.execution.program import Program
from graphcore.execution.task import DONE, Ref, Task, constant, value_of
from graphcore.execution.unroll import Control, Frame, Unroller

MOST_ITERATIONS = 20_000
"""Of all loops together; a dry run holds them all in memory."""


class DryUnroller(Unroller):
    """Unrolls loops by the length of sequences; their items have keys, but no values."""

    def _items(self, frame: Frame, name: str, ref: Ref) -> list[Ref]:
        if ref[0].constant:
            return super()._items(frame, name, ref)
        length = self._run.length(ref)  # type: ignore[attr-defined]
        whole, begin = pieces.whole(ref)
        if whole[0].constant:
            return [constant(value) for value in list(value_of(whole))[begin : begin + length]]
        return [(self._item(frame, name, whole, position), 0) for position in range(begin, begin + length)]


class DryRun:
    """Stands where a `Run` stands for the unroller: asks the cache what it has, and runs nothing.

    Attributes:
        unrolls: What unrolls its loops.
        most_iterations: That are unrolled; what a loop holds that would make more is not known.
        iterations: That all loops make that were met so far.
    """

    unrolls: type[DryUnroller] = DryUnroller
    most_iterations: float = MOST_ITERATIONS

    def __init__(
        self, program: Program, inputs: Mapping[str, Any], header: Header, identify: Identify, journal: Journal
    ) -> None:
        self.header = header
        self.needed: dict[Task, bool] = {}
        self.unknown: dict[str, str] = {}
        self.calls: dict[str, tuple[bytes, ...]] = {}
        self.program, self.iterations = program, 0
        self._journal, self._inputs = journal, inputs
        self._identify = identify
        self._ready: deque[Control] = deque()
        self._inferred: dict[Task, tuple[Any, ...] | None] = {}
        self._unroller = self.unrolls(self, header, self._remember_call, itertools.count())  # type: ignore[arg-type]

    def look(self, stored: Callable[[bytes], bool]) -> None:
        """Find out what a run would need, and which of it is stored."""
        self._stored = stored
        bound = [(slot, constant(self._inputs[n])) for n, slot in self.program.inputs.items() if n in self._inputs]
        self._frame = frame = self._unroller.open(self.program.scope, "", bound)
        for slot in (*self.program.outputs.values(), *self.program.effects):
            self._unroller.want(frame, slot)
        while self._ready:
            control = self._ready.popleft()
            try:
                self._unroller.expand(control)
            except StepgraphError as error:
                self.unknown[control.path] = str(error)

    def output_keys(self) -> dict[str, str] | None:
        """The content address of each output, hexadecimal, after `look`; None where one of them has none yet."""
        refs = {name: self._frame.slots[slot] for name, slot in self.program.outputs.items()}
        if not all(refs.values()):
            return None
        return {name: ref[0].chunks[ref[1]].hex() for name, ref in refs.items() if ref is not None}

    def by_path(self) -> dict[str, list[Task]]:
        """The needed calls of each node of the file, in the order in which they would run."""
        paths: dict[str, list[Task]] = {}
        for task in sorted(self.needed, key=lambda task: task.order):
            if task.type is not None:
                paths.setdefault(static(task.path), []).append(task)
        return paths

    @cached_property
    def by_full_path(self) -> dict[str, Task]:
        return {task.path: task for task in self.needed}

    # -- what the unroller asks for ------------------------------------------------------------------------------

    def goal(self, task: Task) -> None:
        stack = [task]
        while stack:
            task = stack.pop()
            if task in self.needed or task.constant:
                continue
            self.needed[task] = task.type is not None and task.type.pure and self._stored(task.key)
            if not self.needed[task]:
                stack.extend(source for source, _ in task.refs)

    def await_values(self, control: Control) -> None:
        for task in control.tasks:
            self.goal(task)
            if not task.constant and self._infer(task) is None and not self._length_is_known(task):
                self.unknown[control.path] = f"`{task.path}`"
                return
        self._ready.append(control)

    def release(self, task: Task) -> None:
        """Nothing is held."""

    def expanded(self, path: str, total: int) -> None:
        """Count them before they are made.

        Raises:
            TooManyIterations: these are more than can be held.
        """
        self.iterations += total
        if self.iterations > self.most_iterations:
            raise TooManyIterations(f"more than {self.most_iterations} iterations of loops, with those of `{path}`")

    def counted(self, ref: Ref, length: int) -> None:
        """Nothing new is learnt."""

    def length(self, ref: Ref) -> int:
        """How many items a sequence has."""
        outputs = self._inferred.get(ref[0])
        try:
            return len(outputs[ref[1]]) if outputs is not None else self._known_length(ref)
        except TypeError:
            return self._known_length(ref)

    def _known_length(self, ref: Ref) -> int:
        if (length := self._journal.length(ref[0].chunks[ref[1]].hex())) is None:
            raise StepgraphError(f"`{ref[0].path}`")
        return length

    def _length_is_known(self, task: Task) -> bool:
        return any(self._journal.length(chunk.hex()) is not None for chunk in task.chunks)

    def _infer(self, task: Task) -> tuple[Any, ...] | None:
        """The outputs of a task as far as `infer` hooks tell; None where they do not."""
        if task.constant:
            return task.outputs
        if task not in self._inferred:
            self._inferred[task] = None
            self._inferred[task] = outputs = self._call_infer(task)
            if outputs is not None:
                task.outputs, task.state = outputs, DONE
        return self._inferred[task]

    def _call_infer(self, task: Task) -> tuple[Any, ...] | None:
        if task.type is None or task.type.infer is None:
            return None
        known = {}
        for name, (source, index) in zip(task.type.inputs, task.refs, strict=True):
            if (outputs := self._infer(source)) is not None:
                known[name] = outputs[index]
        try:
            return task.type.split(task.type.infer(**known))
        except (StepgraphError, TypeError):
            return None  # the hook needs something that is not known before the run

    def _remember_call(self, type_: NodeType, values: dict[str, Any]) -> tuple[bytes, ...]:
        found = self._identify(type_, values)
        self.calls[call_name(type_, values)] = found
        return found


def static(path: str) -> str:
    """A path without iteration numbers."""
    return re.sub(r"\[\d+\]", "", path)
