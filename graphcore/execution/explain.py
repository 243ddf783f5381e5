"""Why a node will run, or will not: what a dry run does not find is compared with the nearest earlier run."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from typing import Any

from graphcore.check import left_out
from graphcore.declare.node import NodeType
from graphcore.declare.registry import Registry, short_name
from graphcore.errors import CheckFailed, StepgraphError
from graphcore.execution import identity
from graphcore.execution.compiler import compile_workflow
from graphcore.execution.dry_run import DryRun, static
from graphcore.execution.identity import call_name, content_keys
from graphcore.execution.journal import Journal
from graphcore.execution.task import Ref, Task
from graphcore.files.workflow import Workflow

NEAREST_OF = 10
"""How many earlier runs are compared to find the nearest."""

MOST_CAUSES = 3
"""How many nodes are named that changed before a node."""


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


def explain(workflow: Workflow, now: DryRun, registry: Registry, journal: Journal) -> list[Explanation]:
    """Per node of a workflow: cached, or will run and why.

    Args:
        now: The run that is asked about; it has looked into the cache.
    """
    causes = _Causes(now, _nearest(workflow, registry, journal, now))
    found = {path: _explain(path, tasks, now, causes) for path, tasks in now.by_path().items()}
    unknown = [
        Explanation(path, "loop", "unknown", 0, 0, f"known once {waits_for} has run")
        for path, waits_for in now.unknown.items()
    ]
    return [*found.values(), *unknown]


def _nearest(workflow: Workflow, registry: Registry, journal: Journal, now: DryRun) -> DryRun | None:
    """The earlier run of this workflow in which most calls were the same."""
    name = workflow.path.name if workflow.path is not None else "workflow.json"
    best, most = None, -1
    for record in journal.runs(name)[:NEAREST_OF]:
        if (then := _again(record, registry, journal, now.most_iterations)) is not None:
            same = len({task.key for task in then.needed} & {task.key for task in now.needed})
            if same > most:
                best, most = then, same
    return best


def _again(record: Mapping[str, Any], registry: Registry, journal: Journal, most: float) -> DryRun | None:
    """An earlier run unrolled again from its description; None if its nodes are no longer there, or it is too long."""

    def header(type_: NodeType) -> bytes:
        return identity.header(type_, record["digests"].get(type_.name, ""), record["device"], record["dtype"])

    def identify(type_: NodeType, values: dict[str, Any]) -> tuple[bytes, ...]:
        return content_keys(record["fingerprints"].get(call_name(type_, values), [""]))

    try:
        workflow = Workflow.parse(record["files"][record["workflow"]], files=record["files"])
        program = compile_workflow(left_out.plain(workflow, registry), registry)
        then = DryRun(program, record["inputs"], header, identify, journal)
        then.most_iterations = most
        then.look(lambda key: False)
    except (CheckFailed, StepgraphError, KeyError, ValueError):
        return None
    return then if then.iterations <= most else None


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
