"""One execution of a workflow: it asks for outputs, finds values in the cache, and tells what happens."""

from __future__ import annotations

import gc
import threading
import time
from collections import deque
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, replace
from typing import Any

from graphcore.cache import Entry
from graphcore.declare.node import NodeType
from graphcore.errors import Cancelled, NodeFailed, StepgraphError
from graphcore.events import Event, EventName
from graphcore.execution import identity
from graphcore.execution.executor import Executor
from graphcore.execution.program import Program
from graphcore.execution.task import DONE, NEW, WAITING, Ref, Task, constant, value_of
from graphcore.execution.unroll import Control, Unroller
from graphcore.runtime import Runtime

TURN_SECONDS = 0.005
"""How long a thread works before another that drives a run of the same engine may."""


class Outputs(Mapping[str, Any]):
    """The outputs of a run by name, as a mapping and as attributes."""

    def __init__(self, values: Mapping[str, Any]) -> None:
        self._values = dict(values)

    def __getitem__(self, name: str) -> Any:
        return self._values[name]

    def __iter__(self) -> Iterator[str]:
        return iter(self._values)

    def __len__(self) -> int:
        return len(self._values)

    def __getattr__(self, name: str) -> Any:
        try:
            return self.__dict__["_values"][name]
        except KeyError:
            raise AttributeError(f"this run has no output `{name}`") from None

    def __repr__(self) -> str:
        return f"Outputs({', '.join(self._values)})"


@dataclass
class Tally:
    """What a run did: nodes that ran, values from the cache, seconds in nodes."""

    ran: int = 0
    from_memory: int = 0
    from_disk: int = 0
    node_seconds: float = 0.0


class Run:
    """One execution. Iterate over it to drive it and to see its events; then read `outputs`.

    The events of a step come when the step is done; who wants to hear of a node before it runs gives `on_event`.
    Whoever iterates (or calls `finish`) does the work, in his own thread; several runs of one engine take turns.
    """

    def __init__(
        self,
        executor: Executor,
        program: Program,
        inputs: Mapping[str, Any],
        wanted: Mapping[str, int],
        runtime: Runtime,
        header: Callable[[NodeType], bytes],
        on_event: Callable[[Event], None] | None,
        on_end: Callable[[Run], None] | None = None,
        previews: bool = False,
    ) -> None:
        self.runtime, self.tally = runtime, Tally()
        self.lengths: dict[str, int] = {}
        self.fingerprints: dict[str, list[str]] = {}
        self._executor, self._program, self._wanted, self._on_event = executor, program, wanted, on_event
        self.inputs, self._on_end, self._previews = inputs, on_end, previews
        self._events: deque[Event] = deque()
        self._told: set[str] = set()
        self.stored: set[bytes] = set()
        self._listening = on_event is not None
        self._cancelled = threading.Event()
        self._error: BaseException | None = None
        self._ended = self._opened = False
        self._outputs: Outputs | None = None
        self._begin = time.perf_counter()
        self._unroller = Unroller(self, header, self._identify, executor.order)

    # -- for those who run workflows -----------------------------------------------------------------------------

    def __iter__(self) -> Iterator[Event]:
        """Drive the run, event by event.

        Raises:
            NodeFailed, OutOfMemory, Cancelled: after the last event.
        """
        self._listening = True
        while True:
            while self._events:
                yield self._events.popleft()
            if self._ended:
                break
            self._turn()
        if self._error is not None:
            raise self._error

    def finish(self) -> Outputs:
        """Drive the run to its end and give its outputs; raises as iterating does."""
        while not self._ended:
            self._turn()
        if self._error is not None:
            raise self._error
        return self.outputs

    @property
    def outputs(self) -> Outputs:
        """The outputs by name, once the run has ended."""
        if self._outputs is None:
            raise StepgraphError("this run has not ended: iterate over it, or call `finish()`, first")
        return self._outputs

    @property
    def keys(self) -> dict[str, str]:
        """The content address of each output, hexadecimal."""
        return {name: _hex(self._frame.slots[slot]) for name, slot in self._wanted.items()}

    @property
    def provenance(self) -> dict[str, Any]:
        """What made the outputs: workflow, inputs, keys, versions, device."""
        return {**self.runtime.provenance, "keys": self.keys}

    def cancel(self) -> None:
        """Stop before the next node; may be called from any thread. Finished steps stay in the cache."""
        self._cancelled.set()

    # -- driving -------------------------------------------------------------------------------------------------

    @property
    def ended(self) -> bool:
        return self._ended

    def _turn(self) -> None:
        """Work for a while, on whichever run's tasks come first; then let other threads have their turn."""
        with self._executor.turn, self._executor.within(self.runtime):
            over = time.perf_counter() + TURN_SECONDS
            while not self._ended and not self._events and time.perf_counter() < over:
                try:
                    self._advance()
                except Exception as error:
                    self.end(error)
                except BaseException as error:
                    self.end(error)
                    raise

    def _advance(self) -> None:
        if self._cancelled.is_set():
            self.end(Cancelled("the run was cancelled; finished steps are in the cache"))
        elif not self._opened:
            self._open()
        elif not self._complete_outputs():
            self._executor.step()

    def _open(self) -> None:
        self._opened = True
        self.tell("run_started")
        given = self.inputs
        bound = [(slot, constant(given[name])) for name, slot in self._program.inputs.items() if name in given]
        with _no_collection():
            self._frame = self._unroller.open(self._program.scope, "", bound)
            self._goals = [*self._wanted.values(), *self._program.effects]
            for slot in self._goals:
                self._unroller.want(self._frame, slot)

    def _complete_outputs(self) -> bool:
        slots = self._frame.slots
        while self._goals:
            ref = slots[self._goals[-1]]
            if ref is None or ref[0].state != DONE:
                return False
            self._goals.pop()
        self._outputs = Outputs(
            {name: value_of(ref) for name, slot in self._wanted.items() if (ref := slots[slot]) is not None}
        )
        self.end(None)
        return True

    def end(self, error: BaseException | None) -> None:
        """Close the run; its tasks that still wait are passed over."""
        if self._ended:
            return
        self._ended, self._error = True, error
        seconds = time.perf_counter() - self._begin
        if isinstance(error, (Cancelled, KeyboardInterrupt)):
            self.tell("cancelled", message=str(error) or "interrupted")
        elif error is not None:
            node = getattr(error, "path", "")
            self.tell("failed", node=node, message=str(error))
        else:
            self.tell("run_finished", seconds=seconds)
        if self._on_end is not None:
            self._on_end(self)

    def tell(self, event: EventName, **fields: Any) -> None:
        """Record an event, if somebody listens."""
        if not self._listening:
            return
        record = Event(event, time=time.perf_counter() - self._begin, **fields)
        if self._on_event is not None:
            self._on_event(record)
        else:
            self._events.append(record)

    # -- what the unroller asks for ------------------------------------------------------------------------------

    def goal(self, task: Task) -> None:
        """Have an output of the run made, and hold it."""
        task.users += 1
        self.demand(task)

    def demand(self, task: Task) -> None:
        """Have a task's value made: from the cache, or by running it, which demands its inputs in turn."""
        stack = [task]
        executor = self._executor
        while stack:
            task = stack.pop()
            if task.state != NEW:
                continue
            if task.type is not None and task.type.pure and self._find(task):
                continue
            task.state, missing = WAITING, 0
            for source, _ in task.refs:
                source.users += 1
                if source.state != DONE:
                    _wait(source, task)
                    missing += 1
                    if source.state == NEW:
                        stack.append(source)
            task.missing = missing
            if not missing:
                executor.ready(task)

    def _find(self, task: Task) -> bool:
        """Take a task's value from the cache, if it is there."""
        if (entry := self._executor.recall(task.key)) is not None:
            self._reuse(task, entry, "memory")
            return True
        if fresh := self._unroller.fresh:
            self.stored |= self._executor.known(fresh)
            fresh.clear()
        if task.key in self.stored and (entry := self._executor.read(task.key)) is not None:
            self._reuse(task, entry, "disk")
            return True
        return False

    def _reuse(self, task: Task, entry: Entry, tier: str) -> None:
        task.outputs, task.seconds = entry.outputs, entry.seconds
        task.entry_bytes, task.notes = entry.bytes, entry.notes
        if tier == "memory":
            self.tally.from_memory += 1
        else:
            self.tally.from_disk += 1
        if self._listening:
            self._tell_notes(task, task.notes)
            self.tell(
                "cached", node=task.path, type=task.type.name if task.type else "", key=task.key.hex(),
                seconds=entry.seconds, bytes=entry.bytes, cached=tier,
            )  # fmt: skip
        self.settle(task)

    def tell_started(self, task: Task) -> None:
        if self._listening and task.type is not None:
            self.tell("started", node=task.path, type=task.type.name, key=task.key.hex())

    def tell_finished(self, task: Task, result: Any, shared: int, own_notes: tuple[str, ...], kept: str) -> None:
        self.tally.ran += 1
        self.tally.node_seconds += task.seconds
        if self._listening and task.type is not None:
            self._tell_notes(task, own_notes)
            if self._previews and task.type.preview is not None:
                self._preview(task, task.type.preview, result)
            self.tell(
                "finished", node=task.path, type=task.type.name, key=task.key.hex(), seconds=task.seconds,
                bytes=task.entry_bytes, total=shared, message=kept,
            )  # fmt: skip

    def _preview(self, task: Task, preview: Callable[[Any], bytes | None], result: Any) -> None:
        """A picture that cannot be made costs the picture, not the run."""
        try:
            picture = preview(result)
        except Exception as error:
            self.tell("note", node=task.path, message=f"no preview: {type(error).__name__}: {error}")
            return
        if picture is not None:
            self.tell("preview", node=task.path, key=task.key.hex(), preview=picture)

    def _tell_notes(self, task: Task, notes: tuple[str, ...]) -> None:
        for text in notes:
            if text not in self._told:  # values hand notes on: once is enough
                self._told.add(text)
                self.tell("note", node=task.path, message=text)

    def settle(self, task: Task) -> None:
        """A task has its value: wake those who wait for it."""
        task.state = DONE
        if (waiters := task.waiters) is None:
            return
        task.waiters = None
        for waiter in waiters:
            waiter.missing -= 1
            if not waiter.missing:
                self._executor.ready(waiter)

    def let_go(self, task: Task) -> None:
        """A task that ran no longer needs its inputs."""
        for source, _ in task.refs:
            self.release(source)

    def release(self, task: Task) -> None:
        """One user less; the last one frees the value (it can be had again from the cache)."""
        task.users -= 1
        if not task.users and task.state == DONE and not task.constant:
            task.outputs, task.state = None, NEW

    def await_values(self, control: Control) -> None:
        """Have the values made that a control looks at, then expand it."""
        for task in control.tasks:
            task.users += 1
            if task.state != DONE:
                _wait(task, control)
                control.missing += 1
        if not control.missing:
            self._executor.ready(control)
        for task in control.tasks:
            self.demand(task)

    def expand(self, control: Control) -> None:
        """The executor's turn has come for a control."""
        try:
            self._unroller.expand(control)
        except StepgraphError as error:
            raise NodeFailed(control.path, type(control.code).__name__.removesuffix("Code").lower(), error) from error
        for task in control.tasks:
            self.release(task)

    def expanded(self, path: str, total: int) -> None:
        self.tell("expanded", node=path, total=total)

    def counted(self, ref: Ref, length: int) -> None:
        """Remember how long a sequence is: `explain` needs it where the value itself is not kept."""
        if not ref[0].constant:
            self.lengths[_hex(ref)] = length

    def _identify(self, type_: NodeType, values: dict[str, Any]) -> tuple[bytes, ...]:
        found = identity.fingerprint(type_, values)
        self.fingerprints[identity.call_name(type_, values)] = found
        return identity.content_keys(found)

    @staticmethod
    def with_keys(runtime: Runtime, task: Task) -> Runtime:
        """The surroundings of a node that has an effect: the keys of its inputs are part of the provenance."""
        assert task.type is not None
        found = {name: _hex(ref) for name, ref in zip(task.type.inputs, task.refs, strict=True)}
        return replace(runtime, provenance={**runtime.provenance, "keys": found})


@contextmanager
def _no_collection() -> Iterator[None]:
    """Making all tasks of a graph is many objects that live long: looking for garbage among them takes a third."""
    enabled = gc.isenabled()
    gc.disable()
    try:
        yield
    finally:
        if enabled:
            gc.enable()


def _wait(task: Task, waiter: Task | Control) -> None:
    if task.waiters is None:
        task.waiters = [waiter]
    else:
        task.waiters.append(waiter)


def _hex(ref: Ref | None) -> str:
    return ref[0].chunks[ref[1]].hex() if ref is not None else ""
