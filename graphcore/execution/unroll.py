"""From program to tasks: frames are filled, loops unroll, switches choose; nothing is computed here.

A frame is one sheet of slots at work: the top level, or one iteration of one body. Filling a slot with a `Ref` means
that its key is known. Nodes whose inputs all have keys become tasks at once, which is cheap. Some keys depend on
values: how often a loop runs, which case a switch takes, what content a file has whose name is computed. Such a node
is a control; it is resolved only when something that is asked for needs it, and what depends on it waits, blocked.

Two ways to ask for a slot: for its key only (a blocked node needs the keys of its inputs; whether their values are
needed is known once its own key is looked up in the cache) and for its value.
"""

from __future__ import annotations

import itertools
import math
from collections import deque
from collections.abc import Callable, Iterable, Sequence
from typing import TYPE_CHECKING, Any, TypeAlias

from graphcore.declare.node import NodeType, Port
from graphcore.errors import InputError, did_you_mean
from graphcore.execution import pieces
from graphcore.execution.program import CallCode, Code, ListCode, LoopCode, Scope, SwitchCode
from graphcore.execution.task import DONE, Ref, Task, constant, value_of
from graphcore.files.links import select_case
from graphcore.values import keys

if TYPE_CHECKING:
    from graphcore.execution.run import Run

_LIST, _ITEM = keys.digest(b"stepgraph list"), keys.digest(b"stepgraph item")

Place: TypeAlias = "tuple[Frame, int]"


class Frame:
    """One sheet of slots at work. `waiting` and `sources` are about slots that have no key yet."""

    __slots__ = ("holds", "path", "scope", "slots", "sought", "sources", "waiting", "wanted")

    def __init__(self, scope: Scope, path: str) -> None:
        self.scope, self.path = scope, path
        self.slots = scope.template.copy()
        self.waiting: dict[int, list[Control | tuple[Frame, Code] | Place]] = {}
        self.sources: dict[int, Place] = {}
        self.sought: set[int] = set()
        self.wanted: set[int] = set()
        self.holds: dict[Code, list[Task]] = {}


class Control:
    """A node that must see values before it has keys: a loop, a switch, a file whose name is computed."""

    __slots__ = ("code", "frame", "missing", "needs", "order", "run", "tasks")

    def __init__(self, run: Run, order: int, frame: Frame, code: Code, needs: Sequence[int]) -> None:
        self.run, self.order, self.frame, self.code, self.needs = run, order, frame, code, needs
        self.missing = 0
        self.tasks: list[Task] = []

    @property
    def path(self) -> str:
        return self.frame.path + self.code.name


class Unroller:
    """Makes the tasks of one run.

    Args:
        run: The run that the tasks belong to: it computes values and hears of expansions.
        header: What a node type adds to the keys of its calls (name, code, device, dtype).
        identify: Calls a node's `fingerprint` hook with values; gives bytes for the key, or for the key of each output.
        order: Numbers for tasks; earlier ones run first.
    """

    def __init__(
        self,
        run: Run,
        header: Callable[[NodeType], bytes],
        identify: Callable[[NodeType, dict[str, Any]], tuple[bytes, ...]],
        order: itertools.count[int],
    ) -> None:
        self._run, self._header, self._identify, self._order = run, header, identify, order
        self._adapted: dict[tuple[Task, Any], Ref] = {}
        self._tasks: dict[bytes, Task] = {}
        self.fresh: list[bytes] = []
        """Keys of tasks that the disk was not asked for yet."""

        self._controls: dict[tuple[Frame, Code], Control] = {}
        self._resolved: deque[tuple[Frame, int, Ref]] = deque()
        self._waking = False

    def open(self, scope: Scope, path: str, bound: Iterable[tuple[int, Ref | None]]) -> Frame:
        """A frame with some slots bound; fills in every node whose inputs have keys."""
        frame = Frame(scope, path)
        slots = frame.slots
        for slot, ref in bound:
            slots[slot] = ref
        for code in scope.nodes:
            self._place(frame, code)
        return frame

    # -- asking ------------------------------------------------------------------------------------------------

    def want(self, frame: Frame, slot: int, *, value: bool = True) -> None:
        """Ask for a slot: for its value, or only for its key."""
        stack = [(frame, slot, value)]
        while stack:
            frame, slot, value = stack.pop()
            if (ref := frame.slots[slot]) is not None:
                if value:
                    self._run.goal(ref[0])
                continue
            if value:
                frame.wanted.add(slot)
            if slot in frame.sought:
                continue
            frame.sought.add(slot)
            if source := frame.sources.get(slot):
                stack.append((*source, False))
                continue
            code = frame.scope.producer[slot]
            if isinstance(code, (CallCode, ListCode)):
                blocking = [(frame, need, False) for need in code.arguments if frame.slots[need] is None]
                stack.extend(blocking)
                if blocking:
                    continue
            self._control(frame, code)

    def _control(self, frame: Frame, code: Code) -> None:
        if (frame, code) in self._controls:
            return
        control = Control(self._run, next(self._order), frame, code, _needs(code))
        self._controls[frame, code] = control
        self._advance(control)

    def _advance(self, control: Control) -> None:
        """Once all that a control looks at has keys, ask for the values."""
        frame = control.frame
        for slot in control.needs:
            if frame.slots[slot] is None:
                frame.waiting.setdefault(slot, []).append(control)
                self.want(frame, slot, value=False)
                return
        control.tasks = [ref[0] for slot in control.needs if (ref := frame.slots[slot]) is not None]
        self._run.await_values(control)

    def expand(self, control: Control) -> None:
        """The values that a control looks at are there: make its tasks."""
        frame, code = control.frame, control.code
        if isinstance(code, LoopCode):
            self._expand_loop(frame, code)
        elif isinstance(code, SwitchCode):
            self._choose(frame, code)
        elif isinstance(code, CallCode):
            self._call(frame, code, [frame.slots[slot] for slot in code.arguments])
            for slot in range(code.out, code.out + code.type.width):
                self._resolve(frame, slot, _there(frame, slot))
        self._drop_holds(frame, code)

    # -- filling slots -----------------------------------------------------------------------------------------

    def _place(self, frame: Frame, code: Code) -> None:
        """Fill the outputs of a node if its inputs have keys; else note what it waits for."""
        slots = frame.slots
        if isinstance(code, CallCode):
            refs = [slots[slot] for slot in code.arguments]
            if None in refs:
                self._block(frame, code, code.arguments)
            elif code.type.fingerprint is None or _content_is_known(code, refs):
                self._call(frame, code, refs)
        elif isinstance(code, ListCode):
            gathered = [slots[slot] for slot in code.arguments]
            if None in gathered:
                self._block(frame, code, code.arguments)
                return
            slots[code.out] = (self._list(frame, code.name, [ref for ref in gathered if ref is not None]), 0)
        elif isinstance(code, SwitchCode):
            select = slots[code.select]
            if select is not None and select[0].constant:
                self._choose(frame, code)
            else:
                self._hold(frame, code, code.cases.values())
        else:
            self._hold(frame, code, (feed.outside for feed in (*code.inputs, *code.each)))
            self._hold(frame, code, (carry.initial for carry in code.carries))

    def _replace(self, frame: Frame, code: Code) -> None:
        """As `_place`, for a node that was blocked: others may wait for its outputs."""
        self._drop_holds(frame, code)
        self._place(frame, code)
        assert isinstance(code, (CallCode, ListCode))
        for slot in range(code.out, code.out + (code.type.width if isinstance(code, CallCode) else 1)):
            if (ref := frame.slots[slot]) is not None:
                self._resolve(frame, slot, ref)
            elif slot in frame.sought:
                frame.sought.discard(slot)
                self.want(frame, slot, value=False)

    def _resolve(self, frame: Frame, slot: int, ref: Ref) -> None:
        """Give a slot its key; wake what waits for it. A worklist, so that chains may be as long as they like."""
        frame.slots[slot] = ref
        if slot in frame.scope.carried:
            ref[0].checkpoint = True
        self._resolved.append((frame, slot, ref))
        if self._waking:
            return
        self._waking = True
        while self._resolved:
            frame, slot, ref = self._resolved.popleft()
            if slot in frame.wanted:
                self._run.goal(ref[0])
            for waiter in frame.waiting.pop(slot, ()):
                if isinstance(waiter, Control):
                    self._advance(waiter)
                elif isinstance(waiter[1], int):
                    self._resolve(waiter[0], waiter[1], ref)
                else:
                    self._replace(waiter[0], waiter[1])
        self._waking = False

    def _alias(self, frame: Frame, slot: int, source: Place) -> None:
        """A slot gets whatever another frame's slot holds, now or when it is known."""
        other, other_slot = source
        if (ref := other.slots[other_slot]) is not None:
            self._resolve(frame, slot, ref)
            return
        frame.sources[slot] = source
        other.waiting.setdefault(other_slot, []).append((frame, slot))
        if slot in frame.sought:
            self.want(other, other_slot, value=False)

    def _block(self, frame: Frame, code: Code, arguments: Sequence[int]) -> None:
        slot = next(slot for slot in arguments if frame.slots[slot] is None)
        frame.waiting.setdefault(slot, []).append((frame, code))
        self._hold(frame, code, arguments)

    def _hold(self, frame: Frame, code: Code, slots: Iterable[int]) -> None:
        """Keep values that a blocked node may yet need: it does not count among their users so far."""
        held = frame.holds.setdefault(code, [])
        for slot in slots:
            if (ref := frame.slots[slot]) is not None and not ref[0].constant:
                ref[0].users += 1
                held.append(ref[0])

    def _drop_holds(self, frame: Frame, code: Code) -> None:
        for task in frame.holds.pop(code, ()):
            self._run.release(task)

    # -- tasks -------------------------------------------------------------------------------------------------

    def _call(self, frame: Frame, code: CallCode, refs: list[Any]) -> None:
        """Make the task of a node whose inputs have keys, and fill its outputs."""
        for position, port in code.linked:
            if refs[position][0].constant:
                refs[position] = self._adapt(refs[position], port)
        type_ = code.type
        read: tuple[bytes, ...] = ()
        if type_.fingerprint is None:
            linked = b"".join([task.chunks[index] for task, index in refs])
        else:
            read, linked = self._content(code, refs)
        key = keys.digest(self._header(type_) + b"".join(read) + linked)
        task = self._tasks.get(key)
        if task is None or not type_.pure:  # equal calls, in whichever iterations, are one task
            self.fresh.append(key)
            self._tasks[key] = task = Task(self._run, next(self._order), frame, code.name, type_, refs, key)
            if len(read) > 1:  # an output is known by what it is made from: other outputs may come from other files
                each = [keys.digest(self._header(type_) + part + linked) for part in read]
                task.chunks = tuple(bytes([index]) + part for index, part in enumerate(each))
        out, carried = code.out, frame.scope.carried
        frame.slots[out] = (task, 0)
        for index in range(1, type_.width):
            frame.slots[out + index] = (task, index)
        if carried and not carried.isdisjoint(range(out, out + type_.width)):
            task.checkpoint = True

    def _content(self, code: CallCode, refs: list[Ref]) -> tuple[tuple[bytes, ...], bytes]:
        """What a node that reads files is: their content, not their names; and the keys of its other inputs."""
        known = {port.name: ref for port, ref in zip(code.ports, refs, strict=True)}
        asked = {name: value_of(known[name]) for name in code.type.fingerprint_inputs}
        others = [ref[0].chunks[ref[1]] for name, ref in known.items() if name not in asked]
        return self._identify(code.type, asked), b"".join(others)

    def _adapt(self, ref: Ref, port: Port) -> Ref:
        """A literal that came through a link, as the port's type wants it (7 becomes 7.0 for a float)."""
        place = (ref[0], port.annotation)
        if (found := self._adapted.get(place)) is None:
            value = value_of(ref)
            found = constant(port.validate(value)) if port.literal and value is not None else ref
            self._adapted[place] = found
        return found

    def _list(self, frame: Frame, name: str, refs: list[Ref]) -> Task:
        key = keys.digest(_LIST + b"".join(task.chunks[index] for task, index in refs))
        task = Task(self._run, next(self._order), frame, name, None, refs, key)
        task.internal = list
        return task

    def _items(self, frame: Frame, name: str, ref: Ref) -> list[Ref]:
        """The items of a sequence whose value is there; literals stay literals."""
        task = ref[0]
        values = list(value_of(ref))
        whole, begin = pieces.whole(ref)
        if whole[0].constant:
            return [constant(value) for value in values]
        items = []
        for position, value in enumerate(values, begin):
            item = self._item(frame, name, whole, position)
            item.outputs, item.state, item.notes = (value,), DONE, task.notes
            item.replay, item.lineage = task.replay, task.lineage
            items.append((item, 0))
        return items

    def _item(self, frame: Frame, name: str, ref: Ref, position: int) -> Task:
        key = keys.digest(_ITEM + ref[0].chunks[ref[1]] + position.to_bytes(8, "little"))
        refs = (ref, constant(position))
        item = Task(self._run, next(self._order), frame, f"{name}[{position}]", None, refs, key)
        item.internal = _pick
        return item

    # -- controls ----------------------------------------------------------------------------------------------

    def _choose(self, frame: Frame, code: SwitchCode) -> None:
        selected = select_case(value_of(_there(frame, code.select)))
        if muted := code.lost.get(selected):
            fix = f"or take `mute` off `{muted}`"
            raise InputError("select", expected="a case without muted nodes", got=f"`{selected}`", fix=fix)
        chosen = code.cases.get(selected, code.default)
        if chosen is None:
            cases = ", ".join(f"`{name}`" for name in code.cases)
            fix = did_you_mean(selected, code.cases) or "add the case, or a `default`"
            raise InputError("select", expected=f"one of {cases}", got=f"`{selected}`", fix=fix)
        self._alias(frame, code.out, (frame, chosen))

    def _expand_loop(self, frame: Frame, code: LoopCode) -> None:
        columns = self._columns(frame, code)
        total = _total(frame, code, columns)
        self._run.expanded(frame.path + code.name, total)
        rows = _rows(code, columns, total)
        inputs = [(feed.body, frame.slots[feed.outside]) for feed in code.inputs]
        carried: list[Place] = [(frame, carry.initial) for carry in code.carries]
        frames = []
        for number, row in enumerate(rows):
            bound = [*inputs, *((feed.body, ref) for feed, ref in zip(code.each, row, strict=False))]
            bound.append((code.index, constant(number)))
            bound += [(carry.body, other.slots[s]) for carry, (other, s) in zip(code.carries, carried, strict=True)]
            child = self.open(code.body, f"{frame.path}{code.name}[{number}].", bound)
            frames.append(child)
            self._bind_late(child, frame, code, carried)
            carried = [(child, carry.next) for carry in code.carries]
        for carry, source in zip(code.carries, carried, strict=True):
            self._alias(frame, carry.out, source)
        for yielded in code.yields:
            self._gather(frame, f"{code.name}.{yielded.name}", yielded.out, [(child, yielded.body) for child in frames])

    def _bind_late(self, child: Frame, parent: Frame, code: LoopCode, carried: list[Place]) -> None:
        """Slots of a body whose source outside has no key yet get it when it comes."""
        late = [(feed.body, (parent, feed.outside)) for feed in code.inputs]
        late += [(carry.body, source) for carry, source in zip(code.carries, carried, strict=True)]
        for slot, source in late:
            if child.slots[slot] is None:
                self._alias(child, slot, source)

    def _gather(self, frame: Frame, name: str, out: int, sources: list[Place]) -> None:
        """A list of one value per iteration, in a sheet of its own so that late keys are waited for as usual."""
        scope = Scope()
        arguments = tuple(scope.slot() for _ in sources)
        slot = scope.slot()
        scope.add(ListCode(name, arguments, slot), slot)
        sheet = self.open(scope, frame.path, [(s, f.slots[b]) for s, (f, b) in zip(arguments, sources, strict=True)])
        for argument, source in zip(arguments, sources, strict=True):
            if sheet.slots[argument] is None:
                self._alias(sheet, argument, source)
        self._alias(frame, out, (sheet, slot))

    def _columns(self, frame: Frame, code: LoopCode) -> list[list[Ref]]:
        """The items of each sequence that a loop goes over."""
        columns = []
        for feed in code.each:
            ref = _there(frame, feed.outside)
            try:
                columns.append(self._items(frame, f"{code.name}.{feed.name}", ref))
            except TypeError as error:
                got = type(value_of(ref)).__name__
                raise InputError(feed.name, expected="a list or another sequence", got=got) from error
            self._run.counted(ref, len(columns[-1]))
        return columns


def _total(frame: Frame, code: LoopCode, columns: Sequence[Sequence[Ref]]) -> int:
    """How many iterations a loop makes."""
    if code.mode == "product":
        return math.prod(map(len, columns))
    lengths = {feed.name: len(column) for feed, column in zip(code.each, columns, strict=True)}
    if code.times is not None:
        lengths["times"] = int(value_of(_there(frame, code.times)))
    if len(set(lengths.values())) > 1:
        got = ", ".join(f"`{name}` has {length}" for name, length in lengths.items())
        fix = "or use `mode`: `product` in a map"
        raise InputError("each", expected="sequences of equal length", got=got, fix=fix)
    return max(next(iter(lengths.values())), 0)


def _rows(code: LoopCode, columns: Sequence[Sequence[Ref]], total: int) -> list[tuple[Ref, ...]]:
    """What each iteration takes from the sequences."""
    if code.mode == "product":
        return list(itertools.product(*columns))
    return list(zip(*columns, strict=True)) if columns else [()] * total


def _content_is_known(code: CallCode, refs: Sequence[Any]) -> bool:
    """Whether the values are there that a `fingerprint` hook asks for."""
    asked = code.type.fingerprint_inputs
    return all(ref[0].state == DONE for port, ref in zip(code.ports, refs, strict=True) if port.name in asked)


def _there(frame: Frame, slot: int) -> Ref:
    """A slot that has its key."""
    ref = frame.slots[slot]
    assert ref is not None
    return ref


def _pick(values: Sequence[Any]) -> Any:
    sequence, position = values
    return list(sequence)[position]


def _needs(code: Code) -> list[int]:
    """The slots whose values a control looks at."""
    if isinstance(code, LoopCode):
        return [feed.outside for feed in code.each] + ([code.times] if code.times is not None else [])
    if isinstance(code, SwitchCode):
        return [code.select]
    assert isinstance(code, CallCode)
    asked = code.type.fingerprint_inputs
    return [slot for slot, port in zip(code.arguments, code.ports, strict=True) if port.name in asked]
