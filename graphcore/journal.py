"""What earlier runs were made from, so that `explain` can say what changed since.

One small SQLite file beside the cache. It holds descriptions (texts, inputs, digests), never values; losing it loses
explanations only, so a damaged one is begun anew.
"""

from __future__ import annotations

import contextlib
import json
import sqlite3
import time
from collections.abc import Mapping
from pathlib import Path
from typing import Any

KEPT_RUNS = 200
"""Descriptions of runs that are kept."""

_TABLES = """
CREATE TABLE IF NOT EXISTS runs (id INTEGER PRIMARY KEY, time REAL, name TEXT, record TEXT);
CREATE TABLE IF NOT EXISTS lengths (key TEXT PRIMARY KEY, length INTEGER) WITHOUT ROWID;
"""


class Journal:
    """Descriptions of past runs and the lengths of sequences that loops went over.

    Args:
        folder: The cache folder; None remembers nothing.
    """

    def __init__(self, folder: Path | None) -> None:
        self._path = None if folder is None else folder / "journal.sqlite"

    def record(self, name: str, record: Mapping[str, Any], lengths: Mapping[str, int]) -> None:
        """Write down one run. A journal that cannot be written (full disk, locked) costs explanations only."""
        if self._path is None:
            return
        with contextlib.suppress(sqlite3.Error, OSError), self._open(self._path) as database:
            text = json.dumps(record, default=str)
            database.execute("INSERT INTO runs (time, name, record) VALUES (?, ?, ?)", (time.time(), name, text))
            database.execute("DELETE FROM runs WHERE id <= (SELECT max(id) FROM runs) - ?", (KEPT_RUNS,))
            database.executemany("INSERT OR REPLACE INTO lengths VALUES (?, ?)", lengths.items())
            database.commit()

    def runs(self, name: str) -> list[dict[str, Any]]:
        """Descriptions of earlier runs of the workflow of that name, the latest first."""
        if self._path is None:
            return []
        try:
            with self._open(self._path) as database:
                rows = database.execute("SELECT record FROM runs WHERE name = ? ORDER BY id DESC", (name,)).fetchall()
                return [json.loads(text) for (text,) in rows]
        except (sqlite3.Error, OSError, json.JSONDecodeError):
            return []

    def length(self, key: str) -> int | None:
        """How many items a sequence had when a loop last went over it."""
        if self._path is None:
            return None
        try:
            with self._open(self._path) as database:
                row = database.execute("SELECT length FROM lengths WHERE key = ?", (key,)).fetchone()
                return None if row is None else int(row[0])
        except (sqlite3.Error, OSError):
            return None

    @classmethod
    def _open(cls, path: Path) -> contextlib.closing[sqlite3.Connection]:
        """A connection; a file that is no database is set aside and a new one begun."""
        path.parent.mkdir(parents=True, exist_ok=True)
        try:
            return contextlib.closing(cls._connect(path))
        except sqlite3.OperationalError:
            raise
        except sqlite3.DatabaseError:
            path.replace(path.with_suffix(".damaged"))
            return contextlib.closing(cls._connect(path))

    @staticmethod
    def _connect(path: Path) -> sqlite3.Connection:
        database = sqlite3.connect(path, timeout=5)
        database.executescript(_TABLES)
        return database
