"""The memory tier: bounded in bytes; what is least worth per byte leaves first.

Replacement is GreedyDual-Size (Cao & Irani, "Cost-aware WWW proxy caching algorithms", USITS 1997): an entry's
priority is `clock + worth / bytes`, renewed whenever it is used; the entry of lowest priority leaves, and the clock
moves up to its priority. So what was once dear but is never used again ages, and leaves in the end.
"""

from __future__ import annotations

import heapq
from dataclasses import dataclass
from threading import Lock

from graphcore.cache.entry import Entry

OVERHEAD = 480
"""Bytes that an entry takes beside its values: key, record, tuples, its places in the dictionary and in the heap."""


@dataclass(frozen=True, slots=True)
class MemoryInfo:
    """State of the memory tier; `bytes` includes what keeping an entry takes."""

    entries: int
    bytes: int
    limit: int
    hits: int
    misses: int
    evicted: int


class _Kept:
    """An entry and its rank; `used` breaks ties: what was used longest ago leaves first."""

    __slots__ = ("bytes", "density", "entry", "key", "priority", "used")

    def __init__(self, key: bytes, entry: Entry, size: int, density: float, priority: float, used: int) -> None:
        self.key, self.bytes, self.density = key, size, density
        self.entry: Entry | None = entry
        self.priority, self.used = priority, used


class MemoryCache:
    """Entries by key; may be used by several threads.

    Args:
        limit: The largest number of bytes held; 0 keeps nothing.
    """

    def __init__(self, limit: int) -> None:
        self._limit = limit
        self._lock = Lock()
        self._kept: dict[bytes, _Kept] = {}
        # Ranks in the heap may be out of date (too low): a use only renews the record, which keeps `get` cheap, and
        # whoever looks for the lowest rank puts right those that he meets.
        self._heap: list[tuple[float, int, _Kept]] = []
        self._clock = 0.0
        self._bytes = self._uses = self._hits = self._misses = self._evicted = 0

    def get(self, key: bytes) -> Entry | None:
        """The entry of a key, if it is still here."""
        with self._lock:
            if (kept := self._kept.get(key)) is None:
                self._misses += 1
                return None
            self._hits += 1
            self._uses = kept.used = self._uses + 1
            kept.priority = self._clock + kept.density
            return kept.entry

    def put(self, key: bytes, entry: Entry, worth: float) -> None:
        """Keep an entry, at the cost of others that are worth less per byte.

        An entry larger than the limit is not kept.

        Args:
            worth: Seconds that it takes to have the entry again.
        """
        size = entry.bytes + OVERHEAD
        if size > self._limit:
            return
        density = worth / size if worth > 0.0 else 0.0
        gone: list[Entry | None] = []  # values are let go after the lock: freeing them may run code of theirs
        with self._lock:
            if (old := self._kept.pop(key, None)) is not None:
                self._bytes -= old.bytes
                gone.append(old.entry)
                old.entry = None  # its place in the heap stays for a while, but must not hold the value
            self._uses = used = self._uses + 1
            priority = self._clock + density
            self._kept[key] = kept = _Kept(key, entry, size, density, priority, used)
            heapq.heappush(self._heap, (priority, used, kept))
            self._bytes += size
            if self._bytes > self._limit:
                self._evict(self._limit, gone)
            if len(self._heap) > 2 * len(self._kept) + 64:
                self._tidy()

    def shrink(self, bytes: int) -> int:
        """Let entries go until at most `bytes` are held; returns the bytes freed."""
        gone: list[Entry | None] = []
        with self._lock:
            before = self._bytes
            self._evict(bytes, gone)
            return before - self._bytes

    def clear(self) -> int:
        """Let all entries go; returns the bytes freed."""
        with self._lock:
            freed, gone = self._bytes, self._kept
            self._kept, self._bytes = {}, 0
            self._heap.clear()
        del gone
        return freed

    def info(self) -> MemoryInfo:
        with self._lock:
            return MemoryInfo(
                len(self._kept), self._bytes, self._limit, self._hits, self._misses, self._evicted,
            )  # fmt: skip

    def _evict(self, limit: int, gone: list[Entry | None]) -> None:
        """Let go what has the lowest priority, until at most `limit` bytes are held."""
        heap = self._heap
        while self._bytes > limit and heap:
            _, used, kept = heap[0]
            if self._kept.get(kept.key) is not kept:
                heapq.heappop(heap)  # replaced in the meantime
            elif used != kept.used:
                heapq.heapreplace(heap, (kept.priority, kept.used, kept))
            else:
                heapq.heappop(heap)
                del self._kept[kept.key]
                self._clock = kept.priority
                self._bytes -= kept.bytes
                self._evicted += 1
                gone.append(kept.entry)

    def _tidy(self) -> None:
        """Drop ranks of entries that were replaced."""
        self._heap = [(kept.priority, kept.used, kept) for kept in self._kept.values()]
        heapq.heapify(self._heap)
