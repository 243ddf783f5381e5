"""A wish that a run should end, which may come before there is a run."""

from __future__ import annotations

import threading
from typing import Protocol


class Cancellable(Protocol):
    """A run."""

    def cancel(self) -> None: ...


class Cancellation:
    """Responsibilities: bring the wish to the run, whichever comes first. Any thread may ask."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._asked = False
        self._run: Cancellable | None = None

    def ask(self) -> None:
        """End the run before its next node."""
        with self._lock:
            self._asked = True
            if self._run is not None:
                self._run.cancel()

    def attach(self, run: Cancellable) -> None:
        """The run is here; it ends at once if somebody asked already."""
        with self._lock:
            self._run = run
            if self._asked:
                run.cancel()
