"""How far a run is, from its events: which share of the known work is done, and how long the rest takes."""

from __future__ import annotations

import math
import re
from collections.abc import Mapping
from dataclasses import dataclass

from graphcore import Event, Workflow
from graphcore.files.workflow import Loop, Map, Node, NodeCall, SubWorkflow

_INDEX = re.compile(r"\[(\d+)\]")


@dataclass(frozen=True, slots=True)
class _Place:
    """A node of the file: its type, and the loops around it by path, the outermost first."""

    type: str
    loops: tuple[str, ...]


class Progress:
    """Responsibilities: follow the events of one run, and say what is left where that is known.

    Args:
        workflow: What runs.
        paces: Seconds that node types took before, by `kind(type)`.
    """

    def __init__(self, workflow: Workflow, paces: Mapping[str, float]) -> None:
        self._places: dict[str, _Place] = {}
        self._paces = paces
        self._lengths: dict[str, int] = {}
        self._done: dict[str, int] = {}
        self._ran: dict[str, list[float]] = {}
        self._add(workflow.nodes, "", ())

    def __call__(self, event: Event) -> None:
        """Hear an event of the engine."""
        if event.event == "expanded":
            self._lengths[_INDEX.sub("", event.node)] = event.total
        elif event.event in ("finished", "cached"):
            if event.event == "finished":
                self._ran.setdefault(kind(event.type), []).append(event.seconds)
            path = _INDEX.sub("", event.node)
            if (place := self._places.get(path)) is not None:
                number = self._number(place, [int(text) for text in _INDEX.findall(event.node)])
                self._done[path] = max(self._done.get(path, 0), number + 1)

    def measured(self) -> dict[str, float]:
        """Mean seconds of the nodes that ran, by kind."""
        return {name: math.fsum(seconds) / len(seconds) for name, seconds in self._ran.items()}

    def report(self) -> tuple[float | None, float | None]:
        """Share of the work that is done, and seconds that the rest takes; None where that is not known.

        Work is counted in seconds where every node type was measured before, else in calls. Steps that a cached value
        makes needless count as done once a later one of their loop is.
        """
        totals = {path: self._total(place) for path, place in self._places.items()}
        if not totals or any(total is None for total in totals.values()):
            return None, None
        seconds = {path: self._paces.get(kind(place.type)) for path, place in self._places.items()}
        timed = None not in seconds.values()
        weights = {path: (seconds[path] or 0.0) if timed else 1.0 for path in totals}
        whole = math.fsum(weights[path] * (total or 0) for path, total in totals.items())
        done = math.fsum(weights[path] * min(count, totals[path] or 0) for path, count in self._done.items())
        return (min(done / whole, 1.0) if whole else None), (max(whole - done, 0.0) if timed else None)

    def _add(self, nodes: Mapping[str, Node], prefix: str, loops: tuple[str, ...]) -> None:
        for name, node in nodes.items():
            path = f"{prefix}{name}"
            if isinstance(node, NodeCall):
                self._places[path] = _Place(node.type, loops)
            elif isinstance(node, (Loop, Map)):
                self._add(node.nodes, f"{path}.", (*loops, path))
            elif isinstance(node, SubWorkflow):
                self._add(node.workflow.nodes, f"{path}.", loops)

    def _total(self, place: _Place) -> int | None:
        """How often a node runs; None as long as a loop around it has not told its length."""
        lengths = [self._lengths.get(loop) for loop in place.loops]
        return None if None in lengths else math.prod(length or 0 for length in lengths)

    def _number(self, place: _Place, indices: list[int]) -> int:
        """Which call of a node it is, counted from 0, where its loops run one after the other."""
        number = 0
        for loop, index in zip(place.loops, indices, strict=False):
            number = number * self._lengths.get(loop, 1) + index
        return number


def kind(type_: str) -> str:
    """Names a node type among all that is measured."""
    return f"node {type_ if '/' in type_ else f'stepgraph/{type_}'}"
