"""`stepgraph check FILE`: every error of a workflow at once, before anything runs."""

from __future__ import annotations

import argparse
import json
import sys
from collections.abc import Sequence
from typing import Any

from graphcore.cli import options as shared
from graphcore.cli import problems, settings, shipped, text
from graphcore.declare.registry import Registry
from graphcore.errors import CheckFailed, Problem
from graphcore.files.workflow import Workflow


def configure(parser: argparse.ArgumentParser) -> None:
    shared.add_help(parser)
    parser.add_argument("file", metavar="FILE", help="a workflow file, or the bare name of a shipped workflow")
    shared.add_settings(parser)
    parser.add_argument(
        "--deep",
        action="store_true",
        help="also run the real nodes on tensors without content: shapes, operations and memory, nothing loaded",
    )
    shared.add_plugins(parser)
    shared.add_json(parser)


def main(options: argparse.Namespace) -> int:
    path = shipped.find(options.file)
    registry = shared.load_plugins(options).registry
    workflow, found = _read(str(path))
    rows: list[dict[str, Any]] = []
    if workflow is not None:
        values = settings.read(workflow, options.set, complete=False).values
        found = found + _check(workflow, registry, values)
        if options.deep and not found:
            rows, found = _deep(workflow, registry, values)
    if options.json:
        _write_json(found, rows)
    else:
        _write(str(path), found, rows)
    return 1 if found else 0


def _read(path: str) -> tuple[Workflow | None, list[Problem]]:
    from graphcore.files import reader

    workflow, found = reader.read(path)
    return workflow, list(found)


def _check(workflow: Workflow, registry: Registry, values: dict[str, Any]) -> list[Problem]:
    from graphcore.check import checker

    return list(checker.check(workflow, registry, values or None))


def _deep(workflow: Workflow, registry: Registry, values: dict[str, Any]) -> tuple[list[dict[str, Any]], list[Problem]]:
    """The deep check's findings: per node its `node`, `outputs` (name to shape), `flops`, `bytes` at the peak.

    Imported here: it brings torch, which no other check needs.
    """
    from graphcore.check import deep

    try:
        reports = deep.check(workflow, registry, values)
    except CheckFailed as error:
        return [], list(error.problems)
    return [report.as_dict() for report in reports], []


def _write_json(found: Sequence[Problem], rows: Sequence[dict[str, Any]]) -> None:
    document: dict[str, Any] = {"ok": not found, "problems": [problem.as_dict() for problem in found]}
    if rows:
        document["nodes"] = list(rows)
    print(json.dumps(document, indent=2, ensure_ascii=False))


def _write(path: str, found: Sequence[Problem], rows: Sequence[dict[str, Any]]) -> None:
    if found:
        problems.write(found, sys.stdout)
        return
    if rows:
        header = ("node", "outputs", "operations", "peak memory")
        print(text.columns([header, *map(_row, rows)], indent=""))
    print(f"{text.printable(path)}: {text.paint('no problems', 'green', sys.stdout)}")


def _row(row: dict[str, Any]) -> tuple[str, str, str, str]:
    shapes = ", ".join(f"{name} {shape}" for name, shape in row["outputs"].items())
    return row["node"], shapes, _operations(row["flops"]), text.size(row["bytes"])


def _operations(flops: int) -> str:
    """Floating-point operations: `1.2 TFLOP`."""
    for factor, unit in ((1e12, "TFLOP"), (1e9, "GFLOP"), (1e6, "MFLOP")):
        if flops >= factor:
            return f"{flops / factor:.1f} {unit}"
    return f"{flops} FLOP"
