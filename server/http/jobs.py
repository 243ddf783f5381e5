"""Jobs over HTTP: ask, look, cancel, try again."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from http import HTTPStatus
from typing import Annotated, Any

from aiohttp import web
from pydantic import BaseModel, ConfigDict, Field, JsonValue, StringConstraints

from graphcore import StepgraphError, Workflow
from server import logs
from server.http.operation import Operations, Reply
from server.http.problem import HttpError
from server.http.services import SERVICES, Services
from server.jobs.job import Job, Prospect, Request, State
from server.work import inputs
from server.workflows.store import NAME

operations = Operations("jobs")

ID = "{id:[0-9a-f]{32}}"
MOST_KEY = 200
"""Characters of an idempotency key."""

IDEMPOTENCY = {
    "Idempotency-Key": {
        "type": "string", "minLength": 1, "maxLength": MOST_KEY,
        "description": "The same request, sent again with the same key, gives the same job.",
    }
}  # fmt: skip

Priority = Annotated[int, Field(ge=-100, le=100)]


FileName = Annotated[str, StringConstraints(pattern=f"^{NAME}\\.json$")]


class Asked(BaseModel):
    """A workflow that somebody speaks of: stored, shipped, or as it is in his editor."""

    model_config = ConfigDict(extra="forbid")

    workflow: str | dict[str, JsonValue] = Field(
        description="Name of a stored or shipped workflow, or of one of `files`; or a workflow."
    )
    files: dict[FileName, str] = Field(
        default={},
        description="Texts that stand in for stored files of these names (`txt2img.json`), such as unsaved edits.",
    )


class JobRequest(Asked):
    """What is to be run: a workflow by name, or a whole one, with the values of its inputs."""

    inputs: dict[str, JsonValue] = Field(default={}, description="Values of its inputs; `file:ID` is an upload.")
    outputs: list[str] = Field(default=[], description="Outputs to make; empty for all.")
    priority: Priority = Field(default=0, description="Higher ones run first.")
    previews: bool = Field(default=False, description="Make small pictures of values on the way.")


class JobView(BaseModel):
    """A job as it stands."""

    id: str
    state: State
    workflow: str
    inputs: dict[str, JsonValue]
    priority: int
    attempts: int
    cancelling: bool
    created: float = Field(description="Seconds since 1970.")
    started: float | None
    finished: float | None
    position: int | None = Field(description="How many jobs come before it; null where it does not wait.")
    progress: float | None = Field(description="Share of the known work that is done, 0 to 1; null where unknown.")
    seconds_left: float | None = Field(
        description="Until its end, with the wait before it, by what such work took before; null where unknown."
    )
    result: dict[str, Any] | None = Field(description="Outputs by name: key, type, and files by id.")
    error: dict[str, Any] | None
    request_id: str = Field(description="`X-Request-Id` of the request that asked for it, as in the server's log.")
    links: dict[str, str]


class JobList(BaseModel):
    jobs: list[JobView]
    next: str | None = Field(description="Give it as `before` for the next page; null on the last one.")


class JobQuery(BaseModel):
    model_config = ConfigDict(extra="forbid")

    state: State | None = None
    before: str | None = Field(default=None, pattern="^[0-9a-f]{32}$")
    limit: int = Field(default=50, ge=1, le=500)


def view(job: Job, prospect: Prospect | None = None) -> JobView:
    """A job for clients; `prospect` is that of one that waits."""
    running = job.state is State.RUNNING
    left = job.seconds_left if running else None
    asked = job.request
    here = f"/api/v1/jobs/{job.id}"
    return JobView(
        id=job.id, state=job.state, workflow=asked.workflow.removesuffix(".json"), inputs=dict(asked.inputs),
        priority=asked.priority, attempts=job.attempts, cancelling=job.cancelling, created=job.created,
        started=job.started, finished=job.finished,
        position=None if prospect is None else prospect.position, progress=job.progress if running else None,
        seconds_left=left if prospect is None else prospect.seconds_left,
        result=None if job.result is None else dict(job.result), error=None if job.error is None else dict(job.error),
        request_id=asked.request_id,
        links={"self": here, "events": f"{here}/events"},
    )  # fmt: skip


async def enqueue(services: Services, asked: JobRequest, key: str | None) -> Job:
    """Put a job into the queue, after the checker found nothing wrong with its form.

    Raises:
        CheckFailed, StepgraphError: what is wrong with it.
    """
    request, _ = await services.run(prepare, services, asked)
    job = await submit(services, request, key)
    if fresh(job):
        await services.tell(job)
    return job


async def submit(services: Services, request: Request, key: str | None) -> Job:
    """Put a request into the queue and wake the workers."""
    job = await services.intake.enqueue(replace(request, request_id=logs.REQUEST.get()), key)
    if fresh(job):
        await services.supervisor.wake()
    return job


def fresh(job: Job) -> bool:
    """Whether nobody took a job up yet."""
    return job.attempts == 0 and job.state is State.QUEUED


def prepare(services: Services, asked: JobRequest) -> tuple[Request, Workflow]:
    """What goes into the queue for what somebody asks, and the workflow.

    Raises:
        CheckFailed, StepgraphError: what is wrong with it.
    """
    workflow, files = services.library.find(asked.workflow, asked.files)
    assert workflow.path is not None
    unknown = [name for name in asked.outputs if name not in workflow.outputs]
    if unknown:
        raise StepgraphError(f"the workflow has no output `{unknown[0][:80]}`; it has {', '.join(workflow.outputs)}")
    inputs.refuse(workflow, asked.inputs, services.files)
    outputs = tuple(asked.outputs)
    return Request(workflow.path.name, files, asked.inputs, outputs, asked.priority, asked.previews), workflow


async def _view(services: Services, job: Job) -> JobView:
    (made,) = await views(services, [job])
    return made


async def views(services: Services, jobs: Sequence[Job]) -> list[JobView]:
    """Jobs for clients; one look at the queue tells the prospects of all that wait."""
    waiting = [job.id for job in jobs if job.state is State.QUEUED]
    if not waiting:
        return [view(job) for job in jobs]
    workers = len(services.supervisor.workers)
    prospects: dict[str, Prospect] = await services.run(services.queue.prospects, waiting, workers)
    return [view(job, prospects.get(job.id)) for job in jobs]


def idempotency(request: web.Request) -> str | None:
    """The `Idempotency-Key` of a request.

    Raises:
        HttpError: it is too long or empty.
    """
    key = request.headers.get("Idempotency-Key")
    if key is not None and not 0 < len(key) <= MOST_KEY:
        raise HttpError(HTTPStatus.BAD_REQUEST, f"an Idempotency-Key has 1 to {MOST_KEY} characters")
    return key


@operations.add("POST", "/api/v1/jobs", {202: JobView}, body=JobRequest, headers=IDEMPOTENCY, errors=(404,))
async def create_job(request: web.Request, body: JobRequest) -> Reply:
    """Queue a job.

    With an `Idempotency-Key` header the same request, sent again, gives the same job.
    """
    services = request.app[SERVICES]
    job = await enqueue(services, body, idempotency(request))
    return Reply(await _view(services, job), HTTPStatus.ACCEPTED, {"Location": f"/api/v1/jobs/{job.id}"})


@operations.add("GET", "/api/v1/jobs", {200: JobList}, query=JobQuery, errors=(404,))
async def list_jobs(request: web.Request, query: JobQuery) -> JobList:
    """Jobs, the newest first."""
    services = request.app[SERVICES]
    states = [] if query.state is None else [query.state]
    found = await services.run(services.queue.jobs, states=states, before=query.before, limit=query.limit)
    return JobList(jobs=await views(services, found), next=found[-1].id if len(found) == query.limit else None)


@operations.add("GET", f"/api/v1/jobs/{ID}", {200: JobView})
async def get_job(request: web.Request) -> JobView:
    """One job as it stands."""
    services = request.app[SERVICES]
    return await _view(services, await services.run(services.queue.get, request.match_info["id"]))


@operations.add("DELETE", f"/api/v1/jobs/{ID}", {200: JobView})
async def cancel_job(request: web.Request) -> JobView:
    """Cancel a job; one that runs ends within a step, one that ended stays as it is."""
    services = request.app[SERVICES]
    return await _view(services, await services.cancel(request.match_info["id"]))


@operations.add("POST", f"/api/v1/jobs/{ID}/retry", {202: JobView}, errors=(409,))
async def retry_job(request: web.Request) -> Reply:
    """Queue a job that failed or was cancelled once more; its finished steps are not done again."""
    services = request.app[SERVICES]
    job = await services.run(services.queue.retry, request.match_info["id"])
    await services.tell(job)
    await services.supervisor.wake()
    return Reply(await _view(services, job), HTTPStatus.ACCEPTED)
