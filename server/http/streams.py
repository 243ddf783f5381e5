"""What happens in a job, as it happens: server-sent events, and a WebSocket with pictures. Both read one log."""

from __future__ import annotations

import asyncio
import json
from collections.abc import AsyncIterator
from http import HTTPStatus
from typing import Any

from aiohttp import WSMsgType, web

from server.http.hub import ALL
from server.http.jobs import ID
from server.http.operation import Operations
from server.http.problem import HttpError
from server.http.services import SERVICES, Services
from server.jobs.events import Recorded
from server.jobs.job import State

operations = Operations("events")

PAGE = 500
QUIET_SECONDS = 15.0
"""After so much silence a stream says that it lives: proxies close those that seem dead."""

PROTOCOL = "stepgraph.v1"
"""The WebSocket subprotocol."""

MOST_COMMAND = 4096
"""Bytes of a message from a client."""


@operations.add("GET", f"/api/v1/jobs/{ID}/events", {200: None}, produces=("text/event-stream",))
async def job_events(request: web.Request) -> web.StreamResponse:
    """The events of a job from the first one on, as server-sent events; ends when the job does.

    `Last-Event-ID` goes on after that event: a client that lost the connection misses nothing.
    """
    services = request.app[SERVICES]
    id_ = request.match_info["id"]
    await services.run(services.queue.get, id_)
    after = _last_event(request)
    with services.hub.listen(id_) as news:
        stream = web.StreamResponse(headers={"Content-Type": "text/event-stream", "Cache-Control": "no-cache"})
        await stream.prepare(request)
        try:
            async for event in follow(services, id_, after, news):
                await stream.write(_sse(event) if event is not None else b": still here\n\n")
            await stream.write_eof()
        except ConnectionResetError:
            pass  # the client left
        return stream


def _last_event(request: web.Request) -> int:
    text = request.headers.get("Last-Event-ID", "0")
    if not (text.isascii() and text.isdigit() and len(text) < 16):
        raise HttpError(HTTPStatus.BAD_REQUEST, f"Last-Event-ID {text[:40]!r} is no number of an event")
    return int(text)


def _sse(event: Recorded) -> bytes:
    data = json.dumps(event.data, separators=(",", ":"))
    return f"id: {event.number}\nevent: {event.name}\ndata: {data}\n\n".encode()


async def follow(
    services: Services, id_: str, after: int, news: asyncio.Event, *, previews: bool = False
) -> AsyncIterator[Recorded | None]:
    """Events with numbers above `after`, until the job's end; None in long silences."""
    while True:
        news.clear()
        ended = (await services.run(services.queue.get, id_)).state.ended  # before the log: nothing is written after
        for event in await services.run(services.log.read, id_, after, PAGE, previews=previews):
            after = event.number
            yield event
            if event.name == "state" and State(event.data["state"]).ended and ended:
                return
        if news.is_set() or after < await services.run(services.log.last, id_):
            continue
        if ended or services.hub.closing:
            return
        try:
            await asyncio.wait_for(news.wait(), QUIET_SECONDS)
        except TimeoutError:
            yield None


@operations.add("GET", "/api/v1/ws", {101: None})
async def websocket(request: web.Request) -> web.WebSocketResponse:
    """Events of many jobs over one WebSocket, with pictures.

    Send `{"watch": JOB, "after": 0}` and `{"unwatch": JOB}`. Events come as text: `{"job", "n", "event", "data"}`; a
    preview is followed by one binary message: the job's id (32 bytes, ASCII), the event's number (8 bytes, big-endian),
    then the PNG. When files of workflows or plugins change on the disk: `{"event": "workflows", "data": {"changed":
    [NAMES]}}`, or `plugins`.
    """
    services = request.app[SERVICES]
    socket = web.WebSocketResponse(
        protocols=(PROTOCOL,), heartbeat=30.0, max_msg_size=MOST_COMMAND, compress=False, timeout=5.0
    )
    with services.hub.listen(ALL) as news:
        await socket.prepare(request)
        watched: dict[str, int] = {}
        sender = asyncio.create_task(_send_all(services, socket, watched, news))
        try:
            await _take_commands(services, socket, watched, news)
        finally:
            sender.cancel()
            await asyncio.gather(sender, return_exceptions=True)
    return socket


async def _take_commands(
    services: Services, socket: web.WebSocketResponse, watched: dict[str, int], news: asyncio.Event
) -> None:
    async for message in socket:
        if message.type is not WSMsgType.TEXT:
            await socket.close(code=1003, message=b"send text")
            return
        try:
            command = json.loads(message.data)
            job, after = command.get("watch"), int(command.get("after", 0))
            gone = command.get("unwatch")
        except (ValueError, TypeError, AttributeError, RecursionError):
            await socket.send_json({"error": 'send {"watch": JOB} or {"unwatch": JOB}'})
            continue
        if isinstance(job, str) and len(watched) < PAGE:
            watched[job] = after
            news.set()
        if isinstance(gone, str):
            watched.pop(gone, None)


async def _send_all(
    services: Services, socket: web.WebSocketResponse, watched: dict[str, int], news: asyncio.Event
) -> None:
    seen = services.hub.changes[-1].number if services.hub.changes else 0
    while not socket.closed:
        news.clear()
        for change in [change for change in services.hub.changes if change.number > seen]:
            await socket.send_json({"event": change.kind, "data": {"changed": list(change.names)}})
            seen = change.number
        for job, after in list(watched.items()):
            for event in await services.run(services.log.read, job, after, PAGE):
                await _send(socket, job, event)
                if job in watched:
                    watched[job] = event.number
                    news.set()  # perhaps there are more than a page
        if services.hub.closing:
            await socket.close(code=1001, message=b"the server stops")
            return
        await news.wait()


async def _send(socket: web.WebSocketResponse, job: str, event: Recorded) -> None:
    message: dict[str, Any] = {"job": job, "n": event.number, "event": event.name, "data": event.data}
    await socket.send_str(json.dumps(message, separators=(",", ":")))
    if event.preview:
        await socket.send_bytes(job.encode() + event.number.to_bytes(8, "big") + event.preview)
