"""What another process does to a cache folder: `python -m tests.graphcore.cache_process ACTION FOLDER ...`."""

from __future__ import annotations

import random
import sqlite3
import sys
from pathlib import Path

import numpy as np

from graphcore.cache import DiskCache, Entry, index

KEYS = [number.to_bytes(1, "big") * 32 for number in range(60)]
LIMIT = 600_000


def value(key: bytes) -> np.ndarray:
    """The one right value of a key; its size depends on the key too."""
    return np.random.default_rng(key[0]).integers(0, 255, 500 + 400 * key[0], dtype=np.uint8)


def entry(key: bytes) -> Entry:
    return Entry((value(key), key.hex()), 1.0, 500 + 400 * key[0], (f"note {key[0]}",))


def is_right(key: bytes, found: Entry) -> bool:
    array, text = found.outputs
    return bool(np.array_equal(array, value(key))) and text == key.hex() and found.notes == (f"note {key[0]}",)


def write(folder: Path, seed: int, rounds: int) -> None:
    """Write and read keys in an order of its own; ends with 1 if a value was wrong."""
    index.WAIT_SECONDS = 120.0  # on a busy machine, too, nothing is dropped
    order = random.Random(seed)
    cache = DiskCache(folder, LIMIT, {})
    print("ready", flush=True)
    for _ in range(rounds):
        for key in order.sample(KEYS, len(KEYS)):
            if (found := cache.get(key)) is not None and not is_right(key, found):
                sys.exit(f"the value of {key.hex()} is wrong")
            cache.put(key, entry(key))
        cache.flush()
    cache.close()
    print(f"dropped {cache.dropped} {cache.info().reason}", flush=True)


def lock(folder: Path) -> None:
    """Hold the index until told to go on."""
    database = sqlite3.connect(folder / "index.sqlite", isolation_level=None)
    database.execute("BEGIN IMMEDIATE")
    print("ready", flush=True)
    sys.stdin.readline()
    database.execute("ROLLBACK")
    print("done", flush=True)


if __name__ == "__main__":
    action, where, *numbers = sys.argv[1:]
    {"write": write, "lock": lock}[action](Path(where), *map(int, numbers))
