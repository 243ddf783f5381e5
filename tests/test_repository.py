"""What the repository says of itself is true: declarations, README's commands, shipped files."""

from __future__ import annotations

import itertools
import json
import os
import re
import subprocess
import tomllib
from importlib import metadata
from pathlib import Path

import pytest

from graphcore.files import canonical
from nodes import resources

ROOT = Path(__file__).parent.parent
PROJECT = tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))
README = (ROOT / "README.md").read_text(encoding="utf-8")
WORKFLOWS = sorted(resources.workflow_folder().glob("*.json"))


def requirement_name(requirement: str) -> str:
    return re.split(r"[<>=\[;~! ]", requirement)[0].lower().replace("_", "-")


def pins() -> dict[str, str]:
    lines = (ROOT / "constraints.txt").read_text(encoding="utf-8").splitlines()
    found = dict(line.split("==") for line in lines if line and not line.startswith("#"))
    return {requirement_name(name): version for name, version in found.items()}


def requirements() -> list[str]:
    optional = PROJECT["project"]["optional-dependencies"]
    every = [*PROJECT["project"]["dependencies"], *optional["test"], *optional["browser"], *optional["dev"]]
    return [requirement for requirement in every if not requirement.startswith("stepgraph")]


def test_every_requirement_has_a_lower_bound_and_a_pin():
    for requirement in requirements():
        assert ">=" in requirement, f"{requirement} has no lower bound"
        name, bound = requirement_name(requirement), requirement.partition(">=")[2]
        assert name in pins(), f"constraints.txt has no {name}"
        numbers = [tuple(map(int, version.split("."))) for version in (bound, pins()[name])]
        assert numbers[0] <= numbers[1], f"{name}: the pin is below the bound"


def test_pins_name_no_build():
    assert not [name for name, version in pins().items() if "+" in version]


def test_what_is_tested_is_what_is_pinned():
    """The versions at hand are those of constraints.txt, for all that the project needs to run."""
    for requirement in PROJECT["project"]["dependencies"]:
        name = requirement_name(requirement)
        assert metadata.version(name).partition("+")[0] == pins()[name]


def test_entry_points_lead_to_what_they_promise():
    points = PROJECT["project"]["entry-points"]
    assert PROJECT["project"]["scripts"] == {"stepgraph": "graphcore.cli:main"}
    for group, name in (("stepgraph.nodes", "stepgraph"), ("stepgraph.workflows", "stepgraph")):
        point = metadata.EntryPoint(name, points[group][name], group)
        assert point.load()
    assert metadata.EntryPoint("", "graphcore.cli:main", "").load()


def test_the_wheel_holds_all_packages_and_the_workflows():
    wheel = PROJECT["tool"]["hatch"]["build"]["targets"]["wheel"]
    assert wheel["packages"] == ["graphcore", "nodes", "server"]
    assert wheel["force-include"] == {"workflows": "nodes/workflows"}
    assert not [pattern for pattern in wheel["exclude"] if not pattern.startswith("/server/editor/")]
    assert not [pattern for pattern in wheel["exclude"] if "dist" in pattern], "users have no Node"
    for package in wheel["packages"]:
        assert (ROOT / package / "__init__.py").is_file()


def readme_command(name: str) -> str:
    [found] = re.findall(rf"^```sh {name}\n(.*?)^```$", README, re.MULTILINE | re.DOTALL)
    return found.strip()


def test_the_readme_has_two_commands_of_one_line():
    first, second = readme_command("first-picture"), readme_command("tests")
    assert "\n" not in first + second
    for part in ("-m venv", "-c constraints.txt", "stepgraph run txt2img", "--out out"):
        assert part in first
    assert "pytest" in second


def test_ci_runs_the_commands_of_the_readme_itself():
    """The function of `.ci/run` that takes a command out of README.md gives what stands there, word for word."""
    script = (ROOT / ".ci" / "run").read_text(encoding="utf-8")
    [function] = re.findall(r"^readme_command\(\) \{\n.*?^\}$", script, re.MULTILINE | re.DOTALL)
    assert "for name in first-picture tests" in script
    assert os.access(ROOT / ".ci" / "run", os.X_OK)
    assert "pip install" not in script.partition("lint, format")[0], "CI installs by README's command only"
    for name in ("first-picture", "tests"):
        done = subprocess.run(
            ["bash", "-c", f"{function}\nreadme_command {name}"], cwd=ROOT, capture_output=True, text=True, check=True
        )
        assert done.stdout.strip() == readme_command(name)


def test_the_readme_names_files_that_exist():
    for target in re.findall(r'\]\(([^)]+)\)|src="([^"]+)"', README):
        name = target[0] or target[1]
        assert (ROOT / name).exists(), f"README.md points at {name}"


def test_the_readme_lists_what_the_model_knows():
    listed = README.partition("<!-- vocabulary -->")[2].partition("<!-- end")[0]
    things = [thing.strip() for thing in " ".join(listed.split()).rstrip(".").split(",")]
    known = (resources.model_folder("emoji") / "vocabulary.txt").read_text(encoding="utf-8").split("\n")
    assert things == [line.replace("|", "/") for line in known if line]
    assert len(things) == 110


@pytest.mark.parametrize("path", WORKFLOWS, ids=lambda path: path.name)
def test_shipped_workflows_are_canonical(path):
    text = path.read_text(encoding="utf-8")
    assert text == canonical.text(json.loads(text))


@pytest.mark.parametrize("path", WORKFLOWS, ids=lambda path: path.name)
def test_shipped_workflows_say_what_they_are(path):
    document = json.loads(path.read_text(encoding="utf-8"))
    assert document["title"]
    assert document["description"]
    for name, described in document["inputs"].items():
        assert described.get("description"), f"{path.name}: input {name} has no description"


PARTS = ("predict", "denoise", "denoise_controlnet", "denoise_masked", "prompt", "repaint", "unconditional")
"""Workflows that others use as nodes."""

OWN_WORDS = ("default", "description")
"""What each workflow says of an input in its own way."""


def test_the_same_input_is_the_same_in_every_shipped_workflow():
    """Type, bounds and choices; each workflow has defaults of its own, and may say more of an input."""
    seen: dict[str, dict[str, object]] = {}
    for path in WORKFLOWS:
        if path.stem in PARTS:
            continue
        for name, described in json.loads(path.read_text(encoding="utf-8"))["inputs"].items():
            same = {key: value for key, value in described.items() if key not in OWN_WORDS}
            assert seen.setdefault(name, same) == same, f"{path.name}: {name}"


def test_nothing_is_written_twice_in_loops():
    """Loops differ in what they add to a step; what they share (the guided prediction) is a file of its own."""
    bodies: dict[str, set[str]] = {}
    for path in WORKFLOWS:
        for node in json.loads(path.read_text(encoding="utf-8"))["nodes"].values():
            if node["type"] == "loop":
                bodies[path.stem] = {json.dumps(inner, sort_keys=True) for inner in node["body"]["nodes"].values()}
    assert {"denoise", "denoise_controlnet", "denoise_masked"} <= bodies.keys()
    for (one, nodes), (other, others) in itertools.combinations(bodies.items(), 2):
        assert len(nodes & others) <= 3, f"{one} and {other} share {len(nodes & others)} nodes"


def test_scheduler_names_are_those_of_the_node():
    from typing import get_args

    from nodes.sampling.schedulers import SchedulerName

    document = json.loads((resources.workflow_folder() / "txt2img.json").read_text(encoding="utf-8"))
    assert tuple(document["inputs"]["scheduler"]["enum"]) == get_args(SchedulerName)


def test_the_embedded_model_is_whole_and_unpickles_nothing():
    folder = resources.model_folder("emoji")
    files = {path.relative_to(folder).as_posix() for path in folder.rglob("*") if path.is_file()}
    for part in json.loads((folder / "model_index.json").read_text(encoding="utf-8")).items():
        if isinstance(part[1], list) and part[1][0]:
            assert any(name.startswith(f"{part[0]}/") for name in files), f"{part[0]} is missing"
    assert {Path(name).suffix for name in files} <= {".json", ".safetensors", ".txt", ".md"}
    assert sum((folder / name).stat().st_size for name in files) < 17_000_000


def test_an_unknown_embedded_model_is_named_with_the_known_ones():
    with pytest.raises(Exception, match="builtin:emoji"):
        resources.model_folder("emojy")


def test_the_licence_is_apache():
    assert PROJECT["project"]["license"] == "Apache-2.0"
    text = (ROOT / "LICENSE").read_text(encoding="utf-8")
    assert "Apache License" in text
    assert "END OF TERMS AND CONDITIONS" in text
