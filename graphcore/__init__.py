"""Stepgraph's engine: typed nodes, JSON workflows, a caching executor. It knows graphs and values, not diffusion.

These ten names are the public API; everything else may change.
"""

from __future__ import annotations

from importlib import import_module
from typing import TYPE_CHECKING, Any

from graphcore.declare.node import Batch, node
from graphcore.errors import InputError, StepgraphError
from graphcore.events import Event
from graphcore.files.workflow import Workflow
from graphcore.runtime import note, runtime
from graphcore.values.shapes import TensorSpec

if TYPE_CHECKING:
    from graphcore.execution.engine import Engine

__all__ = [
    "Batch", "Engine", "Event", "InputError", "StepgraphError", "TensorSpec", "Workflow", "node", "note", "runtime",
]  # fmt: skip


def __getattr__(name: str) -> Any:
    """The engine is imported when it is first asked for: declaring nodes does not need it."""
    if name == "Engine":
        return import_module("graphcore.execution.engine").Engine
    raise AttributeError(f"module `graphcore` has no attribute `{name}`")
