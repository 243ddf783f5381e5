"""Synchronous runs that need not run: the same was asked before, and every key says that the same would come out.

Nothing is taken on trust. For each request the workflow files are looked at, changed plugins are taken up, and every
file and model that counts is fingerprinted: the keys of the outputs are those of the former run, or the request becomes
a job.
"""

from __future__ import annotations

import json
import time
from collections import OrderedDict
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass
from threading import Lock
from typing import TYPE_CHECKING, Any, TypeVar

from blake3 import blake3

from graphcore import StepgraphError, Workflow
from server.http.pace import Pace
from server.jobs.job import Job, Request, State
from server.work import inputs
from server.work.sources import Sources

if TYPE_CHECKING:
    from graphcore.execution.foresight import Foresight
    from server.http.services import Services

MOST_ANSWERS = 500
"""Requests whose answers are remembered."""

T = TypeVar("T")


@dataclass
class Known:
    """A job that succeeded, and what was foreseen of its like when it last answered a request."""

    job: Job
    result: Mapping[str, Any]
    foreseen: Foresight | None = None


class Answers:
    """Responsibilities: know the jobs that succeeded of late, and whether one of them answers a request now."""

    def __init__(self, services: Services) -> None:
        self._services = services
        self._sources = Sources(services.folders.plugins)
        self._known: OrderedDict[bytes, Known] = OrderedDict()
        self._lock = Lock()
        self._pace = Pace()

    async def swiftly(self, workflow: str, look: Callable[[], T]) -> T:
        """Look for an answer in a thread; or here and now, where a turn of threads would cost more than the look."""
        if self._pace.swift(workflow):
            begin = time.perf_counter()
            found = look()
            self._pace.here(workflow, time.perf_counter() - begin)
        else:
            found, spent = await self._services.run(_timed, look)
            self._pace.there(workflow, spent)
        return found

    def remember(self, job: Job) -> None:
        """A job ended."""
        if job.state is not State.SUCCEEDED or job.result is None or job.request.previews:
            return
        name = _name(job.request)
        with self._lock:
            self._known[name] = Known(job, job.result)
            self._known.move_to_end(name)
            if len(self._known) > MOST_ANSWERS:
                self._known.popitem(last=False)

    def forget(self, ids: Iterable[str]) -> None:
        """Jobs were removed."""
        gone = set(ids)
        with self._lock:
            self._known = OrderedDict((name, one) for name, one in self._known.items() if one.job.id not in gone)

    def find(self, request: Request, workflow: Workflow) -> Job | None:
        """The job that answers a request, with all its files; None where it has to run."""
        with self._lock:
            known = self._known.get(_name(request))
        if known is None or known.job.request.files != request.files:
            return None
        try:
            if not self._same(known, workflow, inputs.resolve(workflow, request.inputs, self._services.files)):
                return None
            for made in known.result.values():
                for file in made["files"]:
                    self._services.files.touch(file["id"])
        except (StepgraphError, OSError):
            return None  # a model that is gone, a file that was removed: the run will say it
        return known.job

    def _same(self, known: Known, workflow: Workflow, values: dict[str, Any]) -> bool:
        """Whether a run would make now what the known one made."""
        services = self._services
        if self._sources.changed(services.plugins.states) and services.plugins.reload():
            services.engine.use(services.plugins.registry)
        if known.foreseen is not None and known.foreseen.holds(services.engine, workflow, values):
            return True
        from graphcore.execution import foresight  # and numpy with it, which the start of the server need not wait for

        found = foresight.foresee(services.engine, workflow, values)
        same = found is not None and found.keys == {name: made["key"] for name, made in known.result.items()}
        known.foreseen = found if same else None
        return same


def _name(request: Request) -> bytes:
    """Names what was asked, in words of its own; the texts of the workflow's files are compared one by one."""
    asked = [request.workflow, dict(request.inputs), list(request.outputs)]
    return blake3(json.dumps(asked, sort_keys=True).encode()).digest()


def _timed(look: Callable[[], T]) -> tuple[T, float]:
    """What it finds, and the processor time that it took, seconds."""
    begin = time.thread_time()
    return look(), time.thread_time() - begin
