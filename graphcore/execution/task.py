"""One call of one node in one run: what it needs, its key, and its value once it is there."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import TYPE_CHECKING, Any, TypeAlias

from graphcore.declare.node import NodeType
from graphcore.values import keys

if TYPE_CHECKING:
    from graphcore.execution.run import Run
    from graphcore.execution.unroll import Control, Frame

NEW, WAITING, DONE = range(3)

Ref: TypeAlias = "tuple[Task, int]"
"""One output of a task."""


class Task:
    """A node call with a key; `outputs` is None until it is done, and again once nobody needs the value.

    `type` is None for what the engine makes itself with `internal`: lists, items of lists; constants need nothing.
    """

    # Plain attributes with defaults of the class: a run makes thousands of tasks, most of which never need them.
    constant = False
    state = NEW
    missing = users = entry_bytes = 0
    seconds = replay = lineage = 0.0
    notes: tuple[str, ...] = ()
    outputs: tuple[Any, ...] | None = None
    waiters: list[Task | Control] | None = None
    internal: Callable[[list[Any]], Any] | None = None
    group: Any = None
    checkpoint = False

    def __init__(
        self, run: Run, order: int, frame: Frame, name: str, type: NodeType | None, refs: Sequence[Ref], key: bytes
    ) -> None:
        self.run, self.order, self.frame, self.name, self.type = run, order, frame, name, type
        self.refs, self.key = refs, key
        self.chunks: tuple[bytes, ...] = _CHUNKS[type.width](key) if type is not None else (b"\x00" + key,)

    @property
    def path(self) -> str:
        return self.frame.path + self.name

    def __lt__(self, other: Task) -> bool:
        return self.order < other.order


class Constant(Task):
    """A literal as a task that is done; it has no key of its own, its chunk in other keys is its encoding."""

    constant = True
    state = DONE

    def __init__(self, value: Any) -> None:
        self.chunks = (keys.literal(value),)
        self.outputs = (value,)


def constant(value: Any) -> Ref:
    """A reference to a literal."""
    return Constant(value), 0


class _Chunks(dict[int, Any]):
    """Per number of outputs, the function from a key to what each output adds to the keys of those who take it."""

    def __missing__(self, width: int) -> Any:
        tags = [bytes([index]) for index in range(width)]
        self[width] = function = lambda key: tuple(tag + key for tag in tags)
        return function


_CHUNKS = _Chunks()
_CHUNKS[1] = lambda key: (b"\x00" + key,)


def value_of(ref: Ref) -> Any:
    """The value of an output that is there."""
    outputs = ref[0].outputs
    assert outputs is not None
    return outputs[ref[1]]
