"""The ready queue: which task runs next, which tasks share a forward pass, what is kept of the results.

One queue for all runs of an engine. The order is deterministic: tasks in the order in which they were made (that of
the workflow file, iteration by iteration), but those that may share a forward pass wait until nothing else is ready,
so that as many as possible are there to share it.
"""

from __future__ import annotations

import heapq
import itertools
import threading
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from time import perf_counter
from typing import TYPE_CHECKING, Any

from graphcore.cache import DiskCache, Entry, MemoryCache
from graphcore.declare.node import NodeType
from graphcore.errors import NodeFailed, OutOfMemory
from graphcore.execution.task import WAITING, Task, value_of
from graphcore.execution.unroll import Control
from graphcore.runtime import Runtime, _notes, _runtime, relieve_memory
from graphcore.values import codec, tensors

if TYPE_CHECKING:
    from graphcore.execution.run import Run

WORTH_SECONDS = 0.01
"""A value that takes less than this to make again is not written to disk ..."""

READ_BYTES_PER_SECOND = 250e6
"""... nor one that takes less than reading it back: about 1 ms of overhead and this many bytes a second, at worst."""


class Executor:
    """Runs tasks, one at a time, for all runs of an engine.

    Args:
        memory, disk: The two tiers of the cache; without `disk` nothing outlives the process.
    """

    def __init__(self, memory: MemoryCache, disk: DiskCache | None) -> None:
        self.turn = threading.RLock()
        self.order = itertools.count()
        self._memory, self._disk = memory, disk
        self._heap: list[tuple[bool, int, Task | Control]] = []
        self._batchable: dict[tuple[Run, NodeType], dict[Task, None]] = {}
        self._said: list[str] = []

    # -- the cache -----------------------------------------------------------------------------------------------

    def recall(self, key: bytes) -> Entry | None:
        """The value of a key, from memory."""
        return self._memory.get(key)

    def known(self, fresh: list[bytes]) -> set[bytes]:
        """Which of the keys the disk had. Asked for many at once: one by one it would be the engine's largest cost."""
        return self._disk.known(fresh) if self._disk is not None else set()

    def read(self, key: bytes) -> Entry | None:
        """The value of a key, from the disk."""
        if self._disk is None or (entry := self._disk.get(key)) is None:
            return None
        self._memory.put(key, entry, entry.seconds)
        return entry

    def _keep(self, task: Task, entry: Entry) -> str:
        """Put a new value into the tiers where it is worth its bytes; says where it went.

        `replay` is what it takes to make the value again from what is on disk; `lineage` the same since the last
        step of a loop, so that every step of an expensive loop is on disk even where its noise prediction is.
        """
        replay, lineage = self._cost(task)
        self._memory.put(task.key, entry, replay)
        worth = WORTH_SECONDS + entry.bytes / READ_BYTES_PER_SECOND
        stored = self._disk is not None and (replay > worth or (task.checkpoint and lineage > worth))
        task.replay, task.lineage = 0.0 if stored else replay, 0.0 if task.checkpoint else lineage
        if stored and self._disk is not None:
            self._disk.put(task.key, entry)
            task.run.stored.add(task.key)
            return "kept in memory and on disk"
        return "kept in memory: quicker to make again than to read back" if self._disk is not None else "kept in memory"

    @staticmethod
    def _cost(task: Task) -> tuple[float, float]:
        """Replay and lineage of a task. Where paths join they count twice, but never more than all that ran."""
        replay = lineage = task.seconds
        for source, _ in task.refs:
            replay += source.replay
            lineage += source.lineage
        most = task.run.tally.node_seconds + task.seconds
        return min(replay, most), min(lineage, most)

    # -- the queue -----------------------------------------------------------------------------------------------

    def ready(self, task: Task | Control) -> None:
        """All that a task needs is there."""
        batchable = False
        if isinstance(task, Task) and task.type is not None and task.type.batch is not None:
            batchable = True
            self._batchable.setdefault((task.run, task.type), {})[task] = None
        heapq.heappush(self._heap, (batchable, task.order, task))

    def step(self) -> None:
        """Run the next task (or the next tasks that share a forward pass) of whichever run."""
        while self._heap:
            task = heapq.heappop(self._heap)[2]
            run = task.run
            if run.ended:
                if isinstance(task, Task) and task.type is not None:
                    self._batchable.pop((run, task.type), None)
                continue
            if isinstance(task, Task) and task.state != WAITING:
                continue  # it went along in the forward pass of another
            _runtime.set(run.runtime)  # the turn's `within` puts the old one back
            try:
                self._run(task)
            except BaseException as error:
                run.end(error)
                if not isinstance(error, Exception):
                    raise
            return
        raise AssertionError("a run waits for a value that nobody makes")

    @contextmanager
    def within(self, runtime: Runtime) -> Iterator[None]:
        """Nodes called inside see this runtime, and what they `note` is collected."""
        token, spoken = _runtime.set(runtime), _notes.set(self._said.append)
        try:
            yield
        finally:
            _runtime.reset(token)
            _notes.reset(spoken)

    def _run(self, task: Task | Control) -> None:
        if isinstance(task, Control):
            task.run.expand(task)
        elif task.type is None:
            assert task.internal is not None
            value = task.internal([value_of(ref) for ref in task.refs])
            task.outputs = (value,)
            task.replay, task.lineage = self._cost(task)
            self._inherit(task, ())
            task.run.settle(task)
            task.run.let_go(task)
        else:
            self._run_together(self._companions(task) if task.type.batch is not None else [task])

    def _companions(self, task: Task) -> list[Task]:
        """The ready tasks that may share a forward pass with this one, in the order of the workflow file."""
        assert task.type is not None
        batch = task.type.batch
        assert batch is not None
        waiting = self._batchable[task.run, task.type]
        group = self._group(task)
        together = [task]
        if group is not None:
            others = sorted(other for other in waiting if other is not task and self._group(other) == group)
            together += others[: batch.limit - 1]
        for one in together:
            del waiting[one]
        return together

    @staticmethod
    def _group(task: Task) -> Any:
        assert task.type is not None
        batch = task.type.batch
        assert batch is not None
        if task.group is None:
            try:
                task.group = (batch.group(_arguments(task)),)
            except Exception as error:
                raise NodeFailed(task.path, task.type.name, error) from error
        return task.group[0]

    # -- calls ---------------------------------------------------------------------------------------------------

    def _run_together(self, tasks: Sequence[Task]) -> None:
        for task in tasks:
            task.run.tell_started(task)
        try:
            results, seconds = self._attempt(tasks)
        except Exception as error:
            if not tensors.is_out_of_memory(error):
                raise self._failure(tasks[0], error) from error
            results, seconds = self._second_attempt(tasks, error)
        said = tuple(self._said)
        self._said.clear()
        for task, result in zip(tasks, results, strict=True):
            self._finish(task, result, seconds / len(tasks), len(tasks), said)

    def _attempt(self, tasks: Sequence[Task]) -> tuple[Sequence[Any], float]:
        self._said.clear()
        type_ = tasks[0].type
        assert type_ is not None
        arguments = [_arguments(task) for task in tasks]
        begin = perf_counter()
        try:
            if len(tasks) > 1:
                results = _run_batch(type_, arguments)
            elif type_.pure:
                results = [type_.function(**arguments[0])]
            else:
                run = tasks[0].run
                with self.within(run.with_keys(run.runtime, tasks[0])):
                    results = [type_.function(**arguments[0])]
        except SystemExit as error:  # not the node's to decide: it would end all runs of this process
            raise RuntimeError(f"it called sys.exit({error.code!r})") from error
        return results, perf_counter() - begin

    def _second_attempt(self, tasks: Sequence[Task], error: Exception) -> tuple[Sequence[Any], float]:
        """The device is full: free what can be had again, then try once more, one call at a time."""
        freed = self._memory.clear() + relieve_memory()
        tensors.release_memory()
        message = f"the device was full; {freed / 2**20:.0f} MiB of cached values and idle weights were freed"
        tasks[0].run.tell("out_of_memory", node=tasks[0].path, message=message)
        results: list[Any] = []
        seconds = 0.0
        for task in tasks:
            try:
                result, took = self._attempt([task])
            except Exception as again:
                if tensors.is_out_of_memory(again):
                    figures = tensors.memory_figures(task.run.runtime.device)
                    text = f"the device is full ({figures}), also after {message}; {again}"
                    raise self._failure(task, OutOfMemory(text)) from again
                raise self._failure(task, again) from again
            results += result
            seconds += took
        return results, seconds

    def _failure(self, task: Task, error: Exception) -> NodeFailed:
        assert task.type is not None
        return NodeFailed(task.path, task.type.name, error)

    def _finish(self, task: Task, result: Any, seconds: float, shared: int, said: tuple[str, ...]) -> None:
        assert task.type is not None
        try:
            task.outputs = outputs = task.type.split(result)
        except TypeError as error:
            raise self._failure(task, error) from error
        task.seconds = seconds
        task.entry_bytes = codec.size(outputs)
        self._inherit(task, said)
        kept = "not kept: it has an effect outside"
        if task.type.pure:
            kept = self._keep(task, Entry(outputs, seconds, task.entry_bytes, task.notes))
        run = task.run
        run.tell_finished(task, result, shared, said, kept)
        run.settle(task)
        run.let_go(task)

    @staticmethod
    def _inherit(task: Task, said: tuple[str, ...]) -> None:
        """A value carries the notes of all that it was made from, so that they are told again when it is reused."""
        notes = dict.fromkeys(said)
        for source, _ in task.refs:
            if source.notes:
                notes.update(dict.fromkeys(source.notes))
        task.notes = tuple(notes)


def _arguments(task: Task) -> Mapping[str, Any]:
    assert task.type is not None
    return {name: value_of(ref) for name, ref in zip(task.type.inputs, task.refs, strict=True)}


def _run_batch(type_: NodeType, arguments: Sequence[Mapping[str, Any]]) -> Sequence[Any]:
    """One value per call, all made in one forward pass."""
    assert type_.batch is not None
    results = type_.batch.run(arguments)
    if len(results) != len(arguments):
        raise ValueError(f"its `batch` hook gave {len(results)} values for {len(arguments)} calls")
    return results
