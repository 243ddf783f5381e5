"""Kill -9 of server, worker, or both, at random moments: every job ends, once, with the right result.

The jobs are loops of a slow node without torch, so that processes start at once and many kills fit into a test.
"""

from __future__ import annotations

import contextlib
import json
import os
import random
import signal
import sqlite3
import time
from collections import Counter
from pathlib import Path
from typing import Any

from graphcore.cache import DiskCache
from server.jobs.events import EventLog
from server.jobs.queue import MOST_ATTEMPTS, Queue
from tests.server.http.house import Running, serve
from tests.server.ticks import TICKS, WORKFLOW, expected, make, workflow

JOBS, KILLS = 30, 20


def kill(process: int) -> None:
    with contextlib.suppress(ProcessLookupError):
        os.kill(process, signal.SIGKILL)


def pids(server: Running) -> list[int]:
    return [worker["pid"] for worker in server.ask("/api/v1/system").json["workers"] if worker["pid"]]


def most_attempts(server: Running) -> int:
    """How often a job that has not ended was taken up: one more kill must not count as a job that kills its workers."""
    jobs = server.ask(f"/api/v1/jobs?limit={JOBS}").json["jobs"]
    return max((job["attempts"] for job in jobs if job["state"] in ("queued", "running")), default=0)


def value_of(server: Running, job: dict[str, Any]) -> int:
    found: int = server.ask(f"/api/v1/files/{job['result']['value']['files'][0]['id']}").json
    return found


def test_twenty_kills_during_thirty_jobs(tmp_path: Path) -> None:
    folders = make(tmp_path / "data")
    dice = random.Random(20)
    victims = [dice.choice(["server", "worker", "worker", "both"]) for _ in range(KILLS)]
    jobs: list[str] = []
    while victims:
        with serve(folders.data, "--workers", "2", ready=False) as server:
            while len(jobs) < JOBS:
                headers = {"Idempotency-Key": f"job {len(jobs)}"}
                asked = server.ask(
                    "/api/v1/jobs", {"workflow": WORKFLOW, "inputs": {"seed": len(jobs)}}, headers=headers
                )
                assert asked.status == 202
                jobs.append(asked.json["id"])
            while victims:
                time.sleep(dice.uniform(0.1, 0.8))
                server.until(lambda: most_attempts(server) < MOST_ATTEMPTS - 1)
                victim = victims.pop()
                workers = pids(server)
                if victim != "server" and workers:
                    kill(dice.choice(workers))
                if victim != "worker":
                    kill(server.process.pid)
                    break
    with serve(folders.data, "--workers", "2", ready=False) as server:
        ended = [server.ended(job) for job in jobs]
        assert Counter(job["state"] for job in ended) == {"succeeded": JOBS}
        assert [value_of(server, job) for job in ended] == [expected(seed) for seed in range(JOBS)]
        assert sum(job["attempts"] for job in ended) <= JOBS + KILLS
    log = EventLog(folders.events)
    told = {job: log.read(job, limit=10_000) for job in jobs}
    log.close()
    for events in told.values():
        states = [event.data["state"] for event in events if event.name == "state"]
        assert states == ["queued", "running", *["queued", "running"] * states[1:-1].count("queued"), "succeeded"]
    ran = sum(
        event.name == "finished" and event.data["type"] == "slow/tick" for events in told.values() for event in events
    )
    assert JOBS * TICKS - 2 * KILLS <= ran <= JOBS * TICKS + 2 * KILLS  # a kill may take events or one step along
    cache = DiskCache(folders.cache, 1 << 40, {})
    assert cache.verify() == []  # which two workers wrote at once
    cache.close()


def gone(process: int) -> bool:
    """Whether a process has ended (one that waits for its parent to hear of it has)."""
    try:
        return Path(f"/proc/{process}/stat").read_text().rpartition(")")[2].split()[0] == "Z"
    except FileNotFoundError:
        return True


def test_workers_leave_by_themselves_after_the_end_of_their_server(tmp_path: Path) -> None:
    folders = make(tmp_path / "data")
    with serve(folders.data, "--workers", "2", ready=False) as server:
        long = workflow(500, 0.05)
        jobs = [
            server.ask("/api/v1/jobs", {"workflow": long, "inputs": {"seed": seed}}).json["id"] for seed in range(2)
        ]
        server.until(lambda: all(server.ask(f"/api/v1/jobs/{job}").json["state"] == "running" for job in jobs))
        workers = pids(server)
        kill(server.process.pid)
        assert len(workers) == 2
        server.until(lambda: all(gone(worker) for worker in workers))
    queue = Queue(folders.queue)
    assert [(queue.get(job).state, queue.get(job).attempts) for job in jobs] == [("queued", 0)] * 2
    queue.close()


def test_what_two_workers_made_is_found_by_both(tmp_path: Path) -> None:
    folders = make(tmp_path / "data")
    with serve(folders.data, "--workers", "2", ready=False) as server:
        jobs = [
            server.ask("/api/v1/jobs", {"workflow": workflow(6, 0.01 * (n % 3)), "inputs": {"seed": n % 4}}).json["id"]
            for n in range(24)
        ]
        ended = [server.ended(job) for job in jobs]
        assert [value_of(server, job) for job in ended] == [expected(n % 4, 6) for n in range(24)]
        system = server.ask("/api/v1/system").json
        assert [worker["error"] for worker in system["workers"]] == [None, None]
    cache = DiskCache(folders.cache, 1 << 40, {})
    assert cache.verify() == []
    cache.close()


def test_the_wall_clock_set_back_changes_nothing(tmp_path: Path, monkeypatch: Any) -> None:
    folders = make(tmp_path / "data")
    with serve(folders.data, ready=False) as server:
        first = server.ask("/api/v1/jobs", {"workflow": WORKFLOW, "inputs": {"seed": 1}}).json["id"]
        assert server.ended(first)["state"] == "succeeded"
    monkeypatch.setattr(time, "time", lambda: 1_000_000.0)
    queue = Queue(folders.queue)
    held = queue.claim("late")
    assert held is None
    assert queue.expire() == []
    queue.close()


def test_a_damaged_cache_costs_work_not_jobs(tmp_path: Path) -> None:
    folders = make(tmp_path / "data")
    with serve(folders.data, ready=False) as server:
        first = server.ask("/api/v1/jobs", {"workflow": WORKFLOW, "inputs": {"seed": 3}}).json["id"]
        assert value_of(server, server.ended(first)) == expected(3)
    for path in folders.cache.rglob("*"):
        if path.is_file():
            path.write_bytes(b"damaged" * 100)
    with serve(folders.data, ready=False) as server:
        again = server.ask("/api/v1/jobs", {"workflow": WORKFLOW, "inputs": {"seed": 3}}).json["id"]
        assert value_of(server, server.ended(again)) == expected(3)


def test_a_queue_locked_by_another_process_is_waited_for(tmp_path: Path) -> None:
    folders = make(tmp_path / "data")
    with serve(folders.data, ready=False) as server:
        other = sqlite3.connect(folders.queue, timeout=120, isolation_level=None)
        other.execute("BEGIN IMMEDIATE")
        assert server.ask("/api/v1/health").status == 200
        other.execute("COMMIT")
        other.close()
        job = server.ask("/api/v1/jobs", {"workflow": WORKFLOW, "inputs": {"seed": 4}})
        assert job.status == 202
        assert value_of(server, server.ended(job.json["id"])) == expected(4)


def test_the_documented_events_are_json(tmp_path: Path) -> None:
    folders = make(tmp_path / "data")
    with serve(folders.data, ready=False) as server:
        job = server.ask("/api/v1/jobs", {"workflow": WORKFLOW, "inputs": {"seed": 5}}).json["id"]
        server.ended(job)
        body = server.ask(f"/api/v1/jobs/{job}/events").body.decode()
    lines = [line.removeprefix("data: ") for line in body.splitlines() if line.startswith("data: ")]
    assert all(isinstance(json.loads(line), dict) for line in lines)
    assert len(lines) > 2 * TICKS
