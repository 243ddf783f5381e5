"""The disk tier: what goes wrong is a miss, never an error, never a wrong value."""

from __future__ import annotations

import errno
import os
import random
import shutil
import sqlite3
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Iterator, Mapping
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from graphcore.cache import DiskCache, Entry, disk, entry_file, index, store
from graphcore.cache.entry_file import Packed
from tests.graphcore import cache_process
from tests.graphcore.stored_values import TYPES, VALUES, Box, same

GENEROUS = 10**9
ROOT = Path(__file__).parents[3]


def key(number: int) -> bytes:
    return number.to_bytes(2, "big") * 16


def kept(value: Any, size: int = 1000, seconds: float = 1.0) -> Entry:
    return Entry((value,), seconds, size)


@pytest.fixture
def cache(tmp_path: Path) -> Iterator[DiskCache]:
    made = DiskCache(tmp_path / "cache", GENEROUS, TYPES)
    yield made
    made.close()


def write_all(folder: Path, entries: Mapping[bytes, Entry], limit: int = GENEROUS) -> DiskCache:
    made = DiskCache(folder, limit, TYPES)
    for name, entry in entries.items():
        made.put(name, entry)
    made.close()
    return made


def entry_files(folder: Path) -> list[Path]:
    return sorted(folder.glob("??/*.safetensors"))


def process(*arguments: str | Path | int) -> subprocess.Popen[str]:
    command = [sys.executable, "-m", "tests.graphcore.cache_process", *map(str, arguments)]
    started = subprocess.Popen(command, cwd=ROOT, text=True, stdin=subprocess.PIPE, stdout=subprocess.PIPE)
    assert started.stdout is not None
    assert started.stdout.readline() == "ready\n"
    return started


# -- in good order --------------------------------------------------------------------------------------------------


@given(VALUES)
@settings(
    max_examples=60, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture, HealthCheck.too_slow]
)
def test_every_value_comes_back(cache: DiskCache, value: Any) -> None:
    entry = Entry((value, 1), 0.25, 77, ("a note", "and \U0001f34e another"))
    cache.put(key(1), entry)
    cache.flush()
    found = cache.get(key(1))
    assert cache.dropped == 0
    assert found is not None
    assert same(found.outputs, entry.outputs)
    assert (found.seconds, found.bytes, found.notes) == (0.25, 77, entry.notes)


def test_a_later_process_finds_it(tmp_path: Path) -> None:
    write_all(tmp_path, {key(1): kept(Box(torch.arange(5))), key(2): kept("text")})
    again = DiskCache(tmp_path, GENEROUS, TYPES)
    assert (again.has(key(1)), again.has(key(3))) == (True, False)
    found = again.get(key(1))
    assert found is not None
    assert same(found.outputs, (Box(torch.arange(5)),))
    assert again.get(key(3)) is None
    again.close()


def test_files_are_safetensors_that_others_can_read(tmp_path: Path) -> None:
    from safetensors.torch import load_file

    value = {"a": torch.randn(3, 4).half(), "b": torch.tensor(2.5), "c": torch.zeros(0, 2), "d": torch.ones(3, 2).T}
    write_all(tmp_path, {key(1): kept(value)})
    (file,) = entry_files(tmp_path)
    read = load_file(file)
    assert {name: same(tensor, value[place].contiguous()) for (place, name), tensor in zip(
        zip("abcd", ("t0", "t1", "t2", "t3"), strict=True), (read[f"t{i}"] for i in range(4)), strict=True
    )} == dict.fromkeys(("t0", "t1", "t2", "t3"), True)  # fmt: skip


def test_put_again_replaces(cache: DiskCache) -> None:
    for text in ("first", "second and longer"):
        cache.put(key(1), kept(text))
        cache.flush()
        found = cache.get(key(1))
        assert found is not None
        assert found.outputs == (text,)
    assert cache.info().entries == len(entry_files(cache.folder)) == 1
    assert cache.info().bytes == entry_files(cache.folder)[0].stat().st_size


def test_values_without_tensors_are_read_without_torch(tmp_path: Path) -> None:
    write_all(tmp_path, {key(1): kept([1, "a", np.arange(3)])})
    code = (
        "import sys; from pathlib import Path; from graphcore.cache import DiskCache; "
        f"c = DiskCache(Path({str(tmp_path)!r}), 1000000, {{}}); print(c.get({key(1)!r}).outputs); c.close(); "
        "print('torch' in sys.modules)"
    )
    done = subprocess.run([sys.executable, "-c", code], cwd=ROOT, text=True, capture_output=True, check=True)
    assert done.stdout.split() == ["([1,", "'a',", "array([0,", "1,", "2])],)", "False"]


def test_what_cannot_be_stored_is_passed_over(cache: DiskCache) -> None:
    cache.put(key(1), kept(lambda: None))
    cache.put(key(2), kept(2))
    cache.flush()
    assert (cache.get(key(1)), cache.has(key(2)), cache.dropped) == (None, True, 0)


def test_a_value_of_a_class_that_is_not_at_hand_is_missing_but_not_lost(tmp_path: Path) -> None:
    write_all(tmp_path, {key(1): kept(Box(1))})
    without = DiskCache(tmp_path, GENEROUS, {})
    assert without.get(key(1)) is None
    assert without.verify() == []
    without.close()
    again = DiskCache(tmp_path, GENEROUS, TYPES)
    assert again.get(key(1)) is not None
    again.close()


class Broken:
    """Raises something unforeseen when it is stored."""

    @property
    def __class__(self) -> Any:
        raise ZeroDivisionError("unforeseen")


def test_the_writer_survives_whatever_a_value_does(cache: DiskCache) -> None:
    cache.put(key(1), kept(Broken()))
    cache.put(key(2), kept(2))
    cache.flush()
    assert cache.has(key(2))
    assert cache.dropped == 1
    assert "unforeseen" in cache.info().reason


# -- closing --------------------------------------------------------------------------------------------------------


def test_close_writes_what_waits_and_may_be_called_twice(tmp_path: Path) -> None:
    made = write_all(tmp_path, {key(number): kept(number) for number in range(50)})
    made.close()
    made.flush()
    made.put(key(99), kept(99))
    assert (made.get(key(1)), made.has(key(1)), made.clear(), made.dropped) == (None, False, 0, 1)
    assert len(entry_files(tmp_path)) == 50


def test_a_cache_that_is_only_read_has_no_thread(tmp_path: Path) -> None:
    write_all(tmp_path, {key(1): kept(1)})
    before = set(threading.enumerate())
    again = DiskCache(tmp_path, GENEROUS, TYPES)
    again.flush()
    assert again.get(key(1)) is not None
    assert set(threading.enumerate()) <= before
    again.close()


def test_flush_waits_no_longer_than_it_is_told(cache: DiskCache, monkeypatch: pytest.MonkeyPatch) -> None:
    go_on = threading.Event()
    original = Packed.write
    monkeypatch.setattr(Packed, "write", lambda self, path: (go_on.wait(120), original(self, path))[1])
    cache.put(key(1), kept(1))
    cache.flush(timeout=0.05)
    assert not cache.has(key(1))
    go_on.set()
    cache.flush()
    assert cache.has(key(1))


def test_writing_never_makes_a_run_wait(cache: DiskCache, monkeypatch: pytest.MonkeyPatch) -> None:
    go_on = threading.Event()
    original = Packed.write
    monkeypatch.setattr(Packed, "write", lambda self, path: (go_on.wait(120), original(self, path))[1])
    monkeypatch.setattr(disk, "QUEUE_BYTES", 5000)
    for number in range(20):
        cache.put(key(number), kept(number, size=1000))  # would hang here if it waited
    assert cache.dropped == 15
    assert "wait" in cache.info().reason
    go_on.set()
    cache.flush()
    assert [cache.has(key(number)) for number in range(20)] == [True] * 5 + [False] * 15
    cache.put(key(30), kept("large", size=10**6))  # one may always wait
    cache.flush()
    assert cache.has(key(30))


def test_a_waiting_writer_holds_no_values(cache: DiskCache) -> None:
    import gc
    import weakref

    tensor = torch.ones(3)
    seen = weakref.ref(tensor)
    cache.put(key(1), kept(tensor))
    del tensor
    cache.flush()
    time.sleep(0.01)
    gc.collect()
    assert seen() is None


# -- the limit ------------------------------------------------------------------------------------------------------


@given(st.lists(st.tuples(st.integers(0, 15), st.integers(0, 4000)), max_size=40), st.integers(0, 12_000))
@settings(max_examples=25, deadline=None)
def test_the_limit_is_kept(tmp_path_factory: pytest.TempPathFactory, puts: list[tuple[int, int]], limit: int) -> None:
    made = DiskCache(tmp_path_factory.mktemp("limit"), limit, TYPES)
    for number, size in puts:
        made.put(key(number), kept(b"x" * size))
        made.flush()
        files = entry_files(made.folder)
        assert sum(file.stat().st_size for file in files) == made.info().bytes <= limit
        assert len(files) == made.info().entries
    made.close()


def test_least_recently_used_leaves_first(tmp_path: Path) -> None:
    made = DiskCache(tmp_path, 30_000, TYPES)
    for number in range(60):
        made.put(key(number), kept(b"x" * 500))
        made.flush()
        time.sleep(0.001)
        assert number == 0 or made.get(key(0)) is not None
    assert not made.has(key(1))
    assert made.has(key(59))
    made.close()


def test_what_is_larger_than_the_limit_displaces_nothing(tmp_path: Path) -> None:
    made = DiskCache(tmp_path, 5000, TYPES)
    made.put(key(1), kept(1))
    made.put(key(2), kept(b"x" * 6000))
    made.flush()
    assert (made.has(key(1)), made.has(key(2)), made.dropped) == (True, False, 1)
    made.close()


# -- several processes ----------------------------------------------------------------------------------------------


def test_two_processes_at_once(tmp_path: Path) -> None:
    writers = [process("write", tmp_path, seed, 6) for seed in (1, 2)]
    mine = DiskCache(tmp_path, cache_process.LIMIT, {})
    while any(writer.poll() is None for writer in writers):
        for name in cache_process.KEYS:
            if (found := mine.get(name)) is not None:
                assert cache_process.is_right(name, found)
    said = [writer.communicate()[0] for writer in writers]
    assert [writer.returncode for writer in writers] == [0, 0]
    assert said == ["dropped 0 \n"] * 2
    assert mine.verify() == []
    assert mine.info().bytes <= cache_process.LIMIT
    assert mine.info().entries > 10
    mine.close()


def test_killed_in_the_middle_of_writing(tmp_path: Path) -> None:
    moments = random.Random(5)
    seen = 0
    for seed in range(6):
        writer = process("write", tmp_path, seed, 1000)
        while len(entry_files(tmp_path)) < 12:
            time.sleep(0.001)
        time.sleep(moments.uniform(0.0, 0.3))
        writer.kill()
        writer.communicate()
        survivor = DiskCache(tmp_path, cache_process.LIMIT, {})
        for name in cache_process.KEYS:
            found = survivor.get(name)
            assert found is None or cache_process.is_right(name, found)
            seen += found is not None
        survivor.put(cache_process.KEYS[0], cache_process.entry(cache_process.KEYS[0]))
        survivor.flush()
        assert survivor.has(cache_process.KEYS[0])
        assert survivor.verify(repair=True) is not None
        assert survivor.verify() == []
        survivor.close()
    assert seen > 30  # the writers did get somewhere


def test_what_a_killed_process_left_half_written_is_removed(tmp_path: Path) -> None:
    (tmp_path / "writing").mkdir()
    old, new = tmp_path / "writing" / "1.0.part", tmp_path / "writing" / "2.0.part"
    for part in (old, new):
        part.write_bytes(b"half")
    os.utime(old, (0, 0))
    write_all(tmp_path, {key(1): kept(1)})
    assert (old.exists(), new.exists()) == (False, True)


def test_an_index_locked_by_another_process(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(index, "WAIT_SECONDS", 0.05)
    write_all(tmp_path, {key(1): kept("old")})
    holder = process("lock", tmp_path)
    made = DiskCache(tmp_path, GENEROUS, TYPES)
    for number in range(2, 50):
        made.put(key(number), kept(number))
    made.flush()
    assert made.get(key(1)) is not None  # readers do not wait
    assert (made.has(key(2)), made.dropped) == (False, 48)
    assert "locked" in made.info().reason
    assert len(entry_files(tmp_path)) == 1
    holder.communicate("go on\n")
    made._locked_until = 0.0
    made.put(key(2), kept(2))
    made.flush()
    assert made.has(key(2))
    made.close()


# -- damage ---------------------------------------------------------------------------------------------------------

NUMBERS = range(8)
GOOD: dict[bytes, Any] = {
    key(number): [number, "text" * number, Box(torch.arange(number * 7.0)), np.arange(number)] for number in NUMBERS
}


@pytest.fixture(scope="module")
def whole(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder as a killed process leaves it: with `index.sqlite-wal` and `-shm`."""
    folder, copy = tmp_path_factory.mktemp("source"), tmp_path_factory.mktemp("whole") / "cache"
    made = DiskCache(folder, GENEROUS, TYPES)
    for name, value in GOOD.items():
        made.put(name, kept(value))
    made.flush()
    shutil.copytree(folder, copy)
    made.close()
    assert {"index.sqlite", "index.sqlite-wal", "index.sqlite-shm"} <= {path.name for path in copy.iterdir()}
    return copy


def flip(data: bytearray, draw: Any) -> bytes:
    for _ in range(draw(st.integers(1, 4))):
        data[draw(st.integers(0, len(data) - 1))] ^= draw(st.integers(1, 255))
    return bytes(data)


def cut(data: bytearray, draw: Any) -> bytes:
    return bytes(data[: draw(st.integers(0, len(data) - 1))])


def overwrite(data: bytearray, draw: Any) -> bytes:
    begin = draw(st.integers(0, len(data) - 1))
    data[begin : begin + 600] = draw(st.binary(min_size=1, max_size=600))
    return bytes(data)


def zero(data: bytearray, draw: Any) -> bytes:
    begin = draw(st.integers(0, len(data) - 1))
    end = draw(st.integers(begin + 1, len(data)))
    return bytes(data[:begin]) + bytes(end - begin) + bytes(data[end:])


def rubbish(data: bytearray, draw: Any) -> bytes:
    return draw(st.binary(max_size=300))


@given(st.data())
@settings(max_examples=250, deadline=None)
def test_damage_anywhere_is_a_miss_or_the_right_value(
    tmp_path_factory: pytest.TempPathFactory, whole: Path, data: st.DataObject
) -> None:
    folder = tmp_path_factory.mktemp("damaged") / "cache"
    shutil.copytree(whole, folder)
    files = [folder / "index.sqlite", folder / "index.sqlite-wal", folder / "index.sqlite-shm"]
    file = data.draw(st.sampled_from([*files * 3, *entry_files(folder)]), label="file")
    harm: Callable[[bytearray, Any], bytes] = data.draw(st.sampled_from([flip, cut, overwrite, zero, rubbish]))
    file.write_bytes(harm(bytearray(file.read_bytes()), data.draw))
    if data.draw(st.booleans(), label="without the log"):
        (folder / "index.sqlite-wal").unlink()
    made = DiskCache(folder, GENEROUS, TYPES)
    for name, value in GOOD.items():
        made.has(name)
        found = made.get(name)
        assert found is None or same(found.outputs, (value,))
    for _ in range(2):  # it heals: at the latest the second value that is put stays
        made.put(key(100), kept("new"))
        made.flush()
    found = made.get(key(100))
    assert found is not None
    assert found.outputs == ("new",)
    made.verify(repair=True)
    assert made.verify() == []
    made.close()
    shutil.rmtree(folder)


def test_entry_files_that_are_exchanged_missing_or_no_files(tmp_path: Path) -> None:
    write_all(tmp_path, {key(number): kept(number) for number in range(4)})
    made = DiskCache(tmp_path, GENEROUS, TYPES)
    one, two, three, four = (made._store._path(key(number)) for number in range(4))  # type: ignore[union-attr]
    first = one.read_bytes()
    one.write_bytes(two.read_bytes())
    two.write_bytes(first)
    three.unlink()
    four.unlink()
    four.mkdir()
    assert [made.get(key(number)) for number in range(4)] == [None] * 4
    made.flush()
    assert [made.has(key(number)) for number in range(4)] == [False] * 4  # found out, so removed
    made.close()


def test_a_damaged_entry_is_written_anew(cache: DiskCache) -> None:
    for _ in range(3):
        cache.put(key(1), kept("value"))
        cache.flush()
        assert cache.get(key(1)) is not None
        file = entry_files(cache.folder)[0]
        file.write_bytes(file.read_bytes()[:-1] + b"?")
        assert cache.get(key(1)) is None


def test_a_row_that_another_process_replaced_meanwhile_is_not_removed(tmp_path: Path) -> None:
    made = DiskCache(tmp_path, GENEROUS, TYPES)
    made.put(key(1), kept("value"))
    made.flush()
    made._order(disk._Forget(key(1)))  # somebody saw file and row that did not fit, but now they do
    made.flush()
    assert made.has(key(1))
    made.close()


def test_files_that_a_lost_index_had_listed_do_not_fill_the_disk(tmp_path: Path) -> None:
    write_all(tmp_path, {key(number): kept(number) for number in range(20)})
    for file in tmp_path.glob("index.sqlite*"):
        file.unlink()
    write_all(tmp_path, {key(100): kept("new")})
    assert [file.stem for file in entry_files(tmp_path)] == [key(100).hex()]


def test_an_index_of_another_version_is_begun_anew(tmp_path: Path) -> None:
    with sqlite3.connect(tmp_path / "index.sqlite") as database:
        database.execute("CREATE TABLE entries (something TEXT)")
        database.execute("PRAGMA user_version = 99")
    database.close()
    write_all(tmp_path, {key(1): kept(1)})
    again = DiskCache(tmp_path, GENEROUS, TYPES)
    assert again.has(key(1))
    assert [path.name for path in tmp_path.glob("index*.sqlite")] == ["index.1.sqlite"]
    again.close()


def test_two_caches_that_meet_the_same_damage_agree_on_one_index(tmp_path: Path) -> None:
    write_all(tmp_path, {key(1): kept(1)})
    (tmp_path / "index.sqlite").write_bytes(b"no database" * 1000)
    one, two = (DiskCache(tmp_path, GENEROUS, TYPES) for _ in range(2))
    one.put(key(2), kept(2))
    one.flush()
    assert two.get(key(2)) is not None
    one._store._index.begin_anew(1)  # type: ignore[union-attr]
    two._store._index.begin_anew(1)  # type: ignore[union-attr]
    two.put(key(3), kept(3))
    two.flush()
    assert one.get(key(3)) is not None
    one.close()
    two.close()


# -- folders that cannot be used ------------------------------------------------------------------------------------


def test_a_folder_that_is_a_file(tmp_path: Path) -> None:
    (tmp_path / "cache").write_text("here first")
    made = DiskCache(tmp_path / "cache", GENEROUS, TYPES)
    made.put(key(1), kept(1))
    made.flush()
    assert (made.get(key(1)), made.has(key(1)), made.dropped, made.clear()) == (None, False, 1, 0)
    assert "cannot be used" in made.info().reason
    assert len(made.verify()) == 1
    made.close()


def test_a_folder_that_vanishes(tmp_path: Path) -> None:
    made = DiskCache(tmp_path / "cache", GENEROUS, TYPES)
    made.put(key(1), kept(1))
    made.flush()
    shutil.rmtree(tmp_path / "cache")
    made.put(key(2), kept(2))
    made.flush()
    assert (made.get(key(1)), made.get(key(2)), made.dropped) == (None, None, 1)
    made.close()


def test_a_full_disk_is_no_error(cache: DiskCache, monkeypatch: pytest.MonkeyPatch) -> None:
    def full(self: Packed, path: Path) -> bytes:
        path.write_bytes(b"half of it")
        raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))

    cache.put(key(1), kept(1))
    cache.flush()
    with monkeypatch.context() as patch:
        patch.setattr(entry_file.Packed, "write", full)
        cache.put(key(2), kept(2))
        cache.flush()
    assert (cache.has(key(1)), cache.has(key(2)), cache.dropped) == (True, False, 1)
    assert os.strerror(errno.ENOSPC) in cache.info().reason
    assert list((cache.folder / "writing").iterdir()) == []
    cache.put(key(2), kept(2))
    cache.flush()
    assert cache.has(key(2))


def test_a_file_system_that_is_truly_full(small_disk: Path) -> None:
    made = DiskCache(small_disk / "cache", GENEROUS, TYPES)
    values = {key(number): np.full(60_000, number, dtype=np.uint8) for number in range(40)}
    for name, value in values.items():
        made.put(name, kept(value))
    made.flush()
    found = {name: entry for name in values if (entry := made.get(name)) is not None}
    assert 0 < len(found) < 20
    assert made.dropped == 40 - len(found)
    assert all(same(entry.outputs, (values[name],)) for name, entry in found.items())
    assert made.clear() == len(found)
    made.put(key(1), kept("there is room again"))
    made.close()
    again = DiskCache(small_disk / "cache", GENEROUS, TYPES)
    assert again.has(key(1))
    again.close()


# -- looking after it -----------------------------------------------------------------------------------------------


def test_verify_names_what_is_wrong_and_mends_it(tmp_path: Path) -> None:
    write_all(tmp_path, {key(number): kept("x" * number) for number in range(6)})
    made = DiskCache(tmp_path, GENEROUS, {})
    files = {file.stem: file for file in entry_files(tmp_path)}
    damaged, short, missing = (files[key(number).hex()] for number in (1, 2, 3))
    damaged.write_bytes(damaged.read_bytes().replace(b"x", b"y"))
    short.write_bytes(short.read_bytes()[:-3])
    missing.unlink()
    stray = damaged.parent / f"{damaged.parent.name}{'f' * 62}.safetensors"
    stray.write_bytes(b"whose?")
    (damaged.parent / "notes.txt").write_text("not ours")
    found = made.verify()
    assert len(found) == 4
    assert {line.split(":")[0] for line in found} == {key(1).hex(), key(2).hex(), key(3).hex(), stray.name}
    assert made.verify(repair=True) == found
    assert made.verify() == []
    assert made.info().entries == len(entry_files(tmp_path)) == 3
    assert (damaged.parent / "notes.txt").exists()
    made.close()


def test_clear_removes_all_entries_and_nothing_else(cache: DiskCache) -> None:
    for number in range(10):
        cache.put(key(number), kept(number))
    (cache.folder / "ab").mkdir(exist_ok=True)
    (cache.folder / "ab" / "thesis.docx").write_text("not ours")
    assert cache.clear() == 10
    assert (cache.info().entries, cache.info().bytes, entry_files(cache.folder)) == (0, 0, [])
    assert (cache.folder / "ab" / "thesis.docx").exists()
    cache.put(key(1), kept(1))
    cache.flush()
    assert cache.get(key(1)) is not None


def test_constants_are_sane() -> None:
    assert 0 < store.SWEEP_TO < 1


# -- on a GPU -------------------------------------------------------------------------------------------------------


@pytest.mark.gpu
@pytest.mark.skipif(not torch.cuda.is_available(), reason="there is no GPU")
def test_values_on_a_gpu_are_copied_without_waiting(cache: DiskCache) -> None:
    cache.put(key(0), kept(torch.ones(4, device="cuda")))  # the writer and its stream are there
    cache.flush()
    base = torch.randn(4096, 4096, device="cuda")
    torch.cuda.synchronize()
    torch.cuda.set_sync_debug_mode("error")
    try:
        value = base
        for _ in range(60):  # much work that is queued, not done
            value = value @ base / 64
        waiting = torch.cuda.Event()
        waiting.record()
        cache.put(key(1), kept(value, size=value.nbytes))
        assert not waiting.query()  # `put` came back before the value was computed
    finally:
        torch.cuda.set_sync_debug_mode("default")
    cache.flush()
    found = cache.get(key(1))
    assert found is not None
    assert found.outputs[0].device == value.device
    assert torch.equal(found.outputs[0], value)
