"""The application: all operations, behind the guards."""

from __future__ import annotations

from functools import cache
from importlib import metadata
from typing import Any

from aiohttp import web

from server.http import (
    catalog,
    editor,
    files,
    jobs,
    named,
    openai,
    openapi,
    reference,
    security,
    streams,
    system,
    tidying,
    values,
    watching,
    workflows,
)
from server.http.operation import HIDE, LIMITS, Operation, route
from server.http.services import SERVICES, Services, lifetime
from server.settings import Settings

PARTS = (jobs, streams, workflows, values, catalog, files, named, system, openai)


def operations() -> list[Operation]:
    """Everything that the API offers."""
    return [operation for part in PARTS for operation in part.operations.all]


def create_app(settings: Settings) -> web.Application:
    """An application with services of its own; they start and stop with it.

    Raises:
        StepgraphError: settings that would open the machine to strangers.
    """
    settings.check()
    app = web.Application(
        middlewares=[system.measure, *security.middlewares(settings)],
        client_max_size=settings.limits.json_bytes,
        handler_args={"max_line_size": 8190, "max_field_size": 8190, "auto_decompress": False},
    )
    app[LIMITS] = settings.limits
    app[SERVICES] = services = Services(settings)
    app[HIDE] = services.folders.hide
    app[catalog.CATALOG], app[system.METRICS] = catalog.Catalog(), system.Metrics()
    offered = operations()
    app.add_routes([route(operation) for operation in offered])
    app.add_routes(editor.Editor(editor.FOLDER).routes())
    _document(app, offered)
    app.on_response_prepare.append(security.on_prepare)
    app.on_shutdown.append(lambda _: _closing(services))
    app.cleanup_ctx.extend([lifetime, watching.watch, tidying.tidy])
    return app


async def _closing(services: Services) -> None:
    services.hub.close()


def _document(app: web.Application, offered: list[Operation]) -> None:
    """The OpenAPI document and its page, made when they are first asked for."""

    @cache
    def made() -> dict[str, Any]:
        return openapi.document(offered, version())

    @cache
    def packed(name: str) -> catalog.Document:
        return catalog.Document.of(made()) if name == "json" else catalog.Document.page(reference.page(made()))

    async def document(request: web.Request) -> web.Response:
        return packed("json").response(request)

    async def page(request: web.Request) -> web.Response:
        return packed("page").response(request)

    app.router.add_get("/api/openapi.json", document)
    app.router.add_get("/api/docs", page)


def version() -> str:
    try:
        return metadata.version("stepgraph")
    except metadata.PackageNotFoundError:
        return "0"
