"""The application: all operations, behind the guards."""

from __future__ import annotations

from importlib import metadata

from aiohttp import web

from server.http import catalog, files, jobs, openai, openapi, security, streams, system, values, watching, workflows
from server.http.operation import LIMITS, Operation, route
from server.http.services import SERVICES, Services, lifetime
from server.settings import Settings

PARTS = (jobs, streams, workflows, values, catalog, files, system, openai)


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
        handler_args={"max_line_size": 8190, "max_field_size": 8190},
    )
    app[LIMITS] = settings.limits
    app[SERVICES] = services = Services(settings)
    app[catalog.CATALOG], app[system.METRICS] = catalog.Catalog(), system.Metrics()
    offered = operations()
    app.add_routes([route(operation) for operation in offered])
    _document(app, offered)
    app.on_response_prepare.append(security.on_prepare)
    app.on_shutdown.append(lambda _: _closing(services))
    app.cleanup_ctx.extend([lifetime, watching.watch])
    return app


async def _closing(services: Services) -> None:
    services.hub.close()


def _document(app: web.Application, offered: list[Operation]) -> None:
    """The OpenAPI document, made when it is first asked for."""
    made: list[catalog.Document] = []

    async def document(request: web.Request) -> web.Response:
        if not made:
            made.append(catalog.Document.of(openapi.document(offered, version())))
        return made[0].response(request)

    app.router.add_get("/api/openapi.json", document)


def version() -> str:
    try:
        return metadata.version("stepgraph")
    except metadata.PackageNotFoundError:
        return "0"
