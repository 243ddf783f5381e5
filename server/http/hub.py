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

FILES = ""
"""Listening to this hears of files that change, and of no job."""


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


class News(asyncio.Event):
    """Set when something happened that one listener waits for (clear it before reading).

    Attributes:
        jobs: The jobs of which something was written; who reads their logs takes them out.
        attended: What the listener hears of.
    """

    def __init__(self) -> None:
        super().__init__()
        self.jobs: set[str] = set()
        self.attended: set[str] = set()


class Hub:
    """Responsibilities: wake listeners; count them. What happened is read from the log, never from here.

    Args:
        most: Listeners at a time.
    """

    def __init__(self, most: int) -> None:
        self._most = most
        self._listeners: dict[str, set[News]] = {}
        self.count = 0
        self.closing = False
        self.changes: deque[Change] = deque(maxlen=MOST_CHANGES)
        self._number = itertools.count(1)

    def changed(self, kind: str, names: Sequence[str]) -> None:
        """Files of workflows or plugins changed; those who listen to files hear of it."""
        self.changes.append(Change(next(self._number), kind, tuple(names)))
        for event in self._listeners.get(FILES, ()):
            event.set()

    def tell(self, job: str) -> None:
        """Something was written down about a job."""
        for news in self._listeners.get(job, ()):
            news.jobs.add(job)
            news.set()

    def close(self) -> None:
        """Wake everybody: the server stops."""
        self.closing = True
        for events in self._listeners.values():
            for event in events:
                event.set()

    @contextmanager
    def listen(self, name: str) -> Iterator[News]:
        """News of a job (or of `FILES`), as long as the block lasts; `attend` adds further jobs.

        Raises:
            HttpError: too many listen already.
        """
        if self.count >= self._most:
            raise HttpError(
                HTTPStatus.SERVICE_UNAVAILABLE, f"{self.count} clients listen already", headers={"Retry-After": "5"}
            )
        news = News()
        self.attend(name, news)
        self.count += 1
        try:
            yield news
        finally:
            self.count -= 1
            for one in list(news.attended):
                self.leave(one, news)

    def attend(self, job: str, news: News) -> None:
        """Have a listener hear of one more job."""
        news.attended.add(job)
        self._listeners.setdefault(job, set()).add(news)

    def leave(self, job: str, news: News) -> None:
        """Have a listener hear no more of a job."""
        news.attended.discard(job)
        listeners = self._listeners.get(job, set())
        listeners.discard(news)
        if not listeners:
            self._listeners.pop(job, None)
