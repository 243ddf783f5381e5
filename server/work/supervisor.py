"""The supervisor: keeps one worker process per device alive, and takes back the jobs of those that die."""

from __future__ import annotations

import asyncio
import contextlib
import itertools
import logging
import os
import secrets
import sqlite3
import sys
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from typing import Any

from server import logs
from server.jobs import story
from server.jobs.events import EventLog
from server.jobs.job import State, UnknownJob
from server.jobs.queue import LEASE_SECONDS, Queue
from server.work import messages
from server.work.folders import Folders

log = logging.getLogger(__name__)

STOP_SECONDS = 30.0
"""How long a worker may finish its step when it is asked to stop; then it is ended."""

CANCEL_SECONDS = 60.0
"""How long a step may go on after its job was cancelled; then its worker is ended."""

ORPHAN_SECONDS = 60.0
"""How long a worker may finish its step after the end of its server; then it ends itself."""

BACKOFF_SECONDS = (0.0, 1.0, 2.0, 5.0, 10.0, 30.0, 60.0)
"""Pause before a worker is started again, by how often it died within the last minute, or could not start at all."""

START_SECONDS = 300.0
"""How long a worker may take to be ready (it imports torch); then it counts as one that hangs."""

SILENT_LEASES = 2.0
"""How many leases long a worker may leave questions unanswered; then it hangs, and is ended."""

TICKS = 3.0
"""Looks per lease at workers and at leases."""

MOST_UNSENT = 1 << 16
"""Bytes that may wait for a worker that does not read; what comes then is dropped, as the queue is the truth."""

NEWEST = 100
"""Jobs that are looked up in the log after a worker's end, as nothing may have been written of them yet."""

MOST_LINE = 32 << 20
"""Bytes of a message from a worker; only pictures make long ones."""

LOOK_SECONDS = 20.0
"""How long a worker may take to look at a value."""

Listener = Callable[[dict[str, Any]], None]


@dataclass
class _Running:
    """One worker process.

    Attributes:
        unanswered: Questions since it was last heard of.
        error: Why it says that it cannot go on.
    """

    name: str
    device: str
    process: asyncio.subprocess.Process
    ready: bool = False
    unanswered: int = 0
    started: float = field(default_factory=time.monotonic)
    error: str = ""


@dataclass
class _Place:
    """Where a worker runs, or is to run again.

    Attributes:
        deaths: When its workers died, of late.
        failed: How many in a row were never ready.
        error: Why the last one ended; empty once its successor is ready.
    """

    device: str
    running: _Running | None = None
    deaths: list[float] = field(default_factory=list)
    failed: int = 0
    error: str = ""

    def died(self, reason: str) -> float:
        """Remember that the worker died; returns the pause before the next one, in seconds."""
        now = time.monotonic()
        self.deaths = [*(death for death in self.deaths if now - death < 60), now]
        self.failed = 0 if self.running is not None and self.running.ready else self.failed + 1
        self.running, self.error = None, reason
        return BACKOFF_SECONDS[min(max(len(self.deaths), self.failed), len(BACKOFF_SECONDS)) - 1]

    def as_dict(self) -> dict[str, Any]:
        worker = self.running
        ready = worker is not None and worker.ready
        return {
            "name": worker.name if worker else "", "device": self.device, "pid": worker.process.pid if worker else None,
            "ready": ready, "error": None if ready else self.error or None,
        }  # fmt: skip


class Supervisor:
    """Responsibilities: start workers, wake them, pass on cancellations, replace those that died.

    Args:
        devices: One worker for each, such as `cuda:0` or `cpu`.
        tell: Called with every message of a worker, and with changes made here.

    Attributes:
        device, dtype: What the last worker that became ready runs with.
    """

    def __init__(
        self,
        folders: Folders,
        queue: Queue,
        events: EventLog,
        tell: Listener,
        devices: Sequence[str] = ("auto",),
        lease: float = LEASE_SECONDS,
    ) -> None:
        self._folders, self._queue, self._events, self._tell = folders, queue, events, tell
        self._places, self._lease = [_Place(device) for device in devices], lease
        self._tasks: list[asyncio.Task[None]] = []
        self._keepers: list[asyncio.Task[None]] = []
        self._stopping = asyncio.Event()
        self.device, self.dtype = "cpu", "float32"
        self._cancelling: dict[str, asyncio.Task[None]] = {}
        self._asked: dict[int, asyncio.Future[dict[str, Any]]] = {}
        self._asks = itertools.count(1)

    async def start(self) -> None:
        """Take back what a former server left, and start the workers."""
        await self._take_back([])
        self._keepers = [asyncio.create_task(self._keep(place)) for place in self._places]
        duties = (self._watch(), self._reclaim(), self._catch_up())
        self._tasks = [asyncio.create_task(duty) for duty in duties]

    async def stop(self) -> None:
        """Have the workers give their jobs back, and end."""
        self._stopping.set()
        for task in (*self._tasks, *self._cancelling.values()):
            task.cancel()
        workers = list(self._workers.values())
        for worker in workers:
            self._send(worker, do="stop")
        await asyncio.gather(*(self._end(worker, STOP_SECONDS) for worker in workers))
        await asyncio.gather(*self._keepers, *self._tasks, return_exceptions=True)

    @property
    def _workers(self) -> dict[str, _Running]:
        return {place.running.name: place.running for place in self._places if place.running is not None}

    @property
    def workers(self) -> list[dict[str, Any]]:
        """Each place of a worker: name, device, process id, whether it is ready, and if not, the last error there."""
        return [place.as_dict() for place in self._places]

    async def wake(self) -> None:
        """A job came in."""
        for worker in self._workers.values():
            self._send(worker, do="wake")

    async def cancel(self, job: str, worker: str) -> None:
        """A running job was cancelled: say so to its worker, and end the worker if it does not hear."""
        running = self._workers.get(worker)
        if running is None:
            return
        self._send(running, do="cancel", job=job)
        if job not in self._cancelling:
            self._cancelling[job] = asyncio.create_task(self._insist(job, running))

    async def look(self, key: str, *, picture: bool, worker: str = "") -> dict[str, Any] | None:
        """What a worker says of a value in the cache; None if no worker answers.

        Args:
            worker: The one to ask first: what it made last may not be on the disk yet, where all find it.
        """
        found = None
        for running in sorted(self._workers.values(), key=lambda one: one.name != worker):
            if running.ready:
                found = await self._ask(running, key, picture=picture) or found
                if found is not None and not found.get("missing"):
                    break
        return found

    async def _ask(self, running: _Running, key: str, *, picture: bool) -> dict[str, Any] | None:
        number = next(self._asks)
        self._asked[number] = answer = asyncio.get_running_loop().create_future()
        try:
            self._send(running, do="look", key=key, ask=number, picture=picture)
            return await asyncio.wait_for(answer, LOOK_SECONDS)
        except TimeoutError:
            return None
        finally:
            self._asked.pop(number, None)

    async def _insist(self, job: str, running: _Running) -> None:
        try:
            await asyncio.sleep(CANCEL_SECONDS)
            now = await asyncio.to_thread(self._queue.get, job)
            if now.state is State.RUNNING and now.worker == running.name:
                log.warning("worker %s does not end job %s; it is ended", running.name, job)
                _kill(running)
        finally:
            self._cancelling.pop(job, None)

    # -- one worker ----------------------------------------------------------------------------------------------

    async def _keep(self, place: _Place) -> None:
        """Keep a worker at a place, however often it dies."""
        while not self._stopping.is_set():
            reason = await self._live(place)
            if self._stopping.is_set():
                return
            pause = place.died(reason)
            log.error("a worker on %s ended: %s; another is started in %g s", place.device, reason, pause)
            with contextlib.suppress(TimeoutError):
                await asyncio.wait_for(self._stopping.wait(), pause)

    async def _live(self, place: _Place) -> str:
        """The life of one worker; returns why it ended."""
        try:
            place.running = running = await self._spawn(place.device)
        except OSError as error:
            return f"it cannot be started: {error}"
        if self._stopping.is_set():  # who stopped the others did not see this one
            self._send(running, do="stop")
        await self._follow(running, place)
        code = await running.process.wait()
        with contextlib.suppress(sqlite3.Error):  # locked or full: `_reclaim` takes them back
            await self._take_back([running.name])
        await self._catch_up()
        return running.error or (f"killed by signal {-code}" if code < 0 else f"exit code {code}")

    async def _spawn(self, device: str) -> _Running:
        name = f"{device}-{secrets.token_hex(4)}"
        process = await asyncio.create_subprocess_exec(
            sys.executable, "-m", "server.work.process", "--parent", str(os.getpid()), "--orphan", str(ORPHAN_SECONDS),
            "--data", str(self._folders.data), "--name", name, "--device", device, "--lease", str(self._lease),
            *logs.arguments(), stdin=asyncio.subprocess.PIPE, stdout=asyncio.subprocess.PIPE, limit=MOST_LINE,
        )  # fmt: skip
        return _Running(name, device, process)

    async def _follow(self, running: _Running, place: _Place) -> None:
        """Hear what a worker says, until it says no more."""
        assert running.process.stdout is not None
        while line := await running.process.stdout.readline():
            running.unanswered = 0
            message = messages.decode(line)
            if message.get("say") == "seen" and (asked := self._asked.pop(message.get("ask", 0), None)):
                if not asked.done():
                    asked.set_result(message)
                continue
            if message.get("say") == "ready":
                running.ready, place.error = True, ""
                self.device, self.dtype = message["device"], message["dtype"]
            if message.get("say") == "broken":
                running.error = str(message.get("error"))
            if message:
                self._tell({**message, "worker": running.name})

    def _send(self, running: _Running, **message: Any) -> None:
        """Say something without waiting until it is read: one worker that hangs must not hold up a request."""
        pipe = running.process.stdin
        assert pipe is not None
        with contextlib.suppress(OSError):  # it died; `_keep` sees to that
            if not pipe.is_closing() and pipe.transport.get_write_buffer_size() < MOST_UNSENT:
                pipe.write(messages.encode(**message))

    async def _end(self, running: _Running, seconds: float) -> None:
        try:
            await asyncio.wait_for(running.process.wait(), seconds)
        except TimeoutError:
            log.warning("worker %s does not stop; it is ended", running.name)
            _kill(running)

    # -- jobs of the dead ------------------------------------------------------------------------------------------

    async def _watch(self) -> None:
        """End workers that hang. Asks nothing of the queue: one that hangs within a change holds its lock."""
        while True:
            await asyncio.sleep(self._lease / TICKS)
            for running in self._workers.values():
                if running.process.returncode is not None:
                    continue
                late = running.unanswered >= SILENT_LEASES * TICKS
                if late or (not running.ready and time.monotonic() - running.started > START_SECONDS):
                    log.warning("worker %s does not answer; it is ended", running.name)
                    running.error = running.error or "it did not answer"
                    _kill(running)
                elif running.ready:
                    running.unanswered += 1
                    self._send(running, do="ping")

    async def _reclaim(self) -> None:
        """Take back jobs whose leases ran out: of workers that hang, or of another server's."""
        while True:
            await asyncio.sleep(self._lease / TICKS)
            with contextlib.suppress(sqlite3.Error):  # locked or full: the next time
                await self._take_back([])

    async def _take_back(self, dead: Sequence[str]) -> None:
        taken = await asyncio.to_thread(self._queue.expire, dead)
        for job in taken:
            await self._settle(job.id)
        if any(job.state is State.QUEUED for job in taken):
            await self.wake()

    async def _catch_up(self) -> None:
        """Tell what nobody told of jobs, as who changed them ended before he could."""
        try:
            for id_ in await asyncio.to_thread(self._untold):
                await self._settle(id_)
        except sqlite3.Error as error:
            log.warning("the log of events cannot be completed now: %s", error)

    def _untold(self) -> list[str]:
        """Jobs that the log shows otherwise than the queue: it knows no end of them, or the newest not at all."""
        shown = dict(self._events.unfinished())
        for job in self._queue.jobs(limit=NEWEST):
            shown.setdefault(job.id, (self._events.told(job.id) or {}).get("state", ""))
        found = []
        for id_, state in shown.items():
            with contextlib.suppress(UnknownJob):
                if self._queue.get(id_).state != state:
                    found.append(id_)
        return found

    async def _settle(self, id_: str) -> None:
        """Tell how a job stands; the queue has it, so that a log that cannot be written now loses nothing."""
        try:
            await asyncio.to_thread(self._events.settle, id_, lambda: story.of(self._queue.get(id_)))
        except sqlite3.Error as error:
            log.warning("the state of job %s is not in the log yet: %s", id_, error)
        self._tell({"say": "state", "job": id_})


def _kill(running: _Running) -> None:
    with contextlib.suppress(ProcessLookupError):
        running.process.kill()
