"""Stepgraph's engine: typed nodes, JSON workflows, a caching executor. It knows graphs and values, not diffusion.

These ten names are the public API; everything else may change.
"""

from __future__ import annotations

from importlib import import_module
from typing import TYPE_CHECKING, Any

from graphcore.errors import InputError, StepgraphError
from graphcore.events import Event
from graphcore.files.workflow import Workflow
from graphcore.runtime import note, runtime
from graphcore.values.shapes import TensorSpec

if TYPE_CHECKING:
    from graphcore.declare.node import Batch, node
    from graphcore.execution.engine import Engine

__all__ = [
    "Batch", "Engine", "Event", "InputError", "StepgraphError", "TensorSpec", "Workflow", "node", "note", "runtime",
]  # fmt: skip


_LATE = {"Batch": "graphcore.declare.node", "Engine": "graphcore.execution.engine", "node": "graphcore.declare.node"}
"""What is imported when it is first asked for: nodes do without the engine, `stepgraph --help` without either."""


def __getattr__(name: str) -> Any:
    if name not in _LATE:
        raise AttributeError(f"module `graphcore` has no attribute `{name}`")
    return getattr(import_module(_LATE[name]), name)
