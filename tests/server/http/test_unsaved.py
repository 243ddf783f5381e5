"""What an editor asks: of texts that are not saved yet, of types, of the keys of all calls, of any value by its key."""

from __future__ import annotations

import io
import json
from pathlib import Path
from typing import Any

import pytest
from PIL import Image

from graphcore.files import provenance, shipped
from tests.server.http.house import Running
from tests.server.http.test_api import events

QUICK = {"steps": 2, "seed": 11}


def text(name: str, **more: Any) -> str:
    """A shipped workflow as somebody edited it."""
    path = shipped.find(name)
    assert path is not None
    return json.dumps({**json.loads(path.read_text()), **more}, indent=1)


def test_problems_stand_in_the_text_that_was_sent(server: Running) -> None:
    edited = text("txt2img").replace('"type": "vae_decode"', '"type": "vae_decod"')
    line = next(n for n, one in enumerate(edited.splitlines(), 1) if "vae_decod" in one)
    found = server.ask("/api/v1/check", {"workflow": "txt2img", "files": {"txt2img.json": edited}}).json
    (problem,) = found["problems"]
    assert (problem["file"], problem["line"], problem["code"]) == ("txt2img.json", line, "unknown-node-type")
    assert problem["text"].startswith(f"txt2img.json:{line}:")
    assert found["types"]["noise"]["outputs"] == {"noise": "Latents", "generators": "Generators"}
    broken = {"workflow": "txt2img", "files": {"denoise.json": text("denoise", outputs={"x": {"from": "nobody"}})}}
    files = {one["file"] for one in server.ask("/api/v1/check", broken).json["problems"]}
    assert files == {"denoise.json", "txt2img.json"}
    for route in ("explain", "keys", "jobs"):
        refused = server.ask(f"/api/v1/{route}", {"workflow": "new", "files": {"new.json": '{"stepgraph": 1,\n]'}})
        assert refused.status == 422
        assert [(one["file"], one["line"]) for one in refused.json["problems"]] == [("new.json", 1)]


def test_mistakes_of_form_and_of_the_graph_come_together(server: Running) -> None:
    edited = (
        text("txt2img")
        .replace('"type": "vae_decode"', '"type": "vae_decod"')
        .replace('"stepgraph": 1', '"x": 0,\n"stepgraph": 1')
    )
    found = server.ask("/api/v1/check", {"workflow": "t", "files": {"t.json": edited}}).json
    assert [one["code"] for one in found["problems"]] == ["unknown-key", "unknown-node-type"]


def test_types_at_every_depth(server: Running) -> None:
    found = server.ask("/api/v1/check", {"workflow": "txt2img"}).json
    types = found["types"]
    assert types["denoise"]["outputs"]["latents"] == types["denoise.loop"]["outputs"]["latents"] == "Latents"
    assert types["denoise.loop.step"]["inputs"]["timestep"] == "Timestep"
    assert types["denoise.loop"]["outputs"]["steps"] == "list[Latents]"
    assert (found["inputs"]["steps"], found["inputs"]["prompt"]) == ("int", "str")
    assert server.ask("/api/v1/check", {"workflow": "denoise"}).json["inputs"]["unet"] == "UNetModel"
    known = server.ask("/api/v1/types").json["types"]
    assert types["image"]["outputs"]["output"] in known


def test_a_job_runs_the_texts_that_were_sent(server: Running, tmp_path: Path) -> None:
    edited = text("txt2img", title="not saved")
    body = {"workflow": "mine", "files": {"mine.json": edited}, "inputs": QUICK}
    job = server.ask("/api/v1/jobs", body, headers={"Idempotency-Key": "one text"}).json["id"]
    same = server.ask("/api/v1/jobs", body, headers={"Idempotency-Key": "one text"}).json["id"]
    assert same == job
    other = {**body, "files": {"mine.json": text("txt2img", title="another")}}
    assert server.ask("/api/v1/jobs", other, headers={"Idempotency-Key": "one text"}).status == 422
    ended = server.ended(job)
    (tmp_path / "made.png").write_bytes(server.ask(f"/api/v1/files/{ended['result']['image']['files'][0]['id']}").body)
    record = provenance.read(tmp_path / "made.png")
    assert (record["workflow"], record["files"]["mine.json"]) == ("mine.json", edited)
    assert server.ask("/api/v1/workflows/mine").status == 404


def test_a_part_that_is_not_saved_is_used(server: Running) -> None:
    part = json.loads(text("denoise"))
    part["nodes"]["loop"]["body"]["nodes"]["step"]["type"] = "nothing_of_this_name"
    asked = {"workflow": "txt2img", "files": {"denoise.json": json.dumps(part)}, "inputs": QUICK}
    assert server.ask("/api/v1/keys", asked).status == 422
    assert server.ask("/api/v1/keys", {**asked, "files": {}}).status == 200


@pytest.mark.parametrize(
    "name", ["../x.json", "a/b.json", "x", "x.json.", ".json", "x.JSON", "a" * 101 + ".json", "x.json\n"]
)
def test_names_of_texts_are_no_paths(server: Running, name: str) -> None:
    for route in ("check", "explain", "keys", "jobs"):
        assert server.ask(f"/api/v1/{route}", {"workflow": "txt2img", "files": {name: "{}"}}).status == 422, route


def test_too_much_text_is_refused(server: Running) -> None:
    body = {"workflow": "x", "files": {"x.json": " " * (4 << 20)}}
    assert server.ask("/api/v1/check", body).status == 413


def test_keys_are_known_before_the_run_and_lead_to_values(server: Running) -> None:
    asked = {"workflow": "txt2img", "inputs": {**QUICK, "prompt": "a frog"}}
    before = server.ask("/api/v1/keys", asked).json
    assert before["complete"]
    assert not before["keys"]["image"]["cached"]
    job = server.ask("/api/v1/jobs", asked).json["id"]
    assert server.ended(job)["state"] == "succeeded"
    told = {data["node"]: data["key"] for _, name, data in events(server, job) if name in ("finished", "cached")}
    assert told
    assert {node: before["keys"][node]["key"] for node in told} == told
    after = server.ask("/api/v1/keys", {**asked, "nodes": ["image", "denoise.loop.step"]}).json["keys"]
    assert after.keys() == {"image", "denoise.loop[0].step", "denoise.loop[1].step"}
    assert after["image"]["cached"]
    step = after["denoise.loop[1].step"]["key"]
    both, first = server.ask(f"/api/v1/values/{step}").json, server.ask(f"/api/v1/values/00{step}").json
    assert [one["type"] for one in both["outputs"]] == ["Latents", "Solver"]
    assert first["outputs"] == both["outputs"][:1]
    assert server.ask(f"/api/v1/values/05{step}").status == 404
    with Image.open(io.BytesIO(server.ask(f"/api/v1/values/00{step}/preview").body)) as picture:
        assert min(picture.size) >= 128
    assert server.ask(f"/api/v1/values/05{step}/preview").status == 404
    words = server.ask(f"/api/v1/values/{before['keys']['tokens']['key']}").json["outputs"][0]["fields"]["words"]
    assert words == ["a", "frog"]
