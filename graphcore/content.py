"""The identity of files: a digest of their content, remembered so that weights are read once.

A remembered digest counts only while path, size, modification time and inode are the same. A file that changed less
than two seconds before it was hashed is not remembered: another change within the clock's resolution would leave no
trace (git's "racy" rule).
"""

from __future__ import annotations

import contextlib
import os
import sqlite3
import time
from collections.abc import Iterator
from pathlib import Path

from blake3 import blake3

from graphcore.errors import StepgraphError
from graphcore.home import home

RACY_SECONDS = 2.0

_TABLE = "CREATE TABLE IF NOT EXISTS files (path TEXT PRIMARY KEY, stamp TEXT, digest TEXT) WITHOUT ROWID"
_known: dict[tuple[str, str], str] = {}


def digest(path: str | Path) -> str:
    """The content digest of a file, or of all files of a folder with their relative names (hidden ones left out).

    Raises:
        StepgraphError: there is no such file or folder, or it cannot be read.
    """
    path = Path(path)
    try:
        if path.is_dir():
            parts = [f"{name}\0{_file(file)}" for name, file in sorted(_members(path))]
            return blake3("\n".join(parts).encode("utf-8", "surrogatepass")).hexdigest()
        return _file(path)
    except OSError as error:
        raise StepgraphError(f"cannot read {str(path)!r}: {error.strerror or error}") from error


def _members(folder: Path) -> Iterator[tuple[str, Path]]:
    for root, folders, files in os.walk(folder):
        folders[:] = [name for name in folders if not name.startswith(".")]
        for name in files:
            if not name.startswith("."):
                file = Path(root, name)
                yield file.relative_to(folder).as_posix(), file


def _file(path: Path) -> str:
    real = str(path.resolve())
    status = os.stat(real)
    stamp = f"{status.st_size}:{status.st_mtime_ns}:{status.st_ino}"
    if (found := _known.get((real, stamp)) or _recall(real, stamp)) is not None:
        return found
    hasher = blake3(max_threads=blake3.AUTO)
    hasher.update_mmap(real)
    found = hasher.hexdigest()
    after = os.stat(real)
    if after.st_mtime_ns == status.st_mtime_ns and time.time() - after.st_mtime > RACY_SECONDS:
        _known[real, stamp] = found
        _remember(real, stamp, found)
    return found


def _recall(path: str, stamp: str) -> str | None:
    """Without a usable home the file is simply read again."""
    with contextlib.suppress(sqlite3.Error, OSError), _memo() as memo:
        row = memo.execute("SELECT digest FROM files WHERE path = ? AND stamp = ?", (path, stamp)).fetchone()
        if row is not None:
            _known[path, stamp] = str(row[0])
            return str(row[0])
    return None


def _remember(path: str, stamp: str, found: str) -> None:
    with contextlib.suppress(sqlite3.Error, OSError), _memo() as memo:
        memo.execute("INSERT OR REPLACE INTO files VALUES (?, ?, ?)", (path, stamp, found))
        memo.commit()


def _memo() -> contextlib.closing[sqlite3.Connection]:
    folder = home()
    folder.mkdir(parents=True, exist_ok=True)
    memo = sqlite3.connect(folder / "files.sqlite", timeout=5)
    memo.execute(_TABLE)
    return contextlib.closing(memo)
