"""Real workers on real jobs: pictures come out, and whatever is killed costs one step at most."""

from __future__ import annotations

import asyncio
import os
import random
import signal
import time
from collections import Counter
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

import pytest
from PIL import Image

from graphcore import Workflow
from graphcore.files import provenance, shipped
from server.files.store import FileStore
from server.jobs.events import EventLog
from server.jobs.job import Job, Request, State
from server.jobs.queue import Queue
from server.work.folders import Folders
from server.work.supervisor import Supervisor

STEPS = 6


def request(**inputs: Any) -> Request:
    workflow = Workflow.load(shipped.find("txt2img") or "")
    record = provenance.record(workflow, {})
    return Request(record["workflow"], record["files"], {"steps": STEPS, **inputs}, outputs=("image",))


def pixels(path: Path) -> Image.Image:
    with Image.open(path) as picture:
        picture.load()
        return picture


class House:
    """Queue, log and files of one data folder, as the server holds them."""

    def __init__(self, data: Path) -> None:
        self.folders = Folders(data)
        self.folders.make()
        self.queue, self.log = Queue(self.folders.queue), EventLog(self.folders.events)
        self.files = FileStore(self.folders.files)
        self.heard: list[dict[str, Any]] = []

    @asynccontextmanager
    async def supervisor(self, lease: float = 3.0) -> AsyncIterator[Supervisor]:
        made = Supervisor(self.folders, self.queue, self.log, self.heard.append, ["cpu"], lease)
        await made.start()
        try:
            yield made
        finally:
            await made.stop()

    async def until(self, what: Callable[[], bool], seconds: float = 120) -> None:
        end = time.monotonic() + seconds
        while not what():
            assert time.monotonic() < end, f"waited {seconds} s; heard {self.heard[-5:]}"
            await asyncio.sleep(0.02)

    async def ended(self, job: Job) -> Job:
        await self.until(lambda: self.queue.get(job.id).state.ended)
        return self.queue.get(job.id)

    def steps(self, job: Job) -> Counter[str]:
        """How often each UNet call was begun."""
        events = self.log.read(job.id, limit=100_000)
        return Counter(
            event.data["node"]
            for event in events
            if event.name == "finished" and event.data.get("type") == "stepgraph/unet"
        )


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
        states = [event.data["state"] for event in house.log.read(job.id) if event.name == "state"]
        assert states == ["running", "succeeded"]
        assert sum(house.steps(done).values()) == 2 * STEPS

    asyncio.run(body())


def test_what_is_wrong_is_said_and_the_next_job_runs(house: House) -> None:
    async def body() -> None:
        wrong = house.queue.enqueue(request(steps=0))
        broken = house.queue.enqueue(Request("w.json", {"w.json": "{"}))
        outside = house.queue.enqueue(request(model="/etc"))
        fine = house.queue.enqueue(request())
        async with house.supervisor():
            assert (await house.ended(fine)).state is State.SUCCEEDED
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
        job = house.queue.enqueue(request(steps=500))
        async with house.supervisor() as supervisor:
            await house.until(lambda: len(house.steps(job)) > 4)
            now = house.queue.cancel(job.id)
            begun = len(house.steps(job))
            await supervisor.cancel(job.id, now.worker)
            assert (await house.ended(job)).state is State.CANCELLED
            assert len(house.steps(job)) < 900, begun
            after = house.queue.enqueue(request())
            assert (await house.ended(after)).state is State.SUCCEEDED

    asyncio.run(body())


def test_stopping_gives_the_job_back_and_the_next_server_goes_on(house: House) -> None:
    async def body() -> None:
        job = house.queue.enqueue(request(steps=60))
        async with house.supervisor():
            await house.until(lambda: len(house.steps(job)) > 10)
        assert house.queue.get(job.id).state is State.QUEUED
        before = house.steps(job)
        async with house.supervisor():
            done = await house.ended(job)
        assert done.state is State.SUCCEEDED
        assert done.attempts == 1
        assert len(before) < 120
        assert sum(house.steps(job).values()) <= 120 + 2  # the calls of the step in which it stopped

    asyncio.run(body())


def test_a_killed_worker_costs_one_step(house: House) -> None:
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
                await other.until(lambda kill=kill: len(other.steps(job)) > 10 + 20 * kill + dice.randrange(5))
                os.kill(supervisor.workers[0]["pid"], signal.SIGKILL)
                await other.until(lambda: not supervisor.workers or supervisor.workers[0]["ready"] is False)
            done = await other.ended(job)
        assert done.state is State.SUCCEEDED
        assert done.attempts == kills + 1
        assert sum(other.steps(job).values()) <= 80 + 2 * kills
        assert expected is not None
        assert done.result is not None
        assert done.result["image"]["key"] == expected["image"]["key"]
        first, second = (
            pixels(place.files.get(result["image"]["files"][0]["id"]).path)
            for place, result in ((house, expected), (other, done.result))
        )
        assert first.tobytes() == second.tobytes()

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
            fine = house.queue.enqueue(request())
            assert (await house.ended(fine)).state is State.SUCCEEDED
        assert done.state is State.FAILED
        assert done.error is not None
        assert done.error["kind"] == "worker_died"

    asyncio.run(body())
