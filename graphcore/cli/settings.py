"""`--set name=value`: what a person types, as the type that the workflow's input declares."""

from __future__ import annotations

import json
import math
import re
from collections.abc import Callable, Container, Iterable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from graphcore.cli.failure import UsageError
from graphcore.errors import did_you_mean
from graphcore.files.described import refusal
from graphcore.files.workflow import MISSING, Workflow, WorkflowInput

SCHEME = re.compile(r"[A-Za-z][\w+.-]+:")
"""`builtin:emoji`: a name that is no path. Two letters at least, so that a Windows drive is none."""

TRUE, FALSE = ("true", "yes", "on", "1"), ("false", "no", "off", "0")


@dataclass(frozen=True, slots=True)
class Settings:
    """Values of inputs, and the paths among them: the run may read those wherever they lie."""

    values: dict[str, Any]
    paths: tuple[Path, ...] = ()


def read(
    workflow: Workflow, assignments: Iterable[str], *, known: Container[str] = (), complete: bool = True
) -> Settings:
    """The inputs that `--set` gives; the last one of a name counts.

    Args:
        known: Names of inputs that have a value already.
        complete: Refuse if an input without default has no value.

    Raises:
        UsageError: an unknown name, a value that is not of the input's type, a missing one.
    """
    values: dict[str, Any] = {}
    paths: dict[str, Path] = {}
    for assignment in assignments:
        described, written = _split(workflow, assignment)
        name = described.name
        values[name] = convert(described, written)
        paths.pop(name, None)
        if described.type == "path" and not SCHEME.match(values[name]):
            paths[name] = Path(values[name])
    if complete:
        missing = [i for i in workflow.inputs.values() if i.default is MISSING and i.name not in values]
        _refuse_missing([described for described in missing if described.name not in known])
    return Settings(values, tuple(paths.values()))


def _split(workflow: Workflow, assignment: str) -> tuple[WorkflowInput, str]:
    name, equals, written = assignment.partition("=")
    if not equals:
        raise UsageError(f"--set {assignment}: write name=value")
    if (described := workflow.inputs.get(name)) is None:
        known = ", ".join(workflow.inputs) or "none"
        fix = did_you_mean(name, workflow.inputs) or f"its inputs: {known}"
        raise UsageError(f"--set {assignment}: the workflow has no input `{name}`; {fix}")
    return described, written


def _refuse_missing(missing: Iterable[WorkflowInput]) -> None:
    wanted = ", ".join(f"--set {one.name}=... ({one.type})" for one in missing)
    if wanted:
        raise UsageError(f"this workflow needs {wanted}")


def convert(described: WorkflowInput, written: str) -> Any:
    """A value as typed, in the input's type.

    Raises:
        UsageError: it is none of that type, or outside of `enum`, `minimum` and `maximum`.
    """
    try:
        value = CONVERTERS[described.type](written, described)
    except ValueError as error:
        raise UsageError(f"--set {described.name}={written}: `{described.name}` wants {error}") from None
    if refused := refusal(described, value):
        raise UsageError(f"--set {described.name}={written}: `{described.name}` wants {refused[0]}, got {refused[1]}")
    return value


def _string(written: str, _: WorkflowInput) -> str:
    return written


def _integer(written: str, _: WorkflowInput) -> int:
    if not re.fullmatch(r"\s*[+-]?\d{1,4000}\s*", written, re.ASCII):
        raise ValueError("an integer, such as 20")
    return int(written)


def _number(written: str, _: WorkflowInput) -> float:
    try:
        value = float(written)
    except ValueError:
        value = math.nan
    if not math.isfinite(value) or "_" in written:
        raise ValueError("a number, such as 7.5")
    return value


def _boolean(written: str, _: WorkflowInput) -> bool:
    word = written.strip().lower()
    if word not in (*TRUE, *FALSE):
        raise ValueError("true or false")
    return word in TRUE


def _path(written: str, _: WorkflowInput) -> str:
    """Resolved against the current folder: a workflow's own relative paths start at the workflow's folder."""
    if not written or "\0" in written:
        raise ValueError("a path")
    path = Path(written).expanduser()
    if SCHEME.match(written) and not path.exists():
        return written
    return str(path.absolute())


def _array(written: str, described: WorkflowInput) -> list[Any]:
    """JSON, or items between commas."""
    if written.lstrip().startswith("["):
        value = _json(written, "an array: JSON, or items between commas")
        if isinstance(value, list):
            return value
    item = WorkflowInput(described.name, described.items)
    return [CONVERTERS[item.type](part.strip(), item) for part in written.split(",")] if written.strip() else []


def _any(written: str, _: WorkflowInput) -> Any:
    try:
        return _json(written, "")
    except ValueError:
        return written


def _json(written: str, wanted: str) -> Any:
    def refuse(name: str) -> Any:
        raise ValueError(wanted)

    try:
        return json.loads(written, parse_constant=refuse)
    except (ValueError, RecursionError):
        raise ValueError(wanted) from None


CONVERTERS: dict[str, Callable[[str, WorkflowInput], Any]] = {
    "string": _string,
    "integer": _integer,
    "number": _number,
    "boolean": _boolean,
    "path": _path,
    "array": _array,
    "any": _any,
}
