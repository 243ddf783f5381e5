"""Holding a job while it runs: the lease is renewed in the background, and a wish for its end is passed on."""

from __future__ import annotations

import sqlite3
import threading
from collections.abc import Callable

from server.jobs.job import Job, LostLease
from server.jobs.queue import LEASE_SECONDS, Queue


class Lease:
    """Responsibilities: renew in time, stop the run when the job is cancelled or lost.

    Args:
        stop: Called once (in another thread) when the run is to end.

    Attributes:
        cancelled: Somebody asked for the job's end.
        lost: The job was given to another worker; nothing may be written for it any more.
    """

    def __init__(self, queue: Queue, job: Job, stop: Callable[[], None], seconds: float = LEASE_SECONDS) -> None:
        self._queue, self._job, self._stop, self._seconds = queue, job, stop, seconds
        self.cancelled = self.lost = False
        self._look, self._over = threading.Event(), False
        self._thread = threading.Thread(target=self._run, name="stepgraph-lease", daemon=True)

    def look(self) -> None:
        """Look at once whether the job is to end (somebody said so)."""
        self._look.set()

    def __enter__(self) -> Lease:
        self._thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._over = True
        self._look.set()
        self._thread.join()

    def _run(self) -> None:
        while not self._over:
            try:
                self.cancelled = self._queue.renew(self._job, self._seconds)
            except LostLease:
                self.lost = True
            except sqlite3.OperationalError:
                pass  # locked or full for a while: the next time, long before the lease runs out
            if self.cancelled or self.lost:
                self._stop()
                return
            self._look.wait(self._seconds / 5)
            self._look.clear()
