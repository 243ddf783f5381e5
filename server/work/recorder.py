"""Events of a run on their way into the log: gathered for a moment, then written together."""

from __future__ import annotations

import logging
import sqlite3
import threading
from collections.abc import Callable, Mapping
from typing import Any

from graphcore import Event
from server.jobs.events import EventLog
from server.work.pulse import Pulse

log = logging.getLogger(__name__)

FLUSH_SECONDS = 0.05
"""How long an event waits for others at most."""


class Recorder:
    """Responsibilities: take events without delaying the run, write them in order, tell when some are there.

    Args:
        job: Id of the job they belong to.
        written: Called (perhaps in another thread) after each write.
        pulse: Beats every `FLUSH_SECONDS`, or about.
        hide: Takes out of a message what strangers need not know.
    """

    def __init__(
        self, log: EventLog, job: str, written: Callable[[], None], pulse: Pulse, hide: Callable[[str], str] = str
    ) -> None:
        self._log, self._job, self._written, self._hide = log, job, written, hide
        self._waiting: list[tuple[str, Mapping[str, Any], bytes]] = []
        self._lock = threading.Lock()
        self._beating = pulse.beating(self._flush)

    def __enter__(self) -> Recorder:
        self._beating.__enter__()
        return self

    def __exit__(self, *_: object) -> None:
        self._beating.__exit__(None, None, None)
        self._flush()

    def __call__(self, event: Event) -> None:
        """Take one event of the engine."""
        told = event.as_dict()
        if event.message:
            told["message"] = self._hide(event.message)
        self.tell(event.event, told, event.preview)

    def tell(self, name: str, data: Mapping[str, Any], preview: bytes = b"") -> None:
        """Take an event."""
        with self._lock:
            self._waiting.append((name, data, preview))

    def _flush(self) -> None:
        """Write what waits; where that cannot be done now, it waits on: a job is worth more than its story."""
        with self._lock:
            taken, self._waiting = self._waiting, []
        if not taken:
            return
        try:
            self._log.append(self._job, taken)
        except sqlite3.Error as error:
            log.warning("events of job %s cannot be written now: %s", self._job, error)
            with self._lock:
                self._waiting[:0] = taken
        else:
            self._written()
