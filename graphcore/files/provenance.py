"""What made a picture: the record that is written into it, read back from it, and compared with here and now."""

from __future__ import annotations

import json
import os
import platform
import struct
import zlib
from collections.abc import Iterator, Mapping
from functools import cache
from importlib import metadata
from pathlib import Path, PurePosixPath
from types import MappingProxyType
from typing import Any, BinaryIO

from graphcore.errors import StepgraphError
from graphcore.files import reader
from graphcore.files.workflow import Workflow

KEYWORD = b"stepgraph"
"""Keyword of the iTXt chunk in a PNG that holds the record."""

FORMAT = 1
"""Version of the record's form."""

LIBRARIES = ("stepgraph", "torch", "diffusers", "transformers")
"""Distributions whose versions can change a picture."""

MAX_BYTES = 64 * 2**20
"""A longer record is refused: it may come from anywhere and be packed a thousandfold."""

_SIGNATURE = b"\x89PNG\r\n\x1a\n"


def record(workflow: Workflow, inputs: Mapping[str, Any], keys: Mapping[str, str] | None = None) -> dict[str, Any]:
    """All that is needed to run a workflow again.

    Args:
        workflow: As read from its file.
        inputs: The value of each input of the workflow.
        keys: Content addresses of its outputs, hexadecimal.

    Returns:
        `stepgraph`: version of the form; `workflow`: name of the main file; `files`: text of it and of every
        sub-workflow by relative path; `inputs`, of which paths from the current folder are made absolute (`~`
        stands for the home folder); `keys`; `environment`.
    """
    name = workflow.path.name if workflow.path is not None else "workflow.json"
    return {
        "stepgraph": FORMAT,
        "workflow": name,
        "files": {name: workflow.text, **reader.texts(workflow)},
        "inputs": {name: _findable(workflow, name, value) for name, value in inputs.items()},
        "keys": dict(keys or {}),
        "environment": dict(environment()),
    }


def _findable(workflow: Workflow, name: str, value: Any) -> Any:
    """An input as the record has it: a path from the folder one was in must be found again from any other.

    What lies beside the workflow file keeps the name that the workflow has for it.
    """
    described = workflow.inputs.get(name)
    if described is None or described.type != "path" or not isinstance(value, str):
        return value
    base = workflow.path.parent if workflow.path is not None else Path()
    found = next((place for place in (base / value, Path(value)) if place.exists()), None)
    beside = found == base / value and not Path(value).is_absolute() and ".." not in Path(value).parts
    if found is None or beside:
        return value
    path, home = Path(os.path.abspath(found)), Path.home()
    return f"~/{path.relative_to(home).as_posix()}" if path.is_relative_to(home) else str(path)


def restore(record: Mapping[str, Any], folder: Path) -> Path:
    """Write the workflow files of a record into a folder.

    Returns:
        The main file.

    Raises:
        StepgraphError: the record is not whole, or one of its files would lie outside the folder.
    """
    files, main = record.get("files"), record.get("workflow")
    if not isinstance(files, dict) or not isinstance(main, str) or main not in files:
        raise StepgraphError("the record names no workflow file; it was not written by `stepgraph run`")
    for name, text in files.items():
        path = PurePosixPath(name)
        if path.is_absolute() or ".." in path.parts or "\\" in name or ":" in name or not isinstance(text, str):
            raise StepgraphError(f"the record holds a file {name!r}, which would be written outside of its folder")
        target = folder / path
        target.parent.mkdir(parents=True, exist_ok=True)
        target.write_text(text, encoding="utf-8")
    return folder / main


@cache
def environment() -> Mapping[str, str]:
    """Versions of Python and of the libraries that make pictures, and the platform; imports none of them."""
    found = {"python": platform.python_version(), "platform": f"{platform.system()} {platform.machine()}"}
    for name in LIBRARIES:
        try:
            found[name] = metadata.version(name)
        except metadata.PackageNotFoundError:
            found[name] = "not installed"
    return MappingProxyType(found)


def differences(then: Mapping[str, Any], now: Mapping[str, Any]) -> list[str]:
    """What differs between two environments, one sentence each; empty where they are equal."""
    names = dict.fromkeys([*then, *now])
    return [
        f"{name}: {then.get(name, 'unknown')} then, {now.get(name, 'unknown')} now"
        for name in names
        if then.get(name) != now.get(name)
    ]


def read(path: str | Path) -> dict[str, Any]:
    """The record in a PNG file.

    Raises:
        StepgraphError: no such file, no PNG, a damaged one, one without a record, or a record too large to be true.
    """
    path = Path(path)
    try:
        with path.open("rb") as file:
            if file.read(len(_SIGNATURE)) != _SIGNATURE:
                raise StepgraphError(f"{path} is not a PNG file; only PNG pictures hold the workflow that made them")
            for kind, data in _text_chunks(file, path):
                if kind == b"iTXt" and data.startswith(KEYWORD + b"\0"):
                    return _parse(data[len(KEYWORD) + 1 :], path)
    except OSError as error:
        raise StepgraphError(f"cannot read {path}: {error.strerror or error}") from error
    raise StepgraphError(
        f"{path} holds no workflow: it was not made by Stepgraph, or a program that edited it dropped the metadata"
    )


def _text_chunks(file: BinaryIO, path: Path) -> Iterator[tuple[bytes, bytes]]:
    """The iTXt chunks of a PNG, their checksums proved; others are passed over unread."""
    while header := file.read(8):
        if len(header) < 8:
            raise StepgraphError(f"{path} is damaged: it ends within a chunk")
        length, kind = struct.unpack(">I4s", header)
        if kind == b"IEND":
            return
        if kind != b"iTXt":
            file.seek(length + 4, os.SEEK_CUR)
            continue
        if length > MAX_BYTES:
            raise StepgraphError(f"{path} is damaged or not to be trusted: a text of {length:,} bytes in a picture")
        data, check = file.read(length), file.read(4)
        if len(data) < length or len(check) < 4:
            raise StepgraphError(f"{path} is damaged: it ends within a chunk")
        if zlib.crc32(kind + data) != struct.unpack(">I", check)[0]:
            raise StepgraphError(f"{path} is damaged: the checksum of its metadata is wrong")
        yield kind, data
    raise StepgraphError(f"{path} is damaged: its end is missing")


def _parse(data: bytes, path: Path) -> dict[str, Any]:
    """The record from an iTXt chunk after its keyword (PNG specification, 11.3.3.4)."""
    compressed, method = data[:1], data[1:2]
    *_, text = data[2:].split(b"\0", 2)
    try:
        if compressed == b"\1":
            if method != b"\0":
                raise ValueError("unknown compression")
            text = _inflate(text)
        found = json.loads(text.decode("utf-8"))
    except (ValueError, zlib.error, RecursionError) as error:
        raise StepgraphError(f"the record in {path} is damaged: {error}") from error
    if not isinstance(found, dict) or found.get("stepgraph") != FORMAT:
        version = found.get("stepgraph") if isinstance(found, dict) else None
        raise StepgraphError(
            f"the record in {path} has the form {version!r}; this version of Stepgraph reads form {FORMAT}"
        )
    return found


def _inflate(data: bytes) -> bytes:
    """Decompress, up to `MAX_BYTES` and not a byte further."""
    stream = zlib.decompressobj()
    text = stream.decompress(data, MAX_BYTES)
    if stream.unconsumed_tail:
        raise ValueError(f"more than {MAX_BYTES:,} bytes")
    if not stream.eof:
        raise ValueError("the compressed text ends too early")
    return text
