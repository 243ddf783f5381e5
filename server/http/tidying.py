"""Tidying while the server runs: the policy is applied every so often, a little at a time."""

from __future__ import annotations

import asyncio
import contextlib
import logging
import sqlite3
from collections.abc import AsyncIterator

from aiohttp import web

from graphcore import StepgraphError
from server.http.services import SERVICES, Services
from server.work.retention import BATCH, Retention

log = logging.getLogger(__name__)

PAUSE_SECONDS = 0.2
"""Between two batches, so that others have the disk."""


async def tidy(app: web.Application) -> AsyncIterator[None]:
    """As long as the application lives."""
    task = asyncio.create_task(_forever(app[SERVICES]))
    yield
    task.cancel()
    with contextlib.suppress(asyncio.CancelledError):
        await task


async def _forever(services: Services) -> None:
    keep = services.settings.keep
    retention = Retention(keep, services.queue, services.log, services.files, services.workflows)
    while True:
        await asyncio.sleep(keep.every_seconds)
        try:
            await _once(services, retention)
        except (StepgraphError, OSError, sqlite3.Error, web.HTTPException) as error:
            log.warning("what is old cannot be removed now: %s", error)
        except Exception:
            log.exception("what is old cannot be removed")


async def _once(services: Services, retention: Retention) -> None:
    while gone := await services.run(retention.jobs):
        services.answers.forget(gone)
        log.info("%d old jobs were removed", len(gone))
        if len(gone) < BATCH:
            break
        await asyncio.sleep(PAUSE_SECONDS)
    if files := await services.run(retention.files):
        log.info("%d files that nothing names were removed", len(files))
