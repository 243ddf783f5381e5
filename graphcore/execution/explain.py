"""Why a node will run, or will not: keys are computed as in a run, but nothing is.

The workflow is unrolled as far as its keys are known without running a node (`infer` hooks tell how long loops are),
each key is looked up in the cache, and what is missing is compared with the nearest earlier run in the journal.
"""

from __future__ import annotations

import itertools
import re
from collections import deque
from collections.abc import Callable, Mapping, Sequence
from dataclasses import asdict, dataclass
from functools import cached_property
from typing import Any, TypeAlias

from graphcore.check import left_out
from graphcore.declare.node import NodeType
from graphcore.declare.registry import Registry, short_name
from graphcore.errors import CheckFailed, NodeFailed, StepgraphError
from graphcore.execution.journal import Journal
from graphcore.execution.program import Program, compile_workflow
from graphcore.execution.run import call_name, content_keys, fingerprint
from graphcore.execution.task import DONE, Ref, Task, constant, value_of
from graphcore.execution.unroll import Control, Frame, Unroller, _whole
from graphcore.files.workflow import Workflow
from graphcore.values import keys

NEAREST_OF = 10
"""How many earlier runs are compared to find the nearest."""

MOST_CAUSES = 3
"""How many nodes are named that changed before a node."""

Header = Callable[[NodeType], bytes]
Identify: TypeAlias = Callable[[NodeType, dict[str, Any]], tuple[bytes, ...]]


@dataclass(frozen=True, slots=True)
class Explanation:
    """What will happen to one node of the file.

    Args:
        node: Path without iteration numbers, such as `denoise.unet`.
        state: `cached` (all of its values that are needed are on disk), `run`, `partly` (some iterations are
            cached), or `unknown` (it stands in a loop whose length is known only once something else has run).
        cached, total: Iterations whose value is on disk, and all that are needed.
        reason: Why it runs; empty for `cached`.
    """

    node: str
    type: str
    state: str
    cached: int
    total: int
    reason: str

    def as_dict(self) -> dict[str, Any]:
        return asdict(self)


def explain(
    workflow: Workflow,
    inputs: Mapping[str, Any],
    registry: Registry,
    surroundings: tuple[str, str],
    digest: Callable[[NodeType], str],
    stored: Callable[[bytes], bool],
    journal: Journal,
) -> list[Explanation]:
    """Per node of a checked workflow: cached, or will run and why.

    Args:
        surroundings: Kind of device and dtype.
        digest: Code digest of a node type.
        stored: Whether the disk tier has a key.
    """
    program = compile_workflow(left_out.plain(workflow, registry), registry)
    now = DryRun(program, inputs, _header(digest, surroundings), _identify, journal)
    now.look(stored)
    causes = _Causes(now, _nearest(workflow, registry, journal, now))
    found = {path: _explain(path, tasks, now, causes) for path, tasks in now.by_path().items()}
    unknown = [
        Explanation(path, "loop", "unknown", 0, 0, f"known once {waits_for} has run")
        for path, waits_for in now.unknown.items()
    ]
    return [*found.values(), *unknown]


class DryRun:
    """Stands where a `Run` stands for the unroller: asks the cache what it has, and runs nothing."""

    def __init__(
        self, program: Program, inputs: Mapping[str, Any], header: Header, identify: Identify, journal: Journal
    ) -> None:
        self.header = header
        self.needed: dict[Task, bool] = {}
        self.unknown: dict[str, str] = {}
        self.calls: dict[str, tuple[bytes, ...]] = {}
        self._journal, self._program, self._inputs = journal, program, inputs
        self._identify = identify
        self._ready: deque[Control] = deque()
        self._inferred: dict[Task, tuple[Any, ...] | None] = {}
        self._unroller = _DryUnroller(self, header, self._remember_call, itertools.count())  # type: ignore[arg-type]

    def look(self, stored: Callable[[bytes], bool]) -> None:
        """Find out what a run would need, and which of it is stored."""
        self._stored = stored
        bound = [(slot, constant(self._inputs[n])) for n, slot in self._program.inputs.items() if n in self._inputs]
        self._frame = frame = self._unroller.open(self._program.scope, "", bound)
        for slot in (*self._program.outputs.values(), *self._program.effects):
            self._unroller.want(frame, slot)
        while self._ready:
            control = self._ready.popleft()
            try:
                self._unroller.expand(control)
            except (StepgraphError, NodeFailed) as error:
                self.unknown[control.path] = str(error)

    def output_keys(self) -> dict[str, str] | None:
        """The content address of each output, hexadecimal, after `look`; None where one of them has none yet."""
        refs = {name: self._frame.slots[slot] for name, slot in self._program.outputs.items()}
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
        """Nobody listens."""

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


class _DryUnroller(Unroller):
    """Unrolls loops by the length of sequences; their items have keys, but no values."""

    def _items(self, frame: Frame, name: str, ref: Ref) -> list[Ref]:
        if ref[0].constant:
            return super()._items(frame, name, ref)
        length = self._run.length(ref)  # type: ignore[attr-defined]
        whole, begin = _whole(ref)
        if whole[0].constant:
            return [constant(value) for value in list(value_of(whole))[begin : begin + length]]
        return [(self._item(frame, name, whole, position), 0) for position in range(begin, begin + length)]


def static(path: str) -> str:
    """A path without iteration numbers."""
    return re.sub(r"\[\d+\]", "", path)


def _header(digest: Callable[[NodeType], str], surroundings: Sequence[str]) -> Header:
    return lambda type_: keys.digest(keys.encode([type_.name, digest(type_), *surroundings]))


def _identify(type_: NodeType, values: dict[str, Any]) -> tuple[bytes, ...]:
    return content_keys(fingerprint(type_, values))


def _nearest(workflow: Workflow, registry: Registry, journal: Journal, now: DryRun) -> DryRun | None:
    """The earlier run of this workflow in which most calls were the same."""
    name = workflow.path.name if workflow.path is not None else "workflow.json"
    best, most = None, -1
    for record in journal.runs(name)[:NEAREST_OF]:
        if (then := _again(record, registry, journal)) is not None:
            same = len({task.key for task in then.needed} & {task.key for task in now.needed})
            if same > most:
                best, most = then, same
    return best


def _again(record: Mapping[str, Any], registry: Registry, journal: Journal) -> DryRun | None:
    """An earlier run unrolled again from its description; None if its nodes are no longer there."""
    surroundings = (record["device"], record["dtype"])

    def identify(type_: NodeType, values: dict[str, Any]) -> tuple[bytes, ...]:
        return content_keys(record["fingerprints"].get(call_name(type_, values), [""]))

    try:
        workflow = Workflow.parse(record["files"][record["workflow"]], files=record["files"])
        program = compile_workflow(left_out.plain(workflow, registry), registry)
        header = _header(lambda type_: record["digests"].get(type_.name, ""), surroundings)
        then = DryRun(program, record["inputs"], header, identify, journal)
        then.look(lambda key: False)
    except (CheckFailed, StepgraphError, KeyError, ValueError):
        return None
    return then


def _explain(path: str, tasks: Sequence[Task], now: DryRun, causes: _Causes) -> Explanation:
    running = [task for task in tasks if not now.needed[task]]
    cached, type_ = len(tasks) - len(running), tasks[0].type
    assert type_ is not None
    state = "cached" if not running else "partly" if cached else "run"
    reason = causes.say(running[0]) if running else ""
    return Explanation(path, short_name(type_.name), state, cached, len(tasks), reason)


class _Causes:
    """What changed since an earlier run: first in a node itself, else in what it comes from."""

    def __init__(self, now: DryRun, earlier: DryRun | None) -> None:
        self._now, self._earlier = now, earlier
        self._roots: dict[Task, dict[str, str]] = {}
        for task in sorted(now.needed, key=lambda task: task.order):
            self._roots[task] = self._find(task)

    def say(self, task: Task) -> str:
        """Why a task is not in the cache."""
        assert task.type is not None
        if not task.type.pure:
            return "it has an effect outside and runs every time"
        if self._earlier is None:
            return "there was no earlier run of this workflow"
        then = self._earlier.by_full_path.get(task.path)
        if then is not None and then.key == task.key:
            return "its value was not kept: it is quickly made again, or it left the cache"
        roots = self._roots[task]
        if mine := roots.get(static(task.path)):
            return mine
        told = [f"in `{path}`, {what}" for path, what in list(roots.items())[:MOST_CAUSES]]
        more = [f"and {len(roots) - MOST_CAUSES} more nodes changed"] if len(roots) > MOST_CAUSES else []
        return "; ".join(told + more) or "the nearest earlier run had no such node"

    def _find(self, task: Task) -> dict[str, str]:
        """The changes that a task's key depends on, by path of the node in which they are."""
        then = self._earlier.by_full_path.get(task.path) if self._earlier is not None else None
        if then is not None and then.key == task.key:
            return {}
        roots: dict[str, str] = {}
        if task.type is not None and (mine := self._own(task, then)):
            roots[static(task.path)] = mine
        for source, _ in task.refs:
            roots.update(self._roots.get(source, {}))
        return roots

    def _own(self, task: Task, then: Task | None) -> str:
        assert task.type is not None
        if then is None or then.type is None or self._earlier is None:
            return ""
        if then.type.name != task.type.name:
            return f"it was a {short_name(then.type.name)}"
        found = []
        if self._now.header(task.type) != self._earlier.header(then.type):
            found.append("its code changed (or a library, the device, the dtype)")
        linked = False
        for port, new, old in zip(task.type.inputs, task.refs, then.refs, strict=False):
            if new[0].chunks[new[1]] == old[0].chunks[old[1]]:
                continue
            if new[0].constant or old[0].constant:
                found.append(f"`{port}` changed from {_literal(old)} to {_literal(new)}")
            elif static(new[0].path) != static(old[0].path):
                found.append(f"`{port}` comes from `{static(new[0].path)}`, no longer from `{static(old[0].path)}`")
            linked = linked or not new[0].constant
        return "; ".join(found) or ("" if linked else "the content of a file that it reads changed")


def _literal(ref: Ref) -> str:
    task = ref[0]
    return repr(task.outputs[ref[1]]) if task.constant and task.outputs is not None else f"a link to `{task.path}`"
