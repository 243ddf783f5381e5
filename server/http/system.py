"""How the server is: health, versions, device, and numbers for Prometheus."""

from __future__ import annotations

import platform
import resource
import sys
import time
from bisect import bisect_left
from collections import Counter
from http import HTTPStatus
from importlib import metadata
from itertools import accumulate
from typing import Any
from urllib.parse import quote

from aiohttp import web
from aiohttp.typedefs import Handler
from pydantic import BaseModel, ConfigDict

from server.http import security
from server.http.operation import Operations, Reply
from server.http.problem import HttpError
from server.http.services import SERVICES, Services

operations = Operations("system")

BUCKETS = (0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 2.5, 5.0, 10.0)
"""Upper bounds of the request durations that are counted, seconds."""


class Health(BaseModel):
    status: str
    workers: int
    ready: int


class System(BaseModel):
    """Machine and versions."""

    versions: dict[str, str]
    python: str
    platform: str
    device: str
    dtype: str
    workers: list[dict[str, Any]]
    jobs: dict[str, int]
    memory_bytes: int


class Login(BaseModel):
    model_config = ConfigDict(extra="forbid")

    token: str


class Metrics:
    """Requests by route, method and status, and how long they took: `buckets` by the number of the first that fits."""

    def __init__(self) -> None:
        self.requests: Counter[tuple[str, str, int]] = Counter()
        self.buckets: Counter[tuple[str, int]] = Counter()
        self.seconds: Counter[str] = Counter()
        self.begin = time.monotonic()

    def count(self, route: str, method: str, status: int, seconds: float) -> None:
        self.requests[route, method, status] += 1
        self.seconds[route] += seconds  # type: ignore[assignment]
        self.buckets[route, bisect_left(BUCKETS, seconds)] += 1


METRICS = web.AppKey("metrics", Metrics)


@web.middleware
async def measure(request: web.Request, handler: Handler) -> web.StreamResponse:
    """Count every request under its route's template: a path that somebody made up is no label."""
    begin = time.perf_counter()
    status = 500
    try:
        response = await handler(request)
        status = response.status
        return response
    finally:
        resource_ = request.match_info.route.resource
        route = resource_.canonical if resource_ is not None else "(none)"
        request.app[METRICS].count(route, request.method, status, time.perf_counter() - begin)


@operations.add("GET", "/api/v1/health", {200: Health})
async def health(request: web.Request) -> Health:
    """Whether the server answers, and how many workers are ready."""
    workers = request.app[SERVICES].supervisor.workers
    return Health(status="ok", workers=len(workers), ready=sum(worker["ready"] for worker in workers))


@operations.add("POST", "/api/v1/login", {204: None}, body=Login)
async def login(request: web.Request, body: Login) -> Reply:
    """Exchange the token for a cookie that scripts cannot read (for browsers)."""
    wanted = request.app[SERVICES].settings.token
    if not wanted or not security.right(wanted.encode(), body.token):
        raise HttpError(HTTPStatus.UNAUTHORIZED, "this is not the token")
    value = quote(wanted, safe="")  # a comma or a semicolon would end it
    cookie = f"{security.COOKIE}={value}; HttpOnly; SameSite=Strict; Path=/; Max-Age=2592000"
    return Reply(status=HTTPStatus.NO_CONTENT, headers={"Set-Cookie": cookie})


@operations.add("GET", "/api/v1/system", {200: System})
async def system(request: web.Request) -> System:
    """Device, memory, workers and versions."""
    services = request.app[SERVICES]
    counts = await services.run(services.queue.counts)
    return System(
        versions={name: _version(name) for name in ("stepgraph", "torch", "diffusers", "transformers", "aiohttp")},
        python=platform.python_version(), platform=sys.platform, device=services.supervisor.device,
        dtype=services.supervisor.dtype, workers=services.supervisor.workers,
        jobs={state.value: count for state, count in counts.items()}, memory_bytes=_memory(),
    )  # fmt: skip


def _version(name: str) -> str:
    try:
        return metadata.version(name)
    except metadata.PackageNotFoundError:
        return ""


def _memory() -> int:
    """Resident memory of this process at its largest, bytes."""
    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    return peak if sys.platform == "darwin" else peak * 1024


@operations.add("GET", "/metrics", {200: None}, produces=("text/plain",))
async def metrics(request: web.Request) -> web.Response:
    """Numbers in the text format of Prometheus."""
    services, known = request.app[SERVICES], request.app[METRICS]
    counts = await services.run(services.queue.counts)
    lines = [*_requests(known), *_gauges(services, known, {state.value: count for state, count in counts.items()})]
    return web.Response(text="\n".join(lines) + "\n", headers={"Content-Type": "text/plain; version=0.0.4"})


def _requests(known: Metrics) -> list[str]:
    lines = ["# TYPE stepgraph_requests_total counter"]
    for (route, method, status), count in sorted(known.requests.items()):
        labels = f'route="{route}",method="{method}",status="{status}"'
        lines.append(f"stepgraph_requests_total{{{labels}}} {count}")
    lines.append("# TYPE stepgraph_request_seconds histogram")
    totals: Counter[str] = Counter()
    for (route, _, _), count in known.requests.items():
        totals[route] += count
    for route, total in sorted(totals.items()):
        within = accumulate(known.buckets[route, number] for number in range(len(BUCKETS)))
        for bound, count in zip(BUCKETS, within, strict=True):
            lines.append(f'stepgraph_request_seconds_bucket{{route="{route}",le="{bound}"}} {count}')
        lines.append(f'stepgraph_request_seconds_bucket{{route="{route}",le="+Inf"}} {total}')
        lines.append(f'stepgraph_request_seconds_sum{{route="{route}"}} {known.seconds[route]:.6f}')
        lines.append(f'stepgraph_request_seconds_count{{route="{route}"}} {total}')
    return lines


def _gauges(services: Services, known: Metrics, jobs: dict[str, int]) -> list[str]:
    ready = sum(worker["ready"] for worker in services.supervisor.workers)
    return [
        "# TYPE stepgraph_jobs gauge",
        *(f'stepgraph_jobs{{state="{state}"}} {count}' for state, count in jobs.items()),
        "# TYPE stepgraph_workers_ready gauge",
        f"stepgraph_workers_ready {ready}",
        "# TYPE stepgraph_listeners gauge",
        f"stepgraph_listeners {services.hub.count}",
        "# TYPE stepgraph_uptime_seconds gauge",
        f"stepgraph_uptime_seconds {time.monotonic() - known.begin:.1f}",
    ]
