"""The header of safetensors files: names, types, shapes and places of tensors.

The library's `save` builds the whole file in memory, several times over, while other threads wait; with the header at
hand each tensor goes straight from its memory to the file, and back. Format: https://github.com/huggingface/safetensors
(8 bytes little-endian header length, JSON header, then the tensors without gaps).
"""

from __future__ import annotations

import json
import math
from collections.abc import Callable, Mapping
from dataclasses import dataclass

MOST_HEADER_BYTES = 100_000_000
"""The library's own limit."""

MOST_SIDES = 64
"""What torch and NumPy can handle."""

CODES = {
    "bool": "BOOL", "uint8": "U8", "int8": "I8", "int16": "I16", "uint16": "U16", "int32": "I32", "uint32": "U32",
    "int64": "I64", "uint64": "U64", "float16": "F16", "bfloat16": "BF16", "float32": "F32", "float64": "F64",
    "complex64": "C64", "float8_e4m3fn": "F8_E4M3", "float8_e5m2": "F8_E5M2", "float8_e4m3fnuz": "F8_E4M3FNUZ",
    "float8_e5m2fnuz": "F8_E5M2FNUZ",
}  # fmt: skip
"""The format's name of each data type, by its name in torch and NumPy."""

_NAMES = {code: name for name, code in CODES.items()}
_BYTES = {"BOOL": 1, "BF16": 2, "C64": 8} | {
    code: 1 if code.startswith("F8") else int(code[1:]) // 8 for code in CODES.values() if code[0] in "UIF"
}


@dataclass(frozen=True, slots=True)
class Place:
    """Where a tensor lies: offsets from the end of the header."""

    dtype: str
    shape: tuple[int, ...]
    begin: int
    end: int


@dataclass(frozen=True)
class Header:
    """What a file holds: `places` by name, in the order of the file, and texts."""

    places: Mapping[str, Place]
    metadata: Mapping[str, str]

    @classmethod
    def plan(cls, shapes: Mapping[str, tuple[str, tuple[int, ...]]], metadata: Mapping[str, str]) -> Header:
        """Places for tensors of given data types and shapes; wide types first, so that all lie aligned."""
        places: dict[str, Place] = {}
        begin = 0
        for name in sorted(shapes, key=lambda name: -_BYTES[CODES[shapes[name][0]]]):
            dtype, shape = shapes[name]
            end = begin + _BYTES[CODES[dtype]] * math.prod(shape)
            places[name] = Place(dtype, shape, begin, end)
            begin = end
        return cls(places, metadata)

    @property
    def data_size(self) -> int:
        """Bytes of all tensors."""
        return max((place.end for place in self.places.values()), default=0)

    def encode(self) -> bytes:
        """Length and JSON, padded so that the first tensor is aligned."""
        tree: dict[str, object] = {"__metadata__": dict(self.metadata)}
        for name, place in self.places.items():
            offsets = [place.begin, place.end]
            tree[name] = {"dtype": CODES[place.dtype], "shape": list(place.shape), "data_offsets": offsets}
        text = json.dumps(tree, separators=(",", ":")).encode()
        text += b" " * (-len(text) % 8)
        if len(text) > MOST_HEADER_BYTES:
            raise ValueError(f"a header of {len(text)} bytes is larger than the format allows")
        return len(text).to_bytes(8, "little") + text

    @classmethod
    def read(cls, readinto: Callable[[memoryview], None], size: int) -> Header:
        """The header at the begin of a file of `size` bytes.

        Raises:
            ValueError: it is damaged, or does not cover the file exactly.
        """
        prefix = bytearray(8)
        readinto(memoryview(prefix))
        length = int.from_bytes(prefix, "little")
        if length > min(size - 8, MOST_HEADER_BYTES):
            raise ValueError("the header is longer than the file")
        text = bytearray(length)
        readinto(memoryview(text))
        try:
            tree = json.loads(bytes(text))
            metadata = dict(tree.pop("__metadata__"))
            places = {name: _place(**described) for name, described in tree.items()}
        except (AttributeError, KeyError, TypeError, RecursionError) as error:
            raise ValueError(f"not a header of a safetensors file: {error}") from error
        header = cls(dict(sorted(places.items(), key=lambda item: item[1].begin)), metadata)
        header._confirm(size - 8 - length)
        return header

    def _confirm(self, size: int) -> None:
        """Whether the tensors follow each other without gaps, to the end."""
        reached = 0
        for place in self.places.values():
            needed = _BYTES[CODES[place.dtype]] * math.prod(place.shape)
            if place.begin != reached or place.end - place.begin != needed:
                raise ValueError("the tensors do not cover the file")
            reached = place.end
        if reached != size:
            raise ValueError("the tensors do not cover the file")


def _place(dtype: str, shape: list[int], data_offsets: list[int]) -> Place:
    if len(shape) > MOST_SIDES or any(type(number) is not int or number < 0 for number in (*shape, *data_offsets)):
        raise ValueError("a shape or an offset is no row of whole numbers")
    begin, end = data_offsets
    return Place(_NAMES[dtype], tuple(shape), begin, end)
