"""Streams of events: what clients hear that come late, leave, do not read, or ask for what is not there.

The application runs in this process without workers; the tests do to queue and log what workers do.
"""

from __future__ import annotations

import asyncio
import json
import socket
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

import aiohttp
import pytest
from aiohttp import web

from server.http import streams
from server.http.app import create_app
from server.http.services import SERVICES, Services
from server.jobs.job import Job, Request
from server.settings import Limits, Settings
from tests.server import ticks

LONG = 60.0
"""No test waits so long, unless something hangs."""


@asynccontextmanager
async def application(data: Path, **limits: Any) -> AsyncIterator[tuple[Services, str]]:
    settings = Settings(data=data, devices=(), limits=Limits(**limits))
    app = create_app(settings)
    runner = web.AppRunner(app, shutdown_timeout=LONG)
    await runner.setup()
    try:
        await web.TCPSite(runner, "127.0.0.1", 0).start()
        # What starts once tells of jobs that nobody told of, such as those that a test puts into the queue by itself.
        await app[SERVICES].supervisor._tasks[-1]
        yield app[SERVICES], f"http://127.0.0.1:{runner.addresses[0][1]}"
    finally:
        await runner.cleanup()


async def messages(ws: aiohttp.ClientWebSocketResponse) -> list[aiohttp.WSMessage]:
    """All that comes until the server closes, its closing message the last."""
    heard = [await ws.receive()]
    while heard[-1].type == aiohttp.WSMsgType.TEXT:
        heard.append(await ws.receive())
    return heard


async def until(what: Callable[[], bool]) -> None:
    async with asyncio.timeout(LONG):
        while not what():
            await asyncio.sleep(0.01)


def run(test: Callable[[], Awaitable[None]]) -> None:
    async def bounded() -> None:
        async with asyncio.timeout(2 * LONG):
            await test()

    asyncio.run(bounded())


def add(services: Services) -> Job:
    return services.queue.enqueue(Request("w.json", {"w.json": "{}"}))


def write(services: Services, job: str, count: int, size: int = 10, preview: bytes = b"") -> None:
    services.log.append(job, [("note", {"text": "x" * size}, preview)] * count)
    services.hub.tell(job)


async def read(session: aiohttp.ClientSession, url: str, job: str, after: int = 0) -> list[tuple[str, Any]]:
    """Names and data of all events until the stream ends."""
    async with session.get(f"{url}/api/v1/jobs/{job}/events", headers={"Last-Event-ID": str(after)}) as response:
        assert response.status == 200
        text = await response.text()
    blocks = [dict(line.split(": ", 1) for line in block.splitlines()) for block in text.split("\n\n") if block]
    return [(block["event"], json.loads(block["data"])) for block in blocks]


QUEUED: tuple[list[str], ...] = ([], ["queued"])


def states(told: list[tuple[str, Any]]) -> list[str]:
    return [data["state"] for name, data in told if name == "state"]


def test_a_job_that_ended_long_ago_though_nobody_told(tmp_path: Path) -> None:
    async def body() -> None:
        async with application(tmp_path) as (services, url), aiohttp.ClientSession() as session:
            job = add(services)
            claimed = services.queue.claim("me")
            assert claimed is not None
            write(services, job.id, 3)
            services.queue.succeed(claimed, {"x": {"files": []}})
            told = await read(session, url, job.id)
            assert states(told) == ["queued", "running", "succeeded"]
            assert told[-1][1]["result"] == {"x": {"files": []}}
            assert await read(session, url, job.id) == told
            assert await read(session, url, job.id, 10**9) == []
            late = ("state", {"state": "succeeded", "worker": "me"}, b"")
            services.log.append(job.id, [late])  # the worker speaks after all
            assert await read(session, url, job.id) == told
            async with session.get(f"{url}/api/v1/jobs/{job.id}/events", headers={"Last-Event-ID": "-1"}) as refused:
                assert refused.status == 400

    run(body)


def test_a_job_that_was_tried_again_is_told_to_its_last_end(tmp_path: Path) -> None:
    async def body() -> None:
        async with application(tmp_path) as (services, url), aiohttp.ClientSession() as session:
            job = add(services)
            for _ in range(2):
                await services.cancel(job.id)
                services.queue.retry(job.id)
                await services.tell(job)
            reading = asyncio.create_task(read(session, url, job.id))
            await until(lambda: services.hub.count == 1)
            await services.cancel(job.id)
            assert states(await reading) == ["queued", "cancelled", "queued", "cancelled", "queued", "cancelled"]

    run(body)


def test_more_than_a_page_of_events_comes_whole(tmp_path: Path) -> None:
    async def body() -> None:
        async with application(tmp_path) as (services, url), aiohttp.ClientSession() as session:
            job = add(services)
            write(services, job.id, 2 * streams.PAGE)
            await services.cancel(job.id)
            told = await read(session, url, job.id)
            assert len(told) == 2 * streams.PAGE + 2
            assert states(told) == ["queued", "cancelled"]
            assert await read(session, url, job.id, streams.PAGE) == told[streams.PAGE :]

    run(body)


def test_a_websocket_says_what_cannot_be_watched_and_forgets_what_is_unwatched(tmp_path: Path) -> None:
    async def body() -> None:
        async with (
            application(tmp_path) as (services, url),
            aiohttp.ClientSession() as session,
            session.ws_connect(f"{url}/api/v1/ws") as ws,
        ):
            await ws.send_json({"watch": "0" * 32})
            assert await ws.receive_json() == {"job": "0" * 32, "error": "there is no such job"}
            for wrong in ('{"watch": 1}', '{"watch": "x", "after": -1}', '{"watch": "x", "after": 1e999}', "{}", "[1]"):
                await ws.send_str(wrong)
                assert "send" in (await ws.receive_json())["error"]
            first, second = add(services), add(services)
            for job in (first, second):
                write(services, job.id, 1)
                await ws.send_json({"watch": job.id})
                assert (await ws.receive_json())["job"] == job.id
            await ws.send_json({"unwatch": first.id})
            await ws.send_json({"watch": "0" * 32})
            assert (await ws.receive_json())["error"]
            write(services, first.id, 1)
            write(services, second.id, 1)
            message = await ws.receive_json()
            assert (message["job"], message["n"]) == (second.id, 2)
            await ws.send_json({"watch": first.id, "after": 1})
            message = await ws.receive_json()
            assert (message["job"], message["n"]) == (first.id, 2)

    run(body)


def test_only_those_wake_who_watch(tmp_path: Path) -> None:
    async def body() -> None:
        async with application(tmp_path) as (services, _):
            hub = services.hub
            with hub.listen("a") as one, hub.listen("b") as two:
                hub.attend("c", two)
                hub.tell("a")
                assert (one.is_set(), two.is_set()) == (True, False)
                hub.tell("c")
                assert (two.jobs, hub.count) == ({"c"}, 2)
            hub.tell("a")
            assert hub.count == 0
            assert hub._listeners == {}

    run(body)


def test_too_many_listeners_are_told_to_come_back(tmp_path: Path) -> None:
    async def body() -> None:
        async with application(tmp_path, listeners=1) as (services, url), aiohttp.ClientSession() as session:
            job = add(services)
            async with (
                session.ws_connect(f"{url}/api/v1/ws"),
                session.get(f"{url}/api/v1/jobs/{job.id}/events") as refused,
            ):
                assert (refused.status, refused.headers["Retry-After"]) == (503, "5")
            await until(lambda: services.hub.count == 0)

    run(body)


@asynccontextmanager
async def deaf(url: str, lines: str) -> AsyncIterator[socket.socket]:
    """A client that asks, and then reads nothing."""
    port = int(url.rpartition(":")[2])
    with socket.socket() as client:
        client.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 4096)
        client.setblocking(False)
        loop = asyncio.get_running_loop()
        await loop.sock_connect(client, ("127.0.0.1", port))
        await loop.sock_sendall(client, f"GET {lines}\r\nHost: 127.0.0.1:{port}\r\n\r\n".encode())
        yield client


def frame(text: str) -> bytes:
    """A WebSocket message from a client."""
    assert len(text) < 126
    return bytes([0x81, 0x80 | len(text), 0, 0, 0, 0]) + text.encode()


UPGRADE = (
    "/api/v1/ws HTTP/1.1\r\nConnection: Upgrade\r\nUpgrade: websocket\r\n"
    "Sec-WebSocket-Version: 13\r\nSec-WebSocket-Key: AAAAAAAAAAAAAAAAAAAAAA=="
)


@pytest.mark.parametrize("kind", ["sse", "websocket"])
def test_who_does_not_read_is_cut_off_and_holds_little(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, kind: str
) -> None:
    monkeypatch.setattr(streams, "SEND_SECONDS", 0.3)
    handed = 0
    real = streams._sse

    def counted(event: Any) -> bytes:
        nonlocal handed
        handed += 1
        return real(event)

    monkeypatch.setattr(streams, "_sse", counted)

    async def body() -> None:
        async with application(tmp_path) as (services, url):
            job = add(services)
            write(services, job.id, 400, 100_000)
            lines = f"/api/v1/jobs/{job.id}/events HTTP/1.1" if kind == "sse" else UPGRADE
            async with deaf(url, lines) as client:
                await until(lambda: services.hub.count == 1)
                if kind == "websocket":
                    await asyncio.get_running_loop().sock_sendall(client, frame(json.dumps({"watch": job.id})))
                await until(lambda: services.hub.count == 0)
            assert handed < 400  # the rest was not even made ready

    run(body)


def test_a_client_that_leaves_is_forgotten(tmp_path: Path) -> None:
    async def body() -> None:
        async with application(tmp_path) as (services, url), aiohttp.ClientSession() as session:
            job = add(services)
            response = await session.get(f"{url}/api/v1/jobs/{job.id}/events")
            ws = await session.ws_connect(f"{url}/api/v1/ws")
            await ws.send_json({"watch": job.id})
            await until(lambda: services.hub.count == 2)
            response.close()
            await ws.close()
            async with asyncio.timeout(LONG):
                while services.hub.count:
                    write(services, job.id, 1)
                    await asyncio.sleep(0.02)

    run(body)


def test_streams_end_when_the_server_stops(tmp_path: Path) -> None:
    async def body() -> None:
        async with aiohttp.ClientSession() as session:
            async with application(tmp_path) as (services, url):
                job = add(services)
                reading = asyncio.create_task(read(session, url, job.id))
                ws = await session.ws_connect(f"{url}/api/v1/ws")
                await ws.send_json({"watch": job.id})
                await until(lambda: services.hub.count == 2)
                hearing = asyncio.create_task(messages(ws))
            # Each may have heard that the job waits before the server stopped; then it is closed, not cut off.
            *told, closed = await hearing
            assert closed.data == 1001
            assert states([(event["event"], event["data"]) for event in map(aiohttp.WSMessage.json, told)]) in QUEUED
            assert states(await reading) in QUEUED

    run(body)


def test_an_error_of_the_log_closes_the_websocket(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    async def body() -> None:
        async with application(tmp_path) as (services, url), aiohttp.ClientSession() as session:
            job = add(services)

            def broken(*_: Any, **__: Any) -> Any:
                raise RuntimeError("broken")

            monkeypatch.setattr(services.log, "read", broken)
            async with session.ws_connect(f"{url}/api/v1/ws") as ws:
                await ws.send_json({"watch": job.id})
                message = await ws.receive()
            assert (message.type, message.data) == (aiohttp.WSMsgType.CLOSE, 1011)

    run(body)


@pytest.mark.parametrize("full", ["queue", "log"])
def test_a_full_disk_is_said_and_nothing_is_lost(tmp_path: Path, full: str) -> None:
    asked = {"workflow": {**ticks.WORKFLOW, "title": "x" * 20_000}}

    async def body() -> None:
        async with application(tmp_path) as (services, url), aiohttp.ClientSession() as session:
            database = (services.queue if full == "queue" else services.log)._database

            async def post() -> tuple[int, Any]:
                async with session.post(f"{url}/api/v1/jobs", json=asked) as response:
                    return response.status, await response.json()

            assert (await post())[0] == 202
            pages = database.execute("PRAGMA page_count").fetchone()[0]
            database.execute(f"PRAGMA max_page_count = {pages}")
            found = [await post() for _ in range(40)]
            database.execute("PRAGMA max_page_count = 1000000")
            refused = [answer for status, answer in found if status != 202]
            assert bool(refused) == (full == "queue")  # the log may miss an event: the queue knows
            assert all("disk of the server is full" in answer["detail"] for answer in refused)
            assert all(answer["status"] == 507 for answer in refused)
            status, job = await post()
            assert status == 202
            kept = services.queue.jobs(limit=100)
            assert len(kept) == 2 + len(found) - len(refused)
            for one in kept:
                await services.cancel(one.id)
            assert states(await read(session, url, job["id"])) == ["queued", "cancelled"]
            assert states(await read(session, url, kept[1].id)) == ["queued", "cancelled"]

    run(body)
