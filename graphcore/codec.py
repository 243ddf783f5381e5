"""Values as JSON text and tensors, and back: what the disk tier stores.

Nothing is ever unpickled: only plain data and the classes of `types` (those that travel on links) can be built.
Each JSON node is a plain scalar or `[tag, ...]`.
"""

from __future__ import annotations

import dataclasses
import enum
import json
import sys
from collections.abc import Mapping
from pathlib import Path, PurePath
from typing import Any

import numpy as np

from graphcore import tensors
from graphcore.errors import StepgraphError

Types = Mapping[str, type]


class Unstorable(StepgraphError):
    """A value that has no stored form: a handle of something outside, or an unknown class."""


def pack(value: Any, types: Types) -> tuple[str, dict[str, Any]]:
    """A value as JSON text and named tensors.

    Raises:
        Unstorable: for what cannot be built again.
    """
    packer = _Packer({cls: name for name, cls in types.items()})
    tree = packer.pack(value)
    return json.dumps(tree, separators=(",", ":")), packer.tensors


def unpack(text: str, stored: Mapping[str, Any], types: Types) -> Any:
    """The value again.

    Raises:
        Unstorable: for text that `pack` did not write, or a class that is not in `types`.
    """
    try:
        return _unpack(json.loads(text), stored, types)
    except (KeyError, IndexError, TypeError, ValueError) as error:
        raise Unstorable(f"not a stored value: {error}") from error


class _Packer:
    """Collects tensors, each object once, while it walks a value."""

    def __init__(self, names: Mapping[type, str]) -> None:
        self.names = names
        self.tensors: dict[str, Any] = {}
        self._seen: dict[int, str] = {}

    def pack(self, value: Any) -> Any:
        kind = type(value)
        if value is None or kind in (bool, str):
            return value
        if kind is int:
            return ["i", str(value)]
        if kind is float:
            return ["f", value.hex()]
        if kind is bytes:
            return ["b", value.hex()]
        if kind in (list, tuple):
            return ["l" if kind is list else "t", [self.pack(item) for item in value]]
        if kind is dict and all(type(key) is str for key in value):
            return ["d", [[key, self.pack(item)] for key, item in value.items()]]
        if tensors.is_tensor(value) or isinstance(value, np.ndarray):
            return self._tensor(value)
        if isinstance(value, PurePath):
            return ["p", str(value)]
        return self._object(value, kind)

    def _tensor(self, value: Any) -> Any:
        if (name := self._seen.get(id(value))) is None:
            name = self._seen[id(value)] = f"t{len(self.tensors)}"
            self.tensors[name] = tensors.from_numpy(value) if isinstance(value, np.ndarray) else value
        if isinstance(value, np.ndarray):
            return ["n", name]
        return ["x", name, tensors.device_of(value)]

    def _object(self, value: Any, kind: type) -> Any:
        if getattr(kind, "__stepgraph_transient__", False):
            raise Unstorable(f"a {kind.__qualname__} refers to something outside and is not stored")
        if (name := self.names.get(kind)) is None:
            raise Unstorable(f"values of type {kind.__module__}.{kind.__qualname__} are not stored")
        if isinstance(value, enum.Enum):
            return ["e", name, value.name]
        if isinstance(value, tuple):
            return ["N", name, [self.pack(item) for item in value]]
        fields = [[field.name, self.pack(getattr(value, field.name))] for field in dataclasses.fields(value)]
        return ["c", name, fields]


def _unpack(tree: Any, stored: Mapping[str, Any], types: Types) -> Any:
    if tree is None or isinstance(tree, (bool, str)):
        return tree
    tag, body = tree[0], tree[1]
    if tag == "i":
        return int(body)
    if tag == "f":
        return float.fromhex(body)
    if tag == "b":
        return bytes.fromhex(body)
    if tag == "p":
        return Path(body)
    if tag in "lt":
        items = [_unpack(item, stored, types) for item in body]
        return items if tag == "l" else tuple(items)
    if tag == "d":
        return {key: _unpack(item, stored, types) for key, item in body}
    if tag == "n":
        return stored[body].numpy()
    if tag == "x":
        return stored[body] if tree[2] == "cpu" else tensors.to_device(stored[body], tree[2])
    return _unpack_object(tag, types[body], tree[2], stored, types)


def _unpack_object(tag: str, cls: Any, body: Any, stored: Mapping[str, Any], types: Types) -> Any:
    if tag == "e" and issubclass(cls, enum.Enum):
        return cls[body]
    if tag == "N" and issubclass(cls, tuple):
        return cls(*(_unpack(item, stored, types) for item in body))
    if tag == "c" and dataclasses.is_dataclass(cls):
        return cls(**{name: _unpack(item, stored, types) for name, item in body})
    raise Unstorable(f"not a stored value: {tag!r} of {cls.__qualname__}")


_FIXED = {int: 32, float: 24, bool: 28, type(None): 16}


def size(value: Any) -> int:
    """Bytes that a value keeps in memory; memory that several of its tensors share counts once."""
    if (fixed := _FIXED.get(type(value))) is not None:
        return fixed
    if type(value) is tuple and len(value) == 1 and (fixed := _FIXED.get(type(value[0]))) is not None:
        return fixed
    return _size(value, set())


def _size(value: Any, seen: set[int]) -> int:
    if isinstance(value, np.ndarray) or tensors.is_tensor(value):
        if (storage := tensors.storage_id(value)) in seen:
            return 0
        seen.add(storage)
        return tensors.nbytes(value)
    if id(value) in seen:
        return 0
    if isinstance(value, (list, tuple, dict)) or dataclasses.is_dataclass(value):
        seen.add(id(value))
    if isinstance(value, dict):
        return 64 + sum(_size(key, seen) + _size(item, seen) for key, item in value.items())
    if isinstance(value, (list, tuple)):
        return 56 + sum(_size(item, seen) for item in value)
    if dataclasses.is_dataclass(value) and not isinstance(value, type):
        return 48 + sum(_size(getattr(value, field.name), seen) for field in dataclasses.fields(value))
    return sys.getsizeof(value)
