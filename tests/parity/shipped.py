"""The shipped workflows, as files and with one more output."""

from __future__ import annotations

import dataclasses
import functools
from typing import Any

from graphcore import Workflow
from graphcore.files.workflow import Link
from graphcore.plugins.loader import Plugins
from nodes import resources

REGISTRY = Plugins().registry
"""The built-in nodes."""


@functools.cache
def workflow(name: str) -> Workflow:
    """A shipped workflow, read once."""
    return Workflow.load(resources.workflow_folder() / f"{name}.json")


@functools.cache
def with_steps(name: str) -> Workflow:
    """A shipped workflow with a further output, `steps`: the latents after every step."""
    shipped = workflow(name)
    return dataclasses.replace(shipped, outputs={**shipped.outputs, "steps": Link("denoise", "steps")})


def unet_calls(events: list[Any]) -> int:
    """How many calls of the UNet node ran (those that shared a forward pass count each)."""
    return sum(event.event == "finished" and event.type == "stepgraph/unet" for event in events)
