"""Modules in memory: lent to nodes, counted, and let go within a budget of bytes per device.

Replacement is GreedyDual-Size (Cao & Irani, "Cost-aware WWW proxy caching algorithms", USITS 1997), as in the cache of
values: what is idle and cheapest to have again per byte leaves first, and what was not used for long ages. A variant
of a module (patched, or with another attention backend) shares the tensors of its base: they are counted once, and
the base leaves only together with its variants.

Heavy: import this inside functions only.
"""

from __future__ import annotations

import errno
import gc
import threading
import time
import weakref
from collections.abc import Callable, Collection, Hashable, Iterable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from itertools import chain
from typing import TypeVar

import torch

from graphcore import note
from nodes.models.memory import budget, placement
from nodes.models.memory.placement import Place

T = TypeVar("T")


@dataclass(eq=False)
class Held:
    """A module in memory.

    Args:
        key: Under which it is held.
        name: For people.
        device: Where it runs; `place` is where its tensors are now, empty while they move.
        seconds: What it takes to have it again, from its base if it has one.
        base: The module whose tensors it shares.
        offload: One of `options.OFFLOADS`.
        own: Bytes of each memory block that its base does not have.
        users: How many nodes use it now.
        clock: That of the memory when it was last used.
        during: The run that used it last.
    """

    key: Hashable
    name: str
    module: torch.nn.Module
    device: str
    seconds: float
    base: Held | None = None
    offload: str = ""
    place: str = ""
    own: dict[Place, int] = field(default_factory=dict)
    users: int = 0
    uses: int = 0
    clock: float = 0.0
    during: weakref.ref[object] | None = None

    @property
    def root(self) -> Held:
        return self.base or self


@dataclass(frozen=True, slots=True)
class Holding:
    """One line of a report: `place` is where the tensors are now, `bytes` what the module adds to its base."""

    name: str
    device: str
    place: str
    bytes: int
    variant: bool
    users: int
    uses: int
    seconds: float


@dataclass(frozen=True, slots=True)
class Report:
    """What is in memory: parts, bytes and limits per device, and how often parts were loaded, moved and dropped."""

    parts: tuple[Holding, ...]
    bytes: dict[str, int]
    limits: dict[str, int]
    loads: int
    moves: int
    drops: int


class Memory:
    """Modules by key; may be used by several threads.

    One thread at a time loads or moves (`loading`): building a module changes `torch.nn` for the whole process.

    Args:
        limits: Bytes per device.
        clock: Seconds, to measure loading.
    """

    def __init__(self, limits: budget.Budget, clock: Callable[[], float] = time.perf_counter) -> None:
        self.limits = limits
        self.loading = threading.RLock()
        self._table = threading.Lock()
        self._held: dict[Hashable, Held] = {}
        self._seconds = clock
        self._clock = 0.0
        self._loads = self._moves = self._drops = 0
        self._left: dict[Hashable, weakref.ref[object]] = {}
        self._gone: list[weakref.ref[torch.Tensor]] = []

    def get(self, key: Hashable, during: object = None) -> Held | None:
        """Borrow a module that is on its device; whoever borrows gives it back.

        Args:
            during: The run that needs it, if any.
        """
        with self._table:
            held = self._held.get(key)
            if held is None or held.root.place != held.device:
                return None
            held.users += 1
            held.uses += 1
            held.clock = self._clock
            held.root.during = _reference(during)
            return held

    def give_back(self, held: Held) -> None:
        with self._table:
            held.users -= 1

    def bring(
        self,
        key: Hashable,
        make: Callable[[], torch.nn.Module],
        *,
        name: str,
        device: str,
        expected: int = 0,
        base: Held | None = None,
        offload: str = "",
        during: object = None,
    ) -> Held:
        """Borrow a module after it was loaded, or moved back to its device; idle ones leave to make room.

        Args:
            make: Gives the module, on its device.
            expected: Bytes that it will take, as far as they are known before.
            base: A borrowed module whose tensors it shares.
            during: As in `get`.

        Raises:
            torch.OutOfMemoryError: it does not fit, also when all idle modules have left.
        """
        with self.loading:
            if (held := self.get(key, during)) is not None:
                return held
            alone = not self._returns(base.key if base else key, during)
            if (away := self._held.get(key)) is not None:
                self._move(away.root, device, alone=alone)
                if (held := self.get(key, during)) is not None:  # unless it was dropped in the meantime
                    self._say_if_too_large(held)
                    return held
            if alone:
                self._offload(device)
            self._make_room(device, expected)
            begin = self._seconds()
            module = self._twice(make)
            held = Held(key, name, module, device, self._seconds() - begin, base, offload, device, users=1, uses=1)
            held.root.during = _reference(during)
            self._add(key, held)
            self._make_room(device)
            self._say_if_too_large(held)
            return held

    def set_limit(self, limit: int | str | None, device: str) -> None:
        """Set the budget of a device (see `Budget.set`); what is too much and idle leaves."""
        with self.loading:
            self.limits.set(limit, device)
            self._make_room(device)

    def free_idle(self) -> int:
        """Drop all modules that no node uses now; returns the bytes freed."""
        with self._table:
            families = [self._family(held) for held in self._held.values() if held.root.place]
            idle = set(chain(*filter(self._idle, families)))
            freed = self._remove(idle)
        if idle:
            idle.clear()
            families.clear()  # nothing here may keep the modules
            self._collect()
        return freed

    def bytes(self, place: str | None = None) -> int:
        """Bytes of weights in a place, or in all."""
        with self._table:
            return self._bytes(place)

    def report(self) -> Report:
        """What is in memory now."""
        with self._table:
            parts = [
                Holding(
                    held.name, held.device, held.root.place, sum(held.own.values()), held.base is not None,
                    held.users, held.uses, held.seconds,
                )
                for held in self._held.values()
            ]  # fmt: skip
            places = sorted({part.place for part in parts if part.place})
            found = {place: self._bytes(place) for place in places}
            limits = {place: self.limits.of(place) for place in places}
            return Report(tuple(parts), found, limits, self._loads, self._moves, self._drops)

    def _add(self, key: Hashable, held: Held) -> None:
        with self._table:
            held.clock = self._clock
            self._held[key] = held
            self._count(held)
            self._loads += 1

    def _count(self, held: Held) -> None:
        """Note which memory a module has that its base has not."""
        blocks = placement.blocks(held.module, held.root.place)
        held.own = {block: size for block, size in blocks.items() if held.base is None or block not in held.base.own}

    def _bytes(self, place: str | None = None) -> int:
        blocks: dict[Place, int] = {}
        for held in self._held.values():
            if place is None or held.root.place == place:
                blocks.update(held.own)
        return sum(blocks.values())

    def _family(self, held: Held) -> list[Held]:
        """What leaves when a module leaves: it and its variants."""
        return [held, *(other for other in self._held.values() if other.base is held)]

    @staticmethod
    def _idle(family: Iterable[Held]) -> bool:
        return not any(held.users for held in family)

    @staticmethod
    def _size(family: Iterable[Held]) -> int:
        return sum({block: size for held in family for block, size in held.own.items()}.values())

    def _remove(self, family: Collection[Held]) -> int:
        before = self._bytes()
        self._gone += [weakref.ref(tensor) for held in family for tensor in _own_tensors(held)]
        self._held = {key: held for key, held in self._held.items() if held not in family}
        self._drops += len(family)
        return before - self._bytes()

    def _least(self, place: str) -> tuple[float, list[Held]] | None:
        """The idle family in a place that is worth least per byte, and its rank."""
        best: tuple[float, list[Held]] | None = None
        for held in self._held.values():
            family = self._family(held)
            if held.root.place != place or not self._idle(family) or not (size := self._size(family)):
                continue
            rank = max(one.clock for one in family) + sum(one.seconds for one in family) / size
            if best is None or rank < best[0]:
                best = rank, family
        return best

    def _make_room(self, place: str, needed: int = 0, below: float = float("inf")) -> bool:
        """Let idle modules of a rank below leave until so many bytes more are within the budget; whether they are."""
        left = False
        while True:
            with self._table:
                fits = self._bytes(place) + needed <= self.limits.of(place)
                least = None if fits else self._least(place)
                if least is None or least[0] >= below:
                    break
                self._clock = max(self._clock, least[0])
            self._leave(least[1], least[0])
            left = True
        if left:
            self._collect()
        return fits

    def _returns(self, key: Hashable, during: object) -> bool:
        """Whether a module had to leave after the very run used it that needs it again, as the parts of a loop would at
        every step: then none leaves for it, as long as the budget holds all.
        """
        used = self._left.get(key)
        return during is not None and used is not None and used() is during

    def _offload(self, device: str) -> None:
        """Parts that want to leave as soon as another one comes, leave."""
        with self._table:
            families = [
                self._family(held) for held in self._held.values()
                if held.base is None and held.place == device and _leaves(held.offload, device)
            ]  # fmt: skip
            leaving = [family for family in families if self._idle(family)]
        for family in leaving:
            if (used := family[0].during) is not None:
                self._left[family[0].key] = used
            self._leave(family, float("inf"))
        if leaving:
            self._collect()

    def _leave(self, family: list[Held], rank: float) -> None:
        """Leave a device: to CPU memory if it is worth a place there, else altogether."""
        first = family[0]
        goes = first.base is None and first.offload != "disk" and placement.is_accelerator(first.place)
        if not (goes and self._park(family, rank)):
            self._drop(family)

    def _park(self, family: list[Held], rank: float) -> bool:
        """Move to CPU memory, at the cost of what is worth less there; whether that was possible."""
        try:
            return self._make_room(placement.CPU, self._size(family), rank) and self._move(family[0], placement.CPU)
        except RuntimeError as error:
            if not is_out_of_memory(error):
                raise
            return False

    def _drop(self, family: list[Held]) -> None:
        with self._table:
            if not self._idle(family):  # lent in the meantime
                return
            self._remove(family)
        family.clear()  # whoever called must not keep the modules

    def _move(self, root: Held, place: str, *, alone: bool = False) -> bool:
        """Move a module and its variants; not if it is in use. An error leaves it where it was.

        Args:
            alone: Those there that want to leave for another one leave for this one.
        """
        with self._table:
            family = self._family(root)
            if not self._idle(family) or not any(held is root for held in self._held.values()):
                return False
            before, root.place = root.place, ""  # neither lent, nor dropped, nor counted: it makes room where it was
            size = self._size(family)
        try:
            if alone:
                self._offload(place)
            self._change_place([held.module for held in family], size, place)
        except BaseException:
            root.place = before
            raise
        with self._table:
            root.place = place
            for held in family:
                self._count(held)
            self._moves += 1
        return True

    def _change_place(self, modules: list[torch.nn.Module], size: int, place: str) -> None:
        if place == placement.CPU:
            placement.move(modules, place)
        else:
            self._make_room(place, size)
            self._twice(lambda: placement.move(modules, place))

    def _twice(self, work: Callable[[], T]) -> T:
        """Try once more without the idle modules, if memory was short."""
        try:
            return work()
        except Exception as error:
            if not is_out_of_memory(error):
                raise
            first = str(error)
        freed = self.free_idle()
        try:
            return work()
        except Exception as error:
            if not is_out_of_memory(error):
                raise
            message = f"{error} (after {budget.text(freed)} of idle weights were freed; before: {first})"
            raise torch.OutOfMemoryError(message) from error

    def _collect(self) -> None:
        """Free what has left. Most modules went with their last reference; a search for circles of references, which
        takes longer than to load a small model, is for those that did not.
        """
        with self._table:
            gone, self._gone = self._gone, []
        if any(tensor() is not None for tensor in gone):
            gc.collect()
        if torch.cuda.is_available():
            torch.cuda.empty_cache()

    def _say_if_too_large(self, held: Held) -> None:
        limit, total = self.limits.of(held.device), self.bytes(held.device)
        if total > limit:
            note(
                f"{held.name}: weights in use take {budget.text(total)} on {held.device}, more than the budget of "
                f"{budget.text(limit)} ({budget.VARIABLE} sets another)"
            )


@contextmanager
def full_memory_by_its_name() -> Iterator[None]:
    """Within, a full CPU memory is torch.OutOfMemoryError, as a full GPU is, and not any RuntimeError."""
    try:
        yield
    except RuntimeError as error:
        if is_out_of_memory(error) and not isinstance(error, torch.OutOfMemoryError):
            raise torch.OutOfMemoryError(str(error)) from error
        raise


def is_out_of_memory(error: BaseException) -> bool:
    """Whether an error says that a device or the machine is full; torch's CPU allocator says so in words only."""
    if isinstance(error, (MemoryError, torch.OutOfMemoryError)):
        return True
    if isinstance(error, OSError):
        return error.errno == errno.ENOMEM
    return isinstance(error, RuntimeError) and "cannot allocate memory" in str(error).lower().replace("can't", "cannot")


def _reference(run: object) -> weakref.ref[object] | None:
    return None if run is None else weakref.ref(run)


def _leaves(offload: str, device: str) -> bool:
    """Whether a part leaves a device for the next one; CPU memory is left for the disk only."""
    return offload == "disk" or (offload == "cpu" and placement.is_accelerator(device))


def _own_tensors(held: Held) -> Iterator[torch.Tensor]:
    """The tensors that a module does not share with its base."""
    shared = set() if held.base is None else {id(tensor) for tensor in placement.tensors(held.base.module)}
    return (tensor for tensor in placement.tensors(held.module) if id(tensor) not in shared)
