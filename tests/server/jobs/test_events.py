"""The log of a job's events: numbers, order, bounds."""

from __future__ import annotations

import multiprocessing
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from server.jobs.events import EventLog


def test_events_come_back_from_any_number_on(tmp_path: Path) -> None:
    log = EventLog(tmp_path / "events.sqlite")
    assert log.append("a", [("state", {"state": "queued"}, b""), ("started", {"node": "x"}, b"")]) == 2
    assert log.append("b", [("state", {"state": "queued"}, b"")]) == 1
    assert log.append("a", [("preview", {"node": "x"}, b"png")]) == 3
    assert [(e.number, e.name, e.preview) for e in log.read("a", after=1)] == [
        (2, "started", b""),
        (3, "preview", b"png"),
    ]
    assert log.read("a", after=2, previews=False)[0].preview == b""
    assert log.read("a", limit=1)[0].data == {"state": "queued"}
    assert (log.last("a"), log.last("nobody"), log.read("nobody")) == (3, 0, [])
    log.forget(["a"])
    assert log.read("a") == []
    assert log.read("b")
    log.close()


@settings(max_examples=60, deadline=None)
@given(
    st.lists(st.lists(st.tuples(st.sampled_from(["started", "state", "preview"]), st.integers(0, 9)), max_size=6)),
    st.integers(1, 8),
    st.integers(0, 30),
)
def test_bounds_hold_and_the_story_stays(batches: list[list[tuple[str, int]]], most: int, bytes_: int) -> None:
    log = EventLog(Path(":memory:"), most_events=most, most_preview_bytes=bytes_)
    written = []
    for batch in batches:
        log.append("j", [(name, {"i": len(written) + k}, b"x" * size) for k, (name, size) in enumerate(batch)])
        written += batch
    kept = log.read("j", limit=10_000)
    numbers = [event.number for event in kept]
    assert numbers == sorted(set(numbers))
    assert all(event.data["i"] == event.number - 1 for event in kept)
    told = [number for number, (name, _) in enumerate(written, 1) if name == "state"]
    assert [event.number for event in kept if event.name == "state"] == told
    others = [number for number, (name, _) in enumerate(written, 1) if name != "state"]
    assert [event.number for event in kept if event.name != "state"] == others[-most:]
    assert sum(len(event.preview) for event in kept) <= bytes_
    pictures = [event for event in kept if event.name == "preview" and written[event.number - 1][1]]
    lost = [bool(event.preview) for event in pictures]
    assert lost == sorted(lost)  # the oldest pictures leave first
    log.close()


def _write(path: Path, count: int) -> None:
    log = EventLog(path)
    for index in range(count):
        log.append("shared", [("started", {"i": index}, b""), ("finished", {"i": index}, b"")])


def test_two_processes_number_without_a_clash(tmp_path: Path) -> None:
    path = tmp_path / "events.sqlite"
    log = EventLog(path)
    context = multiprocessing.get_context("spawn")
    writers = [context.Process(target=_write, args=(path, 40)) for _ in range(2)]
    for writer in writers:
        writer.start()
    for writer in writers:
        writer.join(60)
        assert writer.exitcode == 0
    found = log.read("shared")
    assert [event.number for event in found] == list(range(1, 161))
    pairs = zip(found[::2], found[1::2], strict=True)
    assert all(a.data == b.data and (a.name, b.name) == ("started", "finished") for a, b in pairs)
    log.close()


def test_what_is_written_halfway_is_not_written(tmp_path: Path) -> None:
    log = EventLog(tmp_path / "events.sqlite")
    log.append("a", [("started", {}, b"")])

    class Refuses:
        def __str__(self) -> str:
            raise ValueError("no text")

    with pytest.raises(ValueError, match="no text"):
        log.append("a", [("started", {}, b""), ("started", {"bad": Refuses()}, b"")])
    assert log.last("a") == 1
    assert log.append("a", [("started", {}, b"")]) == 2
    log.close()
