"""The keys that a run's outputs will have, without running it: equal keys are equal values."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from graphcore.declare.node import NodeType
from graphcore.execution import identity
from graphcore.execution.dry_run import DryRun
from graphcore.execution.engine import Engine
from graphcore.execution.program import Program
from graphcore.files.workflow import Workflow


@dataclass(frozen=True, slots=True)
class Foresight:
    """What is foreseen of a run, and all that it rests on besides the inputs.

    Args:
        keys: The content address of each output, hexadecimal, as a run would tell it.
        program: The workflow with its node types.
        asked: The calls of `fingerprint` hooks, and what they said of the content of files.
    """

    keys: Mapping[str, str]
    program: Program
    asked: tuple[tuple[NodeType, dict[str, Any], tuple[bytes, ...]], ...]

    def holds(self, engine: Engine, workflow: Workflow, inputs: Mapping[str, Any]) -> bool:
        """Whether the same would be foreseen now, given that the inputs are the same; much less work than anew."""
        with engine.rehearsal(DryRun, workflow, inputs) as dry:
            return dry.program is self.program and all(
                identity.identify(type_, values) == said for type_, values, said in self.asked
            )


def foresee(engine: Engine, workflow: Workflow, inputs: Mapping[str, Any]) -> Foresight | None:
    """What a run by this engine would give now.

    None where no key says it all: a node has an effect, or runs anew each time; or a loop's length is not known yet.
    """
    with engine.rehearsal(_Attentive, workflow, inputs) as dry:
        if not dry.program.pure:
            return None
        dry.look(lambda key: True)
    keys = None if dry.unknown else dry.output_keys()
    return None if keys is None else Foresight(keys, dry.program, tuple(dry.asked))


class _Attentive(DryRun):
    """Remembers what the hooks were asked."""

    def __init__(self, *known: Any) -> None:
        super().__init__(*known)
        self.asked: list[tuple[NodeType, dict[str, Any], tuple[bytes, ...]]] = []

    def _remember_call(self, type_: NodeType, values: dict[str, Any]) -> tuple[bytes, ...]:
        said = super()._remember_call(type_, values)
        self.asked.append((type_, values, said))
        return said
