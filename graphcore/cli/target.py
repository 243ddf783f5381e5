"""What is to be run: a workflow file, a shipped workflow, or the workflow inside a picture."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

from graphcore.cli import shipped
from graphcore.errors import CheckFailed, StepgraphError
from graphcore.files import provenance, reader
from graphcore.files.workflow import Loop, Map, Node, SubWorkflow, Workflow
from graphcore.home import home

PICTURE = b"\x89PNG\r\n\x1a\n"


@dataclass(frozen=True)
class Target:
    """A workflow to run.

    Args:
        values: Inputs that a picture was made with; `--set` goes over them.
        record: What made the picture (see `graphcore.files.provenance.record`); None for a file.
    """

    workflow: Workflow
    values: Mapping[str, Any] = field(default_factory=dict)
    record: Mapping[str, Any] | None = None


def load(path: Path, stack: ExitStack) -> Target:
    """Read a workflow, or the one that a picture holds.

    Args:
        stack: Removes the files of a picture's workflow in the end; until then problems can show their lines.

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
    workflow = _original(record) or _read(provenance.restore(record, stack.enter_context(_temporary_folder())))
    return Target(workflow, {name: value for name, value in inputs.items() if name in workflow.inputs}, record)


def _original(record: Mapping[str, Any]) -> Workflow | None:
    """The shipped workflow that made a picture, if it is still the same: it finds the files beside it."""
    path = shipped.workflows().get(str(record.get("workflow")).removesuffix(".json"))
    if path is None:
        return None
    workflow = _read(path)
    return workflow if provenance.record(workflow, {})["files"] == record.get("files") else None


@contextmanager
def _temporary_folder() -> Iterator[Path]:
    """An empty folder below STEPGRAPH_HOME, where all else lies that is ours."""
    home().mkdir(parents=True, exist_ok=True)
    with TemporaryDirectory(prefix="picture-", dir=home()) as folder:
        yield Path(folder)


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
