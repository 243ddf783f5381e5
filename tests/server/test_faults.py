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

from server.jobs.events import EventLog
from server.jobs.queue import Queue
from server.work.folders import Folders
from tests.server.http.house import Running, serve

JOBS, TICKS, KILLS = 30, 8, 20

PLUGIN = """
import time

from graphcore import node


@node(category="test")
def tick(value: int, seed: int = 0) -> int:
    '''One slow step: the next number of a sequence that depends on the seed.'''
    time.sleep(0.08)
    return (value * 31 + seed) % 1_000_003
"""

WORKFLOW = {
    "stepgraph": 1,
    "inputs": {"seed": {"type": "integer"}},
    "nodes": {
        "loop": {
            "type": "loop",
            "times": TICKS,
            "inputs": {"seed": {"from": "inputs.seed"}},
            "carry": {"value": 1},
            "body": {
                "nodes": {
                    "tick": {
                        "type": "slow/tick",
                        "inputs": {"value": {"from": "carry.value"}, "seed": {"from": "inputs.seed"}},
                    }
                },
                "carry": {"value": {"from": "tick"}},
            },
        }
    },
    "outputs": {"value": {"from": "loop.value"}},
}


def expected(seed: int) -> int:
    value = 1
    for _ in range(TICKS):
        value = (value * 31 + seed) % 1_000_003
    return value


def make(data: Path) -> Folders:
    folders = Folders(data)
    folders.make()
    (folders.plugins / "slow.py").write_text(PLUGIN)
    return folders


def kill(process: int) -> None:
    with contextlib.suppress(ProcessLookupError):
        os.kill(process, signal.SIGKILL)


def value_of(server: Running, job: dict[str, Any]) -> int:
    found: int = server.ask(f"/api/v1/files/{job['result']['value']['files'][0]['id']}").json
    return found


def test_twenty_kills_during_thirty_jobs(tmp_path: Path) -> None:
    folders = make(tmp_path / "data")
    dice = random.Random(20)
    victims = [dice.choice(["server", "worker", "both"]) for _ in range(KILLS)]
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
                time.sleep(dice.uniform(0.2, 1.2))
                victim = victims.pop()
                workers = [worker["pid"] for worker in server.ask("/api/v1/system").json["workers"]]
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
    ends = [[e for e in events if e.name == "state" and e.data["state"] == "succeeded"] for events in told.values()]
    assert all(len(one) <= 1 for one in ends)
    ran = sum(
        event.name == "finished" and event.data["type"] == "slow/tick" for events in told.values() for event in events
    )
    assert JOBS * TICKS - 2 * KILLS <= ran <= JOBS * TICKS + 2 * KILLS  # a kill may take events or one step along


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
        other = sqlite3.connect(folders.queue, isolation_level=None)
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
