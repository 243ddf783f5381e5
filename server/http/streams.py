"""What happens in a job, as it happens: server-sent events, and a WebSocket with pictures. Both read one log."""

from __future__ import annotations

import asyncio
import contextlib
import json
import logging
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from http import HTTPStatus
from typing import Any

from aiohttp import WSMsgType, web

from server.http.hub import FILES, Hub, News
from server.http.jobs import ID
from server.http.operation import Operations
from server.http.problem import HttpError
from server.http.services import SERVICES, Services
from server.jobs.events import Recorded
from server.jobs.job import Job, UnknownJob

log = logging.getLogger(__name__)

operations = Operations("events")

PAGE, PICTURES = 500, 20
"""Events that are read from the log at a time, without and with their pictures: what one slow client holds."""

MOST_WATCHED = 500
"""Jobs that one WebSocket watches."""

SEND_SECONDS = 30.0
"""How long a client may leave what was sent unread; then it is cut off, and may go on after the last event it has."""

QUIET_SECONDS = 15.0
"""After so much silence a stream says that it lives: proxies close those that seem dead."""

PROTOCOL = "stepgraph.v1"
"""The WebSocket subprotocol."""

MOST_COMMAND = 4096
"""Bytes of a message from a client."""


LAST_EVENT = {
    "type": "string", "pattern": "^[0-9]{1,15}$", "description": "The number of the last event that the client has.",
}  # fmt: skip


@operations.add(
    "GET", f"/api/v1/jobs/{ID}/events", {200: None}, produces=("text/event-stream",),
    headers={"Last-Event-ID": LAST_EVENT}, errors=(503,),
)  # fmt: skip
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
        async with reading(request):
            async for event in follow(services, id_, after, news):
                async with asyncio.timeout(SEND_SECONDS):
                    await stream.write(_sse(event) if event is not None else b": still here\n\n")
            await stream.write_eof()
        return stream


@asynccontextmanager
async def reading(request: web.Request) -> AsyncIterator[None]:
    """Within, a client is sent what it is to read; if it leaves the block ends, if it does not read it is cut off."""
    try:
        yield
    except ConnectionResetError:
        pass  # it left
    except TimeoutError:
        if request.transport is not None:
            request.transport.abort()


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
    page = PICTURES if previews else PAGE
    while True:
        news.clear()
        job = await services.run(services.queue.get, id_)
        if job.state.ended:  # before the log is read, as nothing is written after the end
            await complete(services, job)
        events = await services.run(services.log.read, id_, after, page, previews=previews)
        for event in events:
            after = event.number
            yield event
        if len(events) == page or news.is_set():
            continue
        if job.state.ended or services.hub.closing:
            return
        try:
            await asyncio.wait_for(news.wait(), QUIET_SECONDS)
        except TimeoutError:
            yield None


async def complete(services: Services, job: Job) -> None:
    """Have the log tell the end of a job, if its worker ended between the end of the job and its word of it."""
    told = await services.run(services.log.told, job.id)
    if told is None or told["state"] != job.state:
        with contextlib.suppress(HttpError):  # the log cannot be written: the stream ends without the word
            await services.settle(job.id)


@operations.add("GET", "/api/v1/ws", {101: None}, errors=(503,))
async def websocket(request: web.Request) -> web.WebSocketResponse:
    """Events of many jobs over one WebSocket, with pictures.

    Send `{"watch": JOB, "after": 0}` and `{"unwatch": JOB}`. Events come as text: `{"job", "n", "event", "data"}`; a
    preview is followed by one binary message: the job's id (32 bytes, ASCII), the event's number (8 bytes, big-endian),
    then the PNG. What is wrong with a command is said as `{"error": WORDS}`, and of a job with `"job"` too. When files
    of workflows or plugins change on the disk: `{"event": "workflows", "data": {"changed": [NAMES]}}`, or `plugins`.
    """
    services = request.app[SERVICES]
    socket = web.WebSocketResponse(
        protocols=(PROTOCOL,), heartbeat=30.0, max_msg_size=MOST_COMMAND, compress=False, timeout=5.0
    )
    with services.hub.listen(FILES) as news:
        await socket.prepare(request)
        watch = Watch(services.hub, news)
        sender = asyncio.create_task(_send_all(request, socket, watch))
        try:
            await _take_commands(services, socket, watch)
        finally:
            sender.cancel()
            await asyncio.gather(sender, return_exceptions=True)
    return socket


class Watch:
    """Responsibilities: know which jobs a WebSocket watches, and up to which event it has each.

    Attributes:
        after: The number of the last event that was sent, by job.
    """

    def __init__(self, hub: Hub, news: News) -> None:
        self._hub, self.news = hub, news
        self.after: dict[str, int] = {}

    def add(self, job: str, after: int) -> None:
        """Hear of a job, first of what there is already."""
        self.after[job] = after
        self._hub.attend(job, self.news)
        self.again(job)

    def remove(self, job: str) -> None:
        """Hear no more of a job."""
        self.after.pop(job, None)
        self._hub.leave(job, self.news)

    def again(self, job: str) -> None:
        """There may be more to read of a job."""
        self.news.jobs.add(job)
        self.news.set()

    def take(self) -> list[str]:
        """The jobs of which there may be something to read."""
        taken, self.news.jobs = self.news.jobs, set()
        return [job for job in taken if job in self.after]


async def _take_commands(services: Services, socket: web.WebSocketResponse, watch: Watch) -> None:
    async for message in socket:
        if message.type is not WSMsgType.TEXT:
            await socket.close(code=1003, message=b"send text")
            return
        try:
            command = json.loads(message.data)
            job, gone, after = command.get("watch"), command.get("unwatch"), int(command.get("after", 0))
            wrong = not isinstance(job if gone is None else gone, str) or not 0 <= after < 1 << 62
        except (ValueError, TypeError, AttributeError, OverflowError, RecursionError):
            wrong = True
        if wrong:
            await socket.send_json({"error": 'send {"watch": JOB} or {"unwatch": JOB}'})
        elif gone is not None:
            watch.remove(gone)
        elif refused := await _refused(services, watch, job):
            await socket.send_json({"job": job[:100], "error": refused})
        else:
            watch.add(job, after)


async def _refused(services: Services, watch: Watch, job: str) -> str:
    """Why a job cannot be watched; empty where it can."""
    if len(watch.after) >= MOST_WATCHED:
        return f"{MOST_WATCHED} jobs are watched already; unwatch some"
    try:
        found = await services.run(services.queue.get, job)
    except UnknownJob:
        return "there is no such job"
    if found.state.ended:
        await complete(services, found)
    return ""


async def _send_all(request: web.Request, socket: web.WebSocketResponse, watch: Watch) -> None:
    try:
        async with reading(request):
            await _send_news(request.app[SERVICES], socket, watch)
    except Exception:  # nobody waits for this task: the client would wait for ever
        log.exception("a WebSocket is closed")
        await socket.close(code=1011, message=b"a mistake in the server; its log says more")


async def _send_news(services: Services, socket: web.WebSocketResponse, watch: Watch) -> None:
    seen = services.hub.changes[-1].number if services.hub.changes else 0
    while not socket.closed:
        watch.news.clear()
        for change in [change for change in services.hub.changes if change.number > seen]:
            await _text(socket, {"event": change.kind, "data": {"changed": list(change.names)}})
            seen = change.number
        for job in watch.take():
            await _send_page(services, socket, watch, job)
        if services.hub.closing:
            await socket.close(code=1001, message=b"the server stops")
            return
        await watch.news.wait()


async def _send_page(services: Services, socket: web.WebSocketResponse, watch: Watch, job: str) -> None:
    events = await services.run(services.log.read, job, watch.after.get(job, 0), PICTURES)
    for event in events:
        await _send(socket, job, event)
        if job in watch.after:
            watch.after[job] = event.number
    if len(events) == PICTURES and job in watch.after:
        watch.again(job)


async def _text(socket: web.WebSocketResponse, message: dict[str, Any]) -> None:
    async with asyncio.timeout(SEND_SECONDS):
        await socket.send_str(json.dumps(message, separators=(",", ":")))


async def _send(socket: web.WebSocketResponse, job: str, event: Recorded) -> None:
    await _text(socket, {"job": job, "n": event.number, "event": event.name, "data": event.data})
    if event.preview:
        async with asyncio.timeout(SEND_SECONDS):
            await socket.send_bytes(job.encode() + event.number.to_bytes(8, "big") + event.preview)
