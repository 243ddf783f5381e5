"""What the handlers share: made when the application starts, taken down when it stops."""

from __future__ import annotations

import asyncio
import errno
import logging
import sqlite3
from collections.abc import AsyncIterator, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from functools import cached_property, partial
from http import HTTPStatus
from pathlib import Path
from typing import TYPE_CHECKING, Any

from aiohttp import web

from graphcore import Workflow
from graphcore.plugins.loader import Plugins
from server.files.store import FileStore
from server.http.answers import Answers
from server.http.hub import Hub
from server.http.intake import Intake
from server.http.problem import HttpError
from server.jobs import story
from server.jobs.events import EventLog
from server.jobs.job import Job, State
from server.jobs.queue import Queue
from server.settings import Settings
from server.work.folders import Folders
from server.work.supervisor import Supervisor
from server.workflows.library import Library
from server.workflows.store import WorkflowStore

if TYPE_CHECKING:
    from graphcore import Engine

log = logging.getLogger(__name__)

BUSY = {"Retry-After": "5"}

FULL = (errno.ENOSPC, errno.EDQUOT)


class Services:
    """Responsibilities: hold the parts of a running server, and do for handlers what needs several of them."""

    def __init__(self, settings: Settings) -> None:
        self.settings = settings
        self.folders = Folders(settings.data)
        self.folders.make()
        self.queue = Queue(self.folders.queue, most_waiting=settings.limits.waiting_jobs)
        self.log = EventLog(self.folders.events)
        self.files = FileStore(self.folders.files)
        self.workflows = WorkflowStore(self.folders.workflows)
        self.plugins = Plugins([self.folders.plugins])
        self.hub = Hub(settings.limits.listeners)
        self.supervisor = Supervisor(self.folders, self.queue, self.log, self._heard, settings.devices)
        self.intake, self.library, self.answers = Intake(self.queue, self.run), Library(self.workflows), Answers(self)
        self._threads = ThreadPoolExecutor(8, "stepgraph-api")

    @cached_property
    def engine(self) -> Engine:
        """An engine that explains and never runs: it looks at the workers' cache, and loads no torch."""
        from graphcore import Engine  # and numpy with it: not before somebody asks, so that the server starts at once

        return Engine(
            registry=self.plugins.registry, cache=self.folders.cache, device=self.supervisor.device,
            dtype=self.supervisor.dtype, roots=self.roots,
        )  # fmt: skip

    @property
    def roots(self) -> tuple[Path, ...]:
        """What workflows may read."""
        return self.folders.roots

    @contextmanager
    def reading(self, workflow: Workflow) -> Iterator[None]:
        """Within, hooks of nodes read what the workers' nodes may read."""
        with self.engine.surroundings(workflow):
            yield

    async def run(self, function: Any, *arguments: Any, **keywords: Any) -> Any:
        """Do what may wait for a disk in a thread, so that other requests go on.

        Raises:
            HttpError: the disk is full, or the queue is locked or cannot be used; what was asked for did not happen.
        """
        work = partial(function, *arguments, **keywords)
        try:
            return await asyncio.get_running_loop().run_in_executor(self._threads, work)
        except (OSError, sqlite3.OperationalError) as error:
            if (answer := _out_of_order(error)) is None:
                raise
            log.warning("%s", error)
            raise answer from error

    async def tell(self, job: Job) -> None:
        """Write down how a job stands, and wake those who listen.

        What the queue holds stays true where the log cannot be written: it is told later.
        """
        try:
            await self.settle(job.id)
        except (HttpError, sqlite3.Error) as error:
            log.warning("the state of job %s is not in the log yet: %s", job.id, error)
        self.hub.tell(job.id)

    async def settle(self, id_: str) -> None:
        """Complete the story of a job in the log, if its end is missing there."""
        await self.run(self.log.settle, id_, lambda: story.of(self.queue.get(id_)))

    def _heard(self, message: dict[str, Any]) -> None:
        """A worker said something."""
        if message.get("job"):
            self.hub.tell(message["job"])

    async def cancel(self, id_: str) -> Job:
        """End a job; one that runs ends within a step."""
        before: Job = await self.run(self.queue.get, id_)
        job: Job = await self.run(self.queue.cancel, id_)
        if job.state is State.RUNNING:
            await self.supervisor.cancel(job.id, job.worker)
        elif before.state is State.QUEUED and job.state is State.CANCELLED:
            await self.tell(job)
        return job

    async def close(self) -> None:
        await self.supervisor.stop()
        self._threads.shutdown()
        self.queue.close()
        self.log.close()


def _out_of_order(error: OSError | sqlite3.OperationalError) -> HttpError | None:
    """What an error of the disk is for those who ask; None where it is a mistake of ours."""
    code = getattr(error, "sqlite_errorcode", 0) & 0xFF
    if code == sqlite3.SQLITE_FULL or (isinstance(error, OSError) and error.errno in FULL):
        return HttpError(HTTPStatus.INSUFFICIENT_STORAGE, "the disk of the server is full; nothing was changed")
    if code in (sqlite3.SQLITE_BUSY, sqlite3.SQLITE_LOCKED):
        message = "another process holds the queue locked; nothing was changed"
        return HttpError(HTTPStatus.SERVICE_UNAVAILABLE, message, headers=BUSY)
    if code in (sqlite3.SQLITE_IOERR, sqlite3.SQLITE_READONLY, sqlite3.SQLITE_CANTOPEN):
        message = f"the disk of the server cannot be used ({error}); nothing was changed"
        return HttpError(HTTPStatus.SERVICE_UNAVAILABLE, message, headers=BUSY)
    return None


SERVICES = web.AppKey("services", Services)


async def lifetime(app: web.Application) -> AsyncIterator[None]:
    """The workers live as long as the application."""
    services = app[SERVICES]
    await services.supervisor.start()
    yield
    await services.close()
