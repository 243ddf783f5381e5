"""The memory tier against a model of it that is as plain as can be."""

from __future__ import annotations

import gc
import threading
import weakref
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from graphcore.cache import Entry, MemoryCache
from graphcore.cache.memory import OVERHEAD


class Model:
    """GreedyDual-Size by sorting everything at every step."""

    def __init__(self, limit: int) -> None:
        self.limit, self.clock, self.uses = limit, 0.0, 0
        self.kept: dict[bytes, dict[str, Any]] = {}

    def get(self, key: bytes) -> Entry | None:
        if key not in self.kept:
            return None
        self.use(self.kept[key])
        return self.kept[key]["entry"]

    def put(self, key: bytes, entry: Entry, worth: float) -> None:
        size = entry.bytes + OVERHEAD
        if size > self.limit:
            return
        self.kept[key] = {"entry": entry, "size": size, "density": worth / size}
        self.use(self.kept[key])
        self.shrink(self.limit)

    def use(self, kept: dict[str, Any]) -> None:
        self.uses += 1
        kept.update(priority=self.clock + kept["density"], used=self.uses)

    def shrink(self, limit: int) -> None:
        while sum(kept["size"] for kept in self.kept.values()) > limit:
            key = min(self.kept, key=lambda key: (self.kept[key]["priority"], self.kept[key]["used"]))
            self.clock = self.kept.pop(key)["priority"]


KEYS = st.integers(0, 12).map(lambda number: bytes([number]))
CALLS = st.lists(
    st.tuples(st.just("get"), KEYS)
    | st.tuples(st.just("put"), KEYS, st.integers(0, 3000), st.floats(0, 10))
    | st.tuples(st.just("shrink"), st.integers(0, 6000)),
    max_size=80,
)


@given(CALLS, st.integers(0, 8000))
@settings(max_examples=300, deadline=None)
def test_it_does_what_the_model_does(calls: list[tuple[Any, ...]], limit: int) -> None:
    cache, model = MemoryCache(limit), Model(limit)
    for name, *arguments in calls:
        if name == "put":
            key, size, worth = arguments
            entry = Entry((key,), worth, size)
            cache.put(key, entry, worth)
            model.put(key, entry, worth)
        elif name == "get":
            assert cache.get(*arguments) is model.get(*arguments)
        else:
            cache.shrink(*arguments)
            model.shrink(*arguments)
        assert set(cache._kept) == set(model.kept)
        info = cache.info()
        assert info.bytes == sum(kept["size"] for kept in model.kept.values()) <= limit
        assert info.entries == len(model.kept)


def entry(size: int) -> Entry:
    return Entry((size,), 1.0, size - OVERHEAD)


def test_least_worth_per_byte_leaves_first() -> None:
    cache = MemoryCache(3000)
    cache.put(b"cheap", entry(1000), 0.1)
    cache.put(b"dear", entry(1000), 5.0)
    cache.put(b"large", entry(1000), 1.0)
    cache.put(b"new", entry(1000), 1.0)
    assert cache.get(b"cheap") is None
    assert cache.get(b"dear") is not None
    cache.put(b"newer", entry(1000), 1.0)
    assert (cache.get(b"large"), cache.get(b"dear") is None) == (None, False)  # the older of two equals


def test_what_is_dear_but_never_used_ages_and_leaves() -> None:
    cache = MemoryCache(5000)
    cache.put(b"dear", entry(1000), 20.0)
    for number in range(200):
        cache.put(number.to_bytes(2, "big"), entry(1000), 1.0)
    assert b"dear" not in cache._kept
    cache.put(b"dear", entry(1000), 20.0)
    for number in range(200):
        cache.put(number.to_bytes(2, "big"), entry(1000), 1.0)
        assert cache.get(b"dear") is not None  # used, so it stays


def test_too_large_an_entry_is_not_kept_and_displaces_nothing() -> None:
    cache = MemoryCache(2000)
    cache.put(b"small", entry(1000), 0.0)
    cache.put(b"large", entry(2001), 100.0)
    assert cache.get(b"small") is not None
    assert cache.get(b"large") is None
    nothing = MemoryCache(0)
    nothing.put(b"x", Entry((), 1.0, 0), 1.0)
    assert nothing.get(b"x") is None


@pytest.mark.parametrize("worth", [float("nan"), -1.0, 0.0])
def test_a_worth_that_is_no_positive_number_counts_as_none(worth: float) -> None:
    cache = MemoryCache(2000)
    cache.put(b"odd", entry(1000), worth)
    cache.put(b"a", entry(1000), 1e-9)
    cache.put(b"b", entry(1000), 1e-9)
    assert cache.get(b"odd") is None


class Value:
    """Can be watched."""


def test_values_that_left_or_were_replaced_are_freed() -> None:
    cache = MemoryCache(10_000)
    watched = []
    for number in range(30):
        value = Value()
        watched.append(weakref.ref(value))
        cache.put(b"same", Entry((value,), 1.0, 100), 1.0)
        cache.put(bytes([number]), Entry((value,), 1.0, 1000), 1.0 / (number + 1))
    del value
    cache.clear()
    gc.collect()
    assert [ref for ref in watched if ref() is not None] == []
    cache.put(b"same", Entry((first := Value(),), 1.0, 100), 1.0)
    seen = weakref.ref(first)
    del first
    cache.put(b"same", Entry((Value(),), 1.0, 100), 1.0)
    gc.collect()
    assert seen() is None


def test_many_threads() -> None:
    cache = MemoryCache(50_000)
    wrong = []

    def work(seed: int) -> None:
        for number in range(3000):
            key = bytes([(number * seed) % 97])
            found = cache.get(key)
            if found is not None and found.outputs != (key,):
                wrong.append(key)
            cache.put(key, Entry((key,), 1.0, 300 + number % 500), number % 7)

    threads = [threading.Thread(target=work, args=(seed,)) for seed in (1, 5, 11, 17)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    info = cache.info()
    assert not wrong
    assert info.bytes == sum(kept.bytes for kept in cache._kept.values()) <= 50_000
