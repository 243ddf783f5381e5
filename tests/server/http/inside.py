"""A server inside the test's own process, with limits of the test's choice and without workers."""

from __future__ import annotations

import asyncio
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from aiohttp import web

from server.http.app import create_app
from server.settings import Limits, Settings


@contextmanager
def listening(data: Path, *, token: str = "", **limits: Any) -> Iterator[str]:
    """The address of an application that serves until the block ends."""
    app = create_app(Settings(data, token=token, devices=(), limits=Limits(**limits)))
    started, stop = threading.Event(), asyncio.Event()
    address: list[str] = []
    loop = asyncio.new_event_loop()

    async def serve() -> None:
        runner = web.AppRunner(app, shutdown_timeout=1.0)
        await runner.setup()
        await web.TCPSite(runner, "127.0.0.1", 0).start()
        host, port = runner.addresses[0][:2]
        address.append(f"http://{host}:{port}")
        started.set()
        await stop.wait()
        await runner.cleanup()

    def run() -> None:
        try:
            loop.run_until_complete(serve())
        finally:
            loop.close()
            started.set()

    thread = threading.Thread(target=run)
    thread.start()
    started.wait(120)
    try:
        assert address, "the server did not start"
        yield address[0]
    finally:
        loop.call_soon_threadsafe(stop.set)
        thread.join(120)
