"""`stepgraph workflows`: what comes with Stepgraph, ready to run, and what it asks for."""

from __future__ import annotations

import argparse
import json
import sys
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from graphcore.cli import options as shared
from graphcore.cli import shipped, text
from graphcore.files import reader
from graphcore.files.workflow import MISSING, Workflow, WorkflowInput


def configure(parser: argparse.ArgumentParser) -> None:
    shared.add_help(parser)
    shared.add_json(parser)


def main(options: argparse.Namespace) -> int:
    found = {name: (path, reader.read(path)[0]) for name, path in shipped.workflows().items()}
    known = {name: (path, workflow) for name, (path, workflow) in found.items() if workflow is not None}
    if options.json:
        print(json.dumps([describe(name, *both) for name, both in known.items()], indent=2, ensure_ascii=False))
        return 0
    for name, (_, workflow) in known.items():
        if not is_part(workflow):
            print(block(name, workflow) + "\n")
    if parts := {name: workflow for name, (_, workflow) in known.items() if is_part(workflow)}:
        print(_parts(parts) + "\n")
    print("`stepgraph run NAME --set input=value` runs one; `stepgraph init DIR` copies them all.")
    return 0


def is_part(workflow: Workflow) -> bool:
    """Whether it runs only inside another workflow: it needs a value that nobody can type."""
    return any(described.type == "any" and described.default is MISSING for described in workflow.inputs.values())


def block(name: str, workflow: Workflow) -> str:
    """Name, title and inputs of one workflow."""
    head = text.paint(name, "bold", sys.stdout) + (f"  {text.printable(workflow.title)}" if workflow.title else "")
    return "\n".join([head, inputs(workflow.inputs)] if workflow.inputs else [head])


def inputs(known: Mapping[str, WorkflowInput]) -> str:
    """One line per input: name, type, default, bounds, description."""
    return text.columns([(one.name, one.type, _default(one), _remark(one)) for one in known.values()])


def _default(described: WorkflowInput) -> str:
    if described.default is MISSING:
        return "(needed)"
    return json.dumps(described.default, ensure_ascii=False)


def _remark(described: WorkflowInput) -> str:
    bounds = [f"at least {described.minimum:g}"] if described.minimum is not None else []
    bounds += [f"at most {described.maximum:g}"] if described.maximum is not None else []
    bounds += ["one of " + ", ".join(map(str, described.enum))] if described.enum is not None else []
    return f"{described.description} ({', '.join(bounds)})".lstrip() if bounds else described.description


def _parts(parts: Mapping[str, Workflow]) -> str:
    head = text.paint("parts, to use inside other workflows", "bold", sys.stdout)
    return f"{head}\n{text.columns([(name, workflow.title) for name, workflow in parts.items()])}"


def describe(name: str, path: Path, workflow: Workflow) -> dict[str, Any]:
    """A workflow, JSON-ready."""
    return {
        "name": name,
        "path": str(path),
        "title": workflow.title,
        "description": workflow.description,
        "runnable": not is_part(workflow),
        "inputs": {one.name: _describe_input(one) for one in workflow.inputs.values()},
        "outputs": list(workflow.outputs),
    }


def _describe_input(described: WorkflowInput) -> dict[str, Any]:
    """As in the workflow file; what the file does not say is left out."""
    known: dict[str, Any] = {"type": described.type, "required": described.default is MISSING}
    if described.default is not MISSING:
        known["default"] = described.default
    for name in ("minimum", "maximum", "enum"):
        if (value := getattr(described, name)) is not None:
            known[name] = value
    if described.type == "array":
        known["items"] = described.items
    return {**known, "description": described.description}
