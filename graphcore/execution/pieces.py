"""Sequences that are pieces of others: their items are to have the keys that they have in the whole."""

from __future__ import annotations

from graphcore.errors import StepgraphError
from graphcore.execution.identity import ask_hook
from graphcore.execution.task import Ref, value_of


def whole(ref: Ref) -> tuple[Ref, int]:
    """The sequence that a sequence is a piece of, and where the piece begins."""
    begin = 0
    while (cut := _cut(ref)) is not None:
        ref, first = cut
        begin += first
    return ref, begin


def _cut(ref: Ref) -> tuple[Ref, int] | None:
    """What the `pieces` hook of a node says of one output; None where it cannot."""
    task, output = ref
    if task.constant or task.type is None or task.type.pieces is None:
        return None
    given = dict(zip(task.type.inputs, task.refs, strict=True))
    known = {name: value_of(given[name]) for name in task.type.pieces_inputs if given[name][0].constant}
    if len(known) < len(task.type.pieces_inputs):
        return None
    cuts = ask_hook("pieces", task.type, task.type.pieces, known)
    if len(cuts) != task.type.width or not {name for name, _ in cuts} <= given.keys():
        wanted = f"(input, number) for each of its {task.type.width} outputs"
        raise StepgraphError(f"the pieces of {task.type.name} are {cuts!r}; wanted is {wanted}")
    name, first = cuts[output]
    return given[name], first
