"""The identity of files: a digest of their content, remembered so that weights are read once.

A remembered digest counts only while path, size, inode and the times of the last change of content and of state are
the same. A file that changed less than two seconds before it was hashed is not remembered: another change within the
clock's resolution would leave no trace (git's "racy" rule).
"""

from __future__ import annotations

import contextlib
import os
import sqlite3
import stat
import time
from collections.abc import Iterator
from pathlib import Path

from blake3 import blake3

from graphcore import database
from graphcore.errors import StepgraphError
from graphcore.home import home

RACY_SECONDS = 2.0

BLOCK = 4 * 2**20
"""Bytes read at a time. Not a memory map: that would end the process if somebody cut the file short meanwhile."""

_TABLE = "CREATE TABLE files (path TEXT PRIMARY KEY, stamp TEXT, digest TEXT, seal TEXT) WITHOUT ROWID"
_known: dict[tuple[str, str], str] = {}


def digest(path: str | Path) -> str:
    """The content digest of a file, or of all files of a folder with their relative names (hidden ones left out).

    Symbolic links count as what they lead to.

    Raises:
        StepgraphError: there is no such file or folder, or it cannot be read.
    """
    path = Path(path)
    try:
        if path.is_dir():
            parts = [f"{name}\0{_file(file)}" for name, file in sorted(_members(path))]
            return blake3("\n".join(parts).encode("utf-8", "surrogatepass")).hexdigest()
        return _file(str(path))
    except OSError as error:
        raise StepgraphError(f"cannot read {str(error.filename or path)!r}: {error.strerror or error}") from error


def _members(folder: Path) -> Iterator[tuple[str, str]]:
    """Relative names and paths of the files below a folder. A link back to a folder above is passed over."""
    waiting = [("", str(folder), frozenset({os.path.realpath(folder)}))]
    while waiting:
        prefix, place, above = waiting.pop()
        with os.scandir(place) as found:
            entries = [entry for entry in found if not entry.name.startswith(".")]
        for entry in entries:
            name = prefix + entry.name
            if not entry.is_dir():
                yield name, entry.path
            elif (real := os.path.realpath(entry.path)) not in above:
                waiting.append((f"{name}/", entry.path, above | {real}))


def _file(path: str) -> str:
    real = os.path.realpath(path)
    status = os.stat(real)
    if not stat.S_ISREG(status.st_mode):
        raise StepgraphError(f"cannot read {path!r}: it is neither a file nor a folder")
    stamp = _stamp(status)
    if (found := _known.get((real, stamp)) or _recall(real, stamp)) is not None:
        return found
    found = _read(real)
    after = os.stat(real)
    quiet = time.time() - max(after.st_mtime, after.st_ctime)
    if _stamp(after) == stamp and quiet > RACY_SECONDS:
        _known[real, stamp] = found
        _remember(real, stamp, found)
    return found


def _stamp(status: os.stat_result) -> str:
    return f"{status.st_size}:{status.st_mtime_ns}:{status.st_ctime_ns}:{status.st_ino}"


def _read(path: str) -> str:
    hasher = blake3(max_threads=blake3.AUTO)
    block = memoryview(bytearray(BLOCK))
    with open(path, "rb", buffering=0) as file:
        while count := file.readinto(block):
            hasher.update(block[:count])
    return hasher.hexdigest()


def _recall(path: str, stamp: str) -> str | None:
    """Without a usable home the file is simply read again."""
    with contextlib.suppress(sqlite3.Error, OSError, StepgraphError), _memo() as memo:
        query = "SELECT digest, seal FROM files WHERE path = ? AND stamp = ?"
        row = memo.execute(query, (_text(path), stamp)).fetchone()
        if row is not None and row[1] == database.seal(_text(path), stamp, row[0]):
            _known[path, stamp] = str(row[0])
            return str(row[0])
    return None


def _remember(path: str, stamp: str, found: str) -> None:
    with contextlib.suppress(sqlite3.Error, OSError, StepgraphError), _memo() as memo:
        row = (_text(path), stamp, found, database.seal(_text(path), stamp, found))
        memo.execute("INSERT OR REPLACE INTO files VALUES (?, ?, ?, ?)", row)


def _text(path: str) -> str:
    """A path as SQLite can hold it: names may have bytes that are no text."""
    return os.fsencode(path).decode("utf-8", "backslashreplace")


@contextlib.contextmanager
def _memo() -> Iterator[sqlite3.Connection]:
    folder = home()
    folder.mkdir(parents=True, exist_ok=True)
    path = folder / "files.sqlite"
    try:
        with contextlib.closing(database.connect(path, _TABLE, version=1, timeout=2)) as memo, database.errors():
            yield memo
    except sqlite3.Error as error:
        if database.is_damage(error):
            database.remove(path)
        raise
