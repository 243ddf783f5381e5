"""`--trace FILE`: the run as a Chrome trace, which Perfetto (ui.perfetto.dev) and about:tracing open.

Format: "Trace Event Format", Google, 2016. One lane per nesting (top level, each loop), complete events for nodes that
ran, instant events for cached ones and notes. Times in microseconds.
"""

from __future__ import annotations

import json
from pathlib import Path
from types import TracebackType
from typing import Any

from graphcore.cli import writing
from graphcore.cli.board import plain
from graphcore.events import Event

TOP = "workflow"
"""The lane of nodes at the top level."""


class Trace:
    """Collects events; writes the file when it is closed, also after a failure. Later runs follow earlier ones."""

    def __init__(self, path: Path) -> None:
        with writing.named("--trace", path):
            path.open("ab").close()  # a path that cannot be written is said before the run
        self._path = path
        self._records: list[dict[str, Any]] = []
        self._lanes: dict[str, int] = {}
        self._ends: dict[str, float] = {}
        self._started: dict[str, float] = {}
        self._offset = self._last = 0.0

    def __call__(self, event: Event) -> None:
        if event.event == "run_started":
            self._offset = self._last
            self._started.clear()
        moment = self._offset + event.time
        self._last = max(self._last, moment)
        if event.event == "started":
            self._started[event.node] = moment
        elif event.event in ("finished", "failed"):
            start = self._started.pop(event.node, moment - event.seconds)
            self._complete(event, start, moment)
        elif event.event in ("cached", "note", "out_of_memory", "cancelled"):
            self._instant(event, moment)

    def _complete(self, event: Event, start: float, end: float) -> None:
        lane = self._free_lane(nesting(event.node), start)
        self._ends[lane] = end
        self._add(event, lane, start, ph="X", dur=_micro(end - start))

    def _instant(self, event: Event, moment: float) -> None:
        self._add(event, nesting(event.node), moment, ph="i", s="t")

    def _add(self, event: Event, lane: str, moment: float, **more: Any) -> None:
        thread = self._lanes.setdefault(lane, len(self._lanes) + 1)
        name = event.node.rpartition(".")[2] or event.event
        record = {"name": name, "cat": event.type or event.event, "ts": _micro(moment), "pid": 1, "tid": thread}
        self._records.append({**record, **more, "args": event.as_dict()})

    def _free_lane(self, lane: str, start: float) -> str:
        """A lane with nothing after `start`: calls that share a forward pass overlap, and a lane cannot show that."""
        candidate, number = lane, 2
        while self._ends.get(candidate, 0.0) > start + 1e-9:
            candidate, number = f"{lane} ({number})", number + 1
        return candidate

    def write(self) -> None:
        """Write the file; one that is there is replaced whole."""
        names = [
            {"name": "thread_name", "ph": "M", "pid": 1, "tid": thread, "args": {"name": lane}}
            for lane, thread in self._lanes.items()
        ]
        document = {"traceEvents": [*names, *self._records], "displayTimeUnit": "ms"}
        with writing.named("--trace", self._path):
            writing.replace(self._path, json.dumps(document))

    def __enter__(self) -> Trace:
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, t: TracebackType | None) -> None:
        self.write()


def nesting(path: str) -> str:
    """What a node is inside of: `denoise` for `denoise[3].unet`."""
    return plain(path).rpartition(".")[0] or TOP


def _micro(seconds: float) -> float:
    return round(seconds * 1e6, 3)
