"""What is told of files that change. The tests wait for what must come, never assert on how long it took."""

from __future__ import annotations

import threading
import time
from collections.abc import Callable, Iterator
from contextlib import suppress
from itertools import pairwise
from pathlib import Path
from queue import Empty, Queue

import pytest
from watchdog.events import FileClosedNoWriteEvent, FileModifiedEvent, FileOpenedEvent

from graphcore import StepgraphError
from graphcore.plugins.watch import Watcher

PATIENCE = 120.0
"""Seconds after which a call that has not come will not come."""

Calls = Queue[set[Path]]
Watch = Callable[..., Calls]


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    (tmp_path / "watched").mkdir()
    return (tmp_path / "watched").resolve()


@pytest.fixture
def watch() -> Iterator[Watch]:
    """Watches paths until the test ends; gives the queue of calls."""
    watchers: list[Watcher] = []

    def start(*paths: Path, debounce: float = 0.1) -> Calls:
        calls: Calls = Queue()
        watchers.append(Watcher(paths, calls.put, debounce).__enter__())
        return calls

    yield start
    for watcher in watchers:
        watcher.stop()


def only_this(calls: Calls, folder: Path, *expected: str) -> None:
    """All that is told is `expected`: the end of it is marked by a file of our own."""
    seen: set[Path] = set()
    (folder / "end.py").write_text("")
    deadline = time.monotonic() + PATIENCE
    while folder / "end.py" not in seen and time.monotonic() < deadline:
        seen |= calls.get(timeout=PATIENCE)
    assert seen == {folder / name for name in (*expected, "end.py")}


@pytest.mark.parametrize("how", ["write", "create", "delete", "rename over", "append", "move in"])
def test_changes_are_told(folder: Path, tmp_path: Path, watch: Watch, how: str) -> None:
    file = folder / "inner/a.py"
    file.parent.mkdir()
    if how not in ("create", "move in"):
        file.write_text("1")
    calls = watch(folder)
    if how in ("write", "create"):
        file.write_text("2")
    elif how == "delete":
        file.unlink()
    elif how == "append":
        with file.open("a") as opened:
            opened.write("2")
    else:
        other = tmp_path / "other.py" if how == "move in" else folder / "inner/.a.py.swp"
        other.write_text("2")
        other.replace(file)
    only_this(calls, folder, "inner/a.py")


def test_a_burst_is_one_call(folder: Path, watch: Watch) -> None:
    calls = watch(folder, debounce=1.0)
    for _ in range(20):
        moments = [time.monotonic()]
        for number in range(60):
            (folder / "ab"[number % 2]).with_suffix(".py").write_text(str(number))
            moments.append(time.monotonic())
        told = [calls.get(timeout=PATIENCE)]
        with suppress(Empty):
            while True:
                told.append(calls.get(timeout=1.5))
        if max(after - before for before, after in pairwise(moments)) < 0.5:
            break  # else the machine was too busy to write without a pause
    assert told == [{folder / "a.py", folder / "b.py"}]


def test_a_burst_without_an_end_is_told_all_the_same(folder: Path, watch: Watch) -> None:
    calls = watch(folder, debounce=0.05)
    stop = threading.Event()

    def scribble() -> None:
        while not stop.wait(0.01):
            (folder / "a.py").write_text("1")

    writer = threading.Thread(target=scribble)
    writer.start()
    try:
        assert calls.get(timeout=PATIENCE) == {folder / "a.py"}
    finally:
        stop.set()
        writer.join()


@pytest.mark.parametrize(
    "noise",
    [".a.py.swp", "a.py~", "4913", "__pycache__/a.pyc", ".git/index", "#a.py#", "a.py.tmp", "inner/.hidden/a.py"],
)
def test_noise_is_not_told(folder: Path, watch: Watch, noise: str) -> None:
    (folder / noise).parent.mkdir(parents=True, exist_ok=True)
    calls = watch(folder)
    (folder / noise).write_text("1")
    (folder / noise).unlink()
    only_this(calls, folder)


def test_reading_is_not_told(folder: Path, watch: Watch) -> None:
    (folder / "a.py").write_text("1")
    calls = watch(folder)
    assert (folder / "a.py").read_text() == "1"
    only_this(calls, folder)


@pytest.mark.parametrize("kind", [FileOpenedEvent, FileClosedNoWriteEvent])
def test_events_of_readers_do_not_count(folder: Path, kind: type[FileOpenedEvent]) -> None:
    """Whether the platform sends them or not."""
    from graphcore.plugins.watch import _Handler

    told: list[Path] = []
    _Handler(told.append).on_any_event(kind(str(folder / "a.py")))
    assert told == []
    _Handler(told.append).on_any_event(FileModifiedEvent(str(folder / "a.py")))
    assert told == [folder / "a.py"]


def test_of_a_file_only_itself_is_told(folder: Path, watch: Watch) -> None:
    (folder / "flow.json").write_text("{}")
    calls = watch(folder / "flow.json", folder / "end.py")
    (folder / "other.json").write_text("{}")
    (folder / ".flow.json.swp").write_text("[]")
    (folder / ".flow.json.swp").replace(folder / "flow.json")
    only_this(calls, folder, "flow.json")


def test_a_hidden_file_that_was_asked_for_is_told(folder: Path, watch: Watch) -> None:
    calls = watch(folder / ".flow.json")
    (folder / ".flow.json").write_text("{}")
    assert calls.get(timeout=PATIENCE) == {folder / ".flow.json"}


def test_a_folder_below_a_hidden_one_can_be_watched(folder: Path, watch: Watch) -> None:
    (folder / ".config/plugins").mkdir(parents=True)
    calls = watch(folder / ".config/plugins")
    only_this(calls, folder / ".config/plugins")


def test_a_folder_within_a_watched_one_is_told_once(folder: Path, watch: Watch) -> None:
    (folder / "inner").mkdir()
    calls = watch(folder, folder / "inner", folder / "inner/a.py")
    (folder / "inner/a.py").write_text("1")
    only_this(calls, folder, "inner/a.py")


def test_through_a_symbolic_link_both_ends_are_watched(folder: Path, tmp_path: Path, watch: Watch) -> None:
    (tmp_path / "store").mkdir()
    target = (tmp_path / "store").resolve() / "flow.json"
    target.write_text("{}")
    (folder / "flow.json").symlink_to(target)
    calls = watch(folder / "flow.json")
    target.write_text("[]")
    assert calls.get(timeout=PATIENCE) == {target}


def test_calls_do_not_overlap_and_nothing_is_lost(folder: Path) -> None:
    entered, go_on, told = threading.Event(), threading.Event(), Queue[set[Path]]()
    inside = 0

    def slow(changed: set[Path]) -> None:
        nonlocal inside
        inside += 1
        assert inside == 1
        entered.set()
        go_on.wait(PATIENCE)
        inside -= 1
        told.put(changed)

    with Watcher([folder], slow, 0.2):
        (folder / "a.py").write_text("1")
        assert entered.wait(PATIENCE)
        (folder / "b.py").write_text("1")
        time.sleep(0.6)  # long enough for a second call to begin, were it allowed to
        go_on.set()
        assert told.get(timeout=PATIENCE) == {folder / "a.py"}
        while folder / "b.py" not in told.get(timeout=PATIENCE):
            pass  # a.py once more: it was seen made, then written


def test_an_error_is_reported_and_watching_goes_on(folder: Path, capsys: pytest.CaptureFixture[str]) -> None:
    calls: Calls = Queue()

    def fails(changed: set[Path]) -> None:
        calls.put(changed)
        raise ValueError("a message of its own")

    with Watcher([folder], fails, 0.05):
        for name in ("a.py", "b.py"):
            (folder / name).write_text("1")
            while folder / name not in calls.get(timeout=PATIENCE):
                pass
    said = capsys.readouterr().err
    assert "Traceback" in said
    assert "ValueError: a message of its own" in said


def test_errors_can_be_taken(folder: Path) -> None:
    errors: Queue[Exception] = Queue()

    def fails(changed: set[Path]) -> None:
        raise ValueError(len(changed))

    with Watcher([folder], fails, 0.05, on_error=errors.put):
        (folder / "a.py").write_text("1")
        assert repr(errors.get(timeout=PATIENCE)) == "ValueError(1)"


def test_the_call_is_made_on_a_thread_of_its_own_which_ends(folder: Path) -> None:
    threads: Queue[threading.Thread] = Queue()
    with Watcher([folder], lambda changed: threads.put(threading.current_thread()), 0.05):
        (folder / "a.py").write_text("1")
        thread = threads.get(timeout=PATIENCE)
        assert thread is not threading.current_thread()
        assert thread.name == "stepgraph-watch"
    assert not thread.is_alive()


def test_on_change_may_stop_the_watcher(folder: Path) -> None:
    stopped = threading.Event()

    def stop(changed: set[Path]) -> None:
        watcher.stop()
        stopped.set()

    with Watcher([folder], stop, 0.05) as watcher:
        (folder / "a.py").write_text("1")
        assert stopped.wait(PATIENCE)


def test_a_folder_that_is_not_there(folder: Path) -> None:
    with pytest.raises(StepgraphError, match="cannot watch"), Watcher([folder / "absent/a.py"], print):
        pass
