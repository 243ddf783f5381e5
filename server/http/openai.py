"""The images API in OpenAI's shape, so that programs written for it work unchanged: a model is a workflow by name.

A workflow serves `generations` if it has an input `prompt`, and `edits` if it also has an input `image` (and `mask`,
for masks). `size`, `n` and further fields go into inputs of these names: `width` and `height`, `batch_size`, others.
"""

from __future__ import annotations

import asyncio
import base64
import json
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from http import HTTPStatus
from typing import Any

from aiohttp import BodyPartReader, web
from pydantic import BaseModel, ConfigDict, Field, JsonValue, ValidationError

from graphcore import Workflow
from server.files.store import Stored
from server.http import files
from server.http.glimpses import Glimpses
from server.http.jobs import JobRequest, enqueue
from server.http.operation import Operations, arriving
from server.http.problem import HttpError
from server.http.services import SERVICES, Services
from server.http.streams import SEND_SECONDS, follow
from server.http.workflows import failed, wait_for
from server.jobs.job import Job, State

operations = Operations("openai")

DEFAULT = {"generations": "txt2img", "edits": "img2img"}
"""The workflow where a request names none."""

MOST_FIELD, MOST_FIELDS = 1 << 20, 64
"""Bytes of a text field of a form, and how many fields are read."""

PICTURES = ("image", "mask")
"""Parts of a form that are files."""

LATE = "the picture took too long"

FORM = {
    "image": {"type": "string", "format": "binary"},
    "prompt": {"type": "string"},
    "mask": {
        "type": "string",
        "format": "binary",
        "default": "",
        "description": "White: drawn anew.",
    },
    "model": {"type": "string", "default": "img2img"},
    "n": {"type": "integer", "default": 1},
}
"""Parts of the form of an edit; further ones are inputs of the workflow."""

OURS = ("model", "n", "size", "stream", "partial_images", "response_format", "output_format", "user", "quality",
        "background", "moderation", "output_compression", "style", "input_fidelity")  # fmt: skip
"""Fields of the API; all others are inputs of the workflow."""


class ImageRequest(BaseModel):
    """What is to be drawn."""

    model_config = ConfigDict(extra="allow")

    prompt: str = Field(max_length=32_000)
    model: str | None = None
    n: int = Field(default=1, ge=1, le=16)
    size: str | None = Field(default=None, pattern=r"^(auto|\d{1,5}x\d{1,5})$")
    stream: bool | None = False
    partial_images: int | None = Field(default=None, ge=0, le=3)
    response_format: str | None = Field(default=None, pattern="^b64_json$")


class ImageData(BaseModel):
    b64_json: str


class ImageReply(BaseModel):
    created: int
    data: list[ImageData]


class ModelCard(BaseModel):
    id: str
    object: str = "model"
    created: int = 0
    owned_by: str = "stepgraph"


class ModelCards(BaseModel):
    object: str = "list"
    data: list[ModelCard]


@operations.add("GET", "/v1/models", {200: ModelCards})
async def openai_models(request: web.Request) -> ModelCards:
    """The workflows that make pictures of a prompt."""
    services = request.app[SERVICES]

    def look() -> ModelCards:
        names = []
        for name in services.workflows.names():
            try:
                workflow, _ = services.workflows.find(name)
            except Exception as error:  # a file with mistakes is no model; `GET /workflows` says what is wrong
                del error
                continue
            if "prompt" in workflow.inputs and workflow.outputs:
                names.append(name)
        return ModelCards(data=[ModelCard(id=name) for name in names])

    found: ModelCards = await services.run(look)
    return found


@operations.add(
    "POST", "/v1/images/generations", {200: ImageReply}, body=ImageRequest, produces=("text/event-stream",),
    errors=(404, 409, 504),
)  # fmt: skip
async def openai_generate(request: web.Request, body: ImageRequest) -> web.StreamResponse | ImageReply:
    """Pictures of a prompt; with `stream`, partial ones on the way."""
    return await _draw(request, body, "generations", {})


@operations.add(
    "POST", "/v1/images/edits", {200: ImageReply}, consumes=("multipart/form-data",), form=FORM,
    produces=("text/event-stream",), errors=(404, 409, 504),
)  # fmt: skip
async def openai_edit(request: web.Request) -> web.StreamResponse | ImageReply:
    """Pictures of a picture and a prompt."""
    fields, pictures = await _form(request)
    if "image" not in pictures:
        raise HttpError(HTTPStatus.UNPROCESSABLE_ENTITY, "the form has no part `image`")
    try:
        body = ImageRequest.model_validate(fields)
    except ValidationError as error:
        first = error.errors(include_url=False, include_context=False, include_input=False)[0]
        where = ".".join(map(str, first["loc"]))
        raise HttpError(HTTPStatus.UNPROCESSABLE_ENTITY, f"`{where}`: {first['msg']}") from error
    return await _draw(request, body, "edits", {name: f"file:{stored.id}" for name, stored in pictures.items()})


async def _form(request: web.Request) -> tuple[dict[str, Any], dict[str, Stored]]:
    """The fields and the pictures of a form; of several pictures the first."""
    services = request.app[SERVICES]
    fields: dict[str, Any] = {}
    pictures: dict[str, Stored] = {}
    async with arriving(request):
        with files.whole_form():
            async for part in await request.multipart():
                name = (part.name or "").removesuffix("[]") if isinstance(part, BodyPartReader) else ""
                if name in fields or name in pictures or len(fields) + len(pictures) >= MOST_FIELDS:
                    continue  # of several the first
                if isinstance(part, BodyPartReader) and name in PICTURES:
                    pictures[name], _ = await files.keep(services, files.part_chunks(part))
                elif isinstance(part, BodyPartReader) and name:
                    fields[name] = await _text(part)
    return fields, pictures


async def _text(part: BodyPartReader) -> str:
    body = bytearray()
    async for chunk in files.part_chunks(part):
        body += chunk
        if len(body) > MOST_FIELD:
            raise HttpError(HTTPStatus.REQUEST_ENTITY_TOO_LARGE, f"a field of more than {MOST_FIELD} bytes")
    return body.decode("utf-8", "replace")


async def _draw(
    request: web.Request, body: ImageRequest, kind: str, pictures: dict[str, JsonValue]
) -> web.StreamResponse | ImageReply:
    services = request.app[SERVICES]
    name = body.model if body.model and body.model in services.workflows.names() else None
    if body.model and name is None and not body.model.startswith(("gpt-image", "dall-e")):
        raise HttpError(HTTPStatus.NOT_FOUND, f"there is no workflow {body.model[:100]!r}; GET /v1/models lists them")
    asked = await services.run(_job, services, name or DEFAULT[kind], body, pictures)
    job = await enqueue(services, asked, None)
    if body.stream:
        return await _stream(request, services, job, kind, body)
    ended = await wait_for(services, job.id, services.settings.limits.sync_seconds)
    if ended.state is not State.SUCCEEDED:
        if not ended.state.ended:
            await services.cancel(job.id)
            raise HttpError(HTTPStatus.GATEWAY_TIMEOUT, LATE, job=job.id)
        raise failed(ended)
    data = await services.run(_pictures, services, ended)
    return ImageReply(created=int(ended.created), data=[ImageData(b64_json=one) for one in data])


def _job(services: Services, name: str, body: ImageRequest, pictures: dict[str, JsonValue]) -> JobRequest:
    """The job that a request stands for."""
    workflow, _ = services.workflows.find(name)
    values: dict[str, JsonValue] = {"prompt": body.prompt, **pictures}
    if body.size and body.size != "auto":
        width, height = map(int, body.size.split("x"))
        values |= {"width": width, "height": height}
    if body.n > 1:
        values["batch_size"] = body.n
    further = {name: value for name, value in (body.model_extra or {}).items() if name not in OURS}
    values |= {key: _typed(workflow, key, value) for key, value in further.items()}
    output = "image" if "image" in workflow.outputs else next(iter(workflow.outputs), "")
    return JobRequest(workflow=name, inputs=values, outputs=[output])


def _typed(workflow: Workflow, name: str, value: Any) -> Any:
    """A field of a form is always text: a number where the input wants one."""
    described = workflow.inputs.get(name)
    if isinstance(value, str) and described is not None and described.type in ("integer", "number", "boolean", "array"):
        try:
            return json.loads(value)
        except ValueError:
            return value
    return value


def _pictures(services: Services, job: Job) -> list[str]:
    made = next(iter((job.result or {}).values()))
    return [base64.b64encode(services.files.get(file["id"]).path.read_bytes()).decode() for file in made["files"]]


async def _stream(
    request: web.Request, services: Services, job: Job, kind: str, body: ImageRequest
) -> web.StreamResponse:
    prefix = "image_edit" if kind == "edits" else "image_generation"
    stream = web.StreamResponse(headers={"Content-Type": "text/event-stream", "Cache-Control": "no-cache"})
    await stream.prepare(request)

    async def send(name: str, data: dict[str, Any]) -> None:
        if request.transport is None or request.transport.is_closing():
            raise ConnectionResetError
        async with asyncio.timeout(SEND_SECONDS):
            await stream.write(f"event: {name}\ndata: {json.dumps(data)}\n\n".encode() if data else b": still here\n\n")

    async def send_all() -> None:
        async for event in _partial(services, job, body.partial_images or 0):
            name = f"{prefix}.{event.pop('kind')}" if event else ""
            fixed = {"type": name, "created_at": int(job.created), "size": body.size or "auto", "quality": "auto",
                     "background": "auto", "output_format": "png"}  # fmt: skip
            await send(name, {**fixed, **event} if event else {})

    try:
        try:
            async with _in_time(services, job):
                await send_all()
        except HttpError as error:
            await send("error", {"error": {"message": str(error), "type": "server_error", "param": None, "code": None}})
        await stream.write_eof()
    except (ConnectionResetError, TimeoutError):
        await services.cancel(job.id)  # nobody waits for it any more
        if request.transport is not None:
            request.transport.abort()
    return stream


@asynccontextmanager
async def _in_time(services: Services, job: Job) -> AsyncIterator[None]:
    """Within, somebody waits for a job; one that takes longer than a request may wait is cancelled.

    Raises:
        HttpError: it took longer.
    """
    limit = asyncio.timeout(services.settings.limits.sync_seconds)
    try:
        async with limit:
            yield
    except TimeoutError as error:
        if not limit.expired():
            raise
        await services.cancel(job.id)
        raise HttpError(HTTPStatus.GATEWAY_TIMEOUT, LATE, job=job.id) from error


async def _partial(services: Services, job: Job, most: int) -> AsyncIterator[dict[str, Any]]:
    """Partial pictures, then the whole one; in between nothing, again and again, so that one sees who left."""
    sent, glimpses = 0, Glimpses(most, services.plugins.registry)
    with services.hub.listen(job.id) as news:
        async for event in follow(services, job.id, 0, news):
            keys = glimpses.hear(event.name, event.data) if event is not None and sent < most else []
            if picture := await _first_picture(services, job.id, keys):
                yield {"kind": "partial_image", "b64_json": picture, "partial_image_index": sent}
                sent += 1
            elif event is None or event.name == "expanded" or event.number % 50 == 0:
                yield {}
    ended: Job = await services.run(services.queue.get, job.id)
    if ended.state is not State.SUCCEEDED:
        raise failed(ended)
    data = await services.run(_pictures, services, ended)
    yield {"kind": "completed", "b64_json": data[0]}


async def _first_picture(services: Services, id_: str, keys: list[str]) -> str:
    """The small picture (base64) of the first of these values that has one; empty where none has."""
    for key in keys:
        worker = (await services.run(services.queue.get, id_)).worker
        found = await services.supervisor.look(key, picture=True, worker=worker)
        for output in (found or {}).get("outputs", ()):
            if "png" in output:
                return str(output["png"])
    return ""
