"""`stepgraph run` with the real engine and small nodes."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from graphcore.cli import main
from graphcore.execution import executor

Capture = pytest.CaptureFixture[str]


def say(capsys: Capture, *arguments: str) -> tuple[int, str, str]:
    code = main(arguments)
    said = capsys.readouterr()
    return code, said.out, said.err


def last(err: str) -> str:
    return err.splitlines()[-1].partition(": ")[2]


def test_a_run_writes_its_outputs_and_says_where(counting: Path, capsys: Capture) -> None:
    code, out, err = say(capsys, "run", "counting.json")
    assert code == 0
    assert out.splitlines() == ["outputs/sum.json"]
    assert json.loads(Path("outputs/sum.json").read_text()) == 104
    assert last(err) == "5 nodes ran, none came from the cache"
    assert "step 4/4" in err


def test_a_second_process_of_the_same_run_takes_all_from_the_disk(
    counting: Path, tmp_path: Path, capsys: Capture, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(executor, "WORTH_SECONDS", 0.5)  # on a busy machine, too, no sum takes so long
    long = ("run", "counting.json", "--set", "steps=1", "--set", "seconds=0.6")
    say(capsys, *long)
    code, _, err = say(capsys, *long, "--out", "again")
    assert code == 0
    assert json.loads(Path("again/sum.json").read_text()) == 101
    assert last(err) == "1 node ran, 1 came from the cache (1 disk)", "the sum is quicker made again than read"
    assert {path.name for path in tmp_path.iterdir()} == {"here", "home"}, "nothing is written elsewhere"


def test_settings_are_typed_and_change_what_runs(counting: Path, capsys: Capture) -> None:
    say(capsys, "run", "counting.json")
    code, _, err = say(capsys, "run", "counting.json", "--set", "steps=6", "--set", "more=-6")
    assert code == 0
    assert json.loads(Path("outputs/sum.json").read_text()) == 0
    assert last(err) == "3 nodes ran, 1 came from the cache (1 disk)", "two more steps and the sum"


@pytest.mark.parametrize(
    ("setting", "said"),
    [
        ("stps=3", "did you mean `steps`?"),
        ("steps=3.5", "`steps` wants an integer"),
        ("steps=0", "`steps` wants at least 1"),
        ("steps", "write name=value"),
    ],
)
def test_a_wrong_setting_is_a_usage_error_and_nothing_runs(
    counting: Path, setting: str, said: str, capsys: Capture
) -> None:
    code, out, err = say(capsys, "run", "counting.json", "--set", setting)
    assert (code, out) == (2, "")
    assert said in err
    assert not Path("outputs").exists()


def test_without_cache_nothing_is_reused(counting: Path, tmp_path: Path, capsys: Capture) -> None:
    for _ in range(2):
        code, _, err = say(capsys, "run", "counting.json", "--no-cache")
        assert code == 0
        assert last(err) == "5 nodes ran, none came from the cache"
    assert not list((tmp_path / "home").rglob("*.safetensors"))


def test_another_cache_folder(counting: Path, tmp_path: Path, capsys: Capture) -> None:
    say(capsys, "run", "counting.json", "--cache", str(tmp_path / "elsewhere"))
    assert "none came from the cache" in say(capsys, "run", "counting.json")[2]
    assert "1 disk" in say(capsys, "run", "counting.json", "--cache", str(tmp_path / "elsewhere"))[2]


def test_events_are_whole_lines_that_tell_the_run(counting: Path, capsys: Capture) -> None:
    say(capsys, "run", "counting.json", "--events", "e.jsonl", "--trace", "t.json")
    lines = [json.loads(line) for line in Path("e.jsonl").read_text().splitlines()]
    ran = [line["node"] for line in lines if line["event"] == "finished"]
    assert ran == ["count[0].step", "count[1].step", "count[2].step", "count[3].step", "sum"]
    assert lines[0]["event"] == "run_started"
    assert lines[-1]["event"] == "run_finished"
    assert all(len(line["key"]) == 64 for line in lines if line["event"] == "finished")
    trace = json.loads(Path("t.json").read_text())["traceEvents"]
    assert len([one for one in trace if one["ph"] == "X"]) == 5


def test_a_failing_node_shows_its_own_code_only(write: Callable[..., Path], capsys: Capture) -> None:
    write("bad.json", {"q": {"type": "my/divide", "inputs": {"a": 1.0, "b": 0.0}}}, {"q": "q"})
    code, _, err = say(capsys, "run", "bad.json")
    assert code == 1
    assert "error: node `q` (my/divide) failed: ZeroDivisionError: float division by zero" in err
    assert "return _quotient(a, b)" in err
    assert "return a / b" in err
    assert "executor.py" not in err
    full = say(capsys, "run", "bad.json", "--traceback")[2]
    assert "executor.py" in full


def test_a_failure_leaves_events_trace_and_earlier_outputs(write: Callable[..., Path], capsys: Capture) -> None:
    nodes: dict[str, Any] = {
        "s": {"type": "my/slow", "inputs": {"value": 1}},
        "q": {"type": "my/divide", "inputs": {"a": {"from": "s"}, "b": 0.0}},
    }
    write("bad.json", nodes, {"q": "q"})
    Path("outputs").mkdir()
    Path("outputs/q.json").write_text("old")
    assert say(capsys, "run", "bad.json", "--events", "e.jsonl", "--trace", "t.json")[0] == 1
    assert json.loads(Path("e.jsonl").read_text().splitlines()[-1])["event"] == "failed"
    assert any(one["name"] == "s" for one in json.loads(Path("t.json").read_text())["traceEvents"])
    assert Path("outputs/q.json").read_text() == "old"
    assert list(Path("outputs").iterdir()) == [Path("outputs/q.json")]


def test_a_workflow_with_errors_is_refused_before_it_runs(write: Callable[..., Path], capsys: Capture) -> None:
    nodes = {"a": {"type": "my/slow", "inputs": {"value": 1}}, "b": {"type": "my/ad", "inputs": {"a": {"from": "a"}}}}
    write("bad.json", nodes, {"b": "b"})
    code, out, err = say(capsys, "run", "bad.json")
    assert (code, out) == (1, "")
    assert "did you mean `my/add`" in err
    assert "1 problem in bad.json" in err
    assert "Traceback" not in err


def test_notes_are_shown_again_when_the_value_is_cached(write: Callable[..., Path], capsys: Capture) -> None:
    write("talk.json", {"t": {"type": "my/speak", "inputs": {"text": "hello"}}}, {"t": "t"})
    for _ in range(2):
        err = say(capsys, "run", "talk.json")[2]
        assert "note: t: said hello" in err
    assert "1 came from the cache (1 disk)" in err


def test_only_named_folders_can_be_read(write: Callable[..., Path], tmp_path: Path, capsys: Capture) -> None:
    secret = tmp_path / "secret.txt"
    secret.write_text("42")
    nodes = {"r": {"type": "my/read", "inputs": {"path": {"from": "inputs.file"}}}}
    write("read.json", nodes, {"r": "r"}, file={"type": "path", "default": str(secret)})
    code, _, err = say(capsys, "run", "read.json")
    assert code == 1
    assert "outside" in err
    assert say(capsys, "run", "read.json", "--root", str(tmp_path))[0] == 0
    assert say(capsys, "run", "read.json", "--set", "file=../secret.txt")[0] == 0
    assert json.loads(Path("outputs/r.json").read_text()) == "42"


def test_a_file_that_changed_is_read_again(write: Callable[..., Path], place: Path, capsys: Capture) -> None:
    nodes = {"r": {"type": "my/read", "inputs": {"path": "data.txt"}}}
    write("read.json", nodes, {"r": "r"})
    for content in ("one", "two"):
        (place / "data.txt").write_text(content)
        assert say(capsys, "run", "read.json")[0] == 0
        assert json.loads(Path("outputs/r.json").read_text()) == content


def test_an_output_folder_that_cannot_be_made_is_said(counting: Path, place: Path, capsys: Capture) -> None:
    (place / "file").write_text("")
    code, _, err = say(capsys, "run", "counting.json", "--out", "file/inner")
    assert code == 2
    assert f"--out file/inner: {place / 'file'} is a file; name a folder" in err
    assert "ran" not in err, "before the run, not after it"


def test_a_cache_that_cannot_be_used_is_said(counting: Path, place: Path, capsys: Capture) -> None:
    (place / "file").write_text("")
    code, _, err = say(capsys, "run", "counting.json", "--cache", "file")
    assert code == 0
    assert f"in the cache {place / 'file'}: the folder cannot be used" in err
    for action in ("info", "clear"):
        code, _, err = say(capsys, "cache", action, "--cache", "file")
        assert code == 1
        assert "the folder cannot be used" in err


def test_explain_says_what_is_cached_and_what_changed(counting: Path, capsys: Capture) -> None:
    code, out, _ = say(capsys, "explain", "counting.json")
    assert code == 0
    assert "no earlier run" in out
    say(capsys, "run", "counting.json")
    found = json.loads(say(capsys, "explain", "counting.json", "--json")[1])
    assert {one["node"]: one["state"] for one in found}["count.step"] == "cached"
    changed = say(capsys, "explain", "counting.json", "--set", "start=7")[1]
    assert "from 0 to 7" in changed


def test_cache_info_verify_and_clear(counting: Path, capsys: Capture) -> None:
    say(capsys, "run", "counting.json")
    code, out, _ = say(capsys, "cache", "info", "--json")
    assert code == 0
    assert json.loads(out)["entries"] >= 4
    assert say(capsys, "cache", "info")[0] == 0
    assert say(capsys, "cache", "verify")[0] == 0
    assert say(capsys, "cache", "clear")[0] == 0
    assert json.loads(say(capsys, "cache", "info", "--json")[1])["entries"] == 0
    assert "none came from the cache" in say(capsys, "run", "counting.json")[2]
