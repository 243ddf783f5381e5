"""The header of a safetensors file: names and shapes of its tensors, without their content.

Layout: 8 bytes with the header's length, the header (JSON), then the data, whose ends the header gives.
"""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

LARGEST = 64 << 20
"""Bytes; the header of the largest models has a few hundred kB."""

INTEGERS = ("I8", "I16", "I32", "I64", "U8")


def tensors(file: Path) -> dict[str, dict[str, Any]]:
    """The entry of each tensor: `dtype`, `shape`, `data_offsets` within the file.

    Raises:
        ValueError: it is no such file, or not all of it is there.
        OSError: it cannot be read.
    """
    size = file.stat().st_size
    with file.open("rb") as opened:
        length = int.from_bytes(opened.read(8), "little")
        if size < 8 or length > min(size - 8, LARGEST):
            raise ValueError(f"a file of {size} bytes without a safetensors header")
        header = opened.read(length)
    try:
        found = {name: entry for name, entry in json.loads(header).items() if name != "__metadata__"}
        for entry in found.values():
            entry["shape"] = [int(side) for side in entry["shape"]]
            entry["data_offsets"] = [8 + length + int(place) for place in entry["data_offsets"]]
        end = max((entry["data_offsets"][1] for entry in found.values()), default=8 + length)
    except (ValueError, RecursionError, AttributeError, KeyError, IndexError, TypeError) as error:
        raise ValueError(f"a damaged safetensors header ({type(error).__name__})") from error
    if size != end:
        raise ValueError(f"{size} bytes of the {end} that its header tells of")
    return found


def tensor_shapes(file: Path) -> dict[str, list[int]]:
    """Name and shape of each tensor.

    Raises:
        ValueError, OSError: as `tensors`.
    """
    return {name: entry["shape"] for name, entry in tensors(file).items()}


def number(file: Path, name: str) -> int | None:
    """A tensor that is a single integer; None if there is no such one."""
    entry = tensors(file).get(name)
    if entry is None or entry.get("dtype") not in INTEGERS:
        return None
    start, end = entry["data_offsets"]
    if end - start > 8:
        return None
    with file.open("rb") as opened:
        opened.seek(start)
        return int.from_bytes(opened.read(end - start), "little", signed=True)
