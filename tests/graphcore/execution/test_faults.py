"""Runs through which somebody kills, fills, damages or shares what the engine keeps on disk."""

from __future__ import annotations

import contextlib
import os
import random
import shutil
import signal
import subprocess
import sys
from collections import Counter
from pathlib import Path

import pytest

from tests.graphcore import slow_world
from tests.graphcore.slow_world import LETTERS, LOG, LOOP, PAGES, RIGHT, STEPS

ROOT = Path(__file__).parents[3]

KILLS = 6


@pytest.fixture
def log(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """Where the nodes write down their calls, in this process and in others."""
    path = tmp_path / "calls.log"
    path.touch()
    monkeypatch.setenv(LOG, str(path))
    return path


def start(cache: Path, name: str, last: int = 0) -> subprocess.Popen[str]:
    code = f"from tests.graphcore import slow_world; slow_world.main({str(cache)!r}, {name!r}, {last})"
    return subprocess.Popen([sys.executable, "-c", code], cwd=ROOT, text=True, stdout=subprocess.PIPE)


def calls(log: Path) -> list[str]:
    return log.read_text().splitlines()


def test_a_run_that_is_killed_goes_on_where_it_was(tmp_path: Path, log: Path) -> None:
    moments = random.Random(11)
    for _ in range(KILLS):
        running = start(tmp_path / "cache", "loop", moments.randint(1, 2))
        running.communicate()
        assert running.returncode == -signal.SIGKILL
    last = start(tmp_path / "cache", "loop")
    assert last.communicate()[0] == f"{RIGHT}\n"
    assert last.returncode == 0
    made = Counter(calls(log))
    assert set(made) == {f"step {number}" for number in range(STEPS)}
    assert made.total() == STEPS + KILLS


def test_a_finished_run_is_not_made_again(tmp_path: Path, log: Path) -> None:
    for _ in range(2):
        done = start(tmp_path / "cache", "loop")
        assert done.communicate()[0] == f"{RIGHT}\n"
    assert len(calls(log)) == STEPS


def damages(data: bytes) -> list[bytes]:
    """A file, damaged at its begin, in the middle, at its end, everywhere."""
    middle, end = len(data) // 2, max(len(data) - 1, 0)
    places = [at for at in (0, 20, 100, middle, end) if at < len(data)]
    flipped = [data[:at] + bytes([data[at] ^ 0x41]) + data[at + 1 :] for at in places]
    random_bytes = random.Random(len(data)).randbytes(len(data))
    return [*flipped, b"", data[:middle], data[:middle] + random_bytes[middle:], random_bytes, data + b"more"]


def test_every_file_of_the_cache_damaged_in_every_way(
    tmp_path: Path, log: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(slow_world, "SECONDS", 0.011)
    whole = tmp_path / "whole"
    with slow_world.engine(whole) as engine:
        assert engine.run(LOOP).value == RIGHT
        engine.flush()
        shutil.copytree(whole, tmp_path / "open")  # as if killed: with the index's log
    files = [path.relative_to(tmp_path / "open") for path in (tmp_path / "open").rglob("*") if path.is_file()]
    entries = [name for name in files if name.suffix == ".safetensors"]
    assert len(entries) == STEPS
    assert {"index.sqlite", "index.sqlite-wal", "index.sqlite-shm"} <= {name.name for name in files}
    shutil.copy(whole / "journal.sqlite", tmp_path / "open")
    last = max(entries, key=lambda name: (tmp_path / "open" / name).stat().st_mtime_ns)
    for name in [last, entries[0], Path("journal.sqlite"), *(name for name in files if name.parent == Path())]:
        for number, data in enumerate(damages((tmp_path / "open" / name).read_bytes())):
            damaged = tmp_path / "damaged"
            shutil.copytree(tmp_path / "open", damaged)
            (damaged / name).write_bytes(data)
            for _ in range(2):
                with slow_world.engine(damaged) as engine:
                    assert engine.run(LOOP).value == RIGHT, (name, number)
                    engine.explain(LOOP)
            before = len(calls(log))
            with slow_world.engine(damaged) as engine:
                assert engine.run(LOOP).value == RIGHT
            assert len(calls(log)) == before, "what was damaged was not put right"
            shutil.rmtree(damaged)


def test_two_processes_on_one_cache(tmp_path: Path, log: Path) -> None:
    both = [start(tmp_path / "cache", "loop") for _ in range(2)]
    assert [one.communicate()[0] for one in both] == [f"{RIGHT}\n"] * 2
    assert [one.returncode for one in both] == [0, 0]
    assert STEPS <= len(calls(log)) <= 2 * STEPS
    assert start(tmp_path / "cache", "loop").communicate()[0] == f"{RIGHT}\n"
    assert len(calls(log)) <= 2 * STEPS


def test_a_full_disk_makes_a_run_uncached_not_wrong(small_disk: Path, log: Path) -> None:
    for _ in range(2):
        with slow_world.engine(small_disk / "cache") as engine:
            assert engine.run(PAGES).letters == LETTERS
    assert 30 < len(calls(log)) < 60  # what had room was reused
    with open(small_disk / "rest", "wb", buffering=0) as rest, contextlib.suppress(OSError):
        while True:
            rest.write(bytes(4096))
    with slow_world.engine(small_disk / "another cache") as engine:  # not even an index has room
        assert engine.run(LOOP).value == RIGHT


@pytest.mark.parametrize("limit", [0, 1000, 20_000, 70_000])
def test_a_process_that_may_write_no_large_files(tmp_path: Path, log: Path, limit: int) -> None:
    before = f"import resource; resource.setrlimit(resource.RLIMIT_FSIZE, ({limit}, {limit}))"
    log_off = {name: text for name, text in os.environ.items() if name != LOG}
    code = f"{before}; from tests.graphcore import slow_world; slow_world.main({str(tmp_path / 'cache')!r}, 'pages')"
    command = [sys.executable, "-B", "-c", code]
    done = subprocess.run(command, cwd=ROOT, text=True, stdout=subprocess.PIPE, env=log_off)
    assert (done.returncode, done.stdout) == (0, f"{LETTERS}\n")


def test_a_cache_folder_that_cannot_be_made(tmp_path: Path, log: Path) -> None:
    (tmp_path / "cache").write_text("a file is here")
    with slow_world.engine(tmp_path / "cache") as engine:
        assert engine.run(LOOP).value == RIGHT
        assert engine.run(LOOP).value == RIGHT
    assert len(calls(log)) == STEPS  # memory serves as well


def test_a_cache_folder_that_is_removed_during_a_run(tmp_path: Path, log: Path) -> None:
    with slow_world.engine(tmp_path / "cache") as engine:
        run = engine.start(LOOP)
        for number, _ in enumerate(run):
            if number == 6:
                shutil.rmtree(tmp_path / "cache", ignore_errors=True)
        assert run.outputs.value == RIGHT
    assert start(tmp_path / "cache", "loop").communicate()[0] == f"{RIGHT}\n"
