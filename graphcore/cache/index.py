"""The index of the disk tier: one SQLite table that several processes may use at once."""

from __future__ import annotations

import contextlib
import re
import sqlite3
import threading
from collections.abc import Iterable, Iterator, Sequence
from pathlib import Path
from typing import Any, NamedTuple

from graphcore import database

WAIT_SECONDS = 2.0
"""How long the writer waits while another process writes."""

_AT_ONCE = 900
"""Keys in one question; SQLite may allow no more than 999."""

_VERSION = 1
_TABLE = """
CREATE TABLE entries (
  key BLOB PRIMARY KEY, checksum BLOB NOT NULL, size INTEGER NOT NULL, seconds REAL NOT NULL, used REAL NOT NULL
) WITHOUT ROWID
"""
_COLUMNS = "SELECT key, checksum, size, seconds, used FROM entries"


class Row(NamedTuple):
    """One entry: checksum and size of its file, what it took to make, when it was last used (Unix time)."""

    key: bytes
    checksum: bytes
    size: int
    seconds: float
    used: float


class Index:
    """Rows by key, in `index.sqlite`. Every method raises `sqlite3.Error` where the database cannot be used.

    A damaged database is given up for the next generation, `index.1.sqlite` and so on. It gets a new name because
    another process may still have the old one open, whose logs go by name.

    Reading and writing have connections of their own, so that a run that reads never waits for the writer.
    """

    def __init__(self, folder: Path) -> None:
        self._folder = folder
        self._read_lock, self._write_lock = threading.Lock(), threading.RLock()
        self._open(max(_generations(folder)))

    def _open(self, generation: int) -> None:
        is_new = not _path(self._folder, generation).exists()
        try:
            self._reading, self._writing = self._connect(generation)
        except sqlite3.Error as error:
            if not database.is_damage(error):
                raise
            generation, is_new = generation + 1, True
            self._reading, self._writing = self._connect(generation)
        self.generation, self.is_new, self._version = generation, is_new, -1
        for old in _generations(self._folder):
            if old < generation:
                database.remove(_path(self._folder, old))

    def _connect(self, generation: int) -> tuple[sqlite3.Connection, sqlite3.Connection]:
        path = _path(self._folder, generation)
        first = database.connect(path, _TABLE, _VERSION, WAIT_SECONDS, log=True)
        try:
            return first, database.connect(path, _TABLE, _VERSION, WAIT_SECONDS, log=True)
        except BaseException:
            first.close()
            raise

    def begin_anew(self, generation: int) -> None:
        """Give the damaged database of a generation up; or join another process that did."""
        with self._write_lock, self._read_lock:
            if generation == self.generation:
                self._reading.close()
                self._writing.close()
                self._open(max(generation + 1, *_generations(self._folder)))

    def close(self) -> None:
        with self._write_lock, self._read_lock, contextlib.suppress(sqlite3.Error):
            self._reading.close()
            self._writing.close()

    # -- reading -------------------------------------------------------------------------------------------------

    def find(self, key: bytes) -> Row | None:
        with self._read_lock:
            found = self._reading.execute(f"{_COLUMNS} WHERE key = ?", (key,)).fetchone()
        return None if found is None else _row(found)

    def has(self, key: bytes) -> bool:
        with self._read_lock:
            return self._reading.execute("SELECT 1 FROM entries WHERE key = ?", (key,)).fetchone() is not None

    def known(self, keys: Sequence[bytes]) -> set[bytes]:
        """Those of many keys that have a row: far quicker than to ask for each."""
        found: set[bytes] = set()
        for start in range(0, len(keys), _AT_ONCE):
            some = keys[start : start + _AT_ONCE]
            marks = ",".join("?" * len(some))
            with self._read_lock:
                rows = self._reading.execute(f"SELECT key FROM entries WHERE key IN ({marks})", some).fetchall()
            found.update(bytes(key) for (key,) in rows)
        return found

    def totals(self) -> tuple[int, int]:
        """Entries and the bytes of their files."""
        with self._read_lock:
            count, size = self._reading.execute("SELECT count(*), coalesce(sum(size), 0) FROM entries").fetchone()
        return int(count), int(size)

    def all(self) -> list[Row]:
        with self._read_lock:
            return [_row(row) for row in self._reading.execute(_COLUMNS).fetchall()]

    # -- writing -------------------------------------------------------------------------------------------------

    @contextlib.contextmanager
    def writing(self) -> Iterator[None]:
        """No other process changes rows inside, nor (if all keep to it) the files of rows."""
        with self._write_lock:
            self._writing.execute("BEGIN IMMEDIATE")
            try:
                yield
            except BaseException:
                with contextlib.suppress(sqlite3.Error):
                    self._writing.execute("ROLLBACK")
                raise
            try:
                self._writing.execute("COMMIT")
            except sqlite3.Error:
                with contextlib.suppress(sqlite3.Error):
                    self._writing.execute("ROLLBACK")
                raise

    def current(self, key: bytes) -> Row | None:
        """As `find`, inside `writing`."""
        found = self._writing.execute(f"{_COLUMNS} WHERE key = ?", (key,)).fetchone()
        return None if found is None else _row(found)

    def listed(self) -> set[bytes]:
        """All keys, inside `writing`."""
        return {bytes(key) for (key,) in self._writing.execute("SELECT key FROM entries WHERE typeof(key) = 'blob'")}

    def put(self, row: Row) -> None:
        self._writing.execute("INSERT OR REPLACE INTO entries VALUES (?, ?, ?, ?, ?)", row)

    def touch(self, keys: Iterable[bytes], now: float) -> None:
        self._writing.executemany("UPDATE entries SET used = ? WHERE key = ?", [(now, key) for key in keys])

    def delete(self, key: bytes) -> None:
        self._writing.execute("DELETE FROM entries WHERE key = ?", (key,))

    def delete_all(self) -> None:
        self._writing.execute("DELETE FROM entries")

    def size(self) -> int:
        """Bytes of all files, inside `writing`."""
        return int(self._writing.execute("SELECT coalesce(sum(size), 0) FROM entries").fetchone()[0])

    def changed_by_others(self) -> bool:
        """Whether another process wrote since this was last asked, inside `writing`."""
        before, self._version = self._version, self._writing.execute("PRAGMA data_version").fetchone()[0]
        return before != self._version

    def oldest(self, limit: int) -> list[Row]:
        """The rows that were not used for longest, inside `writing`."""
        return [_row(row) for row in self._writing.execute(f"{_COLUMNS} ORDER BY used LIMIT ?", (limit,)).fetchall()]


def _row(found: tuple[Any, ...]) -> Row:
    row = Row(*found)
    if type(row.key) is not bytes or type(row.size) is not int or row.size < 0:
        raise sqlite3.DatabaseError("a row is damaged")
    return row


def _path(folder: Path, generation: int) -> Path:
    return folder / (f"index.{generation}.sqlite" if generation else "index.sqlite")


def _generations(folder: Path) -> list[int]:
    """The generations that are there; 0 is always among them."""
    found = [re.fullmatch(r"index\.(\d{1,9})\.sqlite", path.name) for path in folder.iterdir()]
    return [0, *(int(match[1]) for match in found if match)]
