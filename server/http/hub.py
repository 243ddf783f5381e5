"""Who listens to which job: a worker's word that something happened wakes those who wait for it."""

from __future__ import annotations

import asyncio
import itertools
from collections import deque
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from http import HTTPStatus

from server.http.problem import HttpError

MOST_CHANGES = 200
"""Changes that are remembered for those who are slow to hear of them."""

ALL = ""
"""Listening to this hears of every job."""


@dataclass(frozen=True, slots=True)
class Change:
    """Files that changed on the disk, whoever changed them.

    Args:
        number: Later changes have larger ones.
        kind: `workflows` or `plugins`.
    """

    number: int
    kind: str
    names: tuple[str, ...]


class Hub:
    """Responsibilities: wake listeners; count them. What happened is read from the log, never from here.

    Args:
        most: Listeners at a time.
    """

    def __init__(self, most: int) -> None:
        self._most = most
        self._listeners: dict[str, set[asyncio.Event]] = {}
        self.count = 0
        self.closing = False
        self.changes: deque[Change] = deque(maxlen=MOST_CHANGES)
        self._number = itertools.count(1)

    def changed(self, kind: str, names: Sequence[str]) -> None:
        """Files of workflows or plugins changed; all who listen to everything hear of it."""
        self.changes.append(Change(next(self._number), kind, tuple(names)))
        for event in self._listeners.get(ALL, ()):
            event.set()

    def tell(self, job: str) -> None:
        """Something was written down about a job."""
        for name in (job, ALL):
            for event in self._listeners.get(name, ()):
                event.set()

    def close(self) -> None:
        """Wake everybody: the server stops."""
        self.closing = True
        for events in self._listeners.values():
            for event in events:
                event.set()

    @contextmanager
    def listen(self, job: str) -> Iterator[asyncio.Event]:
        """An event that is set whenever something was written about a job (clear it before reading).

        Raises:
            HttpError: too many listen already.
        """
        if self.count >= self._most:
            raise HttpError(
                HTTPStatus.SERVICE_UNAVAILABLE, f"{self.count} clients listen already", headers={"Retry-After": "5"}
            )
        event = asyncio.Event()
        self._listeners.setdefault(job, set()).add(event)
        self.count += 1
        try:
            yield event
        finally:
            self.count -= 1
            self._listeners[job].discard(event)
            if not self._listeners[job]:
                del self._listeners[job]
