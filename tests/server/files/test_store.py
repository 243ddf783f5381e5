"""Files by content: once, whole, and never by a path."""

from __future__ import annotations

import errno
import os
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from graphcore import StepgraphError
from server.files.store import FileStore, FileTooLarge, UnknownFile


@pytest.fixture
def store(tmp_path: Path) -> FileStore:
    return FileStore(tmp_path / "files")


def test_equal_content_is_one_file(store: FileStore) -> None:
    one = store.add([b"abc", b"def"], ".png")
    two = store.add([b"abcdef"], ".png")
    assert one == two == store.get(one.id)
    assert (one.path.read_bytes(), one.bytes, one.media_type, one.name) == (b"abcdef", 6, "image/png", f"{one.id}.png")
    assert [path.name for path in store.folder.iterdir()] == [one.name]


def test_too_much_leaves_nothing(store: FileStore) -> None:
    with pytest.raises(FileTooLarge):
        store.add([b"12345", b"6"], ".png", most_bytes=5)
    assert list(store.folder.iterdir()) == []
    assert store.add([b"12345"], ".png", most_bytes=5).bytes == 5


def test_a_full_disk_leaves_nothing(store: FileStore, monkeypatch: pytest.MonkeyPatch) -> None:
    def full(_: int) -> None:
        raise OSError(errno.ENOSPC, "No space left on device")

    monkeypatch.setattr(os, "fsync", full)
    with pytest.raises(OSError, match="No space"):
        store.add([b"x"], ".png")
    assert list(store.folder.iterdir()) == []


def test_unkept_suffixes_are_refused(store: FileStore) -> None:
    for suffix in (".svg", ".ckpt", "", ".png/../../x"):
        with pytest.raises(StepgraphError, match="not kept"):
            store.add([b"x"], suffix)


@given(st.text(max_size=60))
def test_no_text_from_outside_becomes_a_path(tmp_path_factory: pytest.TempPathFactory, text: str) -> None:
    store = FileStore(tmp_path_factory.getbasetemp() / "files")
    (store.folder.parent / "secret.png").write_bytes(b"secret")
    with pytest.raises(UnknownFile):
        store.get(text)


@pytest.mark.parametrize("id_", ["../secret", "..%2fsecret", "/etc/passwd", "a" * 31, "A" * 32, "a" * 32 + "\n", "."])
def test_ids_of_attackers(store: FileStore, id_: str) -> None:
    with pytest.raises(UnknownFile):
        store.get(id_)


def test_a_link_that_leads_outside_is_no_file(store: FileStore, tmp_path: Path) -> None:
    (tmp_path / "secret").write_bytes(b"secret")
    (store.folder / f"{'a' * 32}.png").symlink_to(tmp_path / "secret")
    (store.folder / f"{'b' * 32}.png").mkdir()
    for id_ in ("a" * 32, "b" * 32):
        with pytest.raises(UnknownFile):
            store.get(id_)
