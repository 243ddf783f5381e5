"""Files by their content: what is stored twice is there once, and a name from outside never becomes a path."""

from __future__ import annotations

import os
import re
import secrets
import stat
import time
from collections.abc import Iterable, Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from pathlib import Path

from blake3 import blake3

from graphcore import StepgraphError

try:
    import fcntl
except ImportError:  # Windows
    fcntl = None  # type: ignore[assignment]

MEDIA_TYPES = {
    ".png": "image/png",
    ".jpg": "image/jpeg",
    ".webp": "image/webp",
    ".json": "application/json",
    ".safetensors": "application/octet-stream",
    ".npy": "application/octet-stream",
}
"""Suffixes of files that are kept, and what they are sent as."""

TOUCH_SECONDS = 3600.0
"""How old a file must be to be made new."""

_ID = re.compile(r"[0-9a-f]{32}")


class UnknownFile(StepgraphError):
    """There is no file of that id."""


class FileTooLarge(StepgraphError):
    """More bytes came than are allowed."""


@dataclass(frozen=True, slots=True)
class Stored:
    """One file.

    Args:
        id: 128 bits of the content's BLAKE3 digest, hexadecimal.
        name: The id with the suffix: how a workflow may name it.
    """

    id: str
    path: Path
    bytes: int

    @property
    def name(self) -> str:
        return self.path.name

    @property
    def media_type(self) -> str:
        return MEDIA_TYPES[self.path.suffix]


class FileStore:
    """Responsibilities: keep files whole or not at all, find them by id.

    Args:
        folder: Where they lie, flat.
    """

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        folder.mkdir(parents=True, exist_ok=True)

    def add(self, chunks: Iterable[bytes], suffix: str, most_bytes: int | None = None) -> Stored:
        """Keep what comes in chunks; it is on the disk when the call returns.

        Raises:
            FileTooLarge: more than `most_bytes` came; nothing is kept.
            StepgraphError: a suffix that is not kept.
            OSError: the disk is full; nothing is kept.
        """
        with Incoming(self, suffix, most_bytes) as incoming:
            for chunk in chunks:
                incoming.write(chunk)
            return incoming.keep()

    def get(self, id_: str) -> Stored:
        """The file of an id.

        Raises:
            UnknownFile: there is none, or what lies there is no plain file.
        """
        return self._find(id_)[0]

    def _find(self, id_: str) -> tuple[Stored, os.stat_result]:
        """As `get`, and what the file system says of the file."""
        if _ID.fullmatch(id_):
            for suffix in MEDIA_TYPES:
                path = f"{self.folder}{os.sep}{id_}{suffix}"
                try:
                    status = os.lstat(path)  # a link that somebody laid there leads outside
                except OSError:
                    continue
                if stat.S_ISREG(status.st_mode):
                    return Stored(id_, Path(path), status.st_size), status
        raise UnknownFile(f"there is no file {id_[:40]!r}")

    def touch(self, id_: str) -> Stored:
        """The file of an id, which is as new from now on (within the hour): somebody counts on it again.

        Its time of access says so; that of the last change stays, as the content does. Who remembers the content by
        the file's times has to read it again, so that this happens once an hour at most.

        Raises:
            UnknownFile: there is none.
        """
        with self.locked():
            found, status = self._find(id_)
            if time.time() - max(status.st_mtime, status.st_atime) < TOUCH_SECONDS:
                return found
            os.utime(found.path, ns=(time.time_ns(), status.st_mtime_ns))
            return found

    def older(self, before: float) -> Iterator[str]:
        """Ids of files that nobody added or touched since a time (seconds since 1970)."""
        for path in self.folder.iterdir():
            if _ID.fullmatch(path.stem) and path.suffix in MEDIA_TYPES and _newest(path) < before:
                yield path.stem

    def remove_older(self, id_: str, before: float) -> bool:
        """Remove a file, if still nobody added or touched it since a time."""
        with self.locked(), suppress(UnknownFile):
            path = self.get(id_).path
            if _newest(path) < before:
                path.unlink(missing_ok=True)
                return True
        return False

    @contextmanager
    def locked(self) -> Iterator[None]:
        """Within, no other process (or thread) removes files or makes them new."""
        if fcntl is None:
            yield
            return
        folder = os.open(self.folder, os.O_RDONLY)
        try:
            fcntl.flock(folder, fcntl.LOCK_EX)
            yield
        finally:
            os.close(folder)


def _newest(path: Path) -> float:
    try:
        status = path.lstat()
    except FileNotFoundError:
        return 0.0
    return max(status.st_mtime, status.st_atime)


class Incoming:
    """A file that is being received: `write`, then `keep`; left without `keep`, nothing remains.

    Attributes:
        suffix: Of the name under which it will be kept.
    """

    def __init__(self, store: FileStore, suffix: str, most_bytes: int | None = None) -> None:
        self._store, self._most = store, most_bytes
        self.suffix = suffix
        self._refuse()
        self._aside = store.folder / f".{secrets.token_hex(8)}.part"
        self._file = self._aside.open("xb")
        self._hasher, self.bytes = blake3(), 0

    def write(self, chunk: bytes) -> None:
        """Add bytes.

        Raises:
            FileTooLarge: these are too many.
        """
        self.bytes += len(chunk)
        if self._most is not None and self.bytes > self._most:
            raise FileTooLarge(f"more than {self._most} bytes")
        self._hasher.update(chunk)
        self._file.write(chunk)

    def flush(self) -> Path:
        """Where the bytes lie for the moment, all of them, so that somebody can look at what they are."""
        self._file.flush()
        return self._aside

    def keep(self) -> Stored:
        """Put the whole file in its place."""
        self._refuse()
        self._file.flush()
        os.fsync(self._file.fileno())
        self._file.close()
        id_ = self._hasher.hexdigest(length=16)
        target = self._store.folder / f"{id_}{self.suffix}"
        with self._store.locked():
            os.replace(self._aside, target)
        return Stored(id_, target, self.bytes)

    def _refuse(self) -> None:
        if self.suffix not in MEDIA_TYPES:
            kept = ", ".join(MEDIA_TYPES)
            raise StepgraphError(f"files with {self.suffix or 'no suffix'} are not kept; {kept} are")

    def __enter__(self) -> Incoming:
        return self

    def __exit__(self, *_: object) -> None:
        self._file.close()
        with suppress(FileNotFoundError):
            self._aside.unlink()
