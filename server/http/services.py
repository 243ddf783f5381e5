"""What the handlers share: made when the application starts, taken down when it stops."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from functools import cached_property, partial
from pathlib import Path
from typing import Any, TypeVar

from aiohttp import web

from graphcore import Engine, Workflow
from graphcore.plugins.loader import Plugins
from server.files.store import FileStore
from server.http.hub import Hub
from server.jobs.events import EventLog
from server.jobs.job import Job, State
from server.jobs.queue import Queue
from server.settings import Settings
from server.work.folders import Folders
from server.work.supervisor import Supervisor
from server.workflows.store import WorkflowStore

T = TypeVar("T")


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
        self._threads = ThreadPoolExecutor(8, "stepgraph-api")

    @cached_property
    def engine(self) -> Engine:
        """An engine that explains and never runs: it looks at the workers' cache, and loads no torch."""
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
        """Do what may wait for a disk in a thread, so that other requests go on."""
        return await asyncio.get_running_loop().run_in_executor(
            self._threads, partial(function, *arguments, **keywords)
        )

    async def tell(self, job: Job, **more: Any) -> None:
        """Write down that a job's state changed, and wake those who listen."""
        data = {"state": job.state, **more}
        await self.run(self.log.append, job.id, [("state", data, b"")])
        self.hub.tell(job.id)

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


SERVICES = web.AppKey("services", Services)


async def lifetime(app: web.Application) -> AsyncIterator[None]:
    """The workers live as long as the application."""
    services = app[SERVICES]
    await services.supervisor.start()
    yield
    await services.close()
