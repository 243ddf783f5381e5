"""What is to be run: a workflow file, a shipped workflow, or the workflow inside a picture."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from graphcore import provenance, reader
from graphcore.errors import CheckFailed, StepgraphError
from graphcore.workflow import Loop, Map, Node, SubWorkflow, Workflow

PICTURE = b"\x89PNG\r\n\x1a\n"


@dataclass(frozen=True)
class Target:
    """A workflow to run.

    Args:
        values: Inputs that a picture was made with; `--set` goes over them.
        record: What made the picture (see `graphcore.provenance.record`); None for a file.
    """

    workflow: Workflow
    values: Mapping[str, Any] = field(default_factory=dict)
    record: Mapping[str, Any] | None = None


def load(path: Path, folder: Path) -> Target:
    """Read a workflow, or the one that a picture holds.

    Args:
        folder: Where the workflow of a picture is laid down; it must stay as long as the target is used.

    Raises:
        CheckFailed: with what is wrong with the file.
        StepgraphError: a picture without a workflow.
    """
    if not is_picture(path):
        return Target(_read(path))
    record = provenance.read(path)
    inputs = record.get("inputs")
    if not isinstance(inputs, dict):
        raise StepgraphError(f"the record in {path} names no inputs; it was not written by `stepgraph run`")
    workflow = _read(provenance.restore(record, folder))
    return Target(workflow, {name: value for name, value in inputs.items() if name in workflow.inputs}, record)


def is_picture(path: Path) -> bool:
    with path.open("rb") as file:
        return file.read(len(PICTURE)) == PICTURE


def _read(path: Path) -> Workflow:
    workflow, problems = reader.read(path)
    if workflow is None or problems:
        raise CheckFailed(problems)
    return workflow


def files(workflow: Workflow) -> set[Path]:
    """The workflow's own file and those of its sub-workflows."""
    found = {workflow.path} if workflow.path else set()
    for part in _parts(workflow.nodes):
        found |= files(part.workflow)
    return found


def _parts(nodes: Mapping[str, Node]) -> list[SubWorkflow]:
    parts = [node for node in nodes.values() if isinstance(node, SubWorkflow)]
    return parts + [part for node in nodes.values() if isinstance(node, (Loop, Map)) for part in _parts(node.nodes)]
