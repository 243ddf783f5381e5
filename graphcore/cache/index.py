"""The index of the disk tier: one SQLite table that several processes may use at once."""

from __future__ import annotations

import contextlib
import sqlite3
import threading
from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path

_TABLE = """
CREATE TABLE IF NOT EXISTS entries (
  key BLOB PRIMARY KEY, checksum BLOB NOT NULL, size INTEGER NOT NULL, seconds REAL NOT NULL, used REAL NOT NULL
) WITHOUT ROWID
"""


@dataclass(frozen=True, slots=True)
class Row:
    """One entry: checksum and size of its file, what it took to make, when it was last used (Unix time)."""

    key: bytes
    checksum: bytes
    size: int
    seconds: float
    used: float


class Index:
    """Rows by key. Every method raises `sqlite3.Error` where the database cannot be used.

    A file that is no database, or a damaged one, is set aside as `index.damaged` and a new one begun.
    """

    def __init__(self, path: Path) -> None:
        self._path, self._lock = path, threading.Lock()
        try:
            self._database = self._connect()
        except sqlite3.OperationalError:
            raise
        except sqlite3.DatabaseError:
            self.set_aside()

    def _connect(self) -> sqlite3.Connection:
        database = sqlite3.connect(self._path, timeout=10, check_same_thread=False, isolation_level=None)
        try:
            database.execute("PRAGMA journal_mode = WAL")
            database.execute("PRAGMA synchronous = OFF")  # a lost row is a miss; checksums guard the rest
            database.execute(_TABLE)
            database.execute("SELECT count(*) FROM entries").fetchone()
        except sqlite3.Error:
            database.close()
            raise
        return database

    def set_aside(self) -> None:
        """Begin anew; the damaged file stays for those who want to look at it."""
        with contextlib.suppress(AttributeError, sqlite3.Error):
            self._database.close()
        for suffix in ("", "-wal", "-shm"):
            with contextlib.suppress(OSError):
                Path(f"{self._path}{suffix}").replace(f"{self._path}.damaged{suffix}")
        self._database = self._connect()

    def find(self, key: bytes) -> Row | None:
        with self._lock:
            found = self._database.execute(
                "SELECT checksum, size, seconds, used FROM entries WHERE key = ?", (key,)
            ).fetchone()
        return None if found is None else Row(key, *found)

    def has(self, key: bytes) -> bool:
        with self._lock:
            return self._database.execute("SELECT 1 FROM entries WHERE key = ?", (key,)).fetchone() is not None

    def put(self, row: Row) -> None:
        values = (row.key, row.checksum, row.size, row.seconds, row.used)
        with self._lock:
            self._database.execute("INSERT OR REPLACE INTO entries VALUES (?, ?, ?, ?, ?)", values)

    def touch(self, keys: Iterable[bytes], now: float) -> None:
        with self._lock:
            self._database.execute("BEGIN")
            self._database.executemany("UPDATE entries SET used = ? WHERE key = ?", [(now, key) for key in keys])
            self._database.execute("COMMIT")

    def delete(self, keys: Iterable[bytes]) -> None:
        with self._lock:
            self._database.executemany("DELETE FROM entries WHERE key = ?", [(key,) for key in keys])

    def totals(self) -> tuple[int, int]:
        """Entries and the bytes of their files."""
        with self._lock:
            count, size = self._database.execute("SELECT count(*), coalesce(sum(size), 0) FROM entries").fetchone()
        return int(count), int(size)

    def oldest(self, limit: int) -> list[Row]:
        """The rows that were not used for longest."""
        with self._lock:
            found = self._database.execute(
                "SELECT key, checksum, size, seconds, used FROM entries ORDER BY used LIMIT ?", (limit,)
            ).fetchall()
        return [Row(*row) for row in found]

    def all(self) -> list[Row]:
        with self._lock:
            found = self._database.execute("SELECT key, checksum, size, seconds, used FROM entries").fetchall()
        return [Row(*row) for row in found]

    def close(self) -> None:
        with self._lock, contextlib.suppress(sqlite3.Error):
            self._database.close()
