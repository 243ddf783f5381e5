"""How much one server carries: jobs asked for, cached workflows run to their answer, and the memory that it takes.

    python -m tests.bench.server_load [--seconds 3] [--clients 1 8 64] [--only PART ...] [--json FILE]

The server is the real one, in a process of its own, with one worker on the CPU; the clients are aiohttp's, in this
process, each with a connection that it keeps. `enqueue` is `POST /jobs` while the worker takes jobs away; `graph` is
`POST /workflows/{name}/run` of three cached nodes without torch, answered with the output's file; `graph job` the same
with an Idempotency-Key each, so that every request becomes a job that a worker ends; `txt2img` a cached picture of the
embedded model in two steps. `memory` is the resident memory of the API's process when it is ready, and after jobs.
"""

from __future__ import annotations

import argparse
import asyncio
import itertools
import json
import os
import signal
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import aiohttp

from tests.bench.measure import ROOT, report

PARTS = ("enqueue", "graph", "txt2img", "memory")
JOBS = 1000
"""Jobs between the two looks at memory."""

SERVE = """
import sys
from pathlib import Path
from server import running
from server.settings import Limits, Settings
limits = Limits(requests_per_second=1e9, burst=10**9, waiting_jobs=10**7)
running.run(Settings(data=Path(sys.argv[1]), port=0, devices=("cpu",), limits=limits))
"""
"""The server without a rate limit: it would be all that is measured."""

PLUGIN = '''
from graphcore import node


@node(category="bench")
def add(a: float, b: float = 1.0) -> float:
    """The sum of a and b."""
    return a + b
'''

GRAPH = {
    "stepgraph": 1,
    "inputs": {"x": {"type": "number", "default": 1.0}},
    "nodes": {
        "one": {"type": "bench/add", "inputs": {"a": {"from": "inputs.x"}}},
        "two": {"type": "bench/add", "inputs": {"a": {"from": "one"}}},
        "three": {"type": "bench/add", "inputs": {"a": {"from": "two"}}},
    },
    "outputs": {"sum": {"from": "three"}},
}

_KEYS = itertools.count()


@dataclass(frozen=True)
class Ask:
    """One kind of request: a path, a body, and the statuses that are right."""

    path: str
    body: dict[str, Any]
    right: tuple[int, ...] = (200,)
    keyed: bool = False


ASKS = {
    "enqueue": Ask("/api/v1/jobs", {"workflow": "graph"}, (202,)),
    "graph": Ask("/api/v1/workflows/graph/run", {}),
    "graph job": Ask("/api/v1/workflows/graph/run", {}, keyed=True),
    "txt2img": Ask("/api/v1/workflows/txt2img/run", {"inputs": {"steps": 2}, "output": "image"}),
}


@contextmanager
def served(data: Path) -> Iterator[tuple[str, int]]:
    """A server on a free port: its address and process id."""
    for folder in ("plugins", "workflows"):
        (data / folder).mkdir(parents=True)
    (data / "plugins" / "bench.py").write_text(PLUGIN)
    (data / "workflows" / "graph.json").write_text(json.dumps(GRAPH, indent=2))
    process = subprocess.Popen(
        [sys.executable, "-c", SERVE, str(data)], stdout=subprocess.PIPE, text=True, cwd=ROOT,
        env={**os.environ, "OMP_NUM_THREADS": "1"},
    )  # fmt: skip
    try:
        assert process.stdout is not None
        line = process.stdout.readline()
        yield line.split()[-1].rstrip("/"), process.pid
    finally:
        process.send_signal(signal.SIGTERM)
        process.wait(60)


async def ready(session: aiohttp.ClientSession, url: str) -> None:
    """Wait for the worker."""
    while True:
        async with session.get(f"{url}/api/v1/health") as answer:
            if (await answer.json())["ready"]:
                return
        await asyncio.sleep(0.05)


async def idle(session: aiohttp.ClientSession, url: str) -> None:
    """Wait until no job waits or runs."""
    while True:
        async with session.get(f"{url}/api/v1/system") as answer:
            jobs = (await answer.json())["jobs"]
        if not jobs["queued"] and not jobs["running"]:
            return
        await asyncio.sleep(0.2)


async def once(session: aiohttp.ClientSession, url: str, ask: Ask) -> float:
    """Seconds that one request takes."""
    headers = {"Idempotency-Key": f"bench {next(_KEYS)}"} if ask.keyed else None
    begin = time.perf_counter()
    async with session.post(url + ask.path, json=ask.body, headers=headers) as answer:
        body = await answer.read()
    if answer.status not in ask.right:
        raise RuntimeError(f"{ask.path} answered {answer.status}: {body[:300]!r}")
    return time.perf_counter() - begin


async def load(url: str, ask: Ask, clients: int, seconds: float) -> dict[str, Any]:
    """Let clients ask one request after the other for some seconds."""
    async with aiohttp.ClientSession(connector=aiohttp.TCPConnector(limit=clients)) as session:
        for _ in range(3):
            await once(session, url, ask)
        found: list[float] = []
        begin = time.perf_counter()

        async def client() -> None:
            while time.perf_counter() - begin < seconds:
                found.append(await once(session, url, ask))

        await asyncio.gather(*(client() for _ in range(clients)))
        took = time.perf_counter() - begin
        await idle(session, url)
    places = statistics.quantiles(found, n=100, method="inclusive")
    return {
        "clients": clients, "requests/s": round(len(found) / took), "p50 ms": round(1e3 * places[49], 2),
        "p99 ms": round(1e3 * places[98], 2), "load": round(os.getloadavg()[0], 1),
    }  # fmt: skip


def resident(pid: int) -> float:
    """MiB of a process that are in memory now."""
    lines = Path(f"/proc/{pid}/status").read_text().splitlines()
    return round(next(int(line.split()[1]) for line in lines if line.startswith("VmRSS")) / 1024, 1)


async def memory(url: str, pid: int) -> list[dict[str, Any]]:
    """Of the API's process: when it is ready, after jobs, and after as many again."""
    rows = [{"what": "memory: ready", "MiB": resident(pid), "load": round(os.getloadavg()[0], 1)}]
    async with aiohttp.ClientSession() as session:
        for turn in (1, 2, 3):
            for number in range(JOBS):
                await once(session, url, Ask(ASKS["graph job"].path, {"inputs": {"x": number}}, keyed=True))
            rows.append({"what": f"memory: {turn * JOBS} jobs", "MiB": resident(pid), "load": rows[0]["load"]})
    return rows


async def measure(part: str, clients: list[int], seconds: float) -> list[dict[str, Any]]:
    """The rows of one part, on a server of its own."""
    rows: list[dict[str, Any]] = []
    with tempfile.TemporaryDirectory() as folder, served(Path(folder) / "data") as (url, pid):
        async with aiohttp.ClientSession() as session:
            await ready(session, url)
        if part == "memory":
            return await memory(url, pid)
        for name in (name for name in ASKS if name.split()[0] == part):
            for count in clients:
                rows.append({"what": name, **await load(url, ASKS[name], count, seconds)})
                print(rows[-1], flush=True)
    return rows


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--seconds", type=float, default=3.0, help="of each measurement (default 3)")
    parser.add_argument("--clients", type=int, nargs="+", default=[1, 8, 64])
    parser.add_argument("--only", choices=PARTS, nargs="+", default=list(PARTS))
    parser.add_argument("--json", type=Path, help="write all figures to this file")
    options = parser.parse_args()
    rows = [row for part in options.only for row in asyncio.run(measure(part, options.clients, options.seconds))]
    report("one server, one worker", rows, options.json)


if __name__ == "__main__":
    main()
