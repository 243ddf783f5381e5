"""Errors as problem documents (RFC 9457): what went wrong, for people and for programs."""

from __future__ import annotations

import json
from collections.abc import Callable, Mapping, Sequence
from http import HTTPStatus
from typing import Any

from aiohttp import web

from graphcore import StepgraphError
from graphcore.errors import CheckFailed, Problem, TooManyIterations
from server.files.store import FileTooLarge, UnknownFile
from server.jobs.job import IdempotencyConflict, QueueFull, UnknownJob, WrongState
from server.workflows.store import Changed, ReadOnly, UnknownWorkflow

Hide = Callable[[str], str]

CONTENT_TYPE = "application/problem+json"

STATUS: Mapping[type[Exception], HTTPStatus] = {
    UnknownJob: HTTPStatus.NOT_FOUND,
    UnknownFile: HTTPStatus.NOT_FOUND,
    UnknownWorkflow: HTTPStatus.NOT_FOUND,
    Changed: HTTPStatus.PRECONDITION_FAILED,
    ReadOnly: HTTPStatus.CONFLICT,
    FileTooLarge: HTTPStatus.REQUEST_ENTITY_TOO_LARGE,
    IdempotencyConflict: HTTPStatus.UNPROCESSABLE_ENTITY,
    WrongState: HTTPStatus.CONFLICT,
    QueueFull: HTTPStatus.TOO_MANY_REQUESTS,
    CheckFailed: HTTPStatus.UNPROCESSABLE_ENTITY,
    TooManyIterations: HTTPStatus.UNPROCESSABLE_ENTITY,
    StepgraphError: HTTPStatus.BAD_REQUEST,
}
"""The status of each error; the first class that fits counts."""

RETRY_SECONDS = 5
"""What `Retry-After` says where the queue is full."""


class HttpError(StepgraphError):
    """An error that has a status of its own.

    Args:
        more: Further members of the problem document.
    """

    def __init__(
        self, status: HTTPStatus, message: str, *, headers: Mapping[str, str] | None = None, **more: Any
    ) -> None:
        self.status, self.headers, self.more = status, dict(headers or {}), more
        super().__init__(message)


def of(error: StepgraphError, hide: Hide = str) -> web.Response:
    """The response that says an error; `hide` takes out what strangers need not know."""
    if isinstance(error, HttpError):
        return response(error.status, str(error), error.headers, hide, **error.more)
    status = next(status for kind, status in STATUS.items() if isinstance(error, kind))
    headers = {"Retry-After": str(RETRY_SECONDS)} if status is HTTPStatus.TOO_MANY_REQUESTS else {}
    more = {"problems": problems(error.problems)} if isinstance(error, CheckFailed) else {}
    return response(status, str(error), headers, hide, **more)


def problems(found: Sequence[Problem]) -> list[dict[str, Any]]:
    """The checker's findings as JSON, each with its line for people."""
    return [{**problem.as_dict(), "text": problem.describe()} for problem in found]


def response(
    status: HTTPStatus, detail: str, headers: Mapping[str, str] | None = None, hide: Hide = str, **more: Any
) -> web.Response:
    """A problem document."""
    body = {"type": "about:blank", "title": status.phrase, "status": status.value, "detail": detail, **more}
    text = hide(json.dumps(body, default=str, ensure_ascii=False))
    return web.Response(status=status, body=text.encode("utf-8", "replace"), content_type=CONTENT_TYPE, headers=headers)


def for_openai(answer: web.StreamResponse) -> web.Response:
    """A problem document as OpenAI's clients read errors."""
    assert isinstance(answer, web.Response)
    assert isinstance(answer.body, bytes)
    said = json.loads(answer.body)
    kind = "invalid_request_error" if answer.status < HTTPStatus.INTERNAL_SERVER_ERROR else "server_error"
    error = {"message": said["detail"], "type": kind, "param": None, "code": said["title"].lower().replace(" ", "_")}
    headers = {name: answer.headers[name] for name in ("Retry-After", "WWW-Authenticate") if name in answer.headers}
    return web.json_response({"error": error}, status=answer.status, headers=headers)
