"""Running a picture again, with the node library's pictures and no model."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path

import pytest

from graphcore.cli import main
from graphcore.files import provenance

Capture = pytest.CaptureFixture[str]


@pytest.fixture
def picture(write: Callable[..., Path], place: Path, capsys: Capture) -> Path:
    """A picture made by a workflow of two files from another picture."""
    images = pytest.importorskip("PIL.Image")
    images.new("RGB", (8, 6), (200, 30, 30)).save(place / "red.png")
    nodes = {"small": {"type": "resize_image", "inputs": {"image": {"from": "inputs.image"}, "width": 4, "height": 3}}}
    write("shrink.json", nodes, {"image": "small"}, image={"type": "any"})
    nodes = {
        "load": {"type": "load_image", "inputs": {"path": {"from": "inputs.file"}}},
        "shrink": {"type": "workflow", "path": "shrink.json", "inputs": {"image": {"from": "load"}}},
    }
    write("picture.json", nodes, {"image": "shrink"}, file={"type": "path"}, label={"type": "string", "default": "a"})
    assert main(["run", "picture.json", "--set", "file=red.png", "--set", "label=b"]) == 0
    assert capsys.readouterr().out == "outputs/image.png\n"
    return place / "outputs" / "image.png"


def test_a_picture_holds_what_made_it(picture: Path, place: Path) -> None:
    record = provenance.read(picture)
    assert record["inputs"] == {"file": str(place / "red.png"), "label": "b"}
    assert set(record["files"]) == {"picture.json", "shrink.json"}
    assert record["environment"]["device"] == "cpu"
    assert len(record["keys"]["image"]) >= 64


def test_a_picture_runs_again_without_its_files(picture: Path, place: Path, tmp_path: Path, capsys: Capture) -> None:
    (place / "picture.json").unlink()
    (place / "shrink.json").unlink()
    before = picture.read_bytes()
    assert main(["run", "outputs/image.png", "--out", "again", "--root", "."]) == 0
    said = capsys.readouterr()
    assert said.out == "again/image.png\n"
    assert "same environment and same keys" in said.err
    images = pytest.importorskip("PIL.Image")
    with images.open(picture) as first, images.open("again/image.png") as second:
        assert first.tobytes() == second.tobytes()
    assert picture.read_bytes() == before
    assert not list((tmp_path / "home").glob("picture-*")), "nothing is left behind"


def test_it_says_what_differs(picture: Path, place: Path, capsys: Capture, monkeypatch: pytest.MonkeyPatch) -> None:
    images = pytest.importorskip("PIL.Image")
    images.new("RGB", (8, 6), (0, 0, 0)).save(place / "red.png")
    now = provenance.environment()
    monkeypatch.setattr(provenance, "environment", lambda: {**now, "python": "9.9"})
    assert main(["run", "outputs/image.png", "--out", "again", "--root", "."]) == 0
    err = capsys.readouterr().err
    assert f"differs: python: {now['python']} then, 9.9 now" in err
    assert "differs: output `image`: made from something else" in err


def test_settings_go_over_those_of_the_picture(picture: Path, capsys: Capture) -> None:
    assert main(["run", "outputs/image.png", "--out", "again", "--root", ".", "--set", "label=c"]) == 0
    assert provenance.read("again/image.png")["inputs"]["label"] == "c"
    assert main(["run", "outputs/image.png", "--set", "lable=c"]) == 2
    assert "did you mean `label`" in capsys.readouterr().err


def test_a_picture_from_somewhere_opens_no_folder(picture: Path, capsys: Capture) -> None:
    """What a picture says about paths is somebody else's word: only the person at the keyboard opens folders."""
    assert main(["run", "outputs/image.png", "--out", "again"]) == 1
    assert "--root" in capsys.readouterr().err
    assert not Path("again/image.png").exists()


def test_a_picture_of_an_unchanged_shipped_workflow_finds_the_files_beside_it(
    picture: Path, place: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    shipped = tmp_path / "shipped"
    shipped.mkdir()
    for name in ("picture.json", "shrink.json"):
        text = (place / name).read_text().replace('"type": "path"', '"type": "path", "default": "red.png"')
        (shipped / name).write_text(text)
    (place / "red.png").rename(shipped / "red.png")
    monkeypatch.setattr("graphcore.cli.shipped.folders", lambda: (shipped,))
    assert main(["run", "picture"]) == 0
    assert main(["run", "outputs/image.png", "--out", "again"]) == 0
    assert Path("again/image.png").exists()


def test_a_picture_can_be_explained(picture: Path, capsys: Capture) -> None:
    assert main(["explain", "outputs/image.png", "--root", ".", "--json"]) == 0
    assert {"load", "shrink.small"} <= {one["node"] for one in json.loads(capsys.readouterr().out)}


def test_other_pictures_are_refused_in_words(place: Path, capsys: Capture) -> None:
    images = pytest.importorskip("PIL.Image")
    images.new("RGB", (2, 2)).save(place / "plain.png")
    (place / "cut.png").write_bytes((place / "plain.png").read_bytes()[:40])
    for name, said in (("plain.png", "holds no workflow"), ("cut.png", "damaged")):
        assert main(["run", name]) == 1
        err = capsys.readouterr().err
        assert said in err
        assert "Traceback" not in err
