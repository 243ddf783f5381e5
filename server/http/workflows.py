"""Workflows over HTTP: files with versions, checks, explanations, and runs that answer with the picture."""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import Mapping
from http import HTTPStatus
from typing import Any

from aiohttp import web
from pydantic import BaseModel, ConfigDict, Field, JsonValue

from graphcore import Workflow
from graphcore.check import checker
from graphcore.check.port_types import port_types
from graphcore.errors import CheckFailed
from graphcore.files.workflow import MISSING, WorkflowInput
from server.http import files, problem, tags
from server.http.jobs import IDEMPOTENCY, Asked, JobRequest, JobView, idempotency, prepare, submit, view, views
from server.http.operation import Operations, Reply, read_body
from server.http.problem import HttpError
from server.http.services import SERVICES, Services
from server.jobs.job import Job, Request, State
from server.work import inputs
from server.workflows.store import NAME, UnknownWorkflow

operations = Operations("workflows")

PATH = "/api/v1/workflows/{name:" + NAME + "}"

SMALL = 1 << 20
"""Bytes of a file that is sent from memory."""


class InputView(BaseModel):
    """One input of a workflow."""

    type: str
    required: bool
    default: JsonValue = None
    description: str = ""
    minimum: float | None = None
    maximum: float | None = None
    enum: list[JsonValue] | None = None


class WorkflowSummary(BaseModel):
    name: str
    title: str = ""
    description: str = ""
    shipped: bool
    version: str
    inputs: dict[str, InputView] = {}
    outputs: list[str] = []
    problems: list[dict[str, Any]] = Field(default=[], description="What keeps it from being read.")


class WorkflowList(BaseModel):
    workflows: list[WorkflowSummary]


class CheckRequest(Asked):
    """A workflow to check, with the values that it would run with."""

    inputs: dict[str, JsonValue] | None = None


class NodeTypes(BaseModel):
    """Types of a node's ports by name, in the words of `/api/v1/types`."""

    inputs: dict[str, str]
    outputs: dict[str, str]


class CheckResult(BaseModel):
    ok: bool
    problems: list[dict[str, Any]]
    types: dict[str, NodeTypes] = Field(
        default={},
        description="By path (`denoise.loop.step`), of the first 10,000 nodes: what they declare, or what follows.",
    )
    inputs: dict[str, str] = Field(
        default={}, description="Types of the workflow's inputs; of those of type `any` what takes them."
    )


class KeysRequest(CheckRequest):
    """A workflow whose calls somebody wants to know."""

    nodes: list[str] | None = Field(
        default=None, description="Paths without iteration numbers (`denoise.loop.step`); by default all nodes."
    )


class CallView(BaseModel):
    """One call: its key, as events tell it, and whether the cache has its value."""

    key: str
    cached: bool


class Keys(BaseModel):
    keys: dict[str, CallView] = Field(description="By path with iteration numbers: `denoise.loop[0].step`.")
    complete: bool = Field(description="These are all; else keys of others are known only once something has run.")


class ExplainedNode(BaseModel):
    node: str
    type: str
    state: str = Field(description="cached, partly, or run")
    cached: int
    total: int
    reason: str


class Explanation(BaseModel):
    nodes: list[ExplainedNode]


class RunRequest(BaseModel):
    """Values of the workflow's inputs, and how long to wait."""

    model_config = ConfigDict(extra="forbid")

    inputs: dict[str, JsonValue] = {}
    output: str | None = Field(default=None, description="The output to answer with; by default the first one.")
    wait: float | None = Field(default=None, ge=0, le=600, description="Seconds; then the answer is 202.")


def _input(described: WorkflowInput) -> InputView:
    required = described.default is MISSING
    return InputView(
        type=described.type, required=required, default=None if required else described.default,
        description=described.description, minimum=described.minimum, maximum=described.maximum,
        enum=None if described.enum is None else list(described.enum),
    )  # fmt: skip


def _summary(services: Services, name: str) -> WorkflowSummary:
    stored = services.workflows.read(name)
    summary = WorkflowSummary(name=name, shipped=stored.shipped, version=stored.version)
    try:
        workflow, _ = services.workflows.find(name)
    except CheckFailed as error:
        return summary.model_copy(update={"problems": problem.problems(error.problems)})
    return summary.model_copy(update={
        "title": workflow.title, "description": workflow.description,
        "inputs": {key: _input(described) for key, described in workflow.inputs.items()},
        "outputs": list(workflow.outputs),
    })  # fmt: skip


@operations.add("GET", "/api/v1/workflows", {200: WorkflowList})
async def list_workflows(request: web.Request) -> WorkflowList:
    """All workflows with their inputs and outputs: those of the folder, and the shipped ones."""
    services = request.app[SERVICES]

    def collect() -> WorkflowList:
        found = []
        for name in services.workflows.names():
            with contextlib.suppress(UnknownWorkflow):  # its file went just now
                found.append(_summary(services, name))
        return WorkflowList(workflows=found)

    found: WorkflowList = await services.run(collect)
    return found


@operations.add("GET", PATH, {200: dict[str, Any], 304: None}, headers=tags.IF_NONE_MATCH)
async def get_workflow(request: web.Request) -> web.Response:
    """The file of a workflow, as it is on the disk; its version is the `ETag`."""
    services = request.app[SERVICES]
    stored = await services.run(services.workflows.read, request.match_info["name"])
    headers = {"ETag": tags.tag(stored.version), "Cache-Control": "no-cache"}
    if tags.known(request, stored.version):
        return web.Response(status=HTTPStatus.NOT_MODIFIED, headers=headers)
    return web.Response(text=stored.text, content_type="application/json", headers=headers)


@operations.add("PUT", PATH, {200: WorkflowSummary, 201: WorkflowSummary}, consumes=("application/json",),
    headers=tags.IF_MATCH, errors=(412,))  # fmt: skip
async def put_workflow(request: web.Request) -> Reply:
    """Write the file of a workflow, byte for byte as it is sent.

    `If-Match` holds the version that was read (`*`: whatever is there); without it the file must be new. So no update
    is lost. A file with mistakes is kept too: it is what its author wrote.
    """
    services = request.app[SERVICES]
    name, text = request.match_info["name"], await _text(request, services)
    version = await _expected(request, services, name)
    existed = await services.run(lambda: services.workflows.names().get(name) is False)
    stored = await services.run(services.workflows.write, name, text, version)
    summary = await services.run(_summary, services, name)
    return Reply(summary, HTTPStatus.OK if existed else HTTPStatus.CREATED, {"ETag": tags.tag(stored.version)})


async def _expected(request: web.Request, services: Services, name: str) -> str | None:
    """The version that a change is made from: of several that `If-Match` names, the one that is there."""
    versions = tags.wanted(request)
    if versions is None:
        return None
    if len(versions) == 1:
        return versions[0]
    now: str | None = await services.run(services.workflows.version, name)
    return now if now in versions else versions[0]


async def _text(request: web.Request, services: Services) -> str:
    if request.content_type != "application/json":
        raise HttpError(HTTPStatus.UNSUPPORTED_MEDIA_TYPE, f"send application/json, not {request.content_type}")
    body = await read_body(request, services.settings.limits.json_bytes)
    try:
        return body.decode("utf-8")
    except UnicodeDecodeError as error:
        raise HttpError(HTTPStatus.UNPROCESSABLE_ENTITY, f"the body is not UTF-8: {error.reason}") from error


@operations.add("DELETE", PATH, {204: None}, headers=tags.IF_MATCH, errors=(409, 412))
async def delete_workflow(request: web.Request) -> Reply:
    """Remove the file of a workflow (`If-Match`: only this version); a shipped one of that name shows again."""
    services, name = request.app[SERVICES], request.match_info["name"]
    version = await _expected(request, services, name)
    await services.run(services.workflows.remove, name, version)
    return Reply(status=HTTPStatus.NO_CONTENT)


@operations.add("POST", "/api/v1/check", {200: CheckResult}, body=CheckRequest, errors=(404,))
async def check(request: web.Request, body: CheckRequest) -> CheckResult:
    """What is wrong with a workflow, in the words of `stepgraph check`, and the types of all ports.

    With mistakes, too, the types are told as far as they are known.
    """
    services = request.app[SERVICES]

    def look() -> CheckResult:
        workflow, wrong = services.workflows.look(body.workflow, body.files)
        if workflow is None:
            return CheckResult(ok=False, problems=problem.problems(wrong))
        registry = services.plugins.registry
        values = None if body.inputs is None else inputs.resolve(workflow, body.inputs, services.files)
        with services.reading(workflow):
            wrong = checker.check_read(workflow, wrong, registry, values)
        found = port_types(workflow, registry)
        types = {
            path: NodeTypes(inputs=dict(one.inputs), outputs=dict(one.outputs)) for path, one in found.nodes.items()
        }
        return CheckResult(ok=not wrong, problems=problem.problems(wrong), types=types, inputs=dict(found.inputs))

    result: CheckResult = await services.run(look)
    return result


@operations.add("POST", "/api/v1/explain", {200: Explanation}, body=CheckRequest, errors=(404,))
async def explain(request: web.Request, body: CheckRequest) -> Explanation:
    """Per node: cached, or will run, and why. Nothing is run; loops of more iterations than can be held are refused."""
    services = request.app[SERVICES]

    def look() -> Explanation:
        workflow, values = _with_values(services, body)
        most = services.settings.limits.explained_iterations
        found = services.engine.explain(workflow, values, most_iterations=most)
        return Explanation(nodes=[ExplainedNode(**one.as_dict()) for one in found])

    result: Explanation = await services.run(look)
    return result


@operations.add("POST", "/api/v1/keys", {200: Keys}, body=KeysRequest, errors=(404,))
async def keys(request: web.Request, body: KeysRequest) -> Keys:
    """The key of each call that a run would make, as far as known without running; nothing is run.

    With the key, `/api/v1/values` tells what the call gave, in whichever run that was.
    """
    services = request.app[SERVICES]

    def look() -> Keys:
        from graphcore.execution import calls  # and numpy with it, which the start of the server need not wait for

        workflow, values = _with_values(services, body)
        nodes = None if body.nodes is None else frozenset(body.nodes)
        made = calls.calls(services.engine, workflow, values, nodes)
        told = {path: CallView(key=one.key, cached=one.cached) for path, one in made.found.items()}
        return Keys(keys=told, complete=made.complete)

    result: Keys = await services.run(look)
    return result


def _with_values(services: Services, body: CheckRequest) -> tuple[Workflow, dict[str, Any]]:
    """The workflow of a request, and its inputs as the engine takes them."""
    workflow, _ = services.library.find(body.workflow, body.files)
    return workflow, inputs.resolve(workflow, body.inputs or {}, services.files)


@operations.add(
    "POST", f"{PATH}/run", {200: JobView, 202: JobView}, body=RunRequest, produces=("image/png",),
    headers=IDEMPOTENCY, errors=(406, 409),
)  # fmt: skip
async def run_workflow(request: web.Request, body: RunRequest) -> web.StreamResponse | Reply:
    """Run a workflow and answer with what it made.

    `Accept: image/png` (or anything but JSON) gives the file of the output, else the job as JSON. A run that takes
    longer than `wait` goes on; the answer is then 202 with the job's address. What was asked before, and would come
    out the same by every key, is answered by the former job (`Location`); with an `Idempotency-Key` it runs anew.
    """
    services = request.app[SERVICES]
    name = request.match_info["name"]
    asked = JobRequest(workflow=name, inputs=body.inputs)
    key, as_json = idempotency(request), "application/json" in request.headers.get("Accept", "")

    def look() -> tuple[Request, web.StreamResponse | Reply | None]:
        wanted, workflow = prepare(services, asked)
        known = None if key is not None else services.answers.find(wanted, workflow)
        return wanted, None if known is None else _answer(services, request, known, body.output, as_json)

    wanted: Request
    answer: web.StreamResponse | Reply | None
    wanted, answer = await services.answers.swiftly(name, look)
    if answer is None:
        job = await submit(services, wanted, key)
        most = services.settings.limits.sync_seconds
        ended = await wait_for(services, job.id, most if body.wait is None else min(body.wait, most))
        services.answers.remember(ended)
        if not ended.state.ended:
            (waiting,) = await views(services, [ended])
            return Reply(waiting, HTTPStatus.ACCEPTED, {"Location": f"/api/v1/jobs/{ended.id}"})
        answer = await services.run(_answer, services, request, ended, body.output, as_json)
    assert answer is not None
    return answer


def _answer(
    services: Services, request: web.Request, ended: Job, output: str | None, as_json: bool
) -> web.StreamResponse | Reply:
    """What an ended job made; a small file is read here and now, which spares the server some turns."""
    headers = {"Location": f"/api/v1/jobs/{ended.id}"}
    if ended.state is not State.SUCCEEDED:
        raise failed(ended)
    if as_json:
        return Reply(view(ended), headers=headers)
    stored = services.files.get(_file(ended.result or {}, output))
    if stored.bytes > SMALL:
        return files.send(services, request, stored.id, headers)
    headers |= {
        "Content-Type": stored.media_type, "ETag": tags.tag(stored.id),
        "Content-Disposition": f'inline; filename="{stored.name}"',
    }  # fmt: skip
    return web.Response(body=stored.path.read_bytes(), headers=headers)


async def wait_for(services: Services, id_: str, seconds: float) -> Job:
    """A job when it has ended, or as it is after some seconds."""
    with services.hub.listen(id_) as news:
        try:
            async with asyncio.timeout(seconds):
                while True:
                    news.clear()
                    job: Job = await services.run(services.queue.get, id_)
                    if job.state.ended or services.hub.closing:
                        return job
                    await news.wait()
        except TimeoutError:
            again: Job = await services.run(services.queue.get, id_)
            return again


def failed(job: Job) -> HttpError:
    """What a job ended with, as an error of the request that waited for it."""
    error = dict(job.error or {"kind": "cancelled", "message": "the job was cancelled"})
    kind = str(error.get("kind"))
    status = HTTPStatus.UNPROCESSABLE_ENTITY if kind in ("check", "node") else HTTPStatus.INTERNAL_SERVER_ERROR
    status = HTTPStatus.CONFLICT if kind == "cancelled" else status
    return HttpError(status, str(error.pop("message")), job=job.id, **error)


def _file(result: Mapping[str, Any], output: str | None) -> str:
    """The id of the file to answer with."""
    if output is not None and output not in result:
        raise HttpError(HTTPStatus.UNPROCESSABLE_ENTITY, f"the workflow has no output {output[:80]!r}")
    made = result[output] if output is not None else next(iter(result.values()), {"files": []})
    if not made["files"]:
        raise HttpError(HTTPStatus.NOT_ACCEPTABLE, "the output is no file; ask for application/json")
    return str(made["files"][0]["id"])
