"""The keys that a run's outputs will have, without running it: equal keys are equal values."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from graphcore.execution.engine import Engine, complete
from graphcore.execution.explain import DryRun, _identify
from graphcore.files.workflow import Workflow


def keys(engine: Engine, workflow: Workflow, inputs: Mapping[str, Any]) -> dict[str, str] | None:
    """The content address of each output, hexadecimal, as a run by this engine would tell it now.

    None where no key says it all: a node has an effect, or runs anew each time; or a loop's length is not known yet.
    """
    program = engine._compile(workflow)
    if program.effects or not all(type_.pure for type_ in program.types):
        return None
    runtime = engine.runtime(workflow)
    header = engine._header_for(runtime)
    with engine._executor.within(runtime):
        dry = DryRun(program, complete(workflow, inputs), header, _identify, engine._journal)
        dry.look(lambda key: True)
    return None if dry.unknown else dry.output_keys()
