"""The requests by which the editor's timeline decodes the steps of a run: nothing but decodes runs.

The files in `tests/server/decodings` are what the editor sends for shipped workflows; its own tests hold it to them.
"""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

from graphcore.files import shipped
from tests.server.http.house import Running
from tests.server.http.test_api import events, upload

DECODINGS = Path(__file__).parents[1] / "decodings"
MODELS = ("unet", "encode_text", "vae_encode")
"""Node types that take time, and do not run again."""


def run(server: Running, body: dict[str, Any]) -> tuple[str, list[Any], dict[str, str]]:
    """The state of a job at its end, the calls that it began, and the keys of all calls."""
    job = server.ask("/api/v1/jobs", body).json["id"]
    state = server.ended(job)["state"]
    told = events(server, job)
    keys = {data["node"]: data["key"] for _, kind, data in told if kind in ("finished", "cached")}
    return state, [data for _, kind, data in told if kind == "started"], keys


def wish(name: str, **inputs: Any) -> dict[str, Any]:
    """A request for the steps of a run with these inputs."""
    body = json.loads((DECODINGS / f"{name}.json").read_text())
    return {"workflow": body["workflow"], "files": body["files"], "inputs": inputs}


def begun(started: list[Any], *types: str) -> list[str]:
    return [one["node"] for one in started if one["type"].removeprefix("stepgraph/") in types]


@pytest.mark.parametrize(
    ("name", "loop", "steps"),
    [("txt2img", "denoise.loop", 4), ("guidance", "loop", 4), ("sdxl_base_refiner", "denoise.loop", 3)],
)
def test_only_decodes_run(server: Running, name: str, loop: str, steps: int) -> None:
    inputs = {"steps": 4, "seed": 21}
    assert run(server, {"workflow": name, "inputs": inputs})[0] == "succeeded"
    body = wish(f"{name}_originals_all", **inputs)
    state, started, keys = run(server, body)
    assert state == "succeeded"
    assert begun(started, *MODELS) == []
    decoded = begun(started, "vae_decode")
    assert decoded == [f"{loop}[{step}].decoded__" for step in range(steps)]
    for call in decoded:
        assert server.ask(f"/api/v1/values/{keys[call]}/preview").headers["Content-Type"] == "image/png"


def test_the_last_latents_are_the_picture(server: Running) -> None:
    _, _, before = run(server, {"workflow": "txt2img", "inputs": {"steps": 2, "seed": 22}})
    body = wish("txt2img_latents_2", steps=2, seed=22)
    state, _, after = run(server, body)
    assert (state, after["denoise.loop[1].decoded__"]) == ("succeeded", before["image"])


def test_timesteps_are_told_one_by_one(server: Running) -> None:
    _, _, keys = run(server, {"workflow": "txt2img", "inputs": {"steps": 4, "seed": 26}})
    (schedule,) = server.ask(f"/api/v1/values/00{keys['schedule']}").json["outputs"]
    assert schedule["tensors"]["values"]["values"] == [999, 749, 499, 249]


def test_steps_of_a_run_that_ended_early(server: Running) -> None:
    """Of a longer run only the first two steps are there, and only those are looked at."""
    text = (DECODINGS.parent / "branches" / "txt2img_same.json").read_text()
    first = {**json.loads(text), "outputs": {"latents": {"from": "denoise_first.latents"}}}
    inputs = {"steps": 9, "seed": 23}
    state, started, _ = run(server, {"workflow": first, "inputs": inputs})
    assert (state, len(begun(started, "unet"))) == ("succeeded", 4)
    body = wish("txt2img_latents_2", **inputs)
    state, started, _ = run(server, body)
    assert state == "succeeded"
    assert begun(started, *MODELS) == []
    assert begun(started, "vae_decode") == ["denoise.loop[0].decoded__", "denoise.loop[1].decoded__"]


def test_one_value_of_each_step_alone(server: Running) -> None:
    inputs = {"steps": 3, "seed": 25}
    assert run(server, {"workflow": "txt2img", "inputs": inputs})[0] == "succeeded"
    state, started, keys = run(server, wish("txt2img_noise_pred", **inputs))
    assert state == "succeeded"
    assert begun(started, *MODELS, "vae_decode", "scheduler_step") == []
    assert {f"denoise.loop[{step}].predict.guided" for step in range(3)} <= keys.keys()


def test_a_loop_two_files_away(server: Running) -> None:
    home = shipped.find("inpaint")
    assert home is not None
    pictures = {name: (home.parent / file).read_bytes() for name, file in BESIDE.items()}
    inputs: dict[str, Any] = {name: f"file:{upload(server, content).json['id']}" for name, content in pictures.items()}
    inputs |= {"steps": 2, "seed": 24}
    state, started, _ = run(server, {"workflow": "inpaint", "inputs": inputs})
    assert (state, bool(begun(started, "unet"))) == ("succeeded", True)
    body = wish("inpaint_originals_2", **inputs)
    state, started, keys = run(server, body)
    assert state == "succeeded"
    assert begun(started, *MODELS) == []
    assert {f"repaint.blended.loop[{step}].decoded__" for step in range(2)} <= keys.keys()


BESIDE = {"image": "example.png", "mask": "example_mask.png"}
"""What the inputs of inpaint.json name by default."""
