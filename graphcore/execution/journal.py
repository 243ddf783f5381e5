"""What earlier runs were made from, so that `explain` can say what changed since.

One small SQLite file beside the cache. It holds descriptions (texts, inputs, digests), never values; losing it loses
explanations only, so a damaged one is begun anew.
"""

from __future__ import annotations

import contextlib
import json
import sqlite3
import time
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

from graphcore import database

KEPT_RUNS = 200
"""Descriptions of runs that are kept."""

KEPT_LENGTHS = 10_000
"""Lengths of sequences that are kept."""

WAIT_SECONDS = 0.5
"""How long the end of a run waits while another process writes here."""

_TABLES = """
CREATE TABLE runs (id INTEGER PRIMARY KEY, time REAL, name TEXT, record TEXT, seal TEXT);
CREATE TABLE lengths (id INTEGER PRIMARY KEY, key TEXT UNIQUE, length INTEGER, seal TEXT)
"""


class Journal:
    """Descriptions of past runs and the lengths of sequences that loops went over.

    Args:
        folder: The cache folder; None remembers nothing.
    """

    def __init__(self, folder: Path | None) -> None:
        self._path = None if folder is None else folder / "journal.sqlite"

    def record(self, name: str, record: Mapping[str, Any], lengths: Mapping[str, int]) -> None:
        """Write down one run.

        A journal that cannot be written (full disk, locked), or a run whose inputs have no text form, costs
        explanations only.
        """
        with contextlib.suppress(sqlite3.Error, OSError, TypeError, ValueError, RecursionError):
            text = json.dumps(record, default=str)
            with self._open() as journal:
                journal.execute("BEGIN IMMEDIATE")
                row = (time.time(), name, text, database.seal(text))
                journal.execute("INSERT INTO runs (time, name, record, seal) VALUES (?, ?, ?, ?)", row)
                journal.execute("DELETE FROM runs WHERE id <= (SELECT max(id) FROM runs) - ?", (KEPT_RUNS,))
                rows = [(key, length, database.seal(key, length)) for key, length in lengths.items()]
                journal.executemany("INSERT OR REPLACE INTO lengths (key, length, seal) VALUES (?, ?, ?)", rows)
                journal.execute("DELETE FROM lengths WHERE id <= (SELECT max(id) FROM lengths) - ?", (KEPT_LENGTHS,))
                journal.execute("COMMIT")

    def runs(self, name: str) -> list[dict[str, Any]]:
        """Descriptions of earlier runs of the workflow of that name, the latest first."""
        with contextlib.suppress(sqlite3.Error, OSError), self._open() as journal:
            rows = journal.execute("SELECT record, seal FROM runs WHERE name = ? ORDER BY id DESC", (name,)).fetchall()
            return [json.loads(text) for text, seal in rows if seal == database.seal(text)]
        return []

    def length(self, key: str) -> int | None:
        """How many items a sequence had when a loop last went over it."""
        with contextlib.suppress(sqlite3.Error, OSError), self._open() as journal:
            row = journal.execute("SELECT length, seal FROM lengths WHERE key = ?", (key,)).fetchone()
            if row is not None and row[1] == database.seal(key, row[0]):
                return int(row[0])
        return None

    @contextlib.contextmanager
    def _open(self) -> Iterator[sqlite3.Connection]:
        """A connection; a file that is damaged is removed, so that the next one begins anew."""
        if self._path is None:
            raise FileNotFoundError("there is no cache folder")
        self._path.parent.mkdir(parents=True, exist_ok=True)
        try:
            connection = database.connect(self._path, _TABLES, version=1, timeout=WAIT_SECONDS)
            with contextlib.closing(connection) as journal, database.errors():
                yield journal
        except sqlite3.Error as error:
            if database.is_damage(error):
                database.remove(self._path)
            raise
