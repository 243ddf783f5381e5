"""What a thousand listeners cost: memory of the API process, and the time until all of them have an event.

    python -m tests.bench.server_listeners [--listeners 1000] [--rounds 10]

A server without workers runs in a process of its own. All listeners watch one job over WebSockets; the events are
written to the log, and the server is told of them, as a worker would. A second figure is for listeners of other jobs:
what the events of a job cost that nobody watches.
"""

from __future__ import annotations

import argparse
import asyncio
import statistics
import subprocess
import sys
import tempfile
import time
from pathlib import Path

import aiohttp
from aiohttp import web

from server.http.app import create_app
from server.http.services import SERVICES
from server.jobs.job import Request
from server.settings import Settings


def memory(process: int) -> float:
    """Resident memory of a process, MiB."""
    for line in Path(f"/proc/{process}/status").read_text().splitlines():
        if line.startswith("VmRSS"):
            return int(line.split()[1]) / 1024
    return 0.0


async def serve(data: Path) -> None:
    """A server without workers; each line on standard input (`JOB`) is an event of a job."""
    app = create_app(Settings(data=data, devices=()))
    runner = web.AppRunner(app, shutdown_timeout=1)
    await runner.setup()
    await web.TCPSite(runner, "127.0.0.1", 0, backlog=2048).start()
    services = app[SERVICES]
    jobs = [services.queue.enqueue(Request("w.json", {"w.json": "{}"})).id for _ in range(2)]
    print(runner.addresses[0][1], *jobs, flush=True)
    while job := (await asyncio.to_thread(sys.stdin.readline)).strip():
        services.log.append(job, [("note", {"sent": time.monotonic()}, b"")])
        services.hub.tell(job)
    await runner.cleanup()


async def measure(url: str, jobs: list[str], server: subprocess.Popen[str], listeners: int, rounds: int) -> None:
    assert server.stdin is not None
    before = memory(server.pid)
    connector = aiohttp.TCPConnector(limit=0)
    async with aiohttp.ClientSession(connector=connector) as session:
        begin = time.monotonic()
        sockets = await asyncio.gather(*(session.ws_connect(f"{url}/api/v1/ws") for _ in range(listeners)))
        for socket in sockets:
            await socket.send_json({"watch": jobs[0]})
        print(f"{listeners} connected in {time.monotonic() - begin:.2f} s")
        times = []
        for _ in range(rounds):
            begin = time.monotonic()
            server.stdin.write(jobs[0] + "\n")
            server.stdin.flush()
            await asyncio.gather(*(socket.receive_json() for socket in sockets))
            times.append(time.monotonic() - begin)
        print(
            f"until all have an event: median {statistics.median(times) * 1e3:.0f} ms, most {max(times) * 1e3:.0f} ms"
        )
        begin = time.process_time(), cpu(server.pid)
        for _ in range(rounds):
            server.stdin.write(jobs[1] + "\n")
            server.stdin.flush()
        await asyncio.sleep(0.5)
        print(
            f"an event that nobody watches: {(cpu(server.pid) - begin[1]) / rounds * 1e3:.1f} ms of the server's time"
        )
        now = memory(server.pid)
        print(
            f"memory: {before:.1f} MiB before, {now:.1f} MiB with all, {(now - before) / listeners * 1024:.0f} KiB each"
        )
        await asyncio.gather(*(socket.close() for socket in sockets))
    print(f"after they left: {memory(server.pid):.1f} MiB")


def cpu(process: int) -> float:
    """Processor time of a process, seconds."""
    fields = Path(f"/proc/{process}/stat").read_text().rpartition(")")[2].split()
    return (int(fields[11]) + int(fields[12])) / 100


def main() -> None:
    parser = argparse.ArgumentParser()
    parser.add_argument("--listeners", type=int, default=1000)
    parser.add_argument("--rounds", type=int, default=10)
    parser.add_argument("--serve", type=Path)
    options = parser.parse_args()
    if options.serve is not None:
        asyncio.run(serve(options.serve))
        return
    with tempfile.TemporaryDirectory() as data:
        command = [sys.executable, "-m", "tests.bench.server_listeners", "--serve", data]
        server = subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True)
        assert server.stdin is not None
        assert server.stdout is not None
        try:
            port, *jobs = server.stdout.readline().split()
            asyncio.run(measure(f"http://127.0.0.1:{port}", jobs, server, options.listeners, options.rounds))
        finally:
            server.stdin.close()
            server.wait(30)


if __name__ == "__main__":
    main()
