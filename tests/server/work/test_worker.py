"""Real workers on real jobs: pictures come out, and whatever is killed or hangs costs one step at most.

All but the first test run loops of a node without torch (`tests/server/ticks.py`), so that workers start at once.
"""

from __future__ import annotations

import asyncio
import contextlib
import json
import os
import random
import signal
import subprocess
import sys
import time
from collections import Counter
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

import psutil
import pytest
from PIL import Image

from graphcore import Workflow
from graphcore.files import provenance, shipped
from server.files.store import FileStore
from server.jobs.events import EventLog
from server.jobs.job import Job, Request, State
from server.jobs.queue import LEASE_SECONDS, Queue
from server.work.supervisor import Supervisor
from tests.server import ticks

STEPS = 6

STARTING = """
import os, subprocess, sys, time
command = [sys.executable, "-m", "server.work.process", "--parent", str(os.getpid()), "--orphan", "1", *sys.argv[1:]]
print(subprocess.Popen(command, stdout=subprocess.DEVNULL).pid, flush=True)
time.sleep(10_000)
"""
"""A server that starts a worker, which hears what the test says on standard input, and is killed."""

LOCKING = """
import sqlite3, sys
queue = sqlite3.connect(sys.argv[1], timeout=120, isolation_level=None)
queue.execute("BEGIN IMMEDIATE")
print("locked", flush=True)
sys.stdin.read()
"""


def request(**inputs: Any) -> Request:
    """A picture."""
    workflow = Workflow.load(shipped.find("txt2img") or "")
    record = provenance.record(workflow, {})
    return Request(record["workflow"], record["files"], {"steps": STEPS, **inputs}, outputs=("image",))


def loop(times: int = 4, seconds: float = 0.0, seed: int = 0) -> Request:
    """A loop of ticks."""
    return Request("w.json", {"w.json": json.dumps(ticks.workflow(times, seconds))}, {"seed": seed})


def pixels(path: Path) -> Image.Image:
    with Image.open(path) as picture:
        picture.load()
        return picture


class House:
    """Queue, log and files of one data folder, as the server holds them."""

    def __init__(self, data: Path) -> None:
        self.folders = ticks.make(data)
        self.queue, self.log = Queue(self.folders.queue), EventLog(self.folders.events)
        self.files = FileStore(self.folders.files)
        self.heard: list[dict[str, Any]] = []

    @asynccontextmanager
    async def supervisor(
        self, lease: float = LEASE_SECONDS, devices: tuple[str, ...] = ("cpu",)
    ) -> AsyncIterator[Supervisor]:
        made = Supervisor(self.folders, self.queue, self.log, self.heard.append, devices, lease)
        await made.start()
        try:
            yield made
        finally:
            await made.stop()

    async def until(self, what: Callable[[], Any], seconds: float = 300) -> None:
        end = time.monotonic() + seconds
        while not what():
            assert time.monotonic() < end, f"waited {seconds} s; heard {self.heard[-5:]}"
            await asyncio.sleep(0.02)

    async def ended(self, job: Job) -> Job:
        await self.until(lambda: self.queue.get(job.id).state.ended)
        return self.queue.get(job.id)

    async def told(self, job: Job) -> list[str]:
        """The states that the log tells, up to the end of the job."""
        await self.until(lambda: (self.log.told(job.id) or {}).get("state") == self.queue.get(job.id).state)
        return [event.data["state"] for event in self.log.read(job.id, limit=100_000) if event.name == "state"]

    def steps(self, job: Job, type_: str = "slow/tick") -> Counter[str]:
        """How often each step was ended."""
        events = self.log.read(job.id, limit=100_000)
        ends = [event.data for event in events if event.name == "finished"]
        return Counter(data["node"] for data in ends if data.get("type") == type_)

    def stored(self) -> int:
        """How many values are in the cache on the disk."""
        return len(list(self.folders.cache.glob("??/*.safetensors")))

    def hurry(self) -> None:
        """Have the rest done quickly."""
        ticks.hurry(self.folders.data)

    def value(self, job: Job) -> Any:
        """What a loop of ticks made."""
        assert job.error is None
        assert job.result is not None
        return json.loads(self.files.get(job.result["value"]["files"][0]["id"]).path.read_text())


@pytest.fixture
def house(tmp_path: Path) -> House:
    return House(tmp_path / "data")


def test_a_job_becomes_a_picture(house: House) -> None:
    async def body() -> None:
        job = house.queue.enqueue(request(prompt="a cat"))
        async with house.supervisor():
            done = await house.ended(job)
        assert done.error is None
        assert done.result is not None
        (file,) = done.result["image"]["files"]
        stored = house.files.get(file["id"])
        assert pixels(stored.path).size == (64, 64)
        assert (stored.media_type, stored.bytes) == ("image/png", file["bytes"])
        assert await house.told(job) == ["queued", "running", "succeeded"]
        assert sum(house.steps(done, "stepgraph/unet").values()) == 2 * STEPS

    asyncio.run(body())


def test_what_is_wrong_is_said_and_the_next_job_runs(house: House) -> None:
    async def body() -> None:
        wrong = house.queue.enqueue(request(steps=0))
        broken = house.queue.enqueue(Request("w.json", {"w.json": "{"}))
        outside = house.queue.enqueue(request(model="/etc"))
        fine = house.queue.enqueue(loop())
        async with house.supervisor():
            assert house.value(await house.ended(fine)) == ticks.expected(0, 4)
            errors = [(await house.ended(job)).error for job in (wrong, broken, outside)]
        assert errors[0] is not None
        assert errors[0]["kind"] == "check"
        assert "steps" in errors[0]["message"]
        assert errors[1] is not None
        assert errors[1]["problems"][0]["code"] == "syntax"
        assert errors[2] is not None
        assert "outside the folders" in errors[2]["message"]

    asyncio.run(body())


def test_cancelling_a_running_job_takes_one_step_at_most(house: House) -> None:
    async def body() -> None:
        job = house.queue.enqueue(loop(1000, 0.1))
        async with house.supervisor() as supervisor:
            await house.until(lambda: len(house.steps(job)) > 4)
            now = house.queue.cancel(job.id)
            await supervisor.cancel(job.id, now.worker)
            assert (await house.ended(job)).state is State.CANCELLED
            assert len(house.steps(job)) < 900
            after = house.queue.enqueue(loop())
            assert (await house.ended(after)).state is State.SUCCEEDED
        assert await house.told(job) == ["queued", "running", "cancelled"]

    asyncio.run(body())


def test_a_step_that_never_ends_is_cancelled_with_its_worker(house: House, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("server.work.supervisor.CANCEL_SECONDS", 0.5)

    async def body() -> None:
        job = house.queue.enqueue(loop(2, 10_000.0))
        async with house.supervisor() as supervisor:
            await house.until(lambda: house.log.last(job.id) > 2)  # queued, running, and the run began
            pid = supervisor.workers[0]["pid"]
            now = house.queue.cancel(job.id)
            await supervisor.cancel(job.id, now.worker)
            assert (await house.ended(job)).state is State.CANCELLED
            after = house.queue.enqueue(loop())
            assert house.value(await house.ended(after)) == ticks.expected(0, 4)
            assert supervisor.workers[0]["pid"] != pid
        assert await house.told(job) == ["queued", "running", "cancelled"]

    asyncio.run(body())


def test_stopping_gives_the_job_back_and_the_next_server_goes_on(house: House) -> None:
    async def body() -> None:
        job = house.queue.enqueue(loop(100, 0.2))
        async with house.supervisor():
            await house.until(lambda: len(house.steps(job)) > 5)
        assert house.queue.get(job.id).state is State.QUEUED
        before = house.steps(job)
        house.hurry()
        async with house.supervisor():
            done = await house.ended(job)
        assert done.attempts == 1
        assert len(before) < 100
        assert house.value(done) == ticks.expected(0, 100)
        assert sum(house.steps(job).values()) <= 100 + 1  # the step in which it stopped
        assert await house.told(job) == ["queued", "running", "queued", "running", "succeeded"]

    asyncio.run(body())


def test_a_killed_worker_costs_one_step(house: House) -> None:
    kills, times = 3, 100

    async def body() -> None:
        job = house.queue.enqueue(loop(times, 0.2, seed=7))
        dice = random.Random(0)
        async with house.supervisor() as supervisor:
            for kill in range(kills):
                await house.until(lambda kill=kill: len(house.steps(job)) > 2 + 4 * kill + dice.randrange(3))
                seen = len(house.steps(job))
                await house.until(lambda seen=seen: house.stored() >= seen)  # while the next one runs
                os.kill(supervisor.workers[0]["pid"], signal.SIGKILL)
                await house.until(lambda: supervisor.workers[0]["ready"] is False)
            house.hurry()
            done = await house.ended(job)
        assert done.attempts == kills + 1
        assert house.value(done) == ticks.expected(7, times)
        assert sum(house.steps(job).values()) <= times + kills
        assert await house.told(job) == ["queued", "running", *["queued", "running"] * kills, "succeeded"]

    asyncio.run(body())


def test_a_worker_does_not_outlive_its_server_for_long(house: House) -> None:
    async def body() -> None:
        job = house.queue.enqueue(loop(2, 10_000.0))
        arguments = ["--data", str(house.folders.data), "--name", "orphan", "--device", "cpu", "--lease", "1"]
        server = subprocess.Popen(
            [sys.executable, "-c", STARTING, *arguments], stdin=subprocess.PIPE, stdout=subprocess.PIPE
        )
        assert server.stdout is not None
        worker = int(server.stdout.readline())
        await house.until(lambda: house.queue.get(job.id).state is State.RUNNING)
        server.kill()
        server.wait()
        # It ends though its standard input is open and its step never ends.
        await house.until(lambda: not psutil.pid_exists(worker) or psutil.Process(worker).status() == "zombie")
        server.communicate()
        assert house.queue.get(job.id).attempts == 1
        await house.until(lambda: [one.state for one in house.queue.expire()] == [State.QUEUED])

    asyncio.run(body())


@pytest.mark.slow
def test_a_picture_whose_workers_were_killed_is_the_same_picture(house: House) -> None:
    kills = 3

    async def body() -> None:
        plain = house.queue.enqueue(request(steps=40, seed=7))
        async with house.supervisor():
            expected = (await house.ended(plain)).result
        other = House(house.folders.data.parent / "other")
        job = other.queue.enqueue(request(steps=40, seed=7))
        dice = random.Random(0)
        async with other.supervisor() as supervisor:
            for kill in range(kills):
                await other.until(
                    lambda kill=kill: len(other.steps(job, "stepgraph/unet")) > 10 + 20 * kill + dice.randrange(5)
                )
                os.kill(supervisor.workers[0]["pid"], signal.SIGKILL)
                await other.until(lambda: supervisor.workers[0]["ready"] is False)
            done = await other.ended(job)
        assert done.state is State.SUCCEEDED
        assert done.attempts == kills + 1
        assert sum(other.steps(job, "stepgraph/unet").values()) <= 80 + 2 * kills
        assert expected is not None
        assert done.result is not None
        assert done.result["image"]["key"] == expected["image"]["key"]
        first, second = (
            pixels(place.files.get(result["image"]["files"][0]["id"]).path)
            for place, result in ((house, expected), (other, done.result))
        )
        assert first.tobytes() == second.tobytes()

    asyncio.run(body())


def test_a_worker_that_hangs_is_replaced_and_its_job_goes_on(house: House) -> None:
    async def body() -> None:
        job = house.queue.enqueue(loop(100, 0.2))
        async with house.supervisor(lease=1.0) as supervisor:
            await house.until(lambda: len(house.steps(job)) > 3)
            pid = supervisor.workers[0]["pid"]
            os.kill(pid, signal.SIGSTOP)  # neither lease nor answers any more, and the process stays
            house.hurry()
            done = await house.ended(job)
            assert supervisor.workers[0]["pid"] != pid
        assert house.value(done) == ticks.expected(0, 100)
        assert done.attempts >= 2  # on a busy machine leases of a second run out more often
        assert await house.told(job) == ["queued", "running", *["queued", "running"] * (done.attempts - 1), "succeeded"]

    asyncio.run(body())


def test_a_worker_that_hung_and_wakes_up_harms_nothing(house: House) -> None:
    async def body() -> None:
        job = house.queue.enqueue(loop(100, 0.2))
        async with house.supervisor(lease=1.0, devices=("cpu", "cpu")) as supervisor:
            await house.until(lambda: len(house.steps(job)) > 3)
            name = house.queue.get(job.id).worker
            pid = next(worker["pid"] for worker in supervisor.workers if worker["name"] == name)
            os.kill(pid, signal.SIGSTOP)
            await house.until(lambda: house.queue.get(job.id).worker not in (name, ""))
            before = len(house.heard)
            with contextlib.suppress(ProcessLookupError):  # on a slow machine it was ended meanwhile
                os.kill(pid, signal.SIGCONT)  # it goes on with what is no longer its own
            gave_up = {"say": "state", "job": job.id, "worker": name}
            await house.until(lambda: gave_up in house.heard[before:] or name not in supervisor._workers)
            house.hurry()
            done = await house.ended(job)
        assert house.value(done) == ticks.expected(0, 100)
        assert await house.told(job) == ["queued", "running", *["queued", "running"] * (done.attempts - 1), "succeeded"]
        assert done.attempts >= 2

    asyncio.run(body())


def test_a_worker_that_hangs_with_the_queue_locked_is_ended(house: House) -> None:
    """Stopped within a change it holds the lock that everybody else needs, the one who takes back its job too."""

    async def body() -> None:
        job = house.queue.enqueue(loop(100, 0.2))
        async with house.supervisor(lease=1.0) as supervisor:
            await house.until(lambda: len(house.steps(job)) > 3)
            worker = supervisor.workers[0]
            holder = subprocess.Popen(
                [sys.executable, "-c", LOCKING, str(house.folders.queue)], stdin=subprocess.PIPE, stdout=subprocess.PIPE
            )
            assert holder.stdout is not None
            assert holder.stdout.readline() == b"locked\n"
            os.kill(worker["pid"], signal.SIGSTOP)
            try:
                await house.until(lambda: not psutil.pid_exists(worker["pid"]))
            finally:
                holder.kill()
                holder.communicate()
            house.hurry()
            done = await house.ended(job)
        assert house.value(done) == ticks.expected(0, 100)

    asyncio.run(body())


def test_a_worker_that_cannot_start_is_not_started_without_pause(house: House, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("server.work.supervisor.BACKOFF_SECONDS", (0.0, 10_000.0))

    async def body() -> None:
        job = house.queue.enqueue(loop())
        async with house.supervisor(devices=("no-such-device", "cpu")) as supervisor:
            assert house.value(await house.ended(job)) == ticks.expected(0, 4)
            await house.until(lambda: supervisor._places[0].failed == 2)
            broken = supervisor.workers[0]
            assert (broken["ready"], broken["pid"]) == (False, None)
            assert "no-such-device" in broken["error"]
            assert supervisor.workers[1]["error"] is None
        # it stops although a pause of hours is under way

    asyncio.run(body())


def test_the_end_of_a_job_is_told_though_its_worker_died_before_it_could(house: House) -> None:
    mark = house.folders.data / "died"
    (house.folders.plugins / "deadly.py").write_text(
        "import os\nfrom pathlib import Path\nfrom server.jobs.events import EventLog\n"
        f"mark, append = Path({str(mark)!r}), EventLog.append\n\n\n"
        "def dies(self, job, events):\n"
        "    if any(event[1].get('state') == 'succeeded' for event in events) and not mark.exists():\n"
        "        mark.touch()\n        os.kill(os.getpid(), 9)\n"
        "    return append(self, job, events)\n\n\nEventLog.append = dies\n"
    )

    async def body() -> None:
        job = house.queue.enqueue(loop())
        async with house.supervisor():
            done = await house.ended(job)
            assert await house.told(job) == ["queued", "running", "succeeded"]
        assert mark.exists()
        assert (house.log.told(job.id) or {})["result"] == done.result
        assert any(message.get("job") == job.id for message in house.heard)

    asyncio.run(body())


def test_the_end_of_a_job_is_told_by_the_next_server(house: House) -> None:
    async def body() -> None:
        job = house.queue.enqueue(loop())
        held = house.queue.claim("of a server that was")
        assert held is not None
        house.log.append(job.id, [("state", {"state": "running", "attempt": 1}, b"")])
        house.queue.succeed(held, {})
        async with house.supervisor(devices=()):
            assert await house.told(job) == ["queued", "running", "succeeded"]

    asyncio.run(body())


def test_a_job_that_kills_its_workers_is_given_up(house: House, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("server.work.supervisor.BACKOFF_SECONDS", (0.0,))
    (house.folders.plugins / "deadly.py").write_text(
        "import os\nfrom graphcore import node\n\n\n@node(category='test', pure=False)\ndef die(x: int = 0) -> int:\n"
        "    '''Ends the process, as a bug in a native library does.'''\n    os.kill(os.getpid(), 9)\n    return x\n"
    )
    text = '{"stepgraph": 1, "nodes": {"d": {"type": "deadly/die", "inputs": {}}}, "outputs": {"x": {"from": "d"}}}'

    async def body() -> None:
        house.queue._most_attempts = 2
        job = house.queue.enqueue(Request("w.json", {"w.json": text}))
        async with house.supervisor():
            done = await house.ended(job)
            fine = house.queue.enqueue(loop())
            assert (await house.ended(fine)).state is State.SUCCEEDED
        assert done.state is State.FAILED
        assert done.error is not None
        assert done.error["kind"] == "worker_died"
        assert await house.told(job) == ["queued", "running", "queued", "running", "failed"]

    asyncio.run(body())


def test_a_cache_that_cannot_be_used_costs_no_job(house: House) -> None:
    (house.folders.cache / "index.sqlite").mkdir(parents=True)  # no file can be opened there

    async def body() -> None:
        job = house.queue.enqueue(loop())
        async with house.supervisor():
            assert house.value(await house.ended(job)) == ticks.expected(0, 4)

    asyncio.run(body())


def test_an_output_that_cannot_be_written_fails_the_job_in_words(house: House) -> None:
    async def body() -> None:
        first = house.queue.enqueue(loop(seed=1))
        async with house.supervisor():
            await house.ended(first)
            aside = house.folders.files.rename(house.folders.data / "aside")
            house.folders.files.write_text("no folder")
            failed = await house.ended(house.queue.enqueue(loop(seed=2)))
            house.folders.files.unlink()
            aside.rename(house.folders.files)
            again = await house.ended(house.queue.enqueue(loop(seed=2)))
        assert failed.state is State.FAILED
        assert failed.error is not None
        assert "Not a directory" in failed.error["message"]
        assert house.value(again) == ticks.expected(2, 4)

    asyncio.run(body())
