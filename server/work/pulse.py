"""Something that is to be done every so often while a job runs, by a thread that lives as long as the worker.

A thread for each job would cost more than a short job itself.
"""

from __future__ import annotations

import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager

QUIET_BEATS = 20
"""After so many beats that nobody wanted the thread sleeps until it is wanted again."""


class Pulse:
    """Responsibilities: call what is wanted, again and again, never after it is no longer wanted.

    Args:
        name: Of the thread.
        seconds: Between two beats.
    """

    def __init__(self, name: str, seconds: float) -> None:
        self._name, self._seconds = name, seconds
        self._beat: Callable[[], None] | None = None
        self._lock, self._wanted = threading.Lock(), threading.Event()
        self._thread: threading.Thread | None = None

    @contextmanager
    def beating(self, beat: Callable[[], None]) -> Iterator[None]:
        """Within, `beat` is called in the thread; on leaving, a call that is under way is waited for."""
        with self._lock:
            self._beat = beat
            self._wanted.set()
            if self._thread is None:
                self._thread = threading.Thread(target=self._run, name=self._name, daemon=True)
                self._thread.start()
        try:
            yield
        finally:
            with self._lock:
                self._beat = None

    def _run(self) -> None:
        quiet = 0
        while True:
            self._wanted.wait()
            time.sleep(self._seconds)
            with self._lock:
                quiet = 0 if self._beat is not None else quiet + 1
                if self._beat is not None:
                    self._beat()
                elif quiet > QUIET_BEATS:
                    self._wanted.clear()
