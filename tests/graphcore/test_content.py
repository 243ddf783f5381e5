"""Digests of files: always those of the content that is there now, and each file read once."""

from __future__ import annotations

import os
import shutil
import sqlite3
from collections.abc import Iterator
from pathlib import Path

import pytest
from blake3 import blake3
from hypothesis import given, settings
from hypothesis import strategies as st

from graphcore import content
from graphcore.errors import StepgraphError
from graphcore.home import home


@pytest.fixture(autouse=True)
def fresh(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    """A home of its own, and nothing known yet."""
    monkeypatch.setenv("STEPGRAPH_HOME", str(tmp_path / "home"))
    content._known.clear()
    yield
    content._known.clear()


@pytest.fixture
def later(monkeypatch: pytest.MonkeyPatch) -> None:
    """As if all files were older than the clock's resolution."""
    monkeypatch.setattr(content, "RACY_SECONDS", -1e9)


@pytest.fixture
def reads(monkeypatch: pytest.MonkeyPatch) -> list[str]:
    """The files that were really read."""
    seen: list[str] = []
    original = content._read
    monkeypatch.setattr(content, "_read", lambda path: (seen.append(path), original(path))[1])
    return seen


def write(path: Path, data: bytes | str) -> Path:
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_bytes(data if isinstance(data, bytes) else data.encode())
    return path


@pytest.mark.parametrize("size", [0, 1, 1000, content.BLOCK, content.BLOCK + 1, 3 * content.BLOCK])
def test_the_digest_is_blake3_of_the_content(tmp_path: Path, size: int) -> None:
    data = os.urandom(size)
    assert content.digest(write(tmp_path / "file", data)) == blake3(data).hexdigest()
    assert content.digest(str(tmp_path / "file")) == blake3(data).hexdigest()


def test_a_file_is_read_once_in_this_process_and_in_the_next(tmp_path: Path, later: None, reads: list[str]) -> None:
    file = write(tmp_path / "file", "weights")
    first = content.digest(file)
    assert [content.digest(file) for _ in range(3)] == [first] * 3
    content._known.clear()  # as in a new process
    assert content.digest(file) == first
    assert reads == [str(file)]


def test_a_file_that_changed_just_now_is_not_remembered(
    tmp_path: Path, reads: list[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(content, "_stamp", lambda status: str(status.st_size))  # all within one tick of the clock
    file = write(tmp_path / "file", "one")
    assert content.digest(file) == blake3(b"one").hexdigest()
    write(file, "two")
    assert content.digest(file) == blake3(b"two").hexdigest()
    assert len(reads) == 2


def test_a_change_that_keeps_size_and_time_is_seen(tmp_path: Path, later: None) -> None:
    file = write(tmp_path / "file", "one")
    before = os.stat(file)
    content.digest(file)
    write(file, "two")
    os.utime(file, ns=(before.st_atime_ns, before.st_mtime_ns))
    assert content.digest(file) == blake3(b"two").hexdigest()


def test_a_file_that_changes_while_it_is_read_is_not_remembered(
    tmp_path: Path, later: None, monkeypatch: pytest.MonkeyPatch
) -> None:
    file = write(tmp_path / "file", "one")
    original = content._read
    monkeypatch.setattr(content, "_read", lambda path: (original(path), write(file, "other"))[0])
    content.digest(file)
    monkeypatch.setattr(content, "_read", original)
    assert content.digest(file) == blake3(b"other").hexdigest()


def test_the_same_name_in_another_folder_is_another_file(tmp_path: Path, later: None) -> None:
    one, two = write(tmp_path / "a" / "file", "one"), write(tmp_path / "b" / "file", "two")
    assert content.digest(one) != content.digest(two)
    shutil.copy(one, two)
    assert content.digest(one) == content.digest(two)


# -- folders --------------------------------------------------------------------------------------------------------

TREE = {"config.json": "{}", "unet/weights": "u", "vae/weights": "v"}


def plant(folder: Path, files: dict[str, str]) -> Path:
    for name, text in files.items():
        write(folder / name, text)
    return folder


def test_folders_of_equal_files_are_equal(tmp_path: Path) -> None:
    one = content.digest(plant(tmp_path / "one", TREE))
    assert content.digest(plant(tmp_path / "two", dict(reversed(TREE.items())))) == one
    plant(tmp_path / "two", {".git/objects": "hidden", "unet/.DS_Store": "hidden"})
    (tmp_path / "two" / "empty").mkdir()
    assert content.digest(tmp_path / "two") == one


@pytest.mark.parametrize(
    "files",
    [
        {"config.json": "{}", "unet/weights": "u"},
        {**TREE, "more": ""},
        {**TREE, "vae/weights": "w"},
        {"config.json": "{}", "unet/weights": "v", "vae/weights": "u"},
        {"config.json": "{}", "unet/weight": "u", "vae/weights": "v"},
        {"config.json": "{}", "unet": "u", "vae/weights": "v"},
    ],
)
def test_folders_that_differ_in_names_or_content_differ(tmp_path: Path, files: dict[str, str]) -> None:
    assert content.digest(plant(tmp_path / "a", TREE)) != content.digest(plant(tmp_path / "b", files))


def test_links_count_as_what_they_lead_to(tmp_path: Path, later: None) -> None:
    real = content.digest(plant(tmp_path / "real", TREE))
    linked = plant(tmp_path / "linked", {"config.json": "{}"})
    (linked / "unet").symlink_to(tmp_path / "real" / "unet")
    (linked / "vae").mkdir()
    (linked / "vae" / "weights").symlink_to(tmp_path / "real" / "vae" / "weights")
    assert content.digest(linked) == real
    write(tmp_path / "real" / "unet" / "weights", "changed")
    assert content.digest(linked) == content.digest(tmp_path / "real") != real


def test_links_that_lead_back_end(tmp_path: Path) -> None:
    folder = plant(tmp_path / "folder", TREE)
    before = content.digest(folder)
    (folder / "unet" / "up").symlink_to(folder)
    (folder / "self").symlink_to(folder / "self")
    with pytest.raises(StepgraphError, match="self"):
        content.digest(folder)
    (folder / "self").unlink()
    assert content.digest(folder) == before


@pytest.mark.parametrize("name", ["missing", "broken", "pipe", "folder"])
def test_what_cannot_be_read_is_named(tmp_path: Path, name: str) -> None:
    (tmp_path / "broken").symlink_to(tmp_path / "nowhere")
    os.mkfifo(tmp_path / "pipe")  # reading it would never end
    plant(tmp_path / "folder", TREE)
    (tmp_path / "folder" / "deep").symlink_to(tmp_path / "nowhere")
    with pytest.raises(StepgraphError, match=r"cannot read '.*/(missing|broken|nowhere|pipe|deep)'"):
        content.digest(tmp_path / name)


# -- the memo -------------------------------------------------------------------------------------------------------


def test_a_home_that_cannot_be_written(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, later: None) -> None:
    monkeypatch.setenv("STEPGRAPH_HOME", str(write(tmp_path / "no folder", "")))
    file = write(tmp_path / "file", "one")
    assert content.digest(file) == blake3(b"one").hexdigest()
    content._known.clear()
    assert content.digest(file) == blake3(b"one").hexdigest()


def test_names_that_are_no_text(tmp_path: Path, later: None, reads: list[str]) -> None:
    name = os.fsdecode(os.fsencode(tmp_path) + b"/caf\xe9")
    Path(name).write_bytes(b"one")
    for _ in range(2):
        assert content.digest(name) == blake3(b"one").hexdigest()
        content._known.clear()
    assert len(reads) == 1


def test_a_locked_memo_is_passed_over(tmp_path: Path, later: None, monkeypatch: pytest.MonkeyPatch) -> None:
    content.digest(write(tmp_path / "file", "one"))
    connect = content.database.connect
    monkeypatch.setattr(
        content.database, "connect", lambda path, schema, version, timeout: connect(path, schema, version, 0.01)
    )
    holder = sqlite3.connect(home() / "files.sqlite", isolation_level=None)
    holder.execute("BEGIN EXCLUSIVE")
    assert content.digest(write(tmp_path / "other", "two")) == blake3(b"two").hexdigest()
    holder.close()


SHARE = st.floats(0, 1, exclude_max=True)


@given(st.data())
@settings(max_examples=60, deadline=None)
def test_a_damaged_memo_never_gives_a_wrong_digest(
    tmp_path_factory: pytest.TempPathFactory, data: st.DataObject
) -> None:
    folder = tmp_path_factory.mktemp("memo")
    files = {write(folder / str(number), f"content {number}"): f"content {number}".encode() for number in range(4)}
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("STEPGRAPH_HOME", str(folder / "home"))
        patch.setattr(content, "RACY_SECONDS", -1e9)
        for file in files:
            content.digest(file)
        memo = folder / "home" / "files.sqlite"
        raw = bytearray(memo.read_bytes())
        used = [place for place, byte in enumerate(raw) if byte]
        for _ in range(data.draw(st.integers(1, 4))):
            raw[used[int(data.draw(SHARE) * len(used))]] = data.draw(st.integers(0, 255))
        memo.write_bytes(bytes(raw[: int(data.draw(SHARE) * len(raw))] if data.draw(st.booleans()) else raw))
        for _ in range(3):
            content._known.clear()
            for file, text in files.items():
                assert content.digest(file) == blake3(text).hexdigest()
    shutil.rmtree(folder)


def test_home_prefers_the_variable(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    assert home() == tmp_path / "home"
    monkeypatch.delenv("STEPGRAPH_HOME")
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path))
    assert home() == tmp_path / "stepgraph"
    monkeypatch.setenv("XDG_CACHE_HOME", "relative")
    monkeypatch.setenv("HOME", str(tmp_path / "me"))
    assert home() == tmp_path / "me" / ".cache" / "stepgraph"
    monkeypatch.setenv("STEPGRAPH_HOME", "~nobody-of-this-name/x")
    with pytest.raises(StepgraphError, match="STEPGRAPH_HOME"):
        home()
