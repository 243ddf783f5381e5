"""Files that people change beside the server: workflows and plugins, seen as soon as they are saved."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from pathlib import Path

from aiohttp import web

from graphcore.plugins.watch import Watcher
from server.http.services import SERVICES, Services


async def watch(app: web.Application) -> AsyncIterator[None]:
    """Tell of changed workflows, and take up changed plugins, as long as the application lives."""
    services = app[SERVICES]
    loop = asyncio.get_running_loop()
    folders = services.folders

    def on_change(paths: set[Path]) -> None:  # in the watcher's thread
        _look(services, paths, loop)

    with Watcher([folders.workflows, folders.plugins], on_change):
        yield


def _look(services: Services, paths: set[Path], loop: asyncio.AbstractEventLoop) -> None:
    folders = services.folders
    workflows = sorted({path.stem for path in paths if path.parent == folders.workflows and path.suffix == ".json"})
    if workflows:
        loop.call_soon_threadsafe(services.hub.changed, "workflows", workflows)
    if any(path.is_relative_to(folders.plugins) for path in paths):
        changed = [state.name for state in services.plugins.reload()]
        if changed:
            services.engine.use(services.plugins.registry)
            loop.call_soon_threadsafe(services.hub.changed, "plugins", changed)
