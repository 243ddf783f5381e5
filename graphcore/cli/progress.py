"""What a person sees of a run, on stderr: bars on a terminal, short lines elsewhere."""

from __future__ import annotations

import sys
import time
from types import TracebackType
from typing import TYPE_CHECKING, Any, TextIO

from graphcore.cli import text
from graphcore.cli.board import QUICK_SECONDS, Board, Row, plain
from graphcore.events import Event

if TYPE_CHECKING:
    from rich.table import Table

QUICK_LINES = 50
"""After so many lines, quick nodes are only counted: a graph may have 10,000."""

LOOP_SECONDS = 5.0
"""Between two lines about the same loop, where there are no bars."""

BAR_ROWS = 12
"""Rows that are shown at once on a terminal."""


class Progress:
    """Short lines: one per finished node, one per loop now and then, notes once."""

    def __init__(self, stream: TextIO) -> None:
        self.board = Board()
        self._stream = stream
        self._lines = self._hidden = 0
        self._spoken: dict[str, float] = {}

    def __call__(self, event: Event) -> None:
        if event.event in ("note", "out_of_memory"):
            if self.board.is_new_note(event):
                self._say(f"{event.event.replace('_', ' ')}: {event.node}: {event.message}", "bold yellow")
            return
        self.board.update(event)
        self._say_finished()
        if event.event == "finished":
            self._say_loops(event)

    def __enter__(self) -> Progress:
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, t: TracebackType | None) -> None:
        self.board.close()
        self._say_finished()
        if self._hidden:
            self._say(f"... and {text.count(self._hidden, 'more quick node')}", "dim")

    def _say_finished(self) -> None:
        for row in self.board.take_finished():
            if not row.loop and row.seconds < QUICK_SECONDS:
                self._lines += 1
                if self._lines > QUICK_LINES:
                    self._hidden += 1
                    continue
            self._say(line(row), "dim" if row.mark and not row.ran else "")

    def _say_loops(self, event: Event) -> None:
        node, moment = plain(event.node), event.time
        for row in self.board.active:
            if not (row.loop and node.startswith(f"{row.label}.")):
                continue
            if moment - self._spoken.setdefault(row.label, moment) >= LOOP_SECONDS:
                self._spoken[row.label] = moment
                self._say(line(row), "")

    def _say(self, words: str, style: str) -> None:
        self._stream.write(text.printable(words) + "\n")
        self._stream.flush()


class Bars(Progress):
    """As `Progress`, with bars for what is at work below the lines."""

    def __init__(self, stream: TextIO) -> None:
        super().__init__(stream)
        from rich.console import Console
        from rich.live import Live

        self._console = Console(file=stream, highlight=False)
        self._live = Live(console=self._console, get_renderable=self._table, refresh_per_second=8, transient=True)

    def __enter__(self) -> Bars:
        self._live.start()
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, t: TracebackType | None) -> None:
        self._live.stop()
        super().__exit__(kind, error, t)

    def _say_loops(self, event: Event) -> None:
        """The bars say it."""

    def _say(self, words: str, style: str) -> None:
        self._console.print(text.printable(words), style=style or None, markup=False, soft_wrap=True)

    def _table(self) -> Table:
        from rich.table import Table

        table = Table.grid(padding=(0, 2))
        now = time.monotonic()
        for row in self.board.active[:BAR_ROWS]:
            took = text.seconds(now - row.since)
            table.add_row(text.printable(row.label), _bar(row, now), row.progress, took, row.mark)
        return table


def _bar(row: Row, now: float) -> Any:
    from rich.progress_bar import ProgressBar

    done = row.step - (1 if row.active else 0)
    return ProgressBar(total=row.total or None, completed=done, width=30, pulse=not row.total, animation_time=now)


def line(row: Row) -> str:
    """`denoise  step 20/20  1.31 s`."""
    took = text.seconds(row.seconds) if row.ran else ""
    return "  ".join(part for part in (f"{row.label:<16}", row.progress, took, row.mark) if part).rstrip()


def summary(board: Board, seconds: float) -> str:
    """`done in 1.4 s: 61 nodes ran, 2 came from the cache (1 disk, 1 memory)`."""
    cached = board.cached.total()
    tiers = ", ".join(f"{count} {tier}" for tier, count in sorted(board.cached.items()))
    reused = f"{cached} came from the cache ({tiers})" if cached else "none came from the cache"
    return f"done in {text.seconds(seconds)}: {text.count(board.ran, 'node')} ran, {reused}"


def progress(stream: TextIO | None = None) -> Progress:
    """Bars where the stream is a terminal, else lines."""
    stream = stream or sys.stderr
    return Bars(stream) if stream.isatty() else Progress(stream)
