"""The page about the server tells the truth: its commands run as they stand, and so does its Python."""

from __future__ import annotations

import argparse
import os
import re
import shlex
import subprocess
import sys
from pathlib import Path

import pytest
from PIL import Image

from server import cli
from server.work.folders import Folders
from tests.server.http.house import Running

PAGE = (Path(__file__).parents[3] / "docs" / "server.md").read_text(encoding="utf-8")
ADDRESS = "http://127.0.0.1:8188"


def blocks(mark: str) -> list[str]:
    """The fenced blocks of the page with exactly this mark."""
    return re.findall(rf"^```{mark}\n(.*?)^```$", PAGE, re.MULTILINE | re.DOTALL)


@pytest.fixture(scope="module")
def folder(server: Running, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Where the commands of the page were run, one after the other, as a reader would."""
    made = tmp_path_factory.mktemp("reader")
    (made / ".curlrc").write_text("fail-with-body\n")  # an answer that is an error ends the script
    script = "set -euo pipefail\n" + "\n".join(blocks("sh")).replace(ADDRESS, server.url)
    done = subprocess.run(
        ["bash", "-c", script], cwd=made, env={**os.environ, "CURL_HOME": str(made)}, capture_output=True, text=True
    )
    assert done.returncode == 0, (done.stdout[-2000:], done.stderr)
    return made


def test_the_commands_of_the_page(folder: Path) -> None:
    for name in ("apple.png", "cat.png", "tomato.png", "value.png", "step.png"):
        with Image.open(folder / name) as picture:
            picture.load()
            assert picture.size >= (32, 32), name


def test_the_python_of_the_page(server: Running, folder: Path) -> None:
    (program,) = blocks("python")
    done = subprocess.run(
        [sys.executable, "-c", program.replace(ADDRESS, server.url)], cwd=folder, capture_output=True, text=True
    )
    assert done.returncode == 0, done.stderr
    assert done.stdout.splitlines()[-1].startswith("image_generation.completed")
    with Image.open(folder / "frog.png") as frog, Image.open(folder / "apple.png") as apple:
        assert frog.size == apple.size


def parser() -> argparse.ArgumentParser:
    made = argparse.ArgumentParser(add_help=False)
    cli.configure(made)
    return made


def test_the_ways_to_start_are_ways_to_start() -> None:
    lines = [shlex.split(line) for block in blocks("sh serve") for line in block.splitlines()]
    assert len(lines) == 2
    for program, command, *arguments in lines:
        assert (program, command) == ("stepgraph", "serve")
        parser().parse_args(arguments)


def test_the_layout_of_the_data_folder(tmp_path: Path) -> None:
    folders = Folders(tmp_path)
    named = [place.name for place in (folders.queue, folders.events, folders.files, folders.workflows, folders.models)]
    for name in (*named, folders.plugins.name, folders.cache.name):
        assert f"`{name}" in PAGE


def test_every_option_has_a_help_text() -> None:
    for action in parser()._actions:
        assert action.help, action.dest
