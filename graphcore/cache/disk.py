"""The disk tier: one safetensors file per entry, an SQLite index, a writer that never makes a run wait.

What is damaged is a miss, never an error: every file has a checksum in the index, files appear whole by renaming,
and rows are written after their files. What cannot be written (full disk, full queue) is dropped and counted.
"""

from __future__ import annotations

import contextlib
import json
import os
import queue
import sqlite3
import threading
import time
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

from blake3 import blake3

from graphcore import codec, tensors
from graphcore.cache.entry import Entry
from graphcore.cache.index import Index, Row

QUEUE_BYTES = 256 * 2**20
"""Values that may wait to be written; more than these are dropped."""

SWEEP_TO = 0.9
"""When the size limit is reached, the least recently used entries leave until this share of it is used."""


@dataclass(frozen=True, slots=True)
class Info:
    """What a disk cache holds."""

    folder: Path
    entries: int
    bytes: int
    limit: int
    dropped: int


class DiskCache:
    """Entries on disk, for this process and others at once.

    Args:
        folder: Made if it is not there.
        limit: Bytes of all files.
        types: Classes that may be stored and built again, by wire name.
    """

    def __init__(self, folder: Path, limit: int, types: Mapping[str, type]) -> None:
        self.folder, self.limit, self.types = folder, limit, types
        self.dropped = 0
        self._index = _open_index(folder)
        self._queue: queue.SimpleQueue[tuple[bytes, Entry] | threading.Event | None] = queue.SimpleQueue()
        self._waiting = 0
        self._used: set[bytes] = set()
        self._size: int | None = None
        self._writer: threading.Thread | None = None

    # -- reading -------------------------------------------------------------------------------------------------

    def has(self, key: bytes) -> bool:
        """Whether there is an entry (its file is not looked at)."""
        if self._index is None:
            return False
        try:
            return self._index.has(key)
        except sqlite3.Error:
            return False

    def get(self, key: bytes) -> Entry | None:
        """The entry of a key; None where there is none, or where anything about it is not as it was written."""
        if self._index is None:
            return None
        try:
            row = self._index.find(key)
        except sqlite3.OperationalError:
            return None
        except sqlite3.DatabaseError:
            self._repair()
            return None
        if row is None:
            return None
        try:
            data = self._path(key).read_bytes()
            entry = _decode(data, row, self.types)
        except (OSError, codec.Unstorable, ValueError):
            self._forget([key])
            return None
        self._used.add(key)
        return entry

    # -- writing -------------------------------------------------------------------------------------------------

    def put(self, key: bytes, entry: Entry) -> None:
        """Have an entry written, some time soon, by the writer's thread."""
        if self._index is None or self._waiting + entry.bytes > QUEUE_BYTES or entry.bytes > self.limit:
            self.dropped += 1
            return
        if self._writer is None:
            self._writer = threading.Thread(target=self._write_all, name="stepgraph-cache", daemon=True)
            self._writer.start()
        self._waiting += entry.bytes
        self._queue.put((key, entry))

    def flush(self, timeout: float | None = None) -> None:
        """Wait until everything that was put is written."""
        if self._writer is not None and self._writer.is_alive():
            done = threading.Event()
            self._queue.put(done)
            done.wait(timeout)

    def close(self) -> None:
        """Write what waits, then end the writer."""
        if self._writer is not None:
            self._queue.put(None)
            self._writer.join()
            self._writer = None
        if self._index is not None:
            self._note_uses()
            self._index.close()
            self._index = None

    def _write_all(self) -> None:
        while (item := self._queue.get()) is not None:
            if isinstance(item, threading.Event):
                item.set()
                continue
            key, entry = item
            del item
            try:
                self._write(key, entry)
            except codec.Unstorable:
                pass  # a handle, say: its node makes it again
            except (OSError, sqlite3.Error, RuntimeError):
                self.dropped += 1
            finally:
                self._waiting -= entry.bytes
                del entry

    def _write(self, key: bytes, entry: Entry) -> None:
        assert self._index is not None
        data = _encode(entry, self.types)
        path = self._path(key)
        path.parent.mkdir(parents=True, exist_ok=True)
        part = path.with_name(f"{path.name}.{os.getpid()}.{threading.get_ident()}.part")
        try:
            part.write_bytes(data)
            part.replace(path)
        except OSError:
            part.unlink(missing_ok=True)
            raise
        now = time.time()
        self._index.put(Row(key, blake3(data).digest(), len(data), entry.seconds, now))
        self._grow(len(data))

    def _grow(self, size: int) -> None:
        """Keep to the limit. The sum is kept up here and read from the index now and then: others write too."""
        assert self._index is not None
        self._size = self._index.totals()[1] if self._size is None else self._size + size
        if self._size > self.limit:
            self._note_uses()
            self._sweep()

    def _sweep(self) -> None:
        assert self._index is not None
        size = self._index.totals()[1]
        while size > self.limit * SWEEP_TO:
            rows = self._index.oldest(100)
            if not rows:
                break
            leaving = []
            for row in rows:
                if size <= self.limit * SWEEP_TO:
                    break
                leaving.append(row.key)
                size -= row.size
            self._forget(leaving)
        self._size = size

    def _note_uses(self) -> None:
        used, self._used = self._used, set()
        if used and self._index is not None:
            with contextlib.suppress(sqlite3.Error):
                self._index.touch(used, time.time())

    def _forget(self, keys: list[bytes]) -> None:
        with contextlib.suppress(sqlite3.Error):
            if self._index is not None:
                self._index.delete(keys)
        for key in keys:
            with contextlib.suppress(OSError):
                self._path(key).unlink()

    def _repair(self) -> None:
        try:
            if self._index is not None:
                self._index.set_aside()
        except (sqlite3.Error, OSError):
            self._index = None

    # -- looking after it ----------------------------------------------------------------------------------------

    def info(self) -> Info:
        """What the cache holds."""
        try:
            entries, size = self._index.totals() if self._index is not None else (0, 0)
        except sqlite3.Error:
            entries, size = 0, 0
        return Info(self.folder, entries, size, self.limit, self.dropped)

    def verify(self, *, repair: bool = False) -> list[str]:
        """Read every file and compare it with the index; returns what is wrong, one line each.

        Args:
            repair: Remove what is damaged.
        """
        if self._index is None:
            return [f"the index of {self.folder} cannot be used"]
        problems = []
        rows = {row.key: row for row in self._index.all()}
        for key, row in rows.items():
            if (reason := self._damage(row)) is not None:
                problems.append(f"{key.hex()}: {reason}")
                if repair:
                    self._forget([key])
        for file in self._files():
            if file.suffix == ".part" or file.stem not in {key.hex() for key in rows}:
                problems.append(f"{file.name}: no entry of the index")
                if repair:
                    file.unlink(missing_ok=True)
        return problems

    def _damage(self, row: Row) -> str | None:
        try:
            _decode(self._path(row.key).read_bytes(), row, self.types)
        except FileNotFoundError:
            return "its file is missing"
        except (OSError, ValueError) as error:
            return str(error)
        except codec.Unstorable:
            return None  # whole, but of a plugin that is not loaded now
        return None

    def clear(self) -> int:
        """Remove all entries; returns how many."""
        if self._index is None:
            return 0
        keys = [row.key for row in self._index.all()]
        self._forget(keys)
        for file in self._files():
            file.unlink(missing_ok=True)
        self._size = None
        return len(keys)

    def _path(self, key: bytes) -> Path:
        name = key.hex()
        return self.folder / name[:2] / f"{name}.safetensors"

    def _files(self) -> list[Path]:
        return [file for folder in self.folder.glob("[0-9a-f][0-9a-f]") for file in folder.iterdir()]


def _open_index(folder: Path) -> Index | None:
    """The index; None where the folder cannot be used: then nothing is kept."""
    try:
        folder.mkdir(parents=True, exist_ok=True)
        return Index(folder / "index.sqlite")
    except (sqlite3.Error, OSError):
        return None


def _encode(entry: Entry, types: Mapping[str, type]) -> bytes:
    text, named = codec.pack(entry.outputs, types)
    head = json.dumps({"seconds": entry.seconds, "bytes": entry.bytes, "notes": entry.notes})
    return tensors.serialise(named, {"value": text, "entry": head})


def _decode(data: bytes, row: Row, types: Mapping[str, type]) -> Entry:
    if len(data) != row.size or blake3(data).digest() != row.checksum:
        raise ValueError("its file is damaged")
    size = int.from_bytes(data[:8], "little")
    header = json.loads(data[8 : 8 + size])["__metadata__"]
    head = json.loads(header["entry"])
    stored = tensors.deserialise(data) if size + 8 < len(data) or _holds_tensors(data, size) else {}
    outputs = codec.unpack(header["value"], stored, types)
    return Entry(outputs, float(head["seconds"]), int(head["bytes"]), tuple(head["notes"]))


def _holds_tensors(data: bytes, size: int) -> bool:
    """Plain values need no torch; a file of empty tensors has names, but no bytes after its header."""
    return len(json.loads(data[8 : 8 + size])) > 1
