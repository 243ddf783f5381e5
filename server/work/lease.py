"""Holding a job while it runs: the lease is renewed in the background, and a wish for its end is passed on."""

from __future__ import annotations

import sqlite3
import time
from collections.abc import Callable

from server.jobs.job import Job, LostLease
from server.jobs.queue import LEASE_SECONDS, Queue
from server.work.pulse import Pulse

LOOK_SECONDS = 0.05
"""How long a wish for a job's end may wait; and after how long a job counts as a long one, whose lease is renewed."""


class Lease:
    """Responsibilities: renew in time, stop the run when the job is cancelled or lost.

    Args:
        stop: Called once (in another thread) when the run is to end.
        pulse: Beats every `LOOK_SECONDS`, or about.

    Attributes:
        cancelled: Somebody asked for the job's end.
        lost: The job was given to another worker; nothing may be written for it any more.
    """

    def __init__(
        self, queue: Queue, job: Job, stop: Callable[[], None], pulse: Pulse, seconds: float = LEASE_SECONDS
    ) -> None:
        self._queue, self._job, self._stop, self._seconds = queue, job, stop, seconds
        self.cancelled = self.lost = False
        self._due = time.monotonic() + LOOK_SECONDS  # the first renewal also hears what was said before we listened
        self._beating = pulse.beating(self._beat)

    def look(self) -> None:
        """Look at the next beat whether the job is to end (somebody said so)."""
        self._due = 0.0

    def __enter__(self) -> Lease:
        self._beating.__enter__()
        return self

    def __exit__(self, *_: object) -> None:
        self._beating.__exit__(None, None, None)

    def _beat(self) -> None:
        if time.monotonic() < self._due or self.cancelled or self.lost:
            return
        self._due = time.monotonic() + self._seconds / 5
        try:
            self.cancelled = self._queue.renew(self._job, self._seconds)
        except LostLease:
            self.lost = True
        except sqlite3.OperationalError:
            return  # locked or full for a while: the next time, long before the lease runs out
        if self.cancelled or self.lost:
            self._stop()
