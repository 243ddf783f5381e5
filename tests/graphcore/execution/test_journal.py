"""The journal: what it remembers, for how long, and that no damage to it is an error."""

from __future__ import annotations

import shutil
import sqlite3
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from graphcore.execution import journal as module
from graphcore.execution.journal import Journal


def test_runs_come_back_latest_first(tmp_path: Path) -> None:
    journal = Journal(tmp_path / "new" / "folder")
    for number in range(3):
        journal.record("a.json", {"number": number}, {})
    journal.record("b.json", {"number": 99}, {})
    again = Journal(tmp_path / "new" / "folder")
    assert again.runs("a.json") == [{"number": 2}, {"number": 1}, {"number": 0}]
    assert again.runs("c.json") == []


def test_lengths_are_those_of_the_latest_run(tmp_path: Path) -> None:
    journal = Journal(tmp_path)
    journal.record("a", {}, {"x": 20, "y": 3})
    journal.record("a", {}, {"x": 21})
    assert [journal.length(key) for key in "xyz"] == [21, 3, None]


def test_old_runs_and_lengths_leave(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(module, "KEPT_RUNS", 5)
    monkeypatch.setattr(module, "KEPT_LENGTHS", 4)
    journal = Journal(tmp_path)
    for number in range(12):
        journal.record("a", {"n": number}, {str(number): number, "always": number})
    assert [record["n"] for record in journal.runs("a")] == [11, 10, 9, 8, 7]
    assert journal.length("always") == 11
    assert [journal.length(str(number)) for number in (0, 10, 11)] == [None, 10, 11]


def test_without_a_folder_nothing_is_remembered() -> None:
    journal = Journal(None)
    journal.record("a", {"x": 1}, {"k": 1})
    assert (journal.runs("a"), journal.length("k")) == ([], None)


def around() -> list[Any]:
    value: list[Any] = []
    value.append(value)
    return value


@pytest.mark.parametrize("value", [{(1, 2): 3}, around()])
def test_inputs_without_a_text_form_are_no_error(tmp_path: Path, value: Any) -> None:
    journal = Journal(tmp_path)
    journal.record("a", {"inputs": value}, {})
    assert journal.runs("a") == []
    journal.record("a", {"inputs": {"path": Path("x")}}, {})
    assert journal.runs("a") == [{"inputs": {"path": "x"}}]


def test_a_folder_that_cannot_be_used(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("")
    journal = Journal(tmp_path / "file")
    journal.record("a", {"x": 1}, {"k": 1})
    assert (journal.runs("a"), journal.length("k")) == ([], None)


def test_a_journal_locked_by_another(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(module, "WAIT_SECONDS", 0.01)
    journal = Journal(tmp_path)
    journal.record("a", {"x": 1}, {"k": 1})
    holder = sqlite3.connect(tmp_path / "journal.sqlite", isolation_level=None)
    holder.execute("BEGIN EXCLUSIVE")
    journal.record("a", {"x": 2}, {"k": 2})
    assert (journal.runs("a"), journal.length("k")) == ([], None)
    holder.execute("ROLLBACK")
    holder.close()
    assert (journal.runs("a"), journal.length("k")) == ([{"x": 1}], 1)


SHARE = st.floats(0, 1, exclude_max=True)


@given(st.data())
@settings(max_examples=120, deadline=None)
def test_damage_loses_entries_but_never_makes_wrong_ones(
    tmp_path_factory: pytest.TempPathFactory, data: st.DataObject
) -> None:
    folder = tmp_path_factory.mktemp("journal")
    journal = Journal(folder)
    records = [{"number": number, "text": "some words " * 5} for number in range(4)]
    for number, record in enumerate(records):
        journal.record("a", record, {f"key{number}": number + 1})
    file = folder / "journal.sqlite"
    raw = bytearray(file.read_bytes())
    used = [place for place, byte in enumerate(raw) if byte]
    for _ in range(data.draw(st.integers(1, 5))):
        raw[used[int(data.draw(SHARE) * len(used))]] = data.draw(st.integers(0, 255))
    file.write_bytes(bytes(raw[: int(data.draw(SHARE) * len(raw))] if data.draw(st.booleans()) else raw))
    assert all(record in records for record in journal.runs("a"))
    assert all(journal.length(f"key{number}") in (None, number + 1) for number in range(4))
    for _ in range(2):  # damage that a write does not meet is found by the next look, and the file is begun anew
        journal.record("b", {"number": 5}, {"key5": 5})
        journal.runs("b"), journal.length("key5")
    journal.record("b", {"number": 5}, {"key5": 5})
    assert {"number": 5} in journal.runs("b")
    assert journal.length("key5") == 5
    shutil.rmtree(folder)
