"""The keys that a run's outputs will have, without running it: equal keys are equal values."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping
from typing import Any

from graphcore.execution.engine import Engine, complete
from graphcore.execution.explain import DryRun, _identify
from graphcore.execution.program import Scope
from graphcore.execution.task import Ref
from graphcore.execution.unroll import Frame
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
        dry = _Kept(program, complete(workflow, inputs), header, _identify, engine._journal)
        dry.look(lambda key: True)
    return None if dry.unknown else dry.keys()


class _Kept(DryRun):
    """A dry run that keeps the frame of the outputs."""

    def look(self, stored: Callable[[bytes], bool]) -> None:
        self._frame: Frame | None = None
        unroller, opened = self._unroller, self._unroller.open

        def keep(scope: Scope, path: str, bound: Iterable[tuple[int, Ref | None]]) -> Frame:
            frame = opened(scope, path, bound)
            self._frame = self._frame or frame
            return frame

        unroller.open = keep  # type: ignore[method-assign]
        super().look(stored)

    def keys(self) -> dict[str, str] | None:
        """The keys of the outputs; None where one of them has none yet."""
        slots = () if self._frame is None else self._frame.slots
        found: dict[str, str] = {}
        for name, slot in self._program.outputs.items():
            if not slots or (ref := slots[slot]) is None:
                return None
            found[name] = ref[0].chunks[ref[1]].hex()
        return found
