"""Values of a workflow's inputs as they come over the API: literals, and files by id."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from graphcore import Workflow
from graphcore.check import checker
from graphcore.errors import CheckFailed
from server.files.store import FileStore

FILE = "file:"
"""A text that starts so stands for the path of a stored file."""


def resolve(workflow: Workflow, values: Mapping[str, Any], files: FileStore) -> dict[str, Any]:
    """The values as the engine takes them: ids become paths in inputs that want paths.

    Raises:
        UnknownFile: there is no file of an id.
    """
    return {name: _value(workflow, name, value, files) for name, value in values.items()}


def refuse(workflow: Workflow, values: Mapping[str, Any], files: FileStore) -> None:
    """Stop at values that the workflow cannot take, before a worker is asked.

    Raises:
        CheckFailed: with all that is wrong with them.
        UnknownFile: there is no file of an id.
    """
    if problems := checker.check_inputs(workflow, resolve(workflow, values, files)):
        raise CheckFailed(problems)


def _value(workflow: Workflow, name: str, value: Any, files: FileStore) -> Any:
    described = workflow.inputs.get(name)
    if described is None or described.type != "path" or not isinstance(value, str) or not value.startswith(FILE):
        return value
    return str(files.touch(value.removeprefix(FILE)).path)
