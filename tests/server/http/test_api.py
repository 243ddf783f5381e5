"""The API as a program uses it: jobs, events, workflows with versions, checks, values, files."""

from __future__ import annotations

import asyncio
import gzip
import io
import json
import urllib.request
from collections.abc import Callable
from pathlib import Path
from typing import Any

import aiohttp
import pytest
from openapi_spec_validator import validate
from PIL import Image

from server.workflows.store import WorkflowStore
from tests.server import ticks
from tests.server.http.house import Answer, Running, ask, serve
from tests.server.http.inside import listening

QUICK = {"workflow": "txt2img", "inputs": {"steps": 2}}
LONG = 300.0
"""Seconds that nothing takes, unless it hangs."""


def png(width: int = 64, height: int = 64, colour: str = "red") -> bytes:
    file = io.BytesIO()
    Image.new("RGB", (width, height), colour).save(file, "PNG")
    return file.getvalue()


def events(server: Running, job: str, after: int | None = None) -> list[tuple[int, str, Any]]:
    """All server-sent events of a job, read as they come until the stream ends."""
    headers = {} if after is None else {"Last-Event-ID": str(after)}
    request = urllib.request.Request(f"{server.url}/api/v1/jobs/{job}/events", headers=headers)
    found = []
    with urllib.request.urlopen(request, timeout=LONG) as response:
        assert response.headers["Content-Type"] == "text/event-stream"
        for block in response.read().decode().split("\n\n"):
            fields = dict(line.split(": ", 1) for line in block.splitlines() if not line.startswith(":"))
            if fields:
                found.append((int(fields["id"]), fields["event"], json.loads(fields["data"])))
    return found


def test_a_job_from_request_to_picture(server: Running) -> None:
    asked = server.ask("/api/v1/jobs", QUICK)
    assert asked.status == 202
    job = asked.json
    assert asked.headers["Location"] == job["links"]["self"]
    assert job["state"] in ("queued", "running")
    told = events(server, job["id"])
    assert [number for number, _, _ in told] == list(range(1, len(told) + 1))
    states = [data["state"] for _, name, data in told if name == "state"]
    assert states == ["queued", "running", "succeeded"]
    done = server.ask(job["links"]["self"]).json
    assert done["state"] == "succeeded"
    (file,) = done["result"]["image"]["files"]
    sent = server.ask(f"/api/v1/files/{file['id']}")
    assert (sent.status, sent.headers["Content-Type"], len(sent.body)) == (200, "image/png", file["bytes"])
    assert Image.open(io.BytesIO(sent.body)).size == (64, 64)
    middle = told[len(told) // 2][0]
    assert events(server, job["id"], middle) == told[middle:]
    assert events(server, job["id"], told[-1][0]) == []
    assert job["id"] in [one["id"] for one in server.ask("/api/v1/jobs?state=succeeded&limit=500").json["jobs"]]


def test_an_idempotency_key_makes_one_job(server: Running) -> None:
    headers = {"Idempotency-Key": "one"}
    first = server.ask("/api/v1/jobs", QUICK, headers=headers).json["id"]
    assert server.ask("/api/v1/jobs", QUICK, headers=headers).json["id"] == first
    other = server.ask("/api/v1/jobs", {**QUICK, "inputs": {"steps": 3}}, headers=headers)
    assert (other.status, "another request" in other.json["detail"]) == (422, True)


def test_pages_of_jobs(server: Running) -> None:
    for _ in range(3):
        server.ask("/api/v1/jobs", QUICK)
    seen: list[str] = []
    path = "/api/v1/jobs?limit=2"
    while path:
        page = server.ask(path).json
        seen += [job["id"] for job in page["jobs"]]
        path = f"/api/v1/jobs?limit=2&before={page['next']}" if page["next"] else ""
    assert len(seen) == len(set(seen)) >= 3


def test_cancel_and_retry(server: Running) -> None:
    job = server.ask("/api/v1/jobs", {"workflow": ticks.workflow(1000, 0.2)}).json["id"]
    server.until(lambda: server.ask(f"/api/v1/jobs/{job}").json["state"] == "running")
    assert server.ask(f"/api/v1/jobs/{job}", method="DELETE").status == 200
    assert server.ended(job)["state"] == "cancelled"
    assert events(server, job)[-1][2]["state"] == "cancelled"
    again = server.ask(f"/api/v1/jobs/{job}/retry", method="POST")
    assert (again.status, again.json["state"]) == (202, "queued")
    assert server.ask(f"/api/v1/jobs/{job}/retry", method="POST").status == 409
    server.ask(f"/api/v1/jobs/{job}", method="DELETE")
    assert server.ended(job)["state"] == "cancelled"


def test_one_request_one_picture(server: Running) -> None:
    path, body = "/api/v1/workflows/txt2img/run", {"inputs": {"steps": 2, "prompt": "a cat"}}
    sent = server.ask(path, body)
    assert (sent.status, sent.headers["Content-Type"]) == (200, "image/png")
    assert Image.open(io.BytesIO(sent.body)).size == (64, 64)
    as_json = server.ask(path, body, headers={"Accept": "application/json"})
    (file,) = as_json.json["result"]["image"]["files"]
    assert (file["bytes"], f'"{file["id"]}"') == (len(sent.body), sent.headers["ETag"])
    long = server.ask(path, {"inputs": {"steps": 900}, "wait": 0.2})
    assert long.status == 202
    server.ask(long.headers["Location"], method="DELETE")
    wrong = server.ask(path, {"inputs": {"stepps": 2}})
    assert wrong.status == 422
    assert "steps" in wrong.json["problems"][0]["fix"]


def test_workflows_have_versions(server: Running) -> None:
    path = "/api/v1/workflows/mine"
    text = b'{"stepgraph": 1,  "nodes": {}, "outputs": {}}\n'
    assert server.ask(path).status == 404
    made = server.ask(path, text, method="PUT")
    assert (made.status, made.json["problems"]) == (201, made.json["problems"])
    read = server.ask(path)
    assert (read.body, read.headers["ETag"]) == (text, made.headers["ETag"])
    assert server.ask(path, headers={"If-None-Match": read.headers["ETag"]}).status == 304
    assert server.ask(path, text, method="PUT").status == 412  # it is there: If-Match is needed
    (server.data / "workflows" / "mine.json").write_bytes(text + b" ")  # somebody edits the file by hand
    lost = server.ask(path, b"{}", method="PUT", headers={"If-Match": read.headers["ETag"]})
    assert lost.status == 412
    assert server.ask(path).body == text + b" "
    now = server.ask(path).headers["ETag"]
    assert server.ask(path, text, method="PUT", headers={"If-Match": now}).status == 200
    assert "mine" in [one["name"] for one in server.ask("/api/v1/workflows").json["workflows"]]
    assert server.ask(path, method="DELETE", headers={"If-Match": now}).status == 412
    assert server.ask(path, method="DELETE").status == 204
    assert server.ask(path).status == 404
    assert server.ask("/api/v1/workflows/txt2img", method="DELETE").status == 409


def test_a_file_that_goes_while_all_are_listed_is_left_out(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    names = WorkflowStore.names
    monkeypatch.setattr(WorkflowStore, "names", lambda store: {**names(store), "gone": False})
    with listening(tmp_path / "data") as url:
        listed = ask(f"{url}/api/v1/workflows")
    assert listed.status == 200
    found = {one["name"] for one in listed.json["workflows"]}
    assert "txt2img" in found
    assert "gone" not in found


def test_check_says_what_the_command_line_says(server: Running) -> None:
    found = server.ask("/api/v1/check", {"workflow": "txt2img", "inputs": {"steps": 0}}).json
    assert not found["ok"]
    assert "at least 1" in found["problems"][0]["message"]
    right = server.ask("/api/v1/check", {"workflow": "txt2img"}).json
    assert (right["ok"], right["problems"]) == (True, [])
    typo = {"stepgraph": 1, "nodes": {"m": {"type": "load_modell", "inputs": {}}}, "outputs": {"x": {"from": "m.unet"}}}
    assert "load_model" in server.ask("/api/v1/check", {"workflow": typo}).json["problems"][0]["text"]


def test_explain_knows_the_cache(server: Running) -> None:
    body = {"workflow": "txt2img", "inputs": {"steps": 2, "seed": 77}}
    before = server.ask("/api/v1/explain", body).json["nodes"]
    assert {one["state"] for one in before if one["type"] == "unet"} == {"run"}
    server.ask("/api/v1/workflows/txt2img/run", {"inputs": body["inputs"]})
    after = server.ask("/api/v1/explain", body).json["nodes"]
    assert {one["state"] for one in after if one["type"] in ("unet", "vae_decode")} <= {"cached"}


def test_values_of_a_run_can_be_looked_at(server: Running) -> None:
    job = server.ask("/api/v1/jobs", {"workflow": "txt2img", "inputs": {"steps": 2, "seed": 5}}).json["id"]
    server.ended(job)
    told = events(server, job)
    key = next(data["key"] for _, name, data in told if name == "finished" and data["type"].endswith("scheduler_step"))
    value = server.ask(f"/api/v1/values/{key}").json
    numbers = value["outputs"][0]["tensors"]["samples"]
    assert numbers["shape"] == [1, 4, 16, 16]
    assert sum(numbers["histogram"]) == 4 * 16 * 16
    assert numbers["min"] < numbers["mean"] < numbers["max"]
    picture = next(data["key"] for _, name, data in told if name == "finished" and data["type"].endswith("vae_decode"))
    shown = server.ask(f"/api/v1/values/{picture}/preview")
    assert (shown.status, shown.headers["Content-Type"]) == (200, "image/png")
    assert server.ask(f"/api/v1/values/{'0' * 64}").status == 404


def upload(server: Running, body: bytes, kind: str = "image/png") -> Answer:
    return server.ask("/api/v1/uploads", body, headers={"Content-Type": kind})


def test_an_upload_becomes_an_input(server: Running) -> None:
    kept = upload(server, png(colour="blue"))
    assert (kept.status, kept.json["width"], kept.json["media_type"]) == (201, 64, "image/png")
    assert upload(server, png(colour="blue")).json["id"] == kept.json["id"]
    form = (
        b'--x\r\nContent-Disposition: form-data; name="file"; filename="../../x.exe"\r\n\r\n' + png() + b"\r\n--x--\r\n"
    )
    assert upload(server, form, "multipart/form-data; boundary=x").json["name"].endswith(".png")
    inputs = {"image": f"file:{kept.json['id']}", "steps": 4, "strength": 0.5}
    sent = server.ask("/api/v1/workflows/img2img/run", {"inputs": inputs})
    assert sent.headers["Content-Type"] == "image/png"
    missing = server.ask("/api/v1/jobs", {"workflow": "img2img", "inputs": {"image": "file:" + "0" * 32}})
    assert missing.status == 404


def test_the_catalog_is_packed_and_has_versions(server: Running) -> None:
    plain = server.ask("/api/v1/nodes")
    packed = server.ask("/api/v1/nodes", headers={"Accept-Encoding": "gzip"})
    assert gzip.decompress(packed.body) == plain.body
    assert server.ask("/api/v1/nodes", headers={"If-None-Match": plain.headers["ETag"]}).status == 304
    names = {node["short_name"] for node in plain.json["nodes"]}
    assert {"unet", "load_model", "scheduler_step"} <= names
    types = server.ask("/api/v1/types").json["types"]
    assert "unet" in types["Conditioning"]["taken_by"]
    assert "encode_text" in types["Conditioning"]["made_by"]
    assert server.ask("/api/v1/models").status == server.ask("/api/v1/plugins").status == 200


def test_the_document_is_openapi_3_1(server: Running) -> None:
    document = server.ask("/api/openapi.json").json
    validate(document)
    assert document["openapi"].startswith("3.1")
    assert "/api/v1/workflows/{name}/run" in document["paths"]


def test_health_system_and_metrics(server: Running) -> None:
    assert server.ask("/api/v1/health").json["status"] == "ok"
    system = server.ask("/api/v1/system").json
    assert system["device"] == "cpu"
    assert system["versions"]["torch"]
    text = server.ask("/metrics").body.decode()
    assert 'stepgraph_requests_total{route="/api/v1/health",method="GET",status="200"}' in text
    server.ask("/somewhere/else/" + "x" * 30)
    assert "xxxx" not in server.ask("/metrics").body.decode()


def test_a_websocket_brings_events_and_pictures(server: Running) -> None:
    async def body() -> None:
        async with (
            aiohttp.ClientSession() as session,
            session.ws_connect(f"{server.url}/api/v1/ws", protocols=("stepgraph.v1",)) as socket,
        ):
            assert socket.protocol == "stepgraph.v1"
            asked = {"workflow": "txt2img", "inputs": {"steps": 2, "seed": 123}, "previews": True}
            async with session.post(f"{server.url}/api/v1/jobs", json=asked) as response:
                job = (await response.json())["id"]
            await socket.send_json({"watch": job})
            numbers, pictures, state = [], 0, ""
            while state not in ("succeeded", "failed"):
                message = await asyncio.wait_for(socket.receive(), LONG)
                if message.type is aiohttp.WSMsgType.BINARY:
                    assert message.data[:32] == job.encode()
                    assert message.data[40:44] == b"\x89PNG"
                    pictures += 1
                    continue
                told = json.loads(message.data)
                if "job" not in told:
                    continue  # of files that an earlier test changed
                numbers.append(told["n"])
                state = told["data"]["state"] if told["event"] == "state" else state
            assert state == "succeeded"
            assert numbers == list(range(1, len(numbers) + 1))
            assert pictures >= 1
            await socket.send_str("nonsense")
            await heard(socket, lambda told: "error" in told)

    asyncio.run(body())


async def heard(socket: aiohttp.ClientWebSocketResponse, wanted: Callable[[Any], bool]) -> None:
    """Listen until something is told; what is told of files that earlier tests changed may come before."""
    async with asyncio.timeout(LONG):
        while not wanted(await socket.receive_json()):
            pass


def test_nothing_is_lost_by_a_restart(tmp_path: Path) -> None:
    data = ticks.make(tmp_path / "data").data
    with serve(data, ready=False) as first:
        quick, slow = ticks.workflow(2, 0.0), ticks.workflow(100, 0.5)
        jobs = [first.ask("/api/v1/jobs", {"workflow": quick, "inputs": {"seed": n}}).json["id"] for n in range(3)]
        long = first.ask("/api/v1/jobs", {"workflow": slow, "priority": 5}).json["id"]
        first.until(lambda: first.ask(f"/api/v1/jobs/{long}").json["state"] == "running")
    ticks.hurry(data)
    with serve(data, ready=False) as second:
        assert all(second.ended(job)["state"] == "succeeded" for job in [*jobs, long])
        told = events(second, long)
        assert [number for number, _, _ in told] == list(range(1, len(told) + 1))
        states = [event["state"] for _, name, event in told if name == "state"]
        assert states == ["queued", "running", "queued", "running", "succeeded"]


@pytest.mark.parametrize("path", ["/api/v1/jobs/" + "0" * 32, "/api/v1/files/" + "0" * 32, "/nowhere"])
def test_what_is_not_there(server: Running, path: str) -> None:
    answer = server.ask(path)
    assert (answer.status, answer.headers["Content-Type"].split(";")[0]) == (404, "application/problem+json")
    assert answer.json["status"] == 404


PLUGIN = '''
from graphcore import node


@node(category="test")
def twice(x: int = 1) -> int:
    """Twice as much."""
    return 2 * x
'''


def test_files_that_change_on_the_disk_are_told(server: Running) -> None:
    async def body() -> None:
        async with aiohttp.ClientSession() as session, session.ws_connect(f"{server.url}/api/v1/ws") as socket:
            await socket.send_str("[]")
            await heard(socket, lambda told: "error" in told)  # so it listens now
            (server.data / "workflows" / "by_hand.json").write_text('{"stepgraph": 1}')
            await heard(socket, lambda told: told["event"] == "workflows" and "by_hand" in told["data"]["changed"])
            (server.data / "plugins" / "new_one.py").write_text(PLUGIN)
            await heard(socket, lambda told: told["event"] == "plugins" and "new_one" in told["data"]["changed"])

    asyncio.run(body())

    def known() -> bool:  # the file was seen half written, it may be
        return "new_one/twice" in {node["name"] for node in server.ask("/api/v1/nodes").json["nodes"]}

    server.until(known)
    nodes = {"t": {"type": "new_one/twice", "inputs": {"x": 21}}}
    sent = {"stepgraph": 1, "nodes": nodes, "outputs": {"y": {"from": "t"}}}
    job = server.ended(server.ask("/api/v1/jobs", {"workflow": sent}).json["id"])
    assert job["state"] == "succeeded"
    assert server.ask(f"/api/v1/files/{job['result']['y']['files'][0]['id']}").json == 42
    (server.data / "workflows" / "by_hand.json").unlink()
