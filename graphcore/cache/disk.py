"""The disk tier: a `Store`, and a writer that never makes a run wait.

What is damaged is a miss, never an error. What cannot be written (full disk, full queue) is dropped and counted.
"""

from __future__ import annotations

import contextlib
import queue
import sqlite3
import threading
import time
from collections import deque
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, NamedTuple

from graphcore.cache.entry import Entry
from graphcore.cache.entry_file import Damaged, Packed
from graphcore.cache.store import Store
from graphcore.errors import StepgraphError
from graphcore.values import codec, tensors

QUEUE_BYTES = 256 * 2**20
"""Values that may wait to be written; more than these are dropped (but one may always wait, however large)."""

LOCKED_SECONDS = 10.0
"""How long nothing is written after another process kept the index locked: the queue must not wait for each value."""


@dataclass(frozen=True, slots=True)
class Info:
    """What a disk cache holds.

    Args:
        entries, bytes: What is there, of all processes.
        limit: The most bytes that there may be.
        dropped: Values that this process could not keep.
        reason: Why it could not keep the last of them.
    """

    folder: Path
    entries: int
    bytes: int
    limit: int
    dropped: int
    reason: str = ""


class _Write(NamedTuple):
    """An entry that waits to be written; its GPU tensors are computed after `marks`."""

    key: bytes
    entry: Entry
    types: Mapping[str, type]
    marks: list[Any]


class _Forget(NamedTuple):
    """The key of an entry that was found damaged."""

    key: bytes


_Job = _Write | _Forget | threading.Event | None


class DiskCache:
    """Entries on disk, for this process and others at once; may be used by several threads.

    Args:
        folder: Made if it is not there.
        limit: Bytes of all files.
        types: Classes that may be stored and built again, by wire name.
    """

    def __init__(self, folder: Path, limit: int, types: Mapping[str, type]) -> None:
        self.folder, self.limit, self.types = folder, limit, types
        self.dropped = 0
        self._reason = ""
        self._store = self._open()
        self._lock = threading.Lock()
        self._queue: queue.SimpleQueue[_Job] = queue.SimpleQueue()
        self._waiting, self._locked_until = 0, 0.0
        self._used: deque[bytes] = deque(maxlen=100_000)
        self._writer: threading.Thread | None = None

    def _open(self) -> Store | None:
        """The store; None where the folder cannot be used: then nothing is kept."""
        try:
            return Store(self.folder, self.limit)
        except (sqlite3.Error, OSError) as error:
            self._reason = f"the folder cannot be used: {error}"
            return None

    # -- reading -------------------------------------------------------------------------------------------------

    def has(self, key: bytes) -> bool:
        """Whether there is an entry (its file is not looked at)."""
        if (store := self._store) is None:
            return False
        try:
            return store.has(key)
        except (sqlite3.Error, OSError):
            return False

    def known(self, keys: Sequence[bytes]) -> set[bytes]:
        """Those of many keys that have an entry (their files are not looked at)."""
        if (store := self._store) is None:
            return set()
        try:
            return store.known(keys)
        except (sqlite3.Error, OSError):
            return set()

    def get(self, key: bytes) -> Entry | None:
        """The entry of a key; None where there is none, or where anything about it is not as it was written."""
        if (store := self._store) is None:
            return None
        try:
            entry = store.read(key, self.types)
        except (sqlite3.Error, OSError):
            return None
        except Damaged:
            self._order(_Forget(key))
            return None
        if entry is not None:
            self._used.append(key)
        return entry

    # -- writing -------------------------------------------------------------------------------------------------

    def put(self, key: bytes, entry: Entry) -> None:
        """Have an entry written, some time soon, by the writer's thread."""
        with self._lock:
            if self._store is None or (self._waiting and self._waiting + entry.bytes > QUEUE_BYTES):
                self._drop("the cache is closed" if self._store is None else "too many values wait to be written")
                return
            self._waiting += entry.bytes
        marks = tensors.marks(codec.tensors_in(entry.outputs)) if tensors.uses_gpu() else []
        self._order(_Write(key, entry, self.types, marks))

    def _drop(self, reason: str) -> None:
        self.dropped += 1
        self._reason = self._reason if self._store is None and self._reason else reason

    def _order(self, job: _Job) -> None:
        with self._lock:
            if self._store is None:
                return
            if self._writer is None:
                arguments = (self._store,)
                self._writer = threading.Thread(target=self._work, args=arguments, name="stepgraph-cache", daemon=True)
                self._writer.start()
            self._queue.put(job)

    def flush(self, timeout: float | None = None) -> None:
        """Wait until everything that was put is written (or dropped), for at most `timeout` seconds."""
        done = threading.Event()
        with self._lock:
            if self._writer is None:
                return
            self._queue.put(done)
        done.wait(timeout)

    def close(self) -> None:
        """Write what waits, then end the writer. Later calls find nothing and keep nothing."""
        with self._lock:
            store, writer = self._store, self._writer
            self._store = self._writer = None
            if writer is not None:
                self._queue.put(None)
        if writer is not None:
            writer.join()
        if store is not None:
            with contextlib.suppress(sqlite3.Error, OSError):
                if used := self._take_used():
                    store.touch(used)
            store.close()

    def _work(self, store: Store) -> None:
        with contextlib.suppress(sqlite3.Error, OSError):
            store.tidy()
        while (job := self._queue.get()) is not None:
            if isinstance(job, threading.Event):
                job.set()
            elif isinstance(job, _Forget):
                with contextlib.suppress(sqlite3.Error, OSError):
                    store.forget(job.key)
            else:
                self._write(store, job)
            del job  # while the writer waits, it holds no values

    def _write(self, store: Store, job: _Write) -> None:
        problem = "the index was locked by another process"
        try:
            if time.monotonic() > self._locked_until:
                problem = self._attempt(store, job)
        except Exception as error:  # values are foreign objects: whatever they raise, the writer lives on
            problem = f"{type(error).__name__}: {error}"
            if getattr(error, "sqlite_errorcode", None) == sqlite3.SQLITE_BUSY:
                self._locked_until = time.monotonic() + LOCKED_SECONDS
        with self._lock:
            self._waiting -= job.entry.bytes
            if problem:
                self._drop(problem)

    def _attempt(self, store: Store, job: _Write) -> str:
        """Write an entry, unless it holds a handle, say, which its node makes again."""
        with contextlib.suppress(codec.Unstorable):
            packed = Packed(job.entry, job.types, job.marks)
            store.write(job.key, packed, job.entry.seconds, self._take_used())
        return ""

    def _take_used(self) -> set[bytes]:
        used = set()
        with contextlib.suppress(IndexError):
            while True:
                used.add(self._used.popleft())
        return used

    # -- looking after it ----------------------------------------------------------------------------------------

    def info(self) -> Info:
        """What the cache holds."""
        entries = size = 0
        if self._store is not None:
            with contextlib.suppress(sqlite3.Error, OSError):
                entries, size = self._store.totals()
        return Info(self.folder, entries, size, self.limit, self.dropped, self._reason)

    def verify(self, *, repair: bool = False) -> list[str]:
        """Read every file and compare it with the index; returns what is wrong, one line each.

        Args:
            repair: Remove what is damaged.
        """
        try:
            if self._store is not None:
                return self._store.verify(repair=repair)
        except (sqlite3.Error, OSError) as error:
            return [f"the index of {self.folder} cannot be used: {error}"]
        return [f"{self.folder} cannot be used: {self._reason}"]

    def clear(self) -> int:
        """Remove all entries, those that still wait to be written included; returns how many were there.

        Raises:
            StepgraphError: the index or a file cannot be used now.
        """
        self.flush()
        try:
            return self._store.clear() if self._store is not None else 0
        except (sqlite3.Error, OSError) as error:
            raise StepgraphError(f"the cache {self.folder} cannot be cleared: {error}") from error
