"""The folder of workflows: files as they are written, and no update lost, whoever writes."""

from __future__ import annotations

import contextlib
import json
import os
import threading
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.stateful import Bundle, RuleBasedStateMachine, initialize, rule

from graphcore.errors import CheckFailed
from graphcore.files import shipped
from server.workflows.store import Changed, ReadOnly, UnknownWorkflow, WorkflowStore

SHIPPED = "txt2img"


@pytest.fixture
def store(tmp_path: Path) -> WorkflowStore:
    return WorkflowStore(tmp_path)


def test_a_file_is_kept_byte_for_byte(store: WorkflowStore) -> None:
    for number, text in enumerate(['{"a":  1}\r\n', "\ufeff{}", "no json\n\n", "", '{"ä": "\u2028\U0001f600"}\n']):
        name = f"w{number}"
        written = store.write(name, text, None)
        assert (store.folder / f"{name}.json").read_bytes() == text.encode()
        assert store.read(name) == written
        before = (store.folder / f"{name}.json").stat()
        with contextlib.suppress(CheckFailed):
            store.find(name)
        store.names()
        after = (store.folder / f"{name}.json").stat()
        assert (before.st_mtime_ns, before.st_ino) == (after.st_mtime_ns, after.st_ino)
    assert not [path for path in store.folder.iterdir() if path.suffix != ".json"]


def test_what_editors_and_git_write_is_what_is_read(store: WorkflowStore) -> None:
    first = store.write("mine", "{}", None)
    aside = store.folder / "mine.json~"
    aside.write_text('{"stepgraph": 1}')
    aside.replace(store.folder / "mine.json")  # as editors and git do it
    now = store.read("mine")
    assert now.text == '{"stepgraph": 1}'
    assert now.version != first.version
    with pytest.raises(Changed):
        store.write("mine", "lost", first.version)
    assert store.write("mine", "seen", now.version).text == "seen"
    (store.folder / "mine.json").unlink()
    with pytest.raises(UnknownWorkflow):
        store.read("mine")
    with pytest.raises(Changed):
        store.write("mine", "again", now.version)
    (store.folder / "by_git.json").write_text("{}")
    assert store.names()["by_git"] is False


def test_a_shipped_workflow_can_be_covered_and_shows_again(store: WorkflowStore) -> None:
    ours = store.read(SHIPPED)
    assert ours.shipped
    with pytest.raises(ReadOnly):
        store.remove(SHIPPED, ours.version)
    with pytest.raises(Changed):
        store.write(SHIPPED, "{}", "0" * 32)
    covering = store.write(SHIPPED, "{}", ours.version)
    assert (store.read(SHIPPED), store.names()[SHIPPED]) == (covering, False)
    with pytest.raises(Changed):
        store.write(SHIPPED, "{ }", ours.version)  # the shipped one is no longer what is there
    with pytest.raises(Changed):
        store.remove(SHIPPED, ours.version)
    store.remove(SHIPPED, covering.version)
    assert store.read(SHIPPED) == ours
    path = shipped.find(SHIPPED)
    assert path is not None
    assert path.read_text(encoding="utf-8") == ours.text
    assert not store.write(SHIPPED, "{}", None).shipped  # new, as no file was there


def test_any_version(store: WorkflowStore) -> None:
    with pytest.raises(Changed):
        store.write("new", "{}", "*")  # RFC 9110: `*` wants that there is one
    store.write("new", "{}", None)
    store.write("new", "{ }", "*")
    with pytest.raises(Changed):
        store.write("new", "{  }", None)
    assert store.write(SHIPPED, "{}", "*").text == "{}"  # the shipped one is there
    store.remove("new", "*")
    with pytest.raises(UnknownWorkflow):
        store.remove("new", "*")


@pytest.mark.parametrize(
    "name", ["", ".", "..", "a.b", "a/b", "../a", "a\\b", "-a", "_a", "a\n", "ä", "a" * 101, "a\0", "CON.x"]
)
def test_names_are_no_paths(store: WorkflowStore, name: str) -> None:
    for attempt in (lambda: store.read(name), lambda: store.write(name, "{}", None), lambda: store.remove(name, None)):
        with pytest.raises(UnknownWorkflow):
            attempt()
    assert list(store.folder.iterdir()) == []


@settings(max_examples=200, deadline=None)
@given(st.text(max_size=120))
def test_no_name_leads_out_of_the_folder(name: str) -> None:
    store = WorkflowStore(Path("/nonexistent"))
    with contextlib.suppress(UnknownWorkflow):
        assert store.read(name).shipped


def test_links_are_not_followed(store: WorkflowStore, tmp_path_factory: pytest.TempPathFactory) -> None:
    outside = tmp_path_factory.mktemp("outside") / "secret.json"
    outside.write_text('{"secret": 1}')
    (store.folder / "link.json").symlink_to(outside)
    (store.folder / "nowhere.json").symlink_to(outside.with_name("nowhere.json"))
    os.mkdir(store.folder / "folder.json")
    for name in ("link", "nowhere", "folder"):
        assert name not in store.names()
        with pytest.raises(UnknownWorkflow):
            store.read(name)
        for version in (None, "*", store.write("other", "{}", None).version):
            with pytest.raises((Changed, UnknownWorkflow)):
                store.write(name, "{}", version)
        store.remove("other", None)
    assert outside.read_text() == '{"secret": 1}'
    assert not outside.with_name("nowhere.json").exists()


def test_what_is_no_text_is_a_mistake_of_the_file(store: WorkflowStore) -> None:
    (store.folder / "binary.json").write_bytes(b"\xff\xfe{")
    with pytest.raises(CheckFailed):
        store.find("binary")
    assert "binary" in store.names()
    assert store.read("binary").version != store.write("other", store.read("binary").text, None).version
    with pytest.raises(Changed):
        store.write("binary", "{}", None)  # somebody's file, whatever it is
    store.write("binary", "{}", "*")
    for version in ("", '"*"', "W/*"):
        with pytest.raises(Changed):
            store.remove("binary", version)
        with pytest.raises(Changed):
            store.write("binary", "{ }", version)


def test_of_two_writers_one_hears_that_he_is_late(store: WorkflowStore) -> None:
    store.write("shared", "[]", None)
    rounds, done = 40, []

    def write(who: int) -> None:
        for number in range(rounds):
            while True:
                now = store.read("shared")
                entries = json.loads(now.text)
                with contextlib.suppress(Changed):
                    store.write("shared", json.dumps([*entries, [who, number]]), now.version)
                    break
        done.append(who)

    writers = [threading.Thread(target=write, args=(who,)) for who in range(3)]
    for writer in writers:
        writer.start()
    for writer in writers:
        writer.join()
    entries = json.loads(store.read("shared").text)
    assert sorted(entries) == [[who, number] for who in range(3) for number in range(rounds)]


class Clients(RuleBasedStateMachine):
    """Clients that read, write and remove with the versions that they saw: an update is lost by none of them."""

    seen = Bundle("seen")

    @initialize()
    def begin(self) -> None:
        import tempfile

        self.place = tempfile.TemporaryDirectory()
        self.store = WorkflowStore(Path(self.place.name))
        self.text: str | None = None

    @rule(target=seen)
    def read(self) -> tuple[str, str] | None:
        try:
            stored = self.store.read("w")
        except UnknownWorkflow:
            assert self.text is None
            return None
        assert stored.text == self.text
        return stored.version, stored.text

    @rule(text=st.text(max_size=20), mine=seen)
    def write(self, text: str, mine: tuple[str, str] | None) -> None:
        if (mine is not None and mine[1] == self.text) or (mine is None and self.text is None):
            self.store.write("w", text, mine and mine[0])
            self.text = text
        else:
            with pytest.raises(Changed):
                self.store.write("w", text, mine and mine[0])

    @rule(text=st.text(max_size=20))
    def edit_by_hand(self, text: str) -> None:
        (self.store.folder / "w.json").write_bytes(text.encode())
        self.text = text

    @rule(mine=seen)
    def remove(self, mine: tuple[str, str] | None) -> None:
        if mine is None:
            return
        if self.text == mine[1]:
            self.store.remove("w", mine[0])
            self.text = None
        else:
            with pytest.raises((Changed, UnknownWorkflow)):
                self.store.remove("w", mine[0])

    def teardown(self) -> None:
        self.place.cleanup()


TestClients = Clients.TestCase
TestClients.settings = settings(max_examples=60, stateful_step_count=20, deadline=None)
