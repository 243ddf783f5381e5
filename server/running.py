"""The server's process: the application on a socket, from "ready" to a clean end."""

from __future__ import annotations

import asyncio
import contextlib
import errno
import gc
import logging
import os
import signal
import socket
import sqlite3

from aiohttp import web

from graphcore import StepgraphError
from server import logs
from server.claim import claim
from server.http.access import AccessLogger, quiet
from server.http.app import create_app
from server.settings import Settings
from server.work.folders import Folders

SHUTDOWN_SECONDS = 5.0
"""How long requests under way may take when the server stops."""

BACKLOG = 1024
"""Connections that wait to be taken."""

log = logging.getLogger(__name__)


def run(settings: Settings, *, verbose: bool = False) -> int:
    """Serve until SIGTERM or Ctrl-C.

    Raises:
        StepgraphError: the address or the data folder cannot be had, or the settings are unsafe.
    """
    logs.configure(as_json=settings.json_logs, verbose=verbose)
    logging.getLogger("aiohttp.server").addFilter(quiet)
    settings.check()
    _confine(settings)
    with claim(settings.data), _listen(settings) as listening:
        return asyncio.run(_serve(settings, listening))


def _confine(settings: Settings) -> None:
    """Models by their names on a hub come from the data folder alone; no request makes this machine fetch any.

    Read by huggingface_hub when it is first imported, here and in the workers, which inherit it.
    """
    os.environ["HF_HUB_CACHE"] = str(Folders(settings.data).hub)
    os.environ["HF_HUB_OFFLINE"] = "1"


async def _serve(settings: Settings, listening: socket.socket) -> int:
    runner = web.AppRunner(_app(settings), shutdown_timeout=SHUTDOWN_SECONDS, access_log_class=AccessLogger)
    stop = asyncio.Event()
    for name in (signal.SIGINT, signal.SIGTERM):
        with contextlib.suppress(NotImplementedError):
            asyncio.get_running_loop().add_signal_handler(name, stop.set)
    await runner.setup()
    try:
        await web.SockSite(runner, listening, backlog=BACKLOG).start()
        host, port = listening.getsockname()[:2]
        shown = f"[{host}]" if ":" in host else host
        print(f"Stepgraph serves on http://{shown}:{port}/", flush=True)
        log.info("ready on port %d with %d workers", port, len(settings.devices))
        gc.freeze()  # what the start made stays as long as the server: no collection need look at it again
        gc.enable()
        await stop.wait()
        log.info("stopping: running jobs go back to the queue")
    finally:
        await runner.cleanup()
    return 0


def _app(settings: Settings) -> web.Application:
    try:
        return create_app(settings)
    except (OSError, sqlite3.Error) as error:
        raise StepgraphError(f"--data {settings.data}: the folder cannot be used: {error}") from error


def _listen(settings: Settings) -> socket.socket:
    """The socket, before anything else is started that would have to be stopped again."""
    host = settings.host.strip("[]")
    family = socket.AF_INET6 if ":" in host else socket.AF_INET
    try:
        return socket.create_server((host, settings.port), family=family, backlog=BACKLOG)
    except OSError as error:
        hint = "; another program listens there: take another --port, or 0 for a free one"
        used = hint if error.errno == errno.EADDRINUSE else ""
        where = f"{settings.host}:{settings.port}"
        raise StepgraphError(f"cannot listen on {where}: {error.strerror or error}{used}") from error
