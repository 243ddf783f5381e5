"""Who may talk to the server: the names it answers to, the pages that may use it, the token, and how often.

The order matters: an answer costs least where most strangers are turned away. Host and Origin are looked at before a
WebSocket is accepted, as browsers let every page open one.
"""

from __future__ import annotations

import asyncio
import hmac
import logging
import secrets
import time
from collections import OrderedDict
from collections.abc import Callable
from http import HTTPStatus
from urllib.parse import unquote, urlsplit

from aiohttp import web
from aiohttp.typedefs import Handler, Middleware

from graphcore import StepgraphError
from server import logs
from server.http import problem
from server.http.operation import HIDE
from server.http.problem import HttpError
from server.settings import Settings, is_loopback

log = logging.getLogger(__name__)

COOKIE = "stepgraph_token"
SUBPROTOCOL = "bearer."
"""Prefix of a WebSocket subprotocol that carries the token: browsers cannot send a header there."""

OPEN = frozenset({"/", "/api/docs", "/api/v1/health", "/api/v1/login"})
"""Paths that need no token: pages that hold nothing of the owner's, and what one needs to log in."""

ASSETS = "/assets/"
"""Below it lie the parts of the editor's page, which need no token either."""

PAGES = frozenset({"/", "/api/docs"})
"""Pages for people, which change nothing and lead to nothing that runs by itself."""

MOST_CLIENTS = 10_000
"""Clients whose rate is remembered; the ones not heard of for longest are forgotten."""

HEADERS = {
    "Content-Security-Policy": (
        "default-src 'self'; img-src 'self' blob: data:; style-src 'self' 'unsafe-inline'; object-src 'none'; "
        "base-uri 'none'; form-action 'self'; frame-ancestors 'none'"
    ),
    "X-Content-Type-Options": "nosniff",
    "Referrer-Policy": "no-referrer",
    "X-Frame-Options": "DENY",
    "Cross-Origin-Opener-Policy": "same-origin",
    "Cross-Origin-Resource-Policy": "same-origin",
}

REQUEST_ID = web.RequestKey("request_id", str)

Guard = Callable[[web.Request], None]
"""Looks at a request before anything is done for it, and raises an `HttpError` where it is turned away."""


def middlewares(settings: Settings) -> list[Middleware]:
    """All of them, the outermost first."""
    return [_errors, _guarded(settings)]


def _guarded(settings: Settings) -> Middleware:
    """Every request passes all guards, in one turn: none of them has to wait for anything."""
    guards = (_host_and_origin(settings), _token(settings), _rate(settings), _plain)

    @web.middleware
    async def check(request: web.Request, handler: Handler) -> web.StreamResponse:
        for guard in guards:
            guard(request)
        return await handler(request)

    return check


@web.middleware
async def _errors(request: web.Request, handler: Handler) -> web.StreamResponse:
    """Whatever goes wrong becomes a problem document; what nobody expected says no more than its request's id."""
    request[REQUEST_ID] = secrets.token_hex(8)
    logs.REQUEST.set(request[REQUEST_ID])
    response = await _answered(request, handler)
    if request.path.startswith("/v1/") and response.content_type == problem.CONTENT_TYPE:
        return problem.for_openai(response)
    return response


async def _answered(request: web.Request, handler: Handler) -> web.StreamResponse:
    try:
        return await handler(request)
    except StepgraphError as error:
        return problem.of(error, request.app[HIDE])
    except web.HTTPException as error:
        if error.status < HTTPStatus.BAD_REQUEST:
            raise
        headers = {name: value for name, value in error.headers.items() if name == "Allow"}
        if error.status == HTTPStatus.METHOD_NOT_ALLOWED and request.method == "OPTIONS":
            return web.Response(status=HTTPStatus.NO_CONTENT, headers=headers)
        return problem.response(HTTPStatus(error.status), error.reason, headers)
    except (ConnectionResetError, asyncio.CancelledError):
        raise
    except RecursionError:
        return problem.response(HTTPStatus.UNPROCESSABLE_ENTITY, "the body is nested too deeply")
    except Exception:
        log.exception("a request failed")
        detail = f"a mistake in the server; its log says more under {request[REQUEST_ID]}"
        return problem.response(HTTPStatus.INTERNAL_SERVER_ERROR, detail)


async def on_prepare(request: web.Request, response: web.StreamResponse) -> None:
    """What stands above every answer, also of those that nobody foresaw, and of streams, which begin in a handler."""
    for name, value in HEADERS.items():
        response.headers.setdefault(name, value)
    response.headers.setdefault("X-Request-Id", request.get(REQUEST_ID, ""))


def _host_and_origin(settings: Settings) -> Guard:
    """Turn away names that others gave this machine (DNS rebinding) and pages of other sites (CSRF)."""
    names = {settings.host.strip("[]").lower(), *(name.lower() for name in settings.names)}

    def known(host: str) -> bool:
        return host in names or is_loopback(host)

    def check(request: web.Request) -> None:
        host = _name(request.headers.get("Host", ""))
        if not known(host):
            raise HttpError(HTTPStatus.MISDIRECTED_REQUEST, f"this server is not called {host[:100]!r}")
        origin = request.headers.get("Origin")
        if origin is not None and not _same(origin, request):
            raise HttpError(HTTPStatus.FORBIDDEN, "pages of other sites may not use this server")
        if request.headers.get("Sec-Fetch-Site", "none") not in ("none", "same-origin") and not _visits(request):
            raise HttpError(HTTPStatus.FORBIDDEN, "pages of other sites may not use this server")

    return check


def _visits(request: web.Request) -> bool:
    """Whether somebody follows a link of another site to a page for people: the other site cannot look at it."""
    fetched = (request.headers.get("Sec-Fetch-Mode"), request.headers.get("Sec-Fetch-Dest"))
    return request.method == "GET" and request.path in PAGES and fetched == ("navigate", "document")


def _plain(request: web.Request) -> None:
    """Bodies come as they are: what is counted is then what is kept, and nothing small unpacks to something large."""
    if request.headers.get("Content-Encoding", "identity").lower() not in ("", "identity"):
        raise HttpError(
            HTTPStatus.UNSUPPORTED_MEDIA_TYPE, "send the body unpacked", headers={"Accept-Encoding": "identity"}
        )


def _name(host: str) -> str:
    """The name in a Host header, without port."""
    try:
        return (urlsplit(f"//{host}").hostname or "").lower()
    except ValueError:
        return ""


def _same(origin: str, request: web.Request) -> bool:
    """Whether an Origin is this server as the client calls it: scheme aside, the very same name and port."""
    try:
        parts = urlsplit(origin)
        return parts.scheme in ("http", "https") and parts.netloc.lower() == request.headers["Host"].lower()
    except (ValueError, KeyError):
        return False


def _token(settings: Settings) -> Guard:
    wanted = settings.token.encode()

    def check(request: web.Request) -> None:
        if wanted and not _is_open(request.path) and not any(right(wanted, given) for given in _given(request)):
            raise HttpError(
                HTTPStatus.UNAUTHORIZED, "a token is needed", headers={"WWW-Authenticate": 'Bearer realm="stepgraph"'}
            )

    return check


def _is_open(path: str) -> bool:
    return path in OPEN or path.startswith(ASSETS)


def right(wanted: bytes, given: str) -> bool:
    """Whether a token is the right one, in a time that tells nothing about it."""
    return hmac.compare_digest(wanted, given.encode("utf-8", "surrogateescape"))


def _given(request: web.Request) -> list[str]:
    """The tokens that a request carries: in a header, the cookie, or a WebSocket subprotocol; never in its address."""
    found = [unquote(request.cookies.get(COOKIE, ""))]
    scheme, _, value = request.headers.get("Authorization", "").partition(" ")
    if scheme.lower() == "bearer":
        found.append(value.strip())
    offered = request.headers.get("Sec-WebSocket-Protocol", "").split(",")
    found += [one.strip().removeprefix(SUBPROTOCOL) for one in offered if one.strip().startswith(SUBPROTOCOL)]
    return [token for token in found if token]


def _rate(settings: Settings) -> Guard:
    """A bucket of requests for each client, filled at a steady rate; looking costs nothing, asking for work does."""
    limits = settings.limits
    buckets: OrderedDict[str, tuple[float, float]] = OrderedDict()

    def check(request: web.Request) -> None:
        if request.method in ("GET", "HEAD", "OPTIONS"):
            return
        client, now = request.remote or "", time.monotonic()
        left, then = buckets.pop(client, (float(limits.burst), now))
        left = min(float(limits.burst), left + (now - then) * limits.requests_per_second) - 1
        buckets[client] = (max(left, 0.0), now)
        if len(buckets) > MOST_CLIENTS:
            buckets.popitem(last=False)
        if left < 0:
            raise HttpError(
                HTTPStatus.TOO_MANY_REQUESTS, f"more than {limits.requests_per_second:g} requests a second",
                headers={"Retry-After": "1"},
            )  # fmt: skip

    return check
