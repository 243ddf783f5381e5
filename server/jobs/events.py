"""All that happened in each job, numbered, in a SQLite file of its own.

Losing the last events in a power cut would harm nobody, so that their writing waits for no disk; what a process has
written survives the end of the process.
"""

from __future__ import annotations

import json
import sqlite3
import threading
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

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
"""


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

    def append(self, job: str, events: Sequence[tuple[str, Mapping[str, Any], bytes]]) -> int:
        """Write events (name, data, preview) down; returns the number of the last one."""
        with self._lock:
            database = self._database
            database.execute("BEGIN IMMEDIATE")
            try:
                last = self._last(job)
                rows = [
                    (job, number, name, json.dumps(data, separators=(",", ":"), default=str), preview or None)
                    for number, (name, data, preview) in enumerate(events, last + 1)
                ]
                database.executemany("INSERT INTO events (job, n, name, data, preview) VALUES (?, ?, ?, ?, ?)", rows)
                self._trim(job, any(row[4] for row in rows))
                database.execute("COMMIT")
            except BaseException:
                database.execute("ROLLBACK")
                raise
            return last + len(rows)

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
