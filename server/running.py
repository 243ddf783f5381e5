"""The server's process: the application on a socket, from "ready" to a clean end."""

from __future__ import annotations

import asyncio
import contextlib
import logging
import signal

from aiohttp import web

from graphcore import StepgraphError
from server import logs
from server.http.app import create_app
from server.settings import Settings

SHUTDOWN_SECONDS = 5.0
"""How long requests under way may take when the server stops."""

ACCESS = '%a "%m %Tfs" %s %b'
"""Of a request: who, how long, status and bytes. Not its address: that may hold what somebody wrote."""

log = logging.getLogger(__name__)


def run(settings: Settings, *, verbose: bool = False) -> int:
    """Serve until SIGTERM or Ctrl-C.

    Raises:
        StepgraphError: the address cannot be listened on, or the settings are unsafe.
    """
    logs.configure(as_json=settings.json_logs, verbose=verbose)
    return asyncio.run(_serve(settings))


async def _serve(settings: Settings) -> int:
    app = create_app(settings)
    runner = web.AppRunner(app, shutdown_timeout=SHUTDOWN_SECONDS, access_log_format=ACCESS)
    stop = asyncio.Event()
    for name in (signal.SIGINT, signal.SIGTERM):
        with contextlib.suppress(NotImplementedError):
            asyncio.get_running_loop().add_signal_handler(name, stop.set)
    await runner.setup()
    try:
        await _listen(runner, settings)
        host, port = runner.addresses[0][:2]
        shown = f"[{host}]" if ":" in host else host
        print(f"Stepgraph serves on http://{shown}:{port}/", flush=True)
        await stop.wait()
        log.info("stopping: running jobs go back to the queue")
    finally:
        await runner.cleanup()
    return 0


async def _listen(runner: web.AppRunner, settings: Settings) -> None:
    site = web.TCPSite(runner, settings.host.strip("[]"), settings.port)
    try:
        await site.start()
    except OSError as error:
        raise StepgraphError(f"cannot listen on {settings.host}:{settings.port}: {error.strerror or error}") from error
