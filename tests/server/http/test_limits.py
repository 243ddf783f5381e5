"""Bounds of one request: each is said in words, and what is within it is answered."""

from __future__ import annotations

import json
import socket
import urllib.request
from pathlib import Path
from urllib.parse import urlsplit

from tests.server import ticks
from tests.server.http.house import ask
from tests.server.http.inside import listening


def test_long_loops_are_not_explained(tmp_path: Path) -> None:
    folders = ticks.make(tmp_path / "data")
    with listening(folders.data, explained_iterations=5) as url:
        explained = ask(f"{url}/api/v1/explain", {"workflow": ticks.workflow(times=5)})
        assert [(one["node"], one["total"]) for one in explained.json["nodes"]] == [("loop.tick", 5)]
        for times in (6, 10**15):
            refused = ask(f"{url}/api/v1/explain", {"workflow": ticks.workflow(times=times)})
            assert refused.status == 422
            assert "more than 5 iterations" in refused.json["detail"]


def test_a_body_that_comes_with_its_head_is_counted_too(tmp_path: Path) -> None:
    with listening(tmp_path / "data", json_bytes=100) as url:
        address = urlsplit(url)
        for size, status in ((100, b"404"), (101, b"413")):
            head = f"POST /api/v1/check HTTP/1.1\r\nHost: {address.netloc}\r\nContent-Type: application/json\r\n"
            body = json.dumps({"workflow": "nobody"}).ljust(size)
            with socket.create_connection((address.hostname or "", address.port or 0), timeout=120) as opened:
                opened.sendall(f"{head}Content-Length: {size}\r\n\r\n{body}".encode())
                assert opened.recv(100).split()[1] == status


def test_a_stream_that_takes_too_long_ends_with_a_word(tmp_path: Path) -> None:
    with listening(tmp_path / "data", sync_seconds=0.2) as url:  # and nobody works
        asked = json.dumps({"prompt": "a dog", "stream": True}).encode()
        request = urllib.request.Request(f"{url}/v1/images/generations", asked, {"Content-Type": "application/json"})
        told = ""
        with urllib.request.urlopen(request, timeout=120) as stream:
            for line in stream:
                assert b"still here" not in line, "it goes on"
                told += line.decode()
        assert "event: error\n" in told
        assert "the picture took too long" in told
        (job,) = ask(f"{url}/api/v1/jobs").json["jobs"]
        assert job["state"] == "cancelled"
