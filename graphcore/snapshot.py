"""What is needed to run a workflow again: its text with the files that it uses, and its inputs."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any

from graphcore.workflow import Loop, Map, Node, SubWorkflow, Workflow


def describe(workflow: Workflow, inputs: Mapping[str, Any]) -> dict[str, Any]:
    """The text of a workflow, the texts of its sub-workflows by the path that the file gives, and its inputs."""
    files: dict[str, str] = {}
    stack = [workflow]
    while stack:
        for used in _sub_workflows(stack.pop().nodes):
            if used.path not in files:
                files[used.path] = used.workflow.text
                stack.append(used.workflow)
    name = workflow.path.name if workflow.path is not None else ""
    return {"name": name, "workflow": workflow.text, "files": files, "inputs": dict(inputs)}


def _sub_workflows(nodes: Mapping[str, Node]) -> Iterator[SubWorkflow]:
    for node in nodes.values():
        if isinstance(node, SubWorkflow):
            yield node
        elif isinstance(node, (Loop, Map)):
            yield from _sub_workflows(node.nodes)
