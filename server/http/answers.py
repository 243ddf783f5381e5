"""Synchronous runs that need not run: the same was asked before, and every key says that the same would come out.

Nothing is taken on trust. For each request the workflow files are read, changed plugins are taken up, and the keys of
the outputs are computed anew, with the fingerprints of all files and models: they are those of the former run, or the
request becomes a job.
"""

from __future__ import annotations

import json
import time
from collections import OrderedDict
from collections.abc import Callable, Iterable
from threading import Lock
from typing import TYPE_CHECKING, Any, TypeVar

from blake3 import blake3

from graphcore import StepgraphError, Workflow
from server.jobs.job import Job, Request, State
from server.work import inputs
from server.work.sources import Sources

if TYPE_CHECKING:
    from server.http.services import Services

SWIFT_SECONDS = 0.0005
"""What takes less may be done between two turns of the event loop."""

MOST_ANSWERS = 500
"""Requests whose answers are remembered."""


T = TypeVar("T")


class Answers:
    """Responsibilities: know the jobs that succeeded of late, and whether one of them answers a request now."""

    def __init__(self, services: Services) -> None:
        self._services = services
        self._sources = Sources(services.folders.plugins)
        self._known: OrderedDict[bytes, Job] = OrderedDict()
        self._lock = Lock()
        self._seconds: dict[str, float] = {}

    async def swiftly(self, workflow: object, look: Callable[[], T]) -> T:
        """Look for an answer in a thread; or here and now, where that took so little the last time that a turn of
        threads would cost more.
        """
        name = workflow if isinstance(workflow, str) else ""
        begin = time.perf_counter()
        if self._seconds.get(name, 1.0) < SWIFT_SECONDS:
            found = look()
        else:
            found = await self._services.run(_timed, look)
            found, begin = found[0], time.perf_counter() - found[1]
        if len(self._seconds) > MOST_ANSWERS:
            self._seconds.clear()
        self._seconds[name] = time.perf_counter() - begin
        return found

    def remember(self, job: Job) -> None:
        """A job ended."""
        if job.state is not State.SUCCEEDED or job.request.previews:
            return
        name = _name(job.request)
        with self._lock:
            self._known[name] = job
            self._known.move_to_end(name)
            if len(self._known) > MOST_ANSWERS:
                self._known.popitem(last=False)

    def forget(self, ids: Iterable[str]) -> None:
        """Jobs were removed."""
        gone = set(ids)
        with self._lock:
            self._known = OrderedDict((name, job) for name, job in self._known.items() if job.id not in gone)

    def find(self, request: Request, workflow: Workflow) -> Job | None:
        """The job that answers a request, with all its files; None where it has to run."""
        with self._lock:
            job = self._known.get(_name(request))
        if job is None or job.result is None:
            return None
        try:
            same = self._keys(request, workflow) == {name: made["key"] for name, made in job.result.items()}
            if same:
                for made in job.result.values():
                    for file in made["files"]:
                        self._services.files.touch(file["id"])
        except (StepgraphError, OSError):
            return None  # a model that is gone, a file that was removed: the run will say it
        return job if same else None

    def _keys(self, request: Request, workflow: Workflow) -> dict[str, Any] | None:
        services = self._services
        if self._sources.changed(services.plugins.states) and services.plugins.reload():
            services.engine.use(services.plugins.registry)
        from graphcore.execution import foresight  # and numpy with it, which the start of the server need not wait for

        return foresight.keys(services.engine, workflow, inputs.resolve(workflow, request.inputs, services.files))


def _name(request: Request) -> bytes:
    asked = [request.workflow, dict(request.files), dict(request.inputs), list(request.outputs)]
    return blake3(json.dumps(asked, sort_keys=True).encode()).digest()


def _timed(look: Callable[[], T]) -> tuple[T, float]:
    """What it finds, and the seconds that it took."""
    begin = time.perf_counter()
    return look(), time.perf_counter() - begin
