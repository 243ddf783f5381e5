"""Texts that come with a request stand in for stored files; one room of names: given, stored, shipped."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from graphcore.errors import CheckFailed
from graphcore.files import shipped
from server.workflows.given import Drawer
from server.workflows.library import Library
from server.workflows.store import UnknownWorkflow, WorkflowStore

SUB: dict[str, Any] = {"stepgraph": 1, "nodes": {}, "inputs": {"x": {"type": "integer"}}, "outputs": {"y": 1}}


def using(path: str, **more: Any) -> str:
    node = {"type": "workflow", "path": path, "inputs": {"x": 1}}
    return json.dumps({"stepgraph": 1, "nodes": {"sub": node}, "outputs": {"y": {"from": "sub.y"}}, **more})


def sub(title: str) -> str:
    return json.dumps({**SUB, "title": title})


@pytest.fixture
def store(tmp_path: Path) -> WorkflowStore:
    return WorkflowStore(tmp_path)


def test_a_given_text_covers_the_stored_one(store: WorkflowStore) -> None:
    store.write("top", using("sub.json"), None)
    store.write("sub", sub("stored"), None)
    assert "stored" in store.find("top")[1]["sub.json"]
    for path in ("sub.json", "sub"):
        workflow, files = store.find("top", {"top.json": using(path, title="mine"), "sub.json": sub("given")})
        assert workflow.title == "mine"
        assert workflow.path == store.folder / "top.json"
        assert files == {"top.json": using(path, title="mine"), path: sub("given")}
    assert "given" in store.find("top", {"sub.json": sub("given")})[1]["sub.json"]
    assert "stored" in store.find("top", {"top.json": using("sub.json")})[1]["sub.json"]


def test_a_text_that_is_nowhere_stored_has_a_name(store: WorkflowStore) -> None:
    assert store.find("new", {"new.json": sub("new")})[0].title == "new"
    with pytest.raises(UnknownWorkflow):
        store.find("new")
    with pytest.raises(CheckFailed) as caught:
        store.find("new", {"new.json": '{\n  "stepgraph": 1,\n}'})
    assert (caught.value.problems[0].line, caught.value.problems[0].file) == (2, str(store.folder / "new.json"))


def test_shipped_workflows_use_what_covers_their_parts(store: WorkflowStore) -> None:
    path = shipped.find("denoise")
    assert path is not None
    own = json.dumps({**json.loads(path.read_text()), "title": "my own"})
    assert store.find("txt2img", {"denoise.json": own})[1]["denoise.json"] == own
    assert store.find("txt2img")[1]["denoise.json"] == path.read_text()
    store.write("denoise", own, "*")
    workflow, files = Library(store).find("txt2img")
    assert files["denoise.json"] == own
    assert workflow.path == shipped.find("txt2img"), "what it reads lies beside it"


def test_files_below_the_folder(store: WorkflowStore) -> None:
    (store.folder / "parts").mkdir()
    (store.folder / "parts" / "one.json").write_text(using("two.json"))
    (store.folder / "parts" / "two.json").write_text(sub("two"))
    store.write("top", using("parts/one.json"), None)
    assert set(store.find("top")[1]) == {"top.json", "parts/one.json", "parts/two.json"}


def test_a_file_that_uses_itself(store: WorkflowStore) -> None:
    for given_ in ({"a.json": using("a.json")}, {"a.json": using("b.json"), "b.json": using("a.json")}):
        with pytest.raises(CheckFailed, match="uses itself"):
            store.find("a", given_)


def test_a_posted_workflow_is_not_the_stored_file_of_its_name(store: WorkflowStore) -> None:
    store.write("posted", sub("stored"), None)
    with pytest.raises(CheckFailed, match="no such file"):
        store.find(json.loads(using("posted.json")), {"posted.json": sub("given")})


def test_links_and_paths_lead_nowhere(store: WorkflowStore, tmp_path_factory: pytest.TempPathFactory) -> None:
    outside = tmp_path_factory.mktemp("outside")
    (outside / "secret.json").write_text(sub("secret"))
    (store.folder / "link.json").symlink_to(outside / "secret.json")
    (store.folder / "way").symlink_to(outside)
    for path in ("link.json", "way/secret.json", f"../{outside.name}/secret.json", str(outside / "secret.json"), "\0"):
        with pytest.raises(CheckFailed):
            store.find("top", {"top.json": using(path)})


@settings(max_examples=200, deadline=None)
@given(st.lists(st.sampled_from(["..", ".", "", "/", "a", "secret", "\0", "~"]), max_size=6))
def test_no_name_leads_out_of_the_folder(tmp_path_factory: pytest.TempPathFactory, parts: list[str]) -> None:
    root = tmp_path_factory.getbasetemp() / "rooms"
    (root / "inside").mkdir(parents=True, exist_ok=True)
    (root / "secret.json").write_text("secret")
    assert Drawer(root / "inside", {}).get("/".join(parts)) is None


def test_broken_files_are_told_with_their_mistakes(store: WorkflowStore) -> None:
    workflow, problems = store.look("top", {"top.json": using("nowhere.json")})
    assert workflow is not None
    assert [problem.code for problem in problems] == ["file"]
    assert store.look("top", {"top.json": "["})[0] is None
