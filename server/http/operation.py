"""One operation of the API: its route, what it takes and gives, checked by pydantic and described in OpenAPI.

A handler gets a body that is valid and returns a model; all that a request can do wrong is answered here.
"""

from __future__ import annotations

import asyncio
import inspect
from collections.abc import AsyncIterator, Awaitable, Callable, Mapping
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from http import HTTPStatus
from typing import Any

from aiohttp import web
from aiohttp.http_exceptions import HttpProcessingError
from pydantic import BaseModel, TypeAdapter, ValidationError

from server.http.problem import HttpError
from server.settings import Limits

Handler = Callable[..., Awaitable[Any]]

LIMITS = web.AppKey("limits", Limits)
HIDE: web.AppKey[Callable[[str], str]] = web.AppKey("hide")
"""Takes the places of this machine out of a text for strangers."""

JSON = "application/json"


@dataclass(frozen=True)
class Reply:
    """What a handler gives where the model alone does not say it all."""

    value: Any = None
    status: HTTPStatus = HTTPStatus.OK
    headers: Mapping[str, str] = field(default_factory=dict)


@dataclass(frozen=True)
class Operation:
    """A route and what it is for.

    Args:
        method, path: As aiohttp's router takes them.
        returns: Model of the answer by status; None for an answer without JSON.
        body: Type of the JSON body; None takes none.
        query: Model of the query parameters.
        produces: Content types of answers that are not JSON.
        consumes: Content types of bodies that the handler reads itself.
        form: JSON Schemas of the parts of a form, by name; those that have to be there have no default.
        headers: JSON Schemas of the request headers that count, by name.
        errors: Statuses of failures besides those that every operation of its kind has.
    """

    handler: Handler
    method: str
    path: str
    tag: str
    returns: Mapping[int, Any]
    body: Any = None
    query: type[BaseModel] | None = None
    produces: tuple[str, ...] = ()
    consumes: tuple[str, ...] = ()
    form: Mapping[str, Mapping[str, Any]] = field(default_factory=dict)
    headers: Mapping[str, Mapping[str, Any]] = field(default_factory=dict)
    errors: tuple[int, ...] = ()
    name: str = ""

    @property
    def strict(self) -> bool:
        """Whether a query that nobody reads is refused; programs written for OpenAI's API may send one."""
        return not self.path.startswith("/v1/")

    @property
    def endless(self) -> bool:
        """Whether the answer is a stream, which has no head without a body."""
        return "text/event-stream" in self.produces or HTTPStatus.SWITCHING_PROTOCOLS in self.returns

    @property
    def summary(self) -> str:
        return (inspect.getdoc(self.handler) or "").partition("\n")[0]

    @property
    def description(self) -> str:
        return (inspect.getdoc(self.handler) or "").partition("\n")[2].strip()


class Operations:
    """The operations of one part of the API, gathered by decorating handlers."""

    def __init__(self, tag: str) -> None:
        self.tag = tag
        self.all: list[Operation] = []

    def add(self, method: str, path: str, returns: Mapping[int, Any], **more: Any) -> Callable[[Handler], Handler]:
        """Declare the decorated handler: `handler(request, body=..., query=...)`."""

        def declare(handler: Handler) -> Handler:
            self.all.append(Operation(handler, method, path, self.tag, returns, name=handler.__name__, **more))
            return handler

        return declare


def route(operation: Operation) -> web.RouteDef:
    """The route of an operation."""
    adapter = None if operation.body is None else TypeAdapter(operation.body)

    async def endpoint(request: web.Request) -> web.StreamResponse:
        arguments: dict[str, Any] = {}
        if operation.query is not None:
            arguments["query"] = _query(operation.query, request)
        elif request.query and operation.strict:
            raise HttpError(HTTPStatus.UNPROCESSABLE_ENTITY, "this operation takes no query")
        if adapter is not None:
            arguments["body"] = _valid(adapter, await _body(request))
        reply = await operation.handler(request, **arguments)
        return reply if isinstance(reply, web.StreamResponse) else _response(reply, request.app[HIDE])

    endpoint.__name__ = operation.name
    if operation.method == "GET" and not operation.endless:
        return web.get(operation.path, endpoint, allow_head=True)
    return web.route(operation.method, operation.path, endpoint)


async def _body(request: web.Request) -> bytes:
    """The JSON body, bounded in size and time.

    Raises:
        HttpError: 415, 413, 408 or 400.
    """
    if request.content_type != JSON:
        raise HttpError(HTTPStatus.UNSUPPORTED_MEDIA_TYPE, f"send {JSON}, not {request.content_type}")
    return await read_body(request, request.app[LIMITS].json_bytes)


async def read_body(request: web.Request, most: int) -> bytes:
    """A body of at most `most` bytes, which comes in time.

    Raises:
        HttpError: 413, 408 or 400.
    """
    content = request.content
    if not content.is_eof() or content.exception() is not None:
        return await _arrived(request, most)
    body = content.read_nowait()  # it came with the head, as small ones do: nothing to wait for
    if len(body) > most:
        raise _too_large(most)
    return body


async def _arrived(request: web.Request, most: int) -> bytes:
    body = bytearray()
    async with arriving(request):
        async for chunk in request.content.iter_chunked(1 << 16):
            body += chunk
            if len(body) > most:
                raise _too_large(most)
    return bytes(body)


def _too_large(most: int) -> HttpError:
    return HttpError(HTTPStatus.REQUEST_ENTITY_TOO_LARGE, f"more than {most} bytes")


@asynccontextmanager
async def arriving(request: web.Request) -> AsyncIterator[None]:
    """Within, the body is read: it has to come in time, and whole.

    Raises:
        HttpError: 408, or 400 for a body that is damaged on its way.
    """
    try:
        async with asyncio.timeout(request.app[LIMITS].body_seconds):
            yield
    except TimeoutError as error:
        headers = {"Connection": "close"}
        raise HttpError(HTTPStatus.REQUEST_TIMEOUT, "the body did not arrive in time", headers=headers) from error
    except (web.RequestPayloadError, HttpProcessingError) as error:
        raise HttpError(HTTPStatus.BAD_REQUEST, "the body is damaged") from error


def _valid(adapter: TypeAdapter[Any], body: bytes) -> Any:
    try:
        return adapter.validate_json(body)
    except ValidationError as error:
        raise _refusal("the body is not what this operation takes", error) from error


def _query(model: type[BaseModel], request: web.Request) -> BaseModel:
    given: dict[str, Any] = {}
    for name in request.query:
        values = request.query.getall(name)
        given[name] = values if len(values) > 1 else values[0]
    try:
        return model.model_validate(given)
    except ValidationError as error:
        raise _refusal("the query is not what this operation takes", error) from error


def _refusal(message: str, error: ValidationError) -> HttpError:
    found = [
        {"where": ".".join(map(str, one["loc"])), "message": one["msg"]}
        for one in error.errors(include_url=False, include_context=False, include_input=False)[:100]
    ]
    return HttpError(HTTPStatus.UNPROCESSABLE_ENTITY, message, errors=found)


def _response(reply: Any, hide: Callable[[str], str]) -> web.Response:
    if not isinstance(reply, Reply):
        reply = Reply(reply)
    if reply.value is None:
        return web.Response(status=reply.status, headers=reply.headers)
    body = reply.value.model_dump_json() if isinstance(reply.value, BaseModel) else to_json(reply.value)
    return web.Response(status=reply.status, text=hide(body), content_type=JSON, headers=reply.headers)


def to_json(value: Any) -> str:
    """JSON of plain values and models."""
    return TypeAdapter(Any).dump_json(value).decode()
