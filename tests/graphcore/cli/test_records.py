"""Event log, trace and output files, without an engine."""

from __future__ import annotations

import itertools
import json
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from graphcore.cli import main
from graphcore.cli.eventlog import EventLog
from graphcore.cli.failure import UsageError
from graphcore.cli.trace import Trace, nesting
from graphcore.errors import StepgraphError
from graphcore.events import Event
from graphcore.files import exports


def test_every_line_of_the_event_log_has_all_columns(tmp_path: Path) -> None:
    path = tmp_path / "events.jsonl"
    events = [
        Event("run_started"),
        Event("finished", "denoise[3].unet", 1.5, "stepgraph/unet", "ab" * 32, 0.25, 4096, total=2),
        Event("note", "a", message="two\nlines \ud800 é"),
        Event("preview", "a", preview=b"png"),
    ]
    with EventLog(path) as log:
        for event in events:
            log(event)
            last = path.read_bytes().splitlines(keepends=True)[-1]
            assert last.endswith(b"\n"), "the line is in the file as soon as the event came"
    lines = [json.loads(line) for line in path.read_text(encoding="utf-8").splitlines()]
    assert [line["event"] for line in lines] == ["run_started", "finished", "note", "preview"]
    assert all({"event", "node", "time", "key", "seconds", "bytes", "cached"} <= line.keys() for line in lines)
    assert lines[1] == {
        "event": "finished", "node": "denoise[3].unet", "time": 1.5, "type": "stepgraph/unet", "key": "ab" * 32,
        "seconds": 0.25, "bytes": 4096, "cached": "", "total": 2,
    }  # fmt: skip


def traced(path: Path, *events: Event) -> list[dict[str, Any]]:
    with Trace(path) as trace:
        for event in events:
            trace(event)
    document = json.loads(path.read_text())
    found: list[dict[str, Any]] = document["traceEvents"]
    return found


def test_a_trace_has_a_complete_event_per_node_in_the_lane_of_its_loop(tmp_path: Path) -> None:
    found = traced(
        tmp_path / "t.json",
        Event("started", "tokens", 1.0, type="stepgraph/tokenize"),
        Event("finished", "tokens", 1.5, type="stepgraph/tokenize", seconds=0.5),
        Event("cached", "denoise[0].step", 1.6, cached="disk"),
        Event("started", "denoise[1].step", 1.7),
        Event("finished", "denoise[1].step", 2.0, seconds=0.3),
    )
    lanes = {one["tid"]: one["args"]["name"] for one in found if one["ph"] == "M"}
    assert [(one["ph"], one["name"], lanes[one["tid"]], one["ts"]) for one in found if one["ph"] != "M"] == [
        ("X", "tokens", "workflow", 1_000_000.0),
        ("i", "step", "denoise", 1_600_000.0),
        ("X", "step", "denoise", 1_700_000.0),
    ]
    assert [one["dur"] for one in found if one["ph"] == "X"] == [500_000.0, 300_000.0]
    assert nesting("grid[0].denoise[1].unet") == "grid.denoise"


@given(st.lists(st.tuples(st.floats(0, 10), st.floats(0, 10)), max_size=30))
def test_complete_events_of_a_lane_never_overlap(spans: list[tuple[float, float]]) -> None:
    """A viewer draws a lane as a stack: partly overlapping spans cannot be shown in one."""
    moments = sorted(
        [(start, 0, i) for i, (start, _) in enumerate(spans)] + [(s + d, 1, i) for i, (s, d) in enumerate(spans)]
    )
    trace = Trace(Path("/dev/null"))
    for moment, ends, number in moments:
        trace(Event("finished" if ends else "started", f"l[{number}].n", moment))
    by_lane: dict[int, list[tuple[float, float]]] = {}
    for record in trace._records:
        by_lane.setdefault(record["tid"], []).append((record["ts"], record["ts"] + record["dur"]))
    for lane in by_lane.values():
        lane.sort()
        assert all(before[1] <= after[0] + 0.01 for before, after in itertools.pairwise(lane))
    assert sum(map(len, by_lane.values())) == len(spans)


def test_runs_follow_each_other_in_a_trace(tmp_path: Path) -> None:
    run = [Event("run_started"), Event("finished", "a", 2.0, seconds=2.0), Event("run_finished", "", 2.5)]
    found = [one for one in traced(tmp_path / "t.json", *run, *run) if one["ph"] == "X"]
    assert [one["ts"] for one in found] == [0.0, 2_500_000.0]


def test_a_trace_that_cannot_be_written_is_refused_before_the_run(tmp_path: Path) -> None:
    with pytest.raises(UsageError, match=r"--trace .*t\.json: No such file or directory; name a file in a folder"):
        Trace(tmp_path / "none" / "t.json")


@dataclass(frozen=True)
class Picture:
    text: str
    broken: bool = False

    def export(self, stem: Path, provenance: Mapping[str, Any]) -> list[Path]:
        path = stem.with_name(f"{stem.name}.txt")
        path.write_text(self.text + provenance.get("by", ""))
        if self.broken:
            raise StepgraphError("the disk is full")
        return [path]


def test_plain_values_become_json(tmp_path: Path) -> None:
    values = {"a": 3, "b": [1.5, "é", None, {"x": Path("/p")}], "c": True, "d": float("nan")}
    written = exports.write(values, tmp_path / "out", {}, {})
    assert [path.name for path in written] == ["a.json", "b.json", "c.json", "d.json"]
    assert [json.loads(path.read_text(encoding="utf-8")) for path in written] == [
        3,
        [1.5, "é", None, {"x": "/p"}],
        True,
        "NaN",
    ]
    assert sorted(path.name for path in (tmp_path / "out").iterdir()) == ["a.json", "b.json", "c.json", "d.json"]


def test_a_value_that_exports_itself_is_asked_to_with_the_provenance(tmp_path: Path) -> None:
    (written,) = exports.write({"image": Picture("x")}, tmp_path, {"by": "y"}, {})
    assert written == tmp_path / "image.txt"
    assert written.read_text() == "xy"


def test_a_list_of_values_that_export_is_numbered(tmp_path: Path) -> None:
    written = exports.write({"strip": [Picture(str(i)) for i in range(101)]}, tmp_path, {}, {})
    assert [path.name for path in written[:2]] == ["strip_000.txt", "strip_001.txt"]
    assert written[100].read_text() == "100"


def test_a_failing_export_leaves_the_old_file_whole_and_nothing_behind(tmp_path: Path) -> None:
    (tmp_path / "image.txt").write_text("old")
    with pytest.raises(StepgraphError, match="disk is full"):
        exports.write({"n": 1, "image": Picture("new", broken=True)}, tmp_path, {}, {})
    assert (tmp_path / "image.txt").read_text() == "old"
    assert sorted(path.name for path in tmp_path.iterdir()) == ["image.txt", "n.json"]


def test_a_folder_in_the_way_is_said_and_the_others_are_written(tmp_path: Path) -> None:
    (tmp_path / "a.json").mkdir()
    with pytest.raises(StepgraphError, match=r"output `a`: .*a\.json is a folder; written: .*b\.json"):
        exports.write({"a": 1, "b": 2}, tmp_path, {}, {})
    assert (tmp_path / "b.json").read_text() == "2\n"


@pytest.mark.parametrize("name", ["../up", "a/b", ".hidden", "/abs"])
def test_no_name_leaves_the_folder(tmp_path: Path, name: str) -> None:
    out = tmp_path / "out"
    with pytest.raises(StepgraphError, match="no file name"):
        exports.write({name: 1}, out, {}, {})
    assert list(out.iterdir()) == []
    assert list(tmp_path.iterdir()) == [out]


@dataclass(frozen=True, eq=False)
class Cloud:
    points: Any
    colours: dict[str, Any]
    label: str = "cloud"


def test_values_with_tensors_become_safetensors_that_can_be_built_again(tmp_path: Path) -> None:
    torch = pytest.importorskip("torch")
    from safetensors import safe_open

    from graphcore.values import codec

    types = {"my/Cloud": Cloud}
    cloud = Cloud(torch.arange(6.0).reshape(2, 3).T, {"red": torch.tensor([True, False])})
    written = exports.write({"cloud": cloud, "clouds": [cloud], "bare": torch.ones(2)}, tmp_path, {}, types)
    assert [path.name for path in written] == ["cloud.safetensors", "clouds.safetensors", "bare.safetensors"]
    with safe_open(written[0], "pt") as file:
        assert sorted(file.keys()) == ["colours.red", "points"]
        names = json.loads(file.metadata()["tensors"])
        again = codec.unpack(file.metadata()["stepgraph"], {k: file.get_tensor(v) for k, v in names.items()}, types)
    assert torch.equal(again.points, cloud.points)
    assert torch.equal(again.colours["red"], cloud.colours["red"])
    assert again.label == "cloud"
    with safe_open(written[1], "pt") as file:
        assert sorted(file.keys()) == ["0.colours.red", "0.points"]
    with safe_open(written[2], "pt") as file:
        assert list(file.keys()) == ["value"]


def test_no_tensor_is_lost_where_names_would_clash(tmp_path: Path) -> None:
    torch = pytest.importorskip("torch")
    from safetensors.torch import load_file

    (written,) = exports.write({"x": {"a.b": torch.zeros(1), "a": {"b": torch.ones(1)}}}, tmp_path, {}, {})
    assert sorted(tensor.item() for tensor in load_file(written).values()) == [0.0, 1.0]


def test_a_value_without_a_stored_form_is_said_and_the_others_are_written(tmp_path: Path) -> None:
    with pytest.raises(StepgraphError, match=r"output `f`: cannot be written.*; written: .*n\.json"):
        exports.write({"f": Cloud(object(), {}), "n": 1}, tmp_path, {}, {})
    assert [path.name for path in tmp_path.iterdir()] == ["n.json"]


@pytest.mark.skipif(not Path("/dev/full").exists(), reason="a file that is always full")
def test_a_log_that_is_full_is_said_after_the_run(counting: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["run", "counting.json", "--events", "/dev/full"]) == 2
    said = capsys.readouterr()
    assert said.out == "outputs/sum.json\n"
    assert "--events /dev/full: No space left on device; free some space" in said.err
