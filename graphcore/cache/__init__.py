"""Finished values by key: a tier in memory over a tier on disk."""

from __future__ import annotations

from graphcore.cache.disk import DiskCache, Info
from graphcore.cache.entry import Entry
from graphcore.cache.memory import MemoryCache

__all__ = ["DiskCache", "Entry", "Info", "MemoryCache"]
