"""docs/conditioning.md, followed to the letter in an empty folder."""

from __future__ import annotations

import dataclasses
import os
import re
import stat
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
from PIL import Image as Pillow

from nodes.types import Conditioning

PAGE = Path(__file__).parent.parent / "docs" / "conditioning.md"
TEXT = PAGE.read_text(encoding="utf-8")

BLOCKS: list[tuple[str, str]] = re.findall(r"^```(\S[^\n]*)\n(.*?)^```$", TEXT, re.MULTILINE | re.DOTALL)
"""What stands after the backticks, and the block, in the order of the page."""


@pytest.fixture(scope="module")
def followed(tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, dict[str, str]]:
    """The folder after everything was done as the page says, and what each block of commands said."""
    here = tmp_path_factory.mktemp("empty")
    folder, said = here / "work", {}
    folder.mkdir()
    command = here / "bin" / "stepgraph"
    command.parent.mkdir()
    command.write_text(f'#!/bin/sh\nexec {sys.executable} -m graphcore "$@"\n')
    command.chmod(command.stat().st_mode | stat.S_IXUSR)
    root = str(PAGE.parent.parent)
    environment = {**os.environ, "PATH": f"{command.parent}:{os.environ['PATH']}", "PYTHONPATH": root}
    environment["STEPGRAPH_HOME"] = str(here / "home")
    for kind, content in BLOCKS:
        language, _, name = kind.partition(" ")
        if language != "sh":
            (folder / name).write_text(content, encoding="utf-8")
            continue
        done = subprocess.run(
            ["bash", "-ec", content], cwd=folder, env=environment, capture_output=True, text=True, timeout=600
        )
        assert done.returncode == (1 if name == "refused" else 0), f"{content}\n{done.stdout}{done.stderr}"
        said[content] = done.stdout
        if name == "start":
            folder /= "studio"
    return folder, said


def block(name: str) -> str:
    (found,) = [content for kind, content in BLOCKS if kind.endswith(name)]
    return found


def test_the_plugin_has_thirty_lines_at_most() -> None:
    lines = [line for line in block("plugins/light.py").splitlines() if line.strip()]
    assert len(lines) <= 30


def test_the_page_can_be_followed(followed: tuple[Path, dict[str, str]]) -> None:
    """One test, so that the page is followed once: pictures come out, the node is documented, a misfit is refused."""
    folder, said = followed
    pictures = [np.asarray(Pillow.open(folder / name / "image.png")) for name in ("light", "both")]
    assert [picture.shape for picture in pictures] == [(64, 64, 3)] * 2
    assert not np.array_equal(*pictures)
    for words in ("direction", "Degrees, clockwise", "One token to attend to"):
        assert words in said["stepgraph nodes light/encode_light\n"]
    (refused,) = [text for command, text in said.items() if "random:ddpm" in command]
    for words in ("a UNet with cross-attention", "use a text model", "light.json"):
        assert words in refused


def test_the_table_has_fields_that_there_are_and_nodes_that_there_are() -> None:
    import nodes

    rows = re.findall(r"^\| `(\w+)` \|.*\| (.*) \|$", TEXT, re.MULTILINE)
    fields = {field.name for field in dataclasses.fields(Conditioning)}
    assert {name for name, _ in rows} <= fields
    examples = [name for _, cell in rows for name in re.findall(r"`(\w+)`", cell)]
    assert len(examples) >= len(rows)
    for name in examples:
        assert hasattr(nodes, name), name


def test_its_links_lead_somewhere() -> None:
    for target in re.findall(r"\]\(([^)#:]+)\)", TEXT):
        assert (PAGE.parent / target).exists(), target
