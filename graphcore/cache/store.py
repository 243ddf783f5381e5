"""The folder of the disk tier: entry files and their index, kept within a limit.

A file is written under another name and published inside a transaction: renamed, then entered in the index with
its checksum. Whoever is killed in between leaves a file without a row, or a row whose checksum does not fit: a miss.
"""

from __future__ import annotations

import contextlib
import itertools
import os
import re
import sqlite3
import time
from collections.abc import Iterable, Iterator, Mapping, Sequence
from pathlib import Path

from graphcore import database
from graphcore.cache import entry_file
from graphcore.cache.entry import Entry
from graphcore.cache.entry_file import Damaged, Packed
from graphcore.cache.index import Index, Row
from graphcore.values import codec

SWEEP_TO = 0.9
"""When the limit is reached, the least recently used entries leave until this share of it is used."""

LEFT_OVER_SECONDS = 3600.0
"""A file that has been half-written for so long belongs to a process that was killed."""

_ENTRY = re.compile(r"[0-9a-f]{4,}\.safetensors")


class Store:
    """Entries in a folder, for several processes at once; what is written may be seen by all when a method returns.

    Args:
        folder: Made if it is not there.
        limit: Bytes of all files.

    Raises:
        sqlite3.Error, OSError: the folder cannot be used.
    """

    def __init__(self, folder: Path, limit: int) -> None:
        self.folder, self.limit = folder, limit
        self._aside = folder / "writing"
        self._aside.mkdir(parents=True, exist_ok=True)
        self._index = Index(folder)
        self._numbers = itertools.count()
        self._size: int | None = None

    def close(self) -> None:
        self._index.close()

    @contextlib.contextmanager
    def _mending(self) -> Iterator[None]:
        """Errors of a damaged index pass through, but those who come later find a new one."""
        generation = self._index.generation
        try:
            with database.errors():
                yield
        except sqlite3.Error as error:
            if database.is_damage(error):
                self._index.begin_anew(generation)
            raise

    @contextlib.contextmanager
    def _changing(self) -> Iterator[None]:
        """Inside, no other process changes rows, or files that have rows."""
        try:
            with self._mending(), self._index.writing():
                yield
        except BaseException:
            self._size = None  # what was counted was taken back
            raise

    # -- reading -------------------------------------------------------------------------------------------------

    def has(self, key: bytes) -> bool:
        with contextlib.suppress(sqlite3.Error, UnicodeDecodeError):
            return self._index.has(key)  # most often all is well, and `_mending` takes longer than the look-up
        with self._mending():
            return self._index.has(key)

    def known(self, keys: Sequence[bytes]) -> set[bytes]:
        """Those of many keys that have an entry."""
        with self._mending():
            return self._index.known(keys)

    def read(self, key: bytes, types: Mapping[str, type]) -> Entry | None:
        """The entry of a key, if there is one.

        Raises:
            Damaged: there is one, but not as it was written; `forget` it.
        """
        with self._mending():
            row = self._index.find(key)
        if row is None:
            return None
        try:
            return entry_file.read(self._path(key), row, types)
        except codec.Unstorable:
            return None  # whole, but of a plugin that is not loaded now
        except OSError as error:
            raise Damaged(str(error)) from error

    def totals(self) -> tuple[int, int]:
        """Entries and the bytes of their files."""
        with self._mending():
            return self._index.totals()

    # -- writing -------------------------------------------------------------------------------------------------

    def write(self, key: bytes, packed: Packed, seconds: float, used: Iterable[bytes]) -> None:
        """Write an entry, and let others go that were not used for longest if the limit asks for it.

        Args:
            seconds: What it took to make.
            used: Keys of entries that were read since the last call.

        Raises:
            OSError, sqlite3.Error: it was not kept.
        """
        if packed.size > self.limit:
            raise OSError(f"larger than the limit of the cache ({self.limit} bytes)")
        with self._changing():
            self._index.touch(used, time.time())
            self._make_room(packed.size)
        self._aside.mkdir(exist_ok=True)
        part = self._aside / f"{os.getpid()}.{next(self._numbers)}.part"
        try:
            checksum = packed.write(part)
            self._publish(part, Row(key, checksum, packed.size, seconds, time.time()))
        finally:
            part.unlink(missing_ok=True)

    def _publish(self, part: Path, row: Row) -> None:
        """Rename and enter, while no other process does so: two that write one key must not mix file and row."""
        path = self._path(row.key)
        path.parent.mkdir(exist_ok=True)
        renamed = False
        try:
            with self._changing():
                self._drop(row.key)
                self._make_room(row.size)  # once more: another process may have written in the meantime
                part.replace(path)
                renamed = True
                self._index.put(row)
                self._size = None if self._size is None else self._size + row.size
        except (sqlite3.Error, OSError):
            if renamed:
                with contextlib.suppress(OSError):
                    path.unlink()
            raise

    def _make_room(self, needed: int) -> None:
        """Let the least recently used go if `needed` more bytes would pass the limit; inside `_changing`."""
        if self._index.changed_by_others() or self._size is None:
            self._size = self._index.size()
        if self._size + needed <= self.limit:
            return
        while self._size and self._size + needed > self.limit * SWEEP_TO:
            if not (rows := self._index.oldest(100)):
                break
            for row in rows:
                if self._size + needed <= self.limit * SWEEP_TO:
                    break
                self._drop(row.key)

    def touch(self, used: Iterable[bytes]) -> None:
        """Note that entries were used just now."""
        with self._changing():
            self._index.touch(used, time.time())

    def forget(self, key: bytes) -> None:
        """Remove an entry that was found damaged, unless another process has replaced it meanwhile."""
        with self._changing():
            row = self._index.current(key)
            if row is not None and self._damage(row):
                self._drop(key)

    def _drop(self, key: bytes) -> None:
        """Remove row and file, if there are any; inside `_changing`."""
        if (row := self._index.current(key)) is None:
            return
        self._index.delete(key)
        self._size = None if self._size is None else self._size - row.size
        with contextlib.suppress(OSError):
            self._path(key).unlink()

    # -- looking after it ----------------------------------------------------------------------------------------

    def tidy(self) -> None:
        """Remove what killed processes left, and what an index that was lost had listed."""
        now = time.time()
        for part in self._aside.glob("*.part"):
            with contextlib.suppress(OSError):
                if now - part.stat().st_mtime > LEFT_OVER_SECONDS:
                    part.unlink()
        if self._index.is_new:
            with self._changing():
                self._remove_strays()

    def _remove_strays(self) -> None:
        """Remove files that no row lists; inside `_changing`."""
        listed = {key.hex() for key in self._index.listed()}
        for file in self._files():
            if file.stem not in listed:
                with contextlib.suppress(OSError):
                    file.unlink()

    def verify(self, *, repair: bool) -> list[str]:
        """Compare every file with the index; one line for each that is missing, damaged, or not listed."""
        problems = []
        with self._mending():
            strays = {file.stem: file for file in self._files()}
            for row in self._index.all():
                strays.pop(row.key.hex(), None)
                if (reason := self._damage(row)) and self._index.find(row.key) == row:
                    problems.append(f"{row.key.hex()}: {reason}")
                    if repair:
                        self.forget(row.key)
            problems += [f"{file.name}: no entry of the index" for file in strays.values()]
        if repair and strays:
            with self._changing():
                self._remove_strays()
        return problems

    def _damage(self, row: Row) -> str:
        """What is wrong with the file of a row; empty if nothing is."""
        try:
            entry_file.confirm(self._path(row.key), row)
        except FileNotFoundError:
            return "its file is missing"
        except (OSError, Damaged) as error:
            return str(error)
        return ""

    def clear(self) -> int:
        """Remove all entries; returns how many."""
        with self._changing():
            count = len(self._index.listed())
            self._index.delete_all()
            self._remove_strays()
            self._size = None
        return count

    def _path(self, key: bytes) -> Path:
        name = key.hex()
        return self.folder / name[:2] / f"{name}.safetensors"

    def _files(self) -> list[Path]:
        """Entry files; whatever else lies in the folder is not ours to remove."""
        folders = [folder for folder in _list(self.folder) if re.fullmatch("[0-9a-f]{2}", folder.name)]
        return [file for folder in folders for file in _list(folder) if _ENTRY.fullmatch(file.name)]


def _list(folder: Path) -> list[Path]:
    try:
        return sorted(folder.iterdir())
    except OSError:
        return []
