"""How much one server carries: jobs asked for, cached workflows run to their answer, and the memory that it takes.

    python -m tests.bench.server_load [--seconds 3] [--clients 1 8 64] [--only PART ...] [--json FILE]

The server is the real one, in a process of its own, with one worker on the CPU. The clients are those of
`tests/bench/clients.py`, in a process of their own too: bytes over kept connections, as the fast load generators send
them. (A client of Python's libraries takes about as long for a request as the server does; figures measured with one
are lower, and say as much of the client.) `cpu` is the processor time of the API's process for each request, which
says more than the rate on a machine that does other things too.

`health` is `GET /health`: what HTTP itself costs, the ceiling of all others. `enqueue` is `POST /jobs` while the worker
takes jobs away; `graph` is `POST /workflows/{name}/run` of three cached nodes without torch, answered with the output's
file; `graph job` the same with an Idempotency-Key each, so that every request becomes a job that a worker ends;
`txt2img` a cached picture of the embedded model in two steps. `memory` is the resident memory of the API's process when
it is ready, and after jobs. `ready` is `stepgraph serve` from the start of its process to the address that it prints,
with its modules compiled as an installation has them.
"""

from __future__ import annotations

import argparse
import itertools
import json
import os
import signal
import statistics
import subprocess
import sys
import tempfile
import time
import urllib.request
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from tests.bench.clients import NUMBER, Order, ask
from tests.bench.measure import ROOT, report

PARTS = ("ready", "health", "enqueue", "graph", "txt2img", "memory")
STARTS = 5
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

_TURNS = itertools.count(1)

RUN = "/api/v1/workflows/graph/run"
KEY = f"Idempotency-Key: bench {NUMBER}"
ORDERS: Mapping[str, Mapping[str, Any]] = {
    "health": {"path": "/api/v1/health"},
    "enqueue": {"path": "/api/v1/jobs", "body": '{"workflow": "graph"}', "right": (202,)},
    "graph": {"path": RUN, "body": "{}"},
    "graph job": {"path": RUN, "body": "{}", "headers": (KEY,)},
    "txt2img": {"path": "/api/v1/workflows/txt2img/run", "body": '{"inputs": {"steps": 2}, "output": "image"}'},
}
"""The kinds of requests, as `Order` takes them."""


@contextmanager
def served(data: Path) -> Iterator[tuple[str, int]]:
    """A server on a free port: its address and process id."""
    for folder in ("plugins", "workflows"):
        (data / folder).mkdir(parents=True)
    (data / "plugins" / "bench.py").write_text(PLUGIN)
    (data / "workflows" / "graph.json").write_text(json.dumps(GRAPH, indent=2))
    with _process([sys.executable, "-c", SERVE, str(data)], {}) as process:
        yield process.said.split()[-1].rstrip("/"), process.pid


@dataclass(frozen=True)
class Started:
    """A server that is ready."""

    pid: int
    said: str


@contextmanager
def _process(command: list[str], variables: Mapping[str, str]) -> Iterator[Started]:
    """A server process from the line that says its address; ended when the block ends."""
    process = subprocess.Popen(
        command, stdout=subprocess.PIPE, text=True, cwd=ROOT, env={**os.environ, "OMP_NUM_THREADS": "1", **variables}
    )
    try:
        assert process.stdout is not None
        yield Started(process.pid, process.stdout.readline())
    finally:
        process.send_signal(signal.SIGTERM)
        process.wait(60)


def wait(url: str, until: Callable[[Any], bool]) -> None:
    """Wait until the API tells what is hoped for."""
    while True:
        with urllib.request.urlopen(url) as answer:
            if until(json.load(answer)):
                return
        time.sleep(0.1)


def order(url: str, name: str, **more: Any) -> Order:
    """Requests of a kind, none of which was sent before."""
    host, port = url.removeprefix("http://").split(":")
    return Order(host, int(port), **{**ORDERS[name], **more}, first=next(_TURNS) * 10**6)


def load(url: str, pid: int, name: str, clients: int, seconds: float) -> dict[str, Any]:
    """Let clients ask one request after the other for some seconds."""
    ask(order(url, name, requests=3))
    before = cpu(pid)
    tally = ask(order(url, name, clients=clients, seconds=seconds))
    spent = cpu(pid) - before
    wait(f"{url}/api/v1/system", lambda told: not told["jobs"]["queued"] and not told["jobs"]["running"])
    places = statistics.quantiles(tally.took, n=100, method="inclusive")
    return {
        "what": name, "clients": clients, "requests/s": round(len(tally.took) / tally.seconds),
        "p50 ms": round(1e3 * places[49], 2), "p99 ms": round(1e3 * places[98], 2),
        "cpu ms": round(1e3 * spent / len(tally.took), 2), "load": round(os.getloadavg()[0], 1),
    }  # fmt: skip


def cpu(pid: int) -> float:
    """Processor time of a process, seconds."""
    fields = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()
    return (int(fields[11]) + int(fields[12])) / os.sysconf("SC_CLK_TCK")


def resident(pid: int) -> float:
    """MiB of a process that are in memory now."""
    lines = Path(f"/proc/{pid}/status").read_text().splitlines()
    return round(next(int(line.split()[1]) for line in lines if line.startswith("VmRSS")) / 1024, 1)


def memory(url: str, pid: int) -> list[dict[str, Any]]:
    """Of the API's process: when it is ready, after jobs, and after as many again."""
    rows = [{"what": "memory: ready", "MiB": resident(pid), "load": round(os.getloadavg()[0], 1)}]
    body = f'{{"inputs": {{"x": {NUMBER}}}}}'
    for turn in (1, 2, 3):
        ask(order(url, "graph job", body=body, requests=JOBS))
        rows.append({"what": f"memory: {turn * JOBS} jobs", "MiB": resident(pid), "load": rows[0]["load"]})
    return rows


def starts(folder: Path) -> list[dict[str, Any]]:
    """How long the server takes until it is ready; the first start compiles its modules, and is not counted."""
    compiled = {"PYTHONPYCACHEPREFIX": str(folder / "compiled"), "PYTHONDONTWRITEBYTECODE": ""}
    rows = []
    for turn in range(STARTS + 1):
        command = [sys.executable, "-m", "graphcore", "serve", "--port", "0", "--device", "cpu", "--data"]
        begin = time.perf_counter()
        with _process([*command, str(folder / f"data {turn}")], compiled) as process:
            took, spent = time.perf_counter() - begin, cpu(process.pid)
        busy = round(os.getloadavg()[0], 1)
        rows.append({"what": "ready", "ms": round(1e3 * took), "cpu ms": round(1e3 * spent), "load": busy})
    return rows[1:]


def measure(part: str, clients: list[int], seconds: float) -> list[dict[str, Any]]:
    """The rows of one part, on a server of its own."""
    with tempfile.TemporaryDirectory() as folder:
        if part == "ready":
            return starts(Path(folder))
        with served(Path(folder) / "data") as (url, pid):
            wait(f"{url}/api/v1/health", lambda told: bool(told["ready"]))
            if part == "memory":
                return memory(url, pid)
            names = [name for name in ORDERS if name.split()[0] == part]
            return [load(url, pid, name, count, seconds) for name in names for count in clients]


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--seconds", type=float, default=3.0, help="of each measurement (default 3)")
    parser.add_argument("--clients", type=int, nargs="+", default=[1, 8, 64])
    parser.add_argument("--only", choices=PARTS, nargs="+", default=list(PARTS))
    parser.add_argument("--json", type=Path, help="write all figures to this file")
    options = parser.parse_args()
    rows = [row for part in options.only for row in measure(part, options.clients, options.seconds)]
    report("one server, one worker", rows, options.json)


if __name__ == "__main__":
    main()
