"""Jobs on their way into the queue: those that come at one moment are written together."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable
from typing import Any

from server.jobs.job import Job, Request
from server.jobs.queue import Queue


class Intake:
    """Responsibilities: answer when a job is on the disk, and have the disk turn once for all who wait for it.

    Args:
        run: Does work in a thread.
    """

    def __init__(self, queue: Queue, run: Callable[..., Awaitable[Any]]) -> None:
        self._queue, self._run = queue, run
        self._waiting: list[tuple[Request, str | None, asyncio.Future[Job]]] = []
        self._task: asyncio.Task[None] | None = None

    async def enqueue(self, request: Request, key: str | None) -> Job:
        """As `Queue.enqueue`."""
        future: asyncio.Future[Job] = asyncio.get_running_loop().create_future()
        self._waiting.append((request, key, future))
        if self._task is None:
            self._task = asyncio.create_task(self._write())
        return await future

    async def _write(self) -> None:
        """Write what waits; what comes meanwhile waits for the next time."""
        try:
            while self._waiting:
                taken, self._waiting = self._waiting, []
                try:
                    found = await self._run(self._queue.enqueue_all, [(request, key) for request, key, _ in taken])
                except Exception as error:
                    found = [error] * len(taken)
                for (_, _, future), job in zip(taken, found, strict=True):
                    _settle(future, job)
        finally:
            self._task = None


def _settle(future: asyncio.Future[Job], job: Job | Exception) -> None:
    if future.done():  # who asked has left; the job is there
        return
    if isinstance(job, Exception):
        future.set_exception(job)
    else:
        future.set_result(job)
