"""A server of its own for a test: the real process, on a free port of this machine."""

from __future__ import annotations

import json
import os
import re
import signal
import subprocess
import sys
import time
import urllib.error
import urllib.request
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any


@dataclass
class Answer:
    """What the server said."""

    status: int
    headers: Mapping[str, str]
    body: bytes

    @property
    def json(self) -> Any:
        return json.loads(self.body)


def ask(
    url: str, body: Any = None, *, method: str | None = None, headers: Mapping[str, str] | None = None
) -> Answer:  # fmt: skip
    """One request; a body that is no bytes is sent as JSON. Errors of HTTP are answers too."""
    data = body if body is None or isinstance(body, bytes) else json.dumps(body).encode()
    sent = {"Content-Type": "application/json"} if data is not None else {}
    request = urllib.request.Request(url, data, {**sent, **(headers or {})}, method=method)
    try:
        with urllib.request.urlopen(request, timeout=300) as response:
            return Answer(response.status, dict(response.headers), response.read())
    except urllib.error.HTTPError as error:
        with error:
            return Answer(error.code, dict(error.headers), error.read())


@dataclass
class Running:
    """A server process."""

    process: subprocess.Popen[str]
    url: str
    data: Path

    def ask(
        self, path: str, body: Any = None, *, method: str | None = None, headers: Mapping[str, str] | None = None
    ) -> Answer:
        """One request, as `ask` makes it."""
        return ask(self.url + path, body, method=method, headers=headers)

    def ready(self, seconds: float = 300) -> None:
        """Wait until a worker is ready."""
        self.until(lambda: self.ask("/api/v1/health").json["ready"] > 0, seconds)

    def until(self, what: Any, seconds: float = 300) -> None:
        end = time.monotonic() + seconds
        while not what():
            assert time.monotonic() < end, "it took too long"
            time.sleep(0.05)

    def ended(self, job: str, seconds: float = 300) -> Any:
        """A job when it has ended."""
        path = f"/api/v1/jobs/{job}"
        self.until(lambda: self.ask(path).json["state"] in ("succeeded", "failed", "cancelled"), seconds)
        return self.ask(path).json

    def idle(self, seconds: float = 300) -> None:
        """Wait until no job waits or runs, those of other tests included: nobody writes files then."""
        pages = [f"/api/v1/jobs?limit=1&state={state}" for state in ("queued", "running")]
        self.until(lambda: not any(self.ask(page).json["jobs"] for page in pages), seconds)


@contextmanager
def serve(data: Path, *arguments: str, ready: bool = True) -> Iterator[Running]:
    """`stepgraph serve` on a free port; ended when the block ends."""
    command = [sys.executable, "-m", "graphcore", "serve", "--data", str(data), "--port", "0", "--device", "cpu"]
    process = subprocess.Popen(
        [*command, *arguments], stdout=subprocess.PIPE, text=True, env={**os.environ, "OMP_NUM_THREADS": "1"}
    )
    try:
        assert process.stdout is not None
        line = process.stdout.readline()
        found = re.search(r"http://\S+?:\d+", line)
        assert found, f"the server said {line!r}"
        running = Running(process, found[0], data)
        if ready:
            running.ready()
        yield running
    finally:
        if process.poll() is None:
            process.send_signal(signal.SIGTERM)
        try:
            process.wait(120)
        finally:
            process.kill()
            process.stdout.close()  # type: ignore[union-attr]
            process.wait()
