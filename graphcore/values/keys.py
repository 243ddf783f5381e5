"""Content addresses: equal key, equal value, in every process.

A key is a hash over type-tagged bytes, so that `1`, `1.0`, `True` and `"1"` differ and nothing depends on Python's
salted `hash()`. What cannot be encoded is refused: a random stand-in would only hide a cache miss.
"""

from __future__ import annotations

import enum
import struct
from collections.abc import Mapping
from hashlib import blake2b
from pathlib import PurePath
from typing import Any

from graphcore.errors import StepgraphError

SIZE = 32
"""Bytes of a key."""

LITERAL = b"\xff"
"""First byte of the chunk of a literal; that of a linked value is its output's index."""


def digest(data: bytes) -> bytes:
    """The hash used for all keys."""
    return blake2b(data, digest_size=SIZE).digest()


def literal(value: Any) -> bytes:
    """What a literal adds to the key of a node that takes it."""
    return LITERAL + digest(encode(value))


def encode(value: Any) -> bytes:
    """Type tag, length and bytes of a literal: different values have different encodings.

    Raises:
        StepgraphError: for a type that has no encoding.
    """
    if isinstance(value, enum.Enum):
        return _tagged(b"E", encode(type(value).__qualname__) + encode(value.name))
    if isinstance(value, PurePath):
        return _tagged(b"P", str(value).encode())
    if value is None:
        return b"N"
    kind = type(value)
    if kind is bool:
        return b"T" if value else b"F"
    if kind is int:
        return _tagged(b"i", str(value).encode())
    if kind is float:
        return b"f" + struct.pack("<d", value)
    if kind is str:
        return _tagged(b"s", value.encode("utf-8", "surrogatepass"))
    if kind is bytes:
        return _tagged(b"b", value)
    if kind in (list, tuple):
        return _tagged(b"l" if kind is list else b"t", b"".join(map(encode, value)))
    if isinstance(value, Mapping):
        items = sorted((encode(key), encode(item)) for key, item in value.items())
        return _tagged(b"d", b"".join(part for item in items for part in item))
    raise StepgraphError(f"a value of type {kind.__qualname__} cannot be part of a key; give it as a link instead")


def _tagged(tag: bytes, data: bytes) -> bytes:
    return tag + len(data).to_bytes(8, "little") + data
