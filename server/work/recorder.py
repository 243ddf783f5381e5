"""Events of a run on their way into the log: gathered for a moment, then written together."""

from __future__ import annotations

import threading
from collections.abc import Callable
from typing import Any

from graphcore import Event
from server.jobs.events import EventLog

FLUSH_SECONDS = 0.05
"""How long an event waits for others at most."""


class Recorder:
    """Responsibilities: take events without delaying the run, write them in order, tell when some are there.

    Args:
        job: Id of the job they belong to.
        written: Called (in another thread) after each write.
    """

    def __init__(self, log: EventLog, job: str, written: Callable[[], None]) -> None:
        self._log, self._job, self._written = log, job, written
        self._waiting: list[tuple[str, dict[str, Any], bytes]] = []
        self._lock, self._stop = threading.Lock(), threading.Event()
        self._error: Exception | None = None
        self._thread = threading.Thread(target=self._run, name="stepgraph-events", daemon=True)

    def __enter__(self) -> Recorder:
        self._thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._stop.set()
        self._thread.join()
        self._flush()

    def __call__(self, event: Event) -> None:
        """Take one event of the engine."""
        with self._lock:
            self._waiting.append((event.event, event.as_dict(), event.preview))

    def _run(self) -> None:
        while not self._stop.wait(FLUSH_SECONDS):
            self._flush()

    def _flush(self) -> None:
        with self._lock:
            taken, self._waiting = self._waiting, []
        if taken:
            self._log.append(self._job, taken)
            self._written()
