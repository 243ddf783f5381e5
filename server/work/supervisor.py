"""The supervisor: keeps one worker process per device alive, and takes back the jobs of those that die."""

from __future__ import annotations

import asyncio
import contextlib
import itertools
import logging
import secrets
import sys
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from typing import Any

from server.jobs.events import EventLog
from server.jobs.job import State
from server.jobs.queue import LEASE_SECONDS, Queue
from server.work import messages
from server.work.folders import Folders

log = logging.getLogger(__name__)

STOP_SECONDS = 30.0
"""How long a worker may finish its step when it is asked to stop; then it is ended."""

CANCEL_SECONDS = 60.0
"""How long a step may go on after its job was cancelled; then its worker is ended."""

BACKOFF_SECONDS = (0.0, 1.0, 2.0, 5.0, 10.0)
"""Pause before a worker is started again, by how often it died within the last minute."""

MOST_LINE = 32 << 20
"""Bytes of a message from a worker; only pictures make long ones."""

LOOK_SECONDS = 20.0
"""How long a worker may take to look at a value."""

Listener = Callable[[dict[str, Any]], None]


@dataclass
class _Running:
    """One worker process."""

    name: str
    device: str
    process: asyncio.subprocess.Process
    ready: bool = False
    heard: float = field(default_factory=time.monotonic)


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
        self._devices, self._lease = list(devices), lease
        self._workers: dict[str, _Running] = {}
        self._tasks: list[asyncio.Task[None]] = []
        self._stopping = False
        self.device, self.dtype = "cpu", "float32"
        self._cancelling: dict[str, asyncio.Task[None]] = {}
        self._asked: dict[int, asyncio.Future[dict[str, Any]]] = {}
        self._asks = itertools.count(1)

    async def start(self) -> None:
        """Take back what a former server left, and start the workers."""
        await self._take_back([])
        self._tasks = [asyncio.create_task(self._keep(device)) for device in self._devices]
        self._tasks.append(asyncio.create_task(self._watch()))

    async def stop(self) -> None:
        """Have the workers give their jobs back, and end."""
        self._stopping = True
        for task in (*self._tasks[len(self._devices) :], *self._cancelling.values()):
            task.cancel()
        workers = list(self._workers.values())
        await asyncio.gather(*(self._send(worker, do="stop") for worker in workers))
        await asyncio.gather(*(self._end(worker, STOP_SECONDS) for worker in workers))
        await asyncio.gather(*self._tasks, return_exceptions=True)

    @property
    def workers(self) -> list[dict[str, Any]]:
        """What runs now: name, device, process id, whether it is ready."""
        found = self._workers.values()
        return [{"name": w.name, "device": w.device, "pid": w.process.pid, "ready": w.ready} for w in found]

    async def wake(self) -> None:
        """A job came in."""
        await asyncio.gather(*(self._send(worker, do="wake") for worker in list(self._workers.values())))

    async def cancel(self, job: str, worker: str) -> None:
        """A running job was cancelled: say so to its worker, and end the worker if it does not hear."""
        running = self._workers.get(worker)
        if running is None:
            return
        await self._send(running, do="cancel", job=job)
        if job not in self._cancelling:
            self._cancelling[job] = asyncio.create_task(self._insist(job, running))

    async def look(self, key: str, *, picture: bool) -> dict[str, Any] | None:
        """What a worker says of a value in the cache; None if no worker answers."""
        ready = next((worker for worker in self._workers.values() if worker.ready), None)
        if ready is None:
            return None
        number = next(self._asks)
        self._asked[number] = answer = asyncio.get_running_loop().create_future()
        try:
            await self._send(ready, do="look", key=key, ask=number, picture=picture)
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
                running.process.kill()
        finally:
            self._cancelling.pop(job, None)

    # -- one worker ----------------------------------------------------------------------------------------------

    async def _keep(self, device: str) -> None:
        """Keep a worker on a device, however often it dies."""
        deaths: list[float] = []
        while not self._stopping:
            running = await self._spawn(device)
            try:
                await self._follow(running)
            finally:
                self._workers.pop(running.name, None)
            code = await running.process.wait()
            await self._take_back([running.name])
            if self._stopping:
                return
            now = time.monotonic()
            deaths = [*(death for death in deaths if now - death < 60), now]
            log.error("worker %s ended with code %s; another is started", running.name, code)
            self._tell({"say": "worker", "name": running.name, "ended": code})
            await asyncio.sleep(BACKOFF_SECONDS[min(len(deaths), len(BACKOFF_SECONDS)) - 1])

    async def _spawn(self, device: str) -> _Running:
        name = f"{device}-{secrets.token_hex(4)}"
        process = await asyncio.create_subprocess_exec(
            sys.executable, "-m", "server.work.worker", "--data", str(self._folders.data), "--name", name,
            "--device", device, "--lease", str(self._lease),
            stdin=asyncio.subprocess.PIPE, stdout=asyncio.subprocess.PIPE, limit=MOST_LINE,
        )  # fmt: skip
        self._workers[name] = running = _Running(name, device, process)
        return running

    async def _follow(self, running: _Running) -> None:
        """Hear what a worker says, until it says no more."""
        assert running.process.stdout is not None
        while line := await running.process.stdout.readline():
            running.heard = time.monotonic()
            message = messages.decode(line)
            if message.get("say") == "seen" and (asked := self._asked.pop(message.get("ask", 0), None)):
                if not asked.done():
                    asked.set_result(message)
                continue
            if message.get("say") == "ready":
                running.ready = True
                self.device, self.dtype = message["device"], message["dtype"]
            if message:
                self._tell({**message, "worker": running.name})

    async def _send(self, running: _Running, **message: Any) -> None:
        assert running.process.stdin is not None
        with contextlib.suppress(OSError):  # it died; `_keep` sees to that
            running.process.stdin.write(messages.encode(**message))
            await running.process.stdin.drain()

    async def _end(self, running: _Running, seconds: float) -> None:
        try:
            await asyncio.wait_for(running.process.wait(), seconds)
        except TimeoutError:
            log.warning("worker %s does not stop; it is ended", running.name)
            with contextlib.suppress(ProcessLookupError):
                running.process.kill()

    # -- jobs of the dead ------------------------------------------------------------------------------------------

    async def _watch(self) -> None:
        """Look for leases that ran out: workers of another server, or ones that hang."""
        while True:
            await asyncio.sleep(self._lease / 3)
            await self._take_back([])

    async def _take_back(self, dead: Sequence[str]) -> None:
        taken = await asyncio.to_thread(self._queue.expire, dead)
        for job in taken:
            data = {"state": job.state, "message": "its worker ended", "error": job.error}
            await asyncio.to_thread(self._events.append, job.id, [("state", data, b"")])
            self._tell({"say": "state", "job": job.id, "state": job.state})
        if any(job.state is State.QUEUED for job in taken):
            await self.wake()
