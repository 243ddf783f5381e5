"""All that happened in each job, numbered, in a SQLite file of its own.

Losing the last events in a power cut would harm nobody, so that their writing waits for no disk; what a process has
written survives the end of the process.
"""

from __future__ import annotations

import json
import sqlite3
import threading
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from server.jobs import story

MOST_EVENTS = 50_000
"""Events kept of one job (at least 1); beyond them the oldest leave."""

MOST_PREVIEW_BYTES = 32 << 20
"""Bytes of preview pictures kept of one job; beyond them the oldest pictures leave, and their events stay."""

ALWAYS_KEPT = ("state", "failed", "out_of_memory")
"""Events that tell the story of a job; few, and not counted."""

BUSY_SECONDS = 30.0

_SCHEMA = """
CREATE TABLE IF NOT EXISTS events (
    job TEXT NOT NULL,
    n INTEGER NOT NULL,
    name TEXT NOT NULL,
    data TEXT NOT NULL,
    preview BLOB,
    PRIMARY KEY (job, n)
) WITHOUT ROWID;
CREATE INDEX IF NOT EXISTS pictures ON events (job, n, length(preview)) WHERE preview IS NOT NULL;
CREATE INDEX IF NOT EXISTS states ON events (job, n) WHERE name = 'state';
"""

New = tuple[str, Mapping[str, Any], bytes]
"""An event that is to be written: name, data, preview."""


@dataclass(frozen=True, slots=True)
class Recorded:
    """One event of a job.

    Args:
        number: From 1 on, without gaps when it was written; later ones are larger.
        name: What happened: an engine event's name, or `state` for a change of the job's state.
        data: JSON-ready.
        preview: A small PNG; empty where there is none, or it has left.
    """

    number: int
    name: str
    data: Mapping[str, Any]
    preview: bytes = b""


class EventLog:
    """Responsibilities: number and keep events, within bounds, and give them back from any number on.

    Args:
        path: The SQLite file; several processes may open it.
    """

    def __init__(
        self, path: Path, *, most_events: int = MOST_EVENTS, most_preview_bytes: int = MOST_PREVIEW_BYTES
    ) -> None:
        self._most_events, self._most_preview_bytes = most_events, most_preview_bytes
        self._lock = threading.Lock()
        self._database = sqlite3.connect(path, timeout=BUSY_SECONDS, isolation_level=None, check_same_thread=False)
        self._database.execute("PRAGMA journal_mode = WAL")
        self._database.execute("PRAGMA synchronous = OFF")
        self._database.executescript(_SCHEMA)

    def append(self, job: str, events: Sequence[New]) -> int:
        """Write events (name, data, preview) down; returns the number of the last one.

        Of `state` events only news are written, and before them what nobody told (`story.heard`).
        """
        with self._change():
            return self._add(job, self._news(job, events))

    def settle(self, job: str, truth: Callable[[], story.Told]) -> bool:
        """Write the `state` events that the log lacks to tell how a job stands; returns whether it lacked any.

        Args:
            truth: Reads the state. It is asked while nobody else writes, so that no older word can come after it.
        """
        with self._change():
            missing = story.settled(self._told(job), truth())
            self._add(job, [("state", data, b"") for data in missing])
            return bool(missing)

    def told(self, job: str) -> story.Told | None:
        """The state of a job that was told last."""
        with self._lock:
            return self._told(job)

    def unfinished(self) -> list[tuple[str, str]]:
        """Jobs of which no end was told yet, and the state that was told last."""
        query = """
            SELECT job, state FROM (
                SELECT job, json_extract(data, '$.state') AS state, max(n) FROM events WHERE name = 'state' GROUP BY job
            ) WHERE state IN ('queued', 'running')
        """
        with self._lock:
            return self._database.execute(query).fetchall()

    def read(self, job: str, after: int = 0, limit: int = 1000, *, previews: bool = True) -> list[Recorded]:
        """The events of a job with numbers above `after`, in order."""
        picture = "preview" if previews else "NULL"
        query = f"SELECT n, name, data, {picture} FROM events WHERE job = ? AND n > ? ORDER BY n LIMIT ?"
        with self._lock:
            rows = self._database.execute(query, (job, after, limit)).fetchall()
        return [Recorded(number, name, json.loads(data), preview or b"") for number, name, data, preview in rows]

    def last(self, job: str) -> int:
        """The number of the last event; 0 if there is none."""
        with self._lock:
            return self._last(job)

    def forget(self, jobs: Sequence[str]) -> None:
        """Remove all events of jobs."""
        with self._lock:
            self._database.executemany("DELETE FROM events WHERE job = ?", [(job,) for job in jobs])

    def close(self) -> None:
        with self._lock:
            self._database.close()

    @contextmanager
    def _change(self) -> Iterator[None]:
        """One transaction: all of it or nothing."""
        with self._lock:
            self._database.execute("BEGIN IMMEDIATE")
            try:
                yield
                self._database.execute("COMMIT")
            except BaseException:
                if self._database.in_transaction:  # a full disk ends it by itself
                    self._database.execute("ROLLBACK")
                raise

    def _news(self, job: str, events: Sequence[New]) -> list[New]:
        """The events without states that are old news, and with those that nobody told."""
        found: list[New] = []
        told: story.Told | None = None
        for event in events:
            if event[0] == "state":
                told = told or self._told(job)
                for data in story.heard(told, event[1]):
                    found.append(("state", data, b""))
                    told = data
            else:
                found.append(event)
        return found

    def _add(self, job: str, events: Sequence[New]) -> int:
        last = self._last(job)
        rows = [
            (job, number, name, json.dumps(data, separators=(",", ":"), default=str), preview or None)
            for number, (name, data, preview) in enumerate(events, last + 1)
        ]
        insert = "INSERT INTO events (job, n, name, data, preview) VALUES (?, ?, ?, ?, ?)"
        self._database.executemany(insert, rows)
        self._trim(job, any(row[4] for row in rows))
        return last + len(rows)

    def _told(self, job: str) -> story.Told | None:
        query = "SELECT data FROM events WHERE job = ? AND name = 'state' ORDER BY n DESC LIMIT 1"
        row = self._database.execute(query, (job,)).fetchone()
        return None if row is None else json.loads(row[0])

    def _last(self, job: str) -> int:
        row = self._database.execute("SELECT max(n) FROM events WHERE job = ?", (job,)).fetchone()
        return int(row[0] or 0)

    def _trim(self, job: str, with_pictures: bool) -> None:
        marks = ", ".join("?" * len(ALWAYS_KEPT))
        many = f"FROM events WHERE job = ? AND name NOT IN ({marks})"
        count = self._database.execute(f"SELECT count(*) {many}", (job, *ALWAYS_KEPT)).fetchone()[0]
        if count > self._most_events:  # never all of them: the newest one holds the number that the next one follows
            self._database.execute(
                f"DELETE FROM events WHERE job = ? AND n IN (SELECT n {many} ORDER BY n LIMIT ?)",
                (job, job, *ALWAYS_KEPT, count - self._most_events),
            )
        if with_pictures:
            self._trim_pictures(job)

    def _trim_pictures(self, job: str) -> None:
        query = "SELECT n, length(preview) FROM events WHERE job = ? AND preview IS NOT NULL ORDER BY n DESC"
        total = 0
        for number, size in self._database.execute(query, (job,)).fetchall():
            total += size
            if total > self._most_preview_bytes:
                change = "UPDATE events SET preview = NULL WHERE job = ? AND n <= ? AND preview IS NOT NULL"
                self._database.execute(change, (job, number))
                return
