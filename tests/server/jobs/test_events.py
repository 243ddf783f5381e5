"""The log of a job's events: numbers, order, bounds."""

from __future__ import annotations

import contextlib
import multiprocessing
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from server.jobs import story
from server.jobs.events import EventLog
from server.jobs.job import LostLease, Request, State, WrongState
from server.jobs.queue import Queue


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
    st.lists(st.lists(st.tuples(st.sampled_from(["started", "failed", "preview"]), st.integers(0, 9)), max_size=6)),
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
    told = [number for number, (name, _) in enumerate(written, 1) if name == "failed"]
    assert [event.number for event in kept if event.name == "failed"] == told
    others = [number for number, (name, _) in enumerate(written, 1) if name != "failed"]
    assert [event.number for event in kept if event.name != "failed"] == others[-most:]
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
        writer.join(300)
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


def legal(states: list[str]) -> bool:
    """Whether each state can follow the one before, from `queued` on."""
    after = {
        "": {"queued"},
        "queued": {"running", "cancelled"},
        "running": {"queued", "succeeded", "failed", "cancelled"},
        **{end: {"queued"} for end in ("succeeded", "failed", "cancelled")},
    }
    return all(now in after[before] for before, now in zip(["", *states], states, strict=False))


def told(log: EventLog) -> list[str]:
    return [event.data["state"] for event in log.read("j") if event.name == "state"]


WORDS = st.tuples(st.sampled_from(list(State)), st.integers(1, 3), st.booleans())


@settings(max_examples=300, deadline=None)
@given(st.lists(WORDS, max_size=12))
def test_the_story_is_legal_whoever_speaks_and_ends_with_the_truth(words: list[tuple[State, int, bool]]) -> None:
    log = EventLog(Path(":memory:"))
    for state, attempt, certain in words:
        data = {"state": state, "attempt": attempt} if state is State.RUNNING else {"state": state}
        if certain:
            log.settle("j", lambda data=data: data)
            assert told(log)[-1] == state
            assert not log.settle("j", lambda data=data: data)
        else:
            log.append("j", [("started", {}, b""), ("state", data, b"")])
        assert legal(told(log))
        assert log.unfinished() == ([("j", told(log)[-1])] if told(log) and not State(told(log)[-1]).ended else [])
    log.close()


@settings(max_examples=150, deadline=None)
@given(
    st.lists(st.sampled_from(["claim", "succeed", "fail", "release", "lose", "cancel", "retry"]), max_size=14),
    st.data(),
)
def test_every_change_is_told_once_and_in_order_though_tellers_die(steps: list[str], data: st.DataObject) -> None:
    """Each change of the queue is told, or its teller dies before he can, or speaks late; others settle at times."""
    queue, log = Queue(Path(":memory:"), most_attempts=99), EventLog(Path(":memory:"))
    job = queue.enqueue(Request("w.json", {"w.json": "{}"}))
    changes, late, held, unseen = ["queued"], [], None, False

    def settle() -> None:
        log.settle(job.id, lambda: story.of(queue.get(job.id)))

    settle()
    for step in steps:
        before = queue.get(job.id).state
        if unseen and step == "release":
            continue  # who gives a job back can say so, and that he had it
        if step == "claim":
            held = queue.claim("w") or held
        elif step in ("succeed", "fail", "release") and held is not None:
            with contextlib.suppress(LostLease):
                queue.release(held) if step == "release" else getattr(queue, step)(held, {})
        elif step == "lose":
            queue.expire(["w"])
        elif step == "cancel" and before is State.QUEUED:
            queue.cancel(job.id)
        elif step == "retry":
            with contextlib.suppress(WrongState):
                queue.retry(job.id)
        now = queue.get(job.id)
        if now.state is before:
            continue
        changes.append(now.state)
        fate = data.draw(st.sampled_from(["told", "settled", "late"]))
        if fate == "settled":
            settle()
        elif fate == "told":
            log.append(job.id, [("state", story.of(now), b"")])
        elif now.state is not State.QUEUED:  # only workers speak late, and of what they did
            late.append(story.of(now))
            unseen = step == "claim" and data.draw(st.booleans())
            if unseen:
                continue  # nobody looked before the job was taken back, or ended
        if step == "release":
            late.clear()  # a worker speaks in order: what it gave back it told before
        if late and data.draw(st.booleans()):
            log.append(job.id, [("state", late.pop(0), b"")])
        settle()
        unseen = False
    settle()
    states = [event.data["state"] for event in log.read(job.id)]
    assert legal(states)
    assert states[-1] == queue.get(job.id).state
    assert states == changes
    log.close()
    queue.close()
