"""Branches of loops, as the editor makes them: what is before the branch is not computed again, to the last bit.

The files in `tests/server/branches` are what the editor makes of shipped workflows; its own tests hold it to them.
"""

from __future__ import annotations

import io
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest
from PIL import Image

from graphcore.check import checker
from graphcore.files import shipped
from graphcore.plugins.loader import Plugins
from tests.server.http.house import Running
from tests.server.http.test_api import events, upload

BRANCHES = Path(__file__).parents[1] / "branches"
INPUTS = {"steps": 4, "seed": 5}


@pytest.fixture
def beside(tmp_path: Path) -> Path:
    """A folder with the files that shipped workflows have beside them."""
    for name in ("example.png", "example_mask.png"):
        path = shipped.find("txt2img")
        assert path is not None
        (tmp_path / name).write_bytes((path.parent / name).read_bytes())
    return tmp_path


@pytest.mark.parametrize("path", sorted(BRANCHES.glob("*.json")), ids=lambda path: path.stem)
def test_the_checker_finds_nothing(path: Path, beside: Path) -> None:
    (beside / path.name).write_text(path.read_text())
    assert checker.check_file(beside / path.name, Plugins().registry, {}) == []


def run(
    server: Running, name: str, text: str | None, inputs: dict[str, Any], outputs: list[str]
) -> tuple[Any, list[Any]]:
    body = {"workflow": name, "inputs": inputs, "outputs": outputs, "files": {f"{name}.json": text} if text else {}}
    job = server.ask("/api/v1/jobs", body).json["id"]
    ended = server.ended(job)
    assert ended["state"] == "succeeded", ended["error"]
    return ended["result"], [data for _, kind, data in events(server, job) if kind == "started"]


def pixels(server: Running, result: Any) -> bytes:
    file = server.ask(f"/api/v1/files/{result['files'][0]['id']}").body
    with Image.open(io.BytesIO(file)) as picture:
        return picture.convert("RGB").tobytes()


def unets(started: list[Any]) -> list[str]:
    return [one["node"] for one in started if one["type"] == "stepgraph/unet"]


def branched(name: str) -> str:
    return (BRANCHES / f"{name}.json").read_text()


def test_with_nothing_changed_nothing_runs_and_the_picture_is_the_same(server: Running) -> None:
    before, started = run(server, "txt2img", None, INPUTS, ["image"])
    assert len(unets(started)) == 2 * INPUTS["steps"]
    after, started = run(server, "txt2img", branched("txt2img_same"), INPUTS, ["image_branch"])
    assert unets(started) == []
    assert after["image_branch"]["key"] == before["image"]["key"]
    assert pixels(server, after["image_branch"]) == pixels(server, before["image"])


def test_only_the_steps_after_the_branch_run(server: Running) -> None:
    before, _ = run(server, "txt2img", None, INPUTS, ["image"])
    after, started = run(server, "txt2img", branched("txt2img_prompt"), INPUTS, ["image_branch"])
    # The first step has the latents and the negative prompt of the original, so that half of it is there.
    first, second = "denoise_rest.loop[0].predict", "denoise_rest.loop[1].predict"
    assert unets(started) == [f"{first}.cond", f"{second}.uncond", f"{second}.cond"]
    assert pixels(server, after["image_branch"]) != pixels(server, before["image"])
    unchanged, started = run(server, "txt2img", branched("txt2img_prompt"), INPUTS, ["image"])
    assert unets(started) == []
    assert pixels(server, unchanged["image"]) == pixels(server, before["image"])


def test_another_seed_from_the_branch_on(server: Running) -> None:
    before, _ = run(server, "txt2img", None, INPUTS, ["image"])
    after, started = run(server, "txt2img", branched("txt2img_seed"), INPUTS, ["image_branch"])
    assert {node.split(".")[0] for node in unets(started)} == {"denoise_rest"}
    assert len(unets(started)) == 2 * (INPUTS["steps"] - 2)
    assert pixels(server, after["image_branch"]) != pixels(server, before["image"])


def test_of_a_map_one_item_is_branched(server: Running) -> None:
    inputs = {"schedulers": ["euler", "ddim"], "step_counts": [3], "seed": 9}
    _, started = run(server, "sampler_comparison", None, inputs, ["image"])
    assert unets(started)
    own = branched("sampler_comparison_item")
    after, started = run(server, "sampler_comparison", own, inputs, ["image_2", "image_2_branch"])
    assert unets(started) == []
    assert after["image_2_branch"]["key"] == after["image_2"]["key"]


@dataclass(frozen=True)
class Case:
    """A branch, the workflow that it is of, and whether anything differs in it."""

    branch: str
    workflow: str
    differs: bool
    files: tuple[str, ...] = ()
    """Inputs for which files that lie beside it are uploaded."""

    def __str__(self) -> str:
        return self.branch


CASES = [
    Case("img2img_prompt", "img2img", True, ("image",)),
    Case("controlnet_same", "controlnet", False, ("picture",)),
    Case("inpaint_blended_same", "inpaint", False, ("image", "mask")),
    Case("guidance_same", "guidance", False),
    Case("sdxl_refiner", "sdxl_base_refiner", False),
    Case("sdxl_base", "sdxl_base_refiner", True),
]


@pytest.mark.parametrize("case", CASES, ids=str)
def test_each_kind_of_loop(server: Running, case: Case) -> None:
    inputs: dict[str, Any] = {"steps": 6, "seed": 100 + CASES.index(case)}
    for name in case.files:
        inputs[name] = uploaded(server, "example_mask.png" if name == "mask" else "example.png")
    before, started = run(server, case.workflow, None, inputs, ["image"])
    assert unets(started)
    after, started = run(server, case.workflow, branched(case.branch), inputs, ["image_branch"])
    assert (unets(started) != []) == case.differs
    assert not any("_first" in node for node in unets(started))
    assert (pixels(server, after["image_branch"]) != pixels(server, before["image"])) == case.differs


def uploaded(server: Running, name: str) -> str:
    """A file that lies beside the shipped workflows, as an input names it."""
    path = shipped.find("txt2img")
    assert path is not None
    return f"file:{upload(server, (path.parent / name).read_bytes()).json['id']}"
