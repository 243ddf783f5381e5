"""`stepgraph serve` as a command: what it refuses, what it loads, and what its log says and keeps to itself."""

from __future__ import annotations

import json
import re
import socket
import subprocess
import sys
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

import pytest

from tests.server.http.house import Running, serve
from tests.server.test_faults import make

SECRET = "xyzzy-the-secret-prompt"
TOKEN = "a-token-that-nobody-should-read"


def command(*arguments: str) -> subprocess.CompletedProcess[str]:
    """`stepgraph serve` with arguments with which it does not start."""
    line = [sys.executable, "-m", "graphcore", "serve", "--device", "cpu", *arguments]
    return subprocess.run(line, capture_output=True, text=True, timeout=300)


def test_the_help_names_every_option() -> None:
    said = command("--help").stdout
    for option in ("--host", "--port", "--data", "--token-file", "--name", "--workers", "--device", "--log-json"):
        assert option in said


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        (["--port", "99999"], "no port"),
        (["--port", "x"], "no port"),
        (["--workers", "0"], "no number of workers"),
        (["--host", "192.0.2.7"], "--token-file"),
        (["--token-file", "/nowhere/token"], "--token-file"),
    ],
)
def test_what_cannot_be_is_refused(tmp_path: Path, arguments: list[str], said: str) -> None:
    done = command("--data", str(tmp_path / "data"), *arguments)
    assert done.returncode != 0
    assert said in done.stderr
    assert "Traceback" not in done.stderr
    assert not (tmp_path / "data").exists()


def test_a_short_token_keeps_nobody_out(tmp_path: Path) -> None:
    (tmp_path / "token").write_text("short")
    done = command("--data", str(tmp_path / "data"), "--token-file", str(tmp_path / "token"))
    assert (done.returncode, "at least 16" in done.stderr) == (1, True)


def test_a_port_in_use_is_said_before_anything_starts(tmp_path: Path) -> None:
    with socket.create_server(("127.0.0.1", 0)) as taken:
        port = taken.getsockname()[1]
        done = command("--data", str(tmp_path / "data"), "--port", str(port))
    assert done.returncode == 1
    assert f"cannot listen on 127.0.0.1:{port}" in done.stderr
    assert "--port" in done.stderr
    assert not (tmp_path / "data" / "queue.sqlite").exists()


def test_a_folder_that_cannot_be_written(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("no folder")
    done = command("--data", str(tmp_path / "file" / "data"), "--port", "0")
    assert (done.returncode, "nothing can be written there" in done.stderr) == (1, True)


def test_a_queue_that_is_no_queue(tmp_path: Path) -> None:
    (tmp_path / "data").mkdir()
    (tmp_path / "data" / "queue.sqlite").write_bytes(b"this is no database" * 100)
    done = command("--data", str(tmp_path / "data"), "--port", "0")
    assert done.returncode == 1
    assert "--data" in done.stderr
    assert (tmp_path / "data" / "queue.sqlite").read_bytes().startswith(b"this is no database")


def test_one_server_works_in_a_folder(tmp_path: Path) -> None:
    folders = make(tmp_path / "data")
    with serve(folders.data, ready=False) as first:
        done = command("--data", str(folders.data), "--port", "0")
        assert done.returncode == 1
        assert f"another server (process {first.process.pid})" in done.stderr
        first.process.kill()
        first.process.wait()
        with serve(folders.data, ready=False) as second:
            assert second.ask("/api/v1/health").status == 200


LOADED = """
import json, sys, threading
from pathlib import Path
from tests.server.http.house import ask
from tests.server.http.inside import listening

with listening(Path(sys.argv[1])) as url:
    node = {"type": "load_model", "inputs": {"model": "nobody"}}
    mine = {"stepgraph": 1, "nodes": {"m": node}, "outputs": {"x": {"from": "m.unet"}}}
    answers = [ask(url + path).status for path in (
        "/", "/api/docs", "/api/openapi.json", "/api/v1/nodes", "/api/v1/types", "/api/v1/schema", "/api/v1/plugins",
        "/api/v1/models", "/api/v1/workflows", "/api/v1/workflows/txt2img", "/api/v1/system", "/metrics", "/v1/models")]
    answers += [ask(url + path, {"workflow": asked, "inputs": inputs}).status
                for path in ("/api/v1/check", "/api/v1/explain", "/api/v1/jobs")
                for asked, inputs in (("txt2img", {"prompt": "a cat"}), ("img2img", {}))]
    answers.append(ask(url + "/api/v1/check", {"workflow": mine}).status)
heavy = [name for name in ("torch", "diffusers", "transformers") if name in sys.modules]
print(json.dumps({"answers": answers, "heavy": heavy}))
"""


def test_the_api_never_loads_torch(tmp_path: Path) -> None:
    line = [sys.executable, "-c", LOADED, str(tmp_path / "data")]
    done = subprocess.run(line, capture_output=True, text=True, timeout=300)
    assert done.returncode == 0, done.stderr
    told = json.loads(done.stdout)
    assert set(told["answers"]) <= {200, 202}
    assert told["heavy"] == []


def log_of(folder: Path, capfd: Any, *arguments: str) -> tuple[list[str], list[str]]:
    """The lines that a server and its worker log while jobs with a secret run and fail, and the requests' ids."""
    (folder / "token").write_text(TOKEN)
    (folder / "token").chmod(0o600)
    folders = make(folder / "data")
    (folders.plugins / "rude.py").write_text(RUDE)
    with serve(folders.data, "--token-file", str(folder / "token"), *arguments, ready=False) as server:
        requests = [follow(server, name) for name in ("greet", "fail")]
        server.ask(f"/api/v1/workflows/{SECRET}", headers=KNOWN)
        server.ask("/api/v1/jobs", {"workflow": "txt2img", "inputs": {"prompt": [SECRET]}}, headers=KNOWN)
        server.ask(f"/{SECRET}?prompt={SECRET}", headers=KNOWN)
        garbage(server)
    return capfd.readouterr().err.splitlines(), requests


def garbage(server: Running) -> None:
    """What is no HTTP is answered, and is nothing for the log."""
    address = urlsplit(server.url)
    for data in (f"{SECRET}\r\n\r\n", f"GET /{SECRET} HTTP/9.9\r\n\r\n", f"GET / HTTP/1.1\r\n{SECRET}\r\n\r\n"):
        with socket.create_connection((address.hostname or "", address.port or 0), timeout=120) as opened:
            opened.sendall(data.encode())
            assert opened.recv(100).split()[1] == b"400"


KNOWN = {"Authorization": f"Bearer {TOKEN}"}

RUDE = """
from graphcore import node


@node(category="test")
def greet(text: str) -> int:
    '''Count letters.'''
    return len(text)


@node(category="test")
def fail(text: str) -> int:
    '''Fail with the text.'''
    raise ValueError(f"I do not like {text!r}")
"""


def follow(server: Running, name: str) -> str:
    """Run a job of one node; the id of the request that asked for it, which job, events and error tell too."""
    node = {"type": f"rude/{name}", "inputs": {"text": {"from": "inputs.text"}}}
    workflow = {
        "stepgraph": 1, "inputs": {"text": {"type": "string"}}, "nodes": {"n": node}, "outputs": {"x": {"from": "n"}},
    }  # fmt: skip
    asked = server.ask("/api/v1/jobs", {"workflow": workflow, "inputs": {"text": SECRET}}, headers=KNOWN)
    path = f"/api/v1/jobs/{asked.json['id']}"
    events = server.ask(f"{path}/events", headers=KNOWN).body.decode()
    request = asked.headers["X-Request-Id"]
    assert f'"request":"{request}"' in events
    job = server.ask(path, headers=KNOWN).json
    assert job["request_id"] == request
    assert job["state"] == ("failed" if name == "fail" else "succeeded"), job
    if job["error"] is not None:
        assert SECRET in job["error"]["message"]
        assert job["error"]["request"] == request
        assert str(server.data.parent) not in json.dumps(job)
    return request


def test_the_log_tells_of_jobs_and_no_secrets(tmp_path: Path, capfd: Any) -> None:
    lines, requests = log_of(tmp_path, capfd)
    text = "\n".join(lines)
    assert SECRET not in text
    assert TOKEN not in text
    assert "aiohttp.access" not in text
    for request in requests:
        assert re.search(rf"server.work.worker: job \w+ runs .*\[request {request}\]", text), text
    assert re.search(rf"ERROR server.work.worker: job \w+ failed \[request {requests[1]}\]", text)
    assert "ValueError" in text


def test_the_log_as_json(tmp_path: Path, capfd: Any) -> None:
    lines, requests = log_of(tmp_path, capfd, "--log-json", "--verbose")
    told = [json.loads(line) for line in lines]
    assert SECRET not in "\n".join(lines)
    assert TOKEN not in "\n".join(lines)
    worker = [line for line in told if line["logger"] == "server.work.worker"]
    assert {line["request"] for line in worker} == set(requests)
    assert any("ValueError" in line.get("traceback", "") for line in worker)
    access = [line for line in told if line["logger"] == "aiohttp.access"]
    assert {line["route"] for line in access} >= {"/api/v1/jobs", "/api/v1/jobs/{id}", "/api/v1/workflows/{name}"}
    assert all(line["request"] and line["status"] and line["method"] for line in access)
    assert all(set(line) >= {"time", "level", "logger", "message"} for line in told)
