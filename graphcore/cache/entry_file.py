"""One entry as one safetensors file: tensors as they are, the rest as JSON in the header's metadata."""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping
from io import FileIO
from pathlib import Path
from typing import Any

from blake3 import blake3

from graphcore.cache.entry import Entry
from graphcore.cache.index import Row
from graphcore.values import codec, tensors

BLOCK = 2**20
"""Bytes written or read and then hashed, while the processor's cache still has them."""


class Damaged(ValueError):
    """A file that is not as it was written."""


class Packed:
    """An entry that is ready to be written.

    Args:
        marks: Events after which its GPU tensors are computed.

    Raises:
        codec.Unstorable: its values have no stored form.
    """

    def __init__(self, entry: Entry, types: Mapping[str, type], marks: list[Any]) -> None:
        text, self._tensors = codec.pack(entry.outputs, types)
        self._marks = marks
        head = {"seconds": entry.seconds, "bytes": entry.bytes, "notes": entry.notes}
        self._metadata = {"value": text, "entry": json.dumps(head)}
        self.size = tensors.file_size(self._tensors, self._metadata)

    def write(self, path: Path) -> bytes:
        """Write the file; returns its checksum."""
        hasher = blake3()
        with open(path, "wb", buffering=0) as file:
            for part in self._parts():
                while part:
                    count = file.write(part[:BLOCK])
                    hasher.update(part[:count])
                    part = part[count:]
        return hasher.digest()

    def _parts(self) -> Iterator[memoryview]:
        return tensors.file_parts(tensors.to_host(self._tensors, self._marks), self._metadata)


def read(path: Path, row: Row, types: Mapping[str, type]) -> Entry:
    """The entry in a file.

    Raises:
        Damaged: the file is not the one that the row was written for.
        codec.Unstorable: it is, but holds values of classes that are not in `types`.
        OSError: it cannot be read.
    """
    with open(path, "rb", buffering=0) as file:
        reader = _Reader(file)
        try:
            stored, metadata = tensors.read_file(reader.readinto, _confirm_size(file, row), _is_array)
        except (ValueError, MemoryError) as error:
            raise Damaged(str(error)) from error
    if reader.hasher.digest() != row.checksum:
        raise Damaged("its file is damaged")
    head = json.loads(metadata["entry"])
    outputs = codec.unpack(metadata["value"], stored, types)
    return Entry(outputs, float(head["seconds"]), int(head["bytes"]), tuple(head["notes"]))


def confirm(path: Path, row: Row) -> None:
    """Compare a file with its row, without building its values.

    Raises:
        Damaged, OSError: as `read`.
    """
    block = memoryview(bytearray(BLOCK))
    with open(path, "rb", buffering=0) as file:
        reader, left = _Reader(file), _confirm_size(file, row)
        while left:
            count = min(left, len(block))
            reader.readinto(block[:count])
            left -= count
    if reader.hasher.digest() != row.checksum:
        raise Damaged("its file is damaged")


def _confirm_size(file: FileIO, row: Row) -> int:
    size = file.seek(0, 2)
    file.seek(0)
    if size != row.size:
        raise Damaged(f"its file has {size} bytes instead of {row.size}")
    return size


def _is_array(name: str) -> bool:
    return name.startswith("n")


class _Reader:
    """Reads exactly what is asked for, and hashes it on the way."""

    def __init__(self, file: FileIO) -> None:
        self._file, self.hasher = file, blake3()

    def readinto(self, buffer: memoryview) -> None:
        while buffer:
            if not (count := self._file.readinto(buffer[:BLOCK])):
                raise Damaged("its file is cut short")
            self.hasher.update(buffer[:count])
            buffer = buffer[count:]
