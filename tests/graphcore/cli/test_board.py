from __future__ import annotations

import io
from typing import Any

import pytest

from graphcore.cli.board import Board, plain
from graphcore.cli.progress import QUICK_LINES, Bars, Progress, summary
from graphcore.events import Event


def loop(steps: int, path: str = "denoise", body: tuple[str, ...] = ("unet", "step")) -> list[Event]:
    events = [Event("expanded", path, total=steps)]
    for number in range(steps):
        for node in body:
            where = f"{path}[{number}].{node}"
            events += [Event("started", where), Event("finished", where, seconds=0.25, time=number)]
    return events


def show(events: list[Event]) -> tuple[list[str], Board]:
    stream = io.StringIO()
    with Progress(stream) as shown:
        for event in events:
            shown(event)
    return stream.getvalue().splitlines(), shown.board


def words(line: str) -> list[str]:
    return [part.strip() for part in line.split("  ") if part.strip()]


def test_indices_are_left_out_of_names() -> None:
    assert plain("grid[1].denoise[12].unet") == "grid.denoise.unet"
    assert plain("sampling.count") == "sampling.count"


def test_a_loop_is_one_row_with_its_steps() -> None:
    board = Board()
    for event in loop(3)[:-2]:
        board.update(event)
    (row,) = board.active
    assert (row.label, row.progress, row.ran, row.seconds) == ("denoise", "step 3/3", 5, 1.25)
    assert board.take_finished() == []
    board.close()
    assert board.take_finished() == [row]
    assert board.active == []


def test_the_step_is_the_one_at_work_though_other_nodes_ran_ahead() -> None:
    """What needs nothing of the step before runs for all steps at once, before the first one begins."""
    ahead = [Event(name, f"l[{number}].early") for number in range(3) for name in ("started", "finished")]
    other = [Event("started", "tokens"), Event("finished", "tokens", seconds=9.0, time=9.0)]
    lines, board = show([Event("expanded", "l", total=3), *ahead, *other, *loop(3, "l")[1:], Event("started", "last")])
    assert [words(line)[0] for line in lines] == ["tokens", "l"]

    board = Board()
    for event in [Event("expanded", "l", total=3), *ahead, Event("started", "l[0].unet")]:
        board.update(event)
    assert board.rows["l"].progress == "step 1/3"


def test_what_a_run_made_itself_did_not_come_from_the_cache() -> None:
    made = [Event("started", "noise", key="a"), Event("finished", "noise", key="a", seconds=1.0)]
    lines, board = show([*made, Event("cached", "noise", key="a", cached="memory", seconds=1.0)])
    assert [words(line) for line in lines] == [["noise", "1.00 s"]]
    assert summary(board, 1.0).endswith("1 node ran, none came from the cache")


def test_a_nested_loop_counts_in_both_rows_and_starts_anew() -> None:
    board = Board()
    for number in range(2):
        for event in loop(3, f"grid[{number}].denoise"):
            board.update(event)
    assert (board.rows["grid"].step, board.rows["grid"].ran) == (2, 12)
    assert (board.rows["grid.denoise"].step, board.rows["grid.denoise"].ran) == (3, 12)
    board.update(Event("expanded", "grid[2].denoise", total=7))
    assert board.rows["grid.denoise"].progress == "step 0/7"


def test_lines_of_a_run_name_a_loop_every_five_seconds() -> None:
    lines, board = show(
        [
            Event("run_started"),
            Event("cached", "tokens", cached="disk", seconds=3.0),
            Event("started", "encode"),
            Event("finished", "encode", seconds=0.5),
            *loop(20),
            Event("run_finished"),
        ]
    )
    assert [words(line) for line in lines] == [
        ["tokens", "cached (disk)"],
        ["encode", "0.50 s"],
        ["denoise", "step 6/20", "2.75 s"],
        ["denoise", "step 11/20", "5.25 s"],
        ["denoise", "step 16/20", "7.75 s"],
        ["denoise", "step 20/20", "10.0 s"],
    ]
    assert summary(board, 12.34) == "done in 12.3 s: 41 nodes ran, 1 came from the cache (1 disk)"


def test_a_loop_is_over_when_a_node_after_it_starts() -> None:
    lines, _ = show([*loop(2), Event("started", "decode"), Event("finished", "decode", seconds=1.0)])
    assert [words(line)[0] for line in lines] == ["denoise", "decode"]


def test_a_loop_inside_a_loop_is_one_line() -> None:
    cells = [event for cell in range(3) for event in loop(2, f"grid[{cell}].denoise")]
    lines, _ = show([Event("expanded", "grid", total=3), *cells, Event("started", "image"), Event("finished", "image")])
    found = [words(line)[:2] for line in lines]
    assert found == [["grid", "step 3/3"], ["grid.denoise", "step 2/2"], ["image", "<1 ms"]]


@pytest.mark.parametrize("tier", ["memory", "disk"])
def test_a_loop_of_which_only_the_last_step_is_asked_is_cached(tier: str) -> None:
    lines, _ = show([Event("expanded", "denoise", total=20), Event("cached", "denoise[19].step", cached=tier)])
    assert words(lines[0]) == ["denoise", "step 20/20", f"cached ({tier})"]


def test_a_loop_that_is_resumed_says_how_much_was_cached() -> None:
    events = [Event("expanded", "d", total=3), Event("cached", "d[1].a", cached="disk")]
    lines, _ = show([*events, Event("started", "d[2].a"), Event("finished", "d[2].a", seconds=1.0)])
    assert words(lines[-1]) == ["d", "step 3/3", "1.00 s", "1 of 2 nodes cached"]


def test_a_note_is_said_once_though_every_step_says_it() -> None:
    events = [Event("note", f"d[{number}].a", message="odd") for number in range(9)]
    lines, _ = show([*events, Event("note", "other", message="odd")])
    assert lines == ["note: d[0].a: odd", "note: other: odd"]


def test_ten_thousand_quick_nodes_are_few_lines() -> None:
    events = [Event("finished", f"n{number}", seconds=0.0001) for number in range(10_000)]
    lines, board = show([*events, Event("finished", "long", seconds=5.0)])
    assert len(lines) == QUICK_LINES + 2
    assert words(lines[-2])[0] == "long"
    assert lines[-1] == f"... and {10_000 - QUICK_LINES:,} more quick nodes"
    assert board.ran == 10_001


def test_names_cannot_steer_the_terminal() -> None:
    lines, _ = show([Event("note", "a", message="\x1b[2J\x07gone")])
    assert lines == ["note: a: �[2J�gone"]


class Terminal(io.StringIO):
    def isatty(self) -> bool:
        return True


def test_bars_on_a_terminal(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("TERM", "xterm-256color")
    monkeypatch.setenv("COLUMNS", "100")
    stream = Terminal()
    with Bars(stream) as shown:
        shown(Event("finished", "encode", seconds=0.5))
        for event in loop(20)[:-10]:
            shown(event)
        shown._live.refresh()  # type: ignore[attr-defined]
    text = stream.getvalue()
    assert "encode" in text
    assert "0.50 s" in text
    assert "step 18/20" in text
    assert "━" in text


def test_a_table_of_events_never_breaks_the_board() -> None:
    """Any order of events that an executor may send, also one that ends in the middle."""
    board = Board()
    events: list[Any] = [
        Event("finished", "a"),
        Event("started", "a"),
        Event("expanded", "a", total=0),
        Event("failed", "a"),
        Event("cancelled"),
        Event("cached", "b[0].c", cached="disk"),
        Event("preview", "b"),
    ]
    for event in events * 2:
        board.update(event)
    board.close()
    assert board.ran == 2
