"""What the cache keeps under a key."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any


@dataclass(slots=True)
class Entry:
    """The value of one node call.

    Args:
        outputs: One value per output of the node.
        seconds: What it took to make them.
        bytes: Their size in memory.
        notes: What the node (and those before it) told the person who ran it.
    """

    outputs: tuple[Any, ...]
    seconds: float
    bytes: int
    notes: tuple[str, ...] = ()
