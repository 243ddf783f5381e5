"""A workflow that was read before is the file on the disk now, whoever changed it and however quickly."""

from __future__ import annotations

import json
import os
from pathlib import Path

import pytest

from server.files import stamp
from server.workflows.library import Library
from server.workflows.store import UnknownWorkflow, WorkflowStore

SUB = {"stepgraph": 1, "inputs": {"x": {"type": "integer"}}, "nodes": {}, "outputs": {"y": {"from": "inputs.x"}}}
TOP = {
    "stepgraph": 1,
    "nodes": {"sub": {"type": "workflow", "path": "sub.json", "inputs": {"x": 1}}},
    "outputs": {"y": {"from": "sub.y"}},
}


@pytest.fixture
def library(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Library:
    monkeypatch.setattr(stamp, "RECENT_SECONDS", -60.0)  # files count as old at once
    (tmp_path / "top.json").write_text(json.dumps(TOP))
    (tmp_path / "sub.json").write_text(json.dumps(SUB))
    return Library(WorkflowStore(tmp_path))


def title(library: Library, name: str) -> str:
    return library.find(name)[0].title


def test_what_did_not_change_is_the_very_same(library: Library) -> None:
    assert library.find("top")[0] is library.find("top")[0]
    assert library.find(TOP)[0] is library.find(TOP)[0]
    assert library.find("txt2img")[0] is library.find("txt2img")[0]
    assert set(library.find("top")[1]) == {"top.json", "sub.json"}


def test_every_change_shows(library: Library, tmp_path: Path) -> None:
    library.find("top"), library.find(TOP)
    (tmp_path / "sub.json").write_text(json.dumps({**SUB, "title": "another"}))
    for wanted in ("top", TOP):
        assert "another" in library.find(wanted)[1]["sub.json"]
    (tmp_path / "top.json").write_text(json.dumps({**TOP, "title": "mine"}))
    assert title(library, "top") == "mine"
    (tmp_path / "top.json").unlink()
    with pytest.raises(UnknownWorkflow):
        library.find("top")


def test_a_file_put_in_its_place_shows_though_its_time_is_old(library: Library, tmp_path: Path) -> None:
    library.find("top")
    before = (tmp_path / "top.json").stat()
    other = tmp_path / "other"
    other.write_text(json.dumps({**TOP, "title": "mine"}))
    os.utime(other, ns=(before.st_atime_ns, before.st_mtime_ns))
    other.replace(tmp_path / "top.json")
    assert title(library, "top") == "mine"


def test_an_own_file_covers_a_shipped_one_that_was_read(library: Library, tmp_path: Path) -> None:
    library.find("txt2img")
    (tmp_path / "txt2img.json").write_text(json.dumps({**TOP, "title": "mine"}))
    assert title(library, "txt2img") == "mine"


def test_a_file_that_changed_just_now_is_read_each_time(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(stamp, "RECENT_SECONDS", 3600.0)
    library = Library(WorkflowStore(tmp_path))
    (tmp_path / "sub.json").write_text(json.dumps(SUB))
    assert library.find("sub")[0] is not library.find("sub")[0]
