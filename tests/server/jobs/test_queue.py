"""The queue: against a model of it kept in lists, against killed processes, and against what people do twice."""

from __future__ import annotations

import multiprocessing
import os
import signal
import sqlite3
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import pytest
from hypothesis import settings
from hypothesis import strategies as st
from hypothesis.stateful import Bundle, RuleBasedStateMachine, consumes, invariant, rule

from server.jobs.clock import Clock
from server.jobs.job import IdempotencyConflict, Job, LostLease, QueueFull, Request, State, UnknownJob, WrongState
from server.jobs.queue import Queue, kind


class Hand(Clock):
    """A clock that is set by hand."""

    def __init__(self, boot: str = "one") -> None:
        self.boot, self.seconds = boot, 0.0

    def now(self) -> float:
        return self.seconds


def request(name: str = "txt2img", priority: int = 0) -> Request:
    return Request(name, {"w.json": "{}"}, {"prompt": "a cat", "steps": 3}, priority=priority)


@pytest.fixture
def clock() -> Any:
    return Hand()


@pytest.fixture
def queue(tmp_path: Path, clock: Any) -> Iterator[Queue]:
    made = Queue(tmp_path / "queue.sqlite", clock=clock, most_attempts=2)
    yield made
    made.close()


def test_a_job_goes_its_way(queue: Queue) -> None:
    job = queue.enqueue(request())
    assert queue.get(job.id) == job
    assert (job.state, job.request, queue.position(job.id)) == (State.QUEUED, request(), 0)
    held = queue.claim("w1")
    assert held is not None
    assert (held.id, held.state, held.attempts, held.worker) == (job.id, State.RUNNING, 1, "w1")
    assert queue.position(job.id) is None
    assert queue.claim("w2") is None
    queue.succeed(held, {"image": {"files": ["a.png"]}})
    ended = queue.get(job.id)
    assert (ended.state, ended.result) == (State.SUCCEEDED, {"image": {"files": ["a.png"]}})
    assert ended.finished is not None
    with pytest.raises(LostLease):
        queue.fail(held, {"kind": "late"})
    assert queue.get(job.id).state is State.SUCCEEDED


def test_higher_priority_first_then_first_come(queue: Queue) -> None:
    ids = [queue.enqueue(request(priority=priority)).id for priority in (0, 5, 0, 5)]
    assert [queue.position(id_) for id_ in ids] == [2, 0, 3, 1]
    assert [taken.id for _ in ids if (taken := queue.claim("w"))] == [ids[1], ids[3], ids[0], ids[2]]


def test_an_idempotency_key_makes_one_job(queue: Queue) -> None:
    first = queue.enqueue(request(), "key 1%'")
    assert queue.enqueue(request(), "key 1%'") == first
    assert queue.enqueue(request(), "key 1").id != first.id
    with pytest.raises(IdempotencyConflict, match="key 1%"):
        queue.enqueue(request("other"), "key 1%'")


def test_a_lease_that_runs_out_gives_the_job_to_another(queue: Queue, clock: Any) -> None:
    queue.enqueue(request())
    first = queue.claim("w1", lease=10)
    assert first is not None
    clock.seconds = 9
    assert queue.expire() == []
    assert queue.renew(first, lease=10) is False
    clock.seconds = 18
    assert queue.expire() == []
    clock.seconds = 20
    assert [job.state for job in queue.expire()] == [State.QUEUED]
    second = queue.claim("w2", lease=10)
    assert second is not None
    for late in (queue.renew, queue.release, queue.give_up):
        with pytest.raises(LostLease):
            late(first)
    clock.seconds = 31
    (dead,) = queue.expire()
    assert dead.state is State.FAILED
    assert dead.error is not None
    assert "2 workers" in dead.error["message"]


def test_the_same_worker_with_an_old_lease_has_lost_it(queue: Queue, clock: Any) -> None:
    job = queue.enqueue(request())
    old = queue.claim("w1")
    assert old is not None
    queue.fail(old, {"kind": "x"})
    queue.retry(job.id)
    new = queue.claim("w1")
    assert new is not None
    assert (new.worker, new.attempts) == (old.worker, old.attempts)
    with pytest.raises(LostLease):
        queue.succeed(old, {})
    queue.succeed(new, {})


def test_after_a_restart_of_the_machine_no_lease_counts(queue: Queue, clock: Any, tmp_path: Path) -> None:
    queue.enqueue(request())
    assert queue.claim("w1", lease=1000)
    after = Queue(tmp_path / "queue.sqlite", clock=Hand("two"))
    assert [job.state for job in after.expire()] == [State.QUEUED]
    after.close()


def test_known_dead_workers_are_not_waited_for(queue: Queue) -> None:
    queue.enqueue(request())
    queue.enqueue(request())
    queue.claim("dead"), queue.claim("alive")
    assert [job.state for job in queue.expire(["dead"])] == [State.QUEUED]
    assert queue.counts() == {**dict.fromkeys(State, 0), State.QUEUED: 1, State.RUNNING: 1}


def test_cancelling(queue: Queue) -> None:
    waiting, other = queue.enqueue(request()), queue.enqueue(request())
    assert queue.cancel(waiting.id).state is State.CANCELLED
    held = queue.claim("w")
    assert held is not None
    assert held.id == other.id
    assert queue.cancel(other.id).cancelling
    assert queue.renew(held) is True
    queue.give_up(held)
    assert queue.cancel(other.id).state is State.CANCELLED
    assert queue.retry(other.id).state is State.QUEUED
    with pytest.raises(WrongState, match="queued"):
        queue.retry(other.id)
    with pytest.raises(UnknownJob):
        queue.cancel("nobody")


def test_a_cancelled_job_of_a_dead_worker_is_cancelled(queue: Queue) -> None:
    job = queue.enqueue(request())
    queue.claim("w")
    queue.cancel(job.id)
    assert [taken.state for taken in queue.expire(["w"])] == [State.CANCELLED]


def test_a_released_attempt_does_not_count(queue: Queue) -> None:
    queue.enqueue(request())
    for _ in range(10):
        held = queue.claim("w")
        assert held is not None
        assert held.attempts == 1
        queue.release(held)


def test_a_full_queue_says_so(tmp_path: Path) -> None:
    queue = Queue(tmp_path / "q.sqlite", most_waiting=2)
    queue.enqueue(request(), "a"), queue.enqueue(request())
    with pytest.raises(QueueFull, match="2 jobs wait"):
        queue.enqueue(request())
    assert queue.enqueue(request(), "a").state is State.QUEUED  # asked for before: no new job
    queue.close()


def test_pages_newest_first(queue: Queue) -> None:
    ids = [queue.enqueue(request()).id for _ in range(5)]
    first = queue.jobs(limit=2)
    second = queue.jobs(limit=2, before=first[-1].id)
    assert [job.id for job in first + second] == ids[:0:-1]
    queue.claim("w")
    assert [job.id for job in queue.jobs(states=[State.RUNNING])] == [ids[0]]
    with pytest.raises(UnknownJob):
        queue.jobs(before="nobody")


def test_old_ends_are_forgotten(queue: Queue) -> None:
    ids = [queue.enqueue(request()).id for _ in range(4)]
    for id_ in ids[:3]:
        queue.cancel(id_)
    assert queue.forget(keep=1) == ids[:2]
    assert [job.id for job in queue.jobs()] == [ids[3], ids[2]]


def test_jobs_of_one_moment_are_accepted_or_refused_one_by_one(tmp_path: Path) -> None:
    queue = Queue(tmp_path / "q.sqlite", most_waiting=3)
    queue.enqueue(request(), "old")
    asked = [(request(), "a"), (request("other"), "old"), (request(), "a"), (request(), None), (request(), None)]
    first, conflict, same, third, full = queue.enqueue_all(asked)
    assert isinstance(first, Job)
    assert isinstance(conflict, IdempotencyConflict)
    assert same == first == queue.get(first.id)
    assert isinstance(third, Job)
    assert isinstance(full, QueueFull)
    assert queue.counts()[State.QUEUED] == 3
    queue.close()


def test_prospects_follow_from_what_such_jobs_took(queue: Queue) -> None:
    running = queue.enqueue(request("slow"))
    held = queue.claim("w")
    assert held is not None
    ids = [queue.enqueue(request(name, priority)).id for name, priority in (("slow", 0), ("quick", 0), ("slow", 5))]
    order = [ids[2], ids[0], ids[1]]
    assert [queue.position(id_) for id_ in order] == [0, 1, 2]
    assert all(found.seconds_left is None for found in queue.prospects(ids).values())
    queue.learn({kind(request("slow")): 10.0})
    queue.report(held, 0.5, 4.0)
    assert queue.get(running.id).progress == 0.5
    found = queue.prospects([*ids, running.id])
    assert [(found[id_].position, found[id_].seconds_left) for id_ in order] == [(0, 14.0), (1, 24.0), (2, None)]
    assert set(found) == set(ids)
    assert queue.prospects([ids[0]]) == {ids[0]: found[ids[0]]}
    assert queue.prospects([running.id]) == {}
    queue.learn({kind(request("quick")): 1.0})
    assert queue.prospects(ids)[ids[1]].seconds_left == 25.0
    assert queue.prospects(ids, workers=2)[ids[1]].seconds_left == 13.0
    queue.release(held)
    with pytest.raises(LostLease):
        queue.report(held, 0.9, 1.0)


def test_the_newest_pace_counts_most_and_paces_are_bounded(queue: Queue) -> None:
    queue.learn({"a": 10.0})
    queue.learn({"a": 20.0})
    assert 10.0 < queue.paces()["a"] < 20.0
    queue.learn({f"k{number}": 1.0 for number in range(1100)})
    assert len(queue.paces()) <= 1000


def test_who_reads_does_not_wait_for_one_who_writes(queue: Queue) -> None:
    job = queue.enqueue(request())
    with queue._change() as database:
        database.execute("UPDATE jobs SET state = 'cancelled'")
        assert queue.get(job.id).state is State.QUEUED
        assert queue.position(job.id) == 0
        assert [one.id for one in queue.jobs()] == [job.id]
    assert queue.get(job.id).state is State.CANCELLED


def test_pages_and_positions_use_indices(queue: Queue) -> None:
    """What many jobs would make slow is read along an index, without sorting."""
    asked: list[str] = []
    queue._reader.set_trace_callback(asked.append)
    job = queue.enqueue(request())
    queue.jobs(limit=50)
    queue.jobs(states=[State.QUEUED], limit=50)
    queue.position(job.id)
    queue.prospects([job.id])
    queue.prospects([job.id, "nobody"])
    queue._reader.set_trace_callback(None)
    plans = [str(row) for text in asked for row in queue._reader.execute(f"EXPLAIN QUERY PLAN {text}").fetchall()]
    assert len(asked) >= 8
    assert not [plan for plan in plans if "TEMP B-TREE" in plan]
    assert not [plan for plan in plans if plan.endswith("'SCAN jobs')")]


@dataclass
class Known:
    """What a job must be like."""

    state: State
    priority: int
    order: int
    attempts: int = 0
    cancelling: bool = False
    held: Job | None = None
    deadline: float = field(default=0.0)


class QueueMachine(RuleBasedStateMachine):
    """Any order of calls, by workers whose handles may be old, gives what lists give."""

    handles = Bundle("handles")

    def __init__(self) -> None:
        super().__init__()
        self.clock = Hand()
        self.queue = Queue(Path(":memory:"), clock=self.clock, most_attempts=2)
        self.known: dict[str, Known] = {}

    def teardown(self) -> None:
        self.queue.close()

    @rule(priority=st.integers(0, 2))
    def enqueue(self, priority: int) -> None:
        job = self.queue.enqueue(request(priority=priority))
        self.known[job.id] = Known(State.QUEUED, priority, len(self.known))

    @rule(target=handles, worker=st.sampled_from("ab"), lease=st.integers(1, 5))
    def claim(self, worker: str, lease: int) -> Job | None:
        held = self.queue.claim(worker, lease)
        waiting = {id_: job for id_, job in self.known.items() if job.state is State.QUEUED}
        first = min(waiting, key=lambda id_: (-waiting[id_].priority, waiting[id_].order), default=None)
        assert (held and held.id) == first
        if held is not None:
            job = self.known[held.id]
            job.state, job.held, job.deadline = State.RUNNING, held, self.clock.seconds + lease
            job.attempts += 1
        return held

    @rule(handle=consumes(handles), end=st.sampled_from(["succeed", "fail", "give_up", "release"]))
    def end(self, handle: Job | None, end: str) -> None:
        if handle is None:
            return
        job = self.known[handle.id]
        arguments = ({},) if end in ("succeed", "fail") else ()
        if job.held is not handle or job.state is not State.RUNNING:
            with pytest.raises(LostLease):
                getattr(self.queue, end)(handle, *arguments)
            return
        getattr(self.queue, end)(handle, *arguments)
        states = {"succeed": State.SUCCEEDED, "fail": State.FAILED, "give_up": State.CANCELLED}
        job.state = states.get(end, State.QUEUED)
        job.attempts -= end == "release"

    @rule(handle=handles, lease=st.integers(1, 5))
    def renew(self, handle: Job | None, lease: int) -> None:
        if handle is None:
            return
        job = self.known[handle.id]
        if job.held is not handle or job.state is not State.RUNNING:
            with pytest.raises(LostLease):
                self.queue.renew(handle, lease)
            return
        assert self.queue.renew(handle, lease) is job.cancelling
        job.deadline = self.clock.seconds + lease

    @rule(data=st.data())
    def cancel(self, data: st.DataObject) -> None:
        if self.known:
            id_ = data.draw(st.sampled_from(sorted(self.known, key=lambda id_: self.known[id_].order)))
            self.queue.cancel(id_)
            job = self.known[id_]
            job.cancelling = job.cancelling or job.state is State.RUNNING
            job.state = State.CANCELLED if job.state is State.QUEUED else job.state

    @rule(seconds=st.integers(1, 4))
    def wait(self, seconds: int) -> None:
        self.clock.seconds += seconds
        self.queue.expire()
        for job in self.known.values():
            if job.state is State.RUNNING and job.deadline < self.clock.seconds:
                again = State.FAILED if job.attempts >= 2 else State.QUEUED
                job.state = State.CANCELLED if job.cancelling else again

    @invariant()
    def same(self) -> None:
        for id_, job in self.known.items():
            assert self.queue.get(id_).state is job.state


TestQueueMachine = QueueMachine.TestCase
TestQueueMachine.settings = settings(max_examples=60, stateful_step_count=40, deadline=None)


def _work(path: Path, kill_after: int) -> None:
    """A worker that dies by SIGKILL in the middle of the transaction that ends its job number `kill_after`."""
    queue = Queue(path)
    done = 0
    while (job := queue.claim(f"{os.getpid()}", lease=0.05)) is not None:
        if done == kill_after:
            with queue._change() as database:
                database.execute("UPDATE jobs SET state = 'succeeded', result = '{}' WHERE id = ?", (job.id,))
                os.kill(os.getpid(), signal.SIGKILL)
        try:
            queue.succeed(job, {"by": os.getpid()})
        except LostLease:
            continue
        done += 1


def test_killed_workers_lose_nothing_and_end_nothing_twice(tmp_path: Path) -> None:
    path = tmp_path / "queue.sqlite"
    queue = Queue(path, most_attempts=50)
    ids = [queue.enqueue(request()).id for _ in range(40)]
    context = multiprocessing.get_context("spawn")
    for kill_after in (0, 3, 7):
        worker = context.Process(target=_work, args=(path, kill_after))
        worker.start()
        worker.join(300)
        assert worker.exitcode == -signal.SIGKILL
        assert len(queue.expire([str(worker.pid)])) == 1
    _work(path, kill_after=1000)
    assert all(queue.get(id_).state is State.SUCCEEDED for id_ in ids)
    assert all("by" in (queue.get(id_).result or {}) for id_ in ids)  # none by a transaction that was cut off
    queue.close()


def test_a_full_disk_says_so_and_changes_nothing(tmp_path: Path) -> None:
    queue = Queue(tmp_path / "queue.sqlite")
    kept = queue.enqueue(request())
    pages = queue._database.execute("PRAGMA page_count").fetchone()[0]
    queue._database.execute(f"PRAGMA max_page_count = {pages}")
    with pytest.raises(sqlite3.OperationalError, match="full"):
        queue.enqueue(Request("big", {"w.json": "x" * 50_000}))
    assert queue.get(kept.id) == kept
    queue._database.execute("PRAGMA max_page_count = 1000000")
    held = queue.claim("w")
    assert held is not None
    assert held.id == kept.id
    queue.close()
