"""The checker: everything that can be known to be wrong before a run, all at once, each with its place.

Two depths here: the graph (names, types, circles, loops) and, through `inference`, the models. `deep` has the third.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Any

from graphcore.check import inference, left_out
from graphcore.check.graph_checker import GraphChecker
from graphcore.declare.registry import Registry
from graphcore.errors import Problem
from graphcore.files import described, reader
from graphcore.files.places import JsonPath
from graphcore.files.source import Source
from graphcore.files.suggest import Suggester
from graphcore.files.workflow import MISSING, Workflow, files


def check_file(
    path: str | Path, registry: Registry, inputs: Mapping[str, Any] | None = None, *, models: bool = True
) -> list[Problem]:
    """Read a workflow file and check it: mistakes of form and of the graph together."""
    workflow, problems = reader.read(path)
    if workflow is None:
        return problems
    return check_read(workflow, problems, registry, inputs, models=models)


def check_read(
    workflow: Workflow,
    problems: Iterable[Problem],
    registry: Registry,
    inputs: Mapping[str, Any] | None = None,
    *,
    models: bool = True,
) -> list[Problem]:
    """As `check_file`, for a workflow that was read with mistakes of form: those and the ones of the graph together."""
    return _sorted([*problems, *check(workflow, registry, inputs, models=models)], workflow)


def check(
    workflow: Workflow, registry: Registry, inputs: Mapping[str, Any] | None = None, *, models: bool = True
) -> list[Problem]:
    """All problems of a workflow and of the files that it uses; an empty list if it can run.

    Args:
        inputs: The values to run with; None checks the file alone, so that inputs without default are fine.
        models: Also ask the nodes' `infer` hooks (they may read model configurations and file headers).
    """
    checked: dict[int, GraphChecker] = {}
    rest = left_out.take_out(workflow, registry)
    problems = list(rest.problems)
    suggester = Suggester()
    for file in files(rest.workflow):
        checked[id(file)] = graph = GraphChecker(file, registry, checked, suggester)
        problems += rest.flow_only(graph.run())
    if inputs is not None:
        problems += check_inputs(workflow, inputs)
    if models:
        faulty = frozenset((problem.file, problem.node) for problem in problems)
        problems += inference.infer(rest.workflow, registry, inputs or {}, faulty=faulty).problems
    return _sorted(problems, workflow)


def check_inputs(workflow: Workflow, inputs: Mapping[str, Any]) -> list[Problem]:
    """What is wrong with the values for a workflow's inputs: unknown or missing names, wrong types, bounds."""
    file, suggester, problems = Source(workflow.path, workflow.text), Suggester(), []
    for name in inputs:
        if name not in workflow.inputs:
            fix = suggester.near_or_list(str(name), list(workflow.inputs), "its inputs")
            message = f"the workflow has no input `{str(name)[:80]}`"
            problems.append(Problem("unknown-input", message, file.name, port=str(name), got=str(name)[:80], fix=fix))
    for name, known in workflow.inputs.items():
        at: JsonPath = ("inputs", name)
        if name not in inputs:
            if known.default is MISSING:
                message = f"the input `{name}` needs a value"
                fix = f"give one with --set {name}=..., or a default in the file"
                problems.append(file.problem("missing-input", message, at, key=True, port=name, fix=fix))
        elif refused := described.refusal(known, inputs[name]):
            message = f"the input `{name}` wants {refused[0]}, got {refused[1]}"
            problems.append(
                file.problem("input", message, at, key=True, port=name, expected=refused[0], got=refused[1])
            )
    return problems


def _sorted(problems: Iterable[Problem], top: Workflow) -> list[Problem]:
    """The problems of the first file first, each file from top to bottom, none twice."""
    unique = dict.fromkeys(problems)
    name = str(top.path) if top.path is not None else ""
    return sorted(unique, key=lambda problem: (problem.file != name, problem.file, problem.line, problem.column))
