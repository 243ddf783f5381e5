"""A line in the log for each request, with the template of its route: its address may hold what somebody wrote."""

from __future__ import annotations

import logging

from aiohttp import web
from aiohttp.abc import AbstractAccessLogger
from aiohttp.http_exceptions import HttpProcessingError

from server.http.security import REQUEST_ID


class AccessLogger(AbstractAccessLogger):
    """Says who asked for what, the status, how many bytes and how long; as fields too, for logs in JSON."""

    @property
    def enabled(self) -> bool:
        """Whether anybody reads these lines; else nothing is made for them."""
        return self.logger.isEnabledFor(logging.INFO)

    def log(self, request: web.BaseRequest, response: web.StreamResponse, time: float) -> None:
        told = {
            "remote": request.remote or "",
            "method": request.method,
            "route": route(request),
            "status": response.status,
            "bytes": response.body_length,
            "seconds": round(time, 6),
            "request": request.get(REQUEST_ID, ""),
        }
        line = "{remote} {method} {route} {status} {bytes} bytes {seconds:.4f} s".format_map(told)
        self.logger.info(line, extra=told)


def route(request: web.BaseRequest) -> str:
    """The template of a request's route, such as `/api/v1/jobs/{id}`."""
    resource = request.match_info.route.resource if isinstance(request, web.Request) else None
    return "(none)" if resource is None else str(resource.canonical)


def quiet(record: logging.LogRecord) -> bool:
    """Whether a line of aiohttp is kept: what is no HTTP at all is answered with 400, and no mistake of ours."""
    return not (record.exc_info and isinstance(record.exc_info[1], HttpProcessingError))
