"""SQLite files that may be lost: nothing in them cannot be had again, so a damaged one is given up and begun anew."""

from __future__ import annotations

import contextlib
import sqlite3
from collections.abc import Iterator
from pathlib import Path

from blake3 import blake3

_DAMAGED = {
    sqlite3.SQLITE_ERROR,  # our statements are right, so a table is not as we made it
    sqlite3.SQLITE_CORRUPT,
    sqlite3.SQLITE_NOTADB,
    sqlite3.SQLITE_TOOBIG,
    sqlite3.SQLITE_MISMATCH,
    sqlite3.SQLITE_CONSTRAINT,
    sqlite3.SQLITE_FORMAT,
}


def connect(path: Path, schema: str, version: int, timeout: float, *, log: bool = False) -> sqlite3.Connection:
    """A connection that commits every statement, to a database with the tables of `schema`.

    Commits are not forced to the disk: after a power cut the file may be old or damaged, never a running program.

    Args:
        schema: Statements that make the tables; run where the file is new.
        version: A file with tables of another version counts as damaged.
        timeout: Seconds to wait while another process writes.
        log: Keep a write-ahead log, so that readers never wait for a writer.

    Raises:
        sqlite3.Error: `is_damage` tells whether the file itself is at fault.
    """
    database = sqlite3.connect(path, timeout=timeout, check_same_thread=False, isolation_level=None)
    try:
        with errors():
            database.execute("PRAGMA synchronous = OFF")
            database.execute("PRAGMA mmap_size = 0")  # a file cut short would end the process, not raise
            if log:
                database.execute("PRAGMA journal_mode = WAL")
            if _version(database) == 0:
                _make(database, schema, version)
            if _version(database) != version:
                raise sqlite3.DatabaseError("made by another version")
    except BaseException:
        database.close()
        raise
    return database


def _version(database: sqlite3.Connection) -> int:
    return int(database.execute("PRAGMA user_version").fetchone()[0])


def _make(database: sqlite3.Connection, schema: str, version: int) -> None:
    """Make the tables, unless another process did so in the meantime."""
    database.execute("BEGIN IMMEDIATE")
    with contextlib.closing(database.cursor()) as cursor:
        if _version(database) == 0:
            for statement in schema.split(";"):
                cursor.execute(statement)
            cursor.execute(f"PRAGMA user_version = {version}")
        cursor.execute("COMMIT")


@contextlib.contextmanager
def errors() -> Iterator[None]:
    """What Python cannot make of damaged rows and messages becomes an error of the database too."""
    try:
        yield
    except (UnicodeDecodeError, OverflowError) as error:
        raise sqlite3.DatabaseError(f"damaged: {error}") from error


def is_damage(error: sqlite3.Error) -> bool:
    """Whether an error says that the file is damaged; else it is locked, full, out of reach or closed."""
    if isinstance(error, (sqlite3.ProgrammingError, sqlite3.InterfaceError)):
        return False
    code = getattr(error, "sqlite_errorcode", None)
    return code is None or code & 0xFF in _DAMAGED


def remove(path: Path) -> None:
    """Remove a database and its logs; the logs first, for they must not meet another database of that name."""
    for suffix in ("-journal", "-wal", "-shm", ""):
        with contextlib.suppress(OSError):
            Path(f"{path}{suffix}").unlink()


def seal(*parts: object) -> str:
    """A short checksum for a row whose damage SQLite would not notice."""
    return blake3("\0".join(map(str, parts)).encode("utf-8", "surrogatepass")).hexdigest(8)
