"""The state of a run as rows: one per node at the top level, one per loop. Knows events, no terminal."""

from __future__ import annotations

import re
import time
from collections import Counter
from collections.abc import Iterator
from dataclasses import dataclass, field

from graphcore.events import Event

QUICK_SECONDS = 0.1
"""What takes less is not worth a person's while."""

ITERATION = re.compile(r"\[(\d+)\]\.")


@dataclass(slots=True)
class Row:
    """A node, or a loop with its steps.

    Args:
        label: Path without indices, such as `grid.denoise`.
        step: The iteration that was heard of last, counted from 1.
        total: Number of iterations; 0 for a node, or where it is not known yet.
        since: When it started (monotonic clock of this process).
    """

    label: str
    loop: bool = False
    step: int = 0
    total: int = 0
    ran: int = 0
    cached: Counter[str] = field(default_factory=Counter)
    seconds: float = 0.0
    since: float = field(default_factory=time.monotonic)
    active: int = 0
    done: bool = False

    @property
    def mark(self) -> str:
        """`cached (disk)` where nothing ran, how many nodes were cached where some did."""
        if not self.cached:
            return ""
        if not self.ran:
            return f"cached ({', '.join(sorted(self.cached))})"
        return f"{self.cached.total()} of {self.ran + self.cached.total()} nodes cached"

    @property
    def progress(self) -> str:
        return f"step {self.step}/{self.total}" if self.loop and self.total else ""


class Board:
    """Rows of one run, by label; `ran` and `cached` count all nodes."""

    def __init__(self) -> None:
        self.rows: dict[str, Row] = {}
        self._open: dict[str, Row] = {}
        self.ran = 0
        self.cached: Counter[str] = Counter()
        self._had: set[str] = set()
        self._notes: set[tuple[str, str]] = set()
        self._finished: list[Row] = []

    def update(self, event: Event) -> None:
        """Take one event in."""
        if event.event == "expanded":
            self._expand(event)
        elif event.event in ("started", "finished", "cached") and not self._again(event):
            if event.event == "started":
                self._finish_loops_before(event.node)
            for row in self._rows(event.node):
                self._count(row, event)
            if event.event != "started":
                self._sum(event)

    def _again(self, event: Event) -> bool:
        """Whether the run takes up again what it had before: no news to a person, nor anything that it was spared."""
        again = event.event == "cached" and event.key in self._had
        if event.key and event.event != "started":
            self._had.add(event.key)
        return again

    def is_new_note(self, event: Event) -> bool:
        """Whether this note has not been said yet; a loop says the same one in every step."""
        note = (plain(event.node), event.message)
        if note in self._notes:
            return False
        self._notes.add(note)
        return True

    def take_finished(self) -> list[Row]:
        """Rows that have finished since the last call."""
        finished, self._finished = self._finished, []
        return finished

    def close(self) -> None:
        """The run is over: loops, which nobody announces the end of, are over too."""
        for row in list(self._open.values()):
            if row.step or row.ran or row.cached:
                self._finish(row)

    @property
    def active(self) -> list[Row]:
        """Rows at work, in the order in which they began."""
        return [row for row in list(self._open.values()) if row.active or row.loop]

    def _expand(self, event: Event) -> None:
        label = plain(event.node)
        if label not in self._open:
            self.rows.pop(label, None)
        row = self._row(label)
        row.loop, row.total, row.step = True, event.total, 0

    def _row(self, label: str) -> Row:
        """The row of a label, open; one that was thought to be done goes on."""
        if (row := self._open.get(label)) is None:
            row = self.rows.setdefault(label, Row(label))
            row.done = False
            self._open[label] = row
        return row

    def _rows(self, path: str) -> Iterator[Row]:
        """The rows that an event of a node is about: its own at the top level, else those of its loops."""
        inside = False
        for match in ITERATION.finditer(path):
            inside = True
            label = plain(path[: match.start()])
            row = self._row(label)
            row.loop = True
            row.step = int(match.group(1)) + 1  # not the furthest: what needs no step before it runs ahead
            yield row
        if not inside:
            yield self._row(path)

    def _finish_loops_before(self, path: str) -> None:
        """Nobody announces the end of a loop: it is over once its last step is done and a node after it starts.

        In a loop that took no time perhaps nothing ran yet but what needs no step before it.
        """
        loops = [row for row in self._open.values() if row.loop]
        inside = plain(path)
        for row in loops:
            over = row.step == row.total and not row.active and not inside.startswith(f"{row.label}.")
            over = over and (not row.ran or row.seconds >= QUICK_SECONDS)
            if over and not any(row.label.startswith(f"{other.label}.") for other in loops):
                for inner in (row, *(other for other in loops if other.label.startswith(f"{row.label}."))):
                    self._finish(inner)

    def _count(self, row: Row, event: Event) -> None:
        if event.event == "started":
            row.active += 1
            return
        if event.event == "cached":
            row.cached[event.cached] += 1
        else:
            row.ran += 1
            row.active -= 1
            row.seconds += event.seconds
        if not row.loop:
            self._finish(row)

    def _sum(self, event: Event) -> None:
        if event.event == "cached":
            self.cached[event.cached] += 1
        else:
            self.ran += 1

    def _finish(self, row: Row) -> None:
        if not row.done:
            row.done = True
            self._open.pop(row.label, None)
            self._finished.append(row)


def plain(path: str) -> str:
    """A node's path without indices: `grid[1].denoise[3].unet` is `grid.denoise.unet`."""
    return ITERATION.sub(".", path)
