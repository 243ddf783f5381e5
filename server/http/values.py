"""Values on the links of a run: any of them can be looked at, as long as the cache has it."""

from __future__ import annotations

import base64
from http import HTTPStatus
from typing import Any

from aiohttp import web
from pydantic import BaseModel, Field

from server.http.operation import Operations
from server.http.problem import HttpError
from server.http.services import SERVICES
from server.work import pictures
from server.work.messages import CALL

operations = Operations("values")

KEY = "{key:(?:[0-9a-f]{2})?[0-9a-f]{64}}"
"""The key of a call; before it may stand which of the call's outputs, as the result of a job has it."""


class OutputView(BaseModel):
    """One output of a call: its type, a plain value as it is, and numbers about its tensors."""

    type: str
    value: Any = None
    fields: dict[str, Any] = Field(default={}, description="Plain values in it, such as the words of tokens.")
    tensors: dict[str, dict[str, Any]] = {}


class ValueView(BaseModel):
    key: str
    outputs: list[OutputView]


@operations.add("GET", f"/api/v1/values/{KEY}", {200: ValueView}, errors=(503,))
async def get_value(request: web.Request) -> ValueView:
    """What the call with this key gave: types, shapes, ranges and histograms. Events and results tell the keys.

    Two digits before the key of a call, as results have them, choose one of its outputs; else all are told.
    """
    found = await _look(request, picture=False)
    return ValueView(key=request.match_info["key"][-CALL:], outputs=[OutputView(**one) for one in found])


@operations.add("GET", f"/api/v1/values/{KEY}/preview", {200: None}, produces=("image/png",), errors=(503,))
async def preview_value(request: web.Request) -> web.Response:
    """A small picture of the value.

    Pictures and masks are shown as they are, latents and the like in false colours, other tensors (tokens by width,
    say) as a map of heat; small ones are enlarged. Two digits before the key choose the output, as above; else it is
    the first of which there is a picture.
    """
    for output in await _look(request, picture=True):
        if "png" in output:
            headers = {"Cache-Control": "private, max-age=31536000, immutable"}
            png = await request.app[SERVICES].run(pictures.enlarged, base64.b64decode(output["png"]))
            return web.Response(body=png, content_type="image/png", headers=headers)
    raise HttpError(HTTPStatus.NOT_FOUND, "there is no picture of this value")


async def _look(request: web.Request, *, picture: bool) -> list[dict[str, Any]]:
    found = await request.app[SERVICES].supervisor.look(request.match_info["key"], picture=picture)
    if found is None:
        message = "no worker answers; it starts, or its step takes long"
        raise HttpError(HTTPStatus.SERVICE_UNAVAILABLE, message, headers={"Retry-After": "2"})
    if "error" in found:
        raise HttpError(HTTPStatus.UNPROCESSABLE_ENTITY, str(found["error"]))
    if found.get("missing"):
        raise HttpError(HTTPStatus.NOT_FOUND, "the cache has no value of this key")
    outputs: list[dict[str, Any]] = found["outputs"]
    if not outputs:
        raise HttpError(HTTPStatus.NOT_FOUND, "the call with this key has no such output")
    return outputs
