"""Values as JSON text and tensors, and back: what the disk tier stores.

Nothing is ever unpickled: only plain data and the classes of `types` (those that travel on links) can be built.
Each JSON node is a plain scalar or `[tag, ...]`. What comes back has the same types and bits; a tensor also keeps the
order of its dimensions in memory, but not its gradient, nor memory shared with another tensor.
"""

from __future__ import annotations

import dataclasses
import enum
import json
import math
import sys
from collections.abc import Callable, Iterator, Mapping
from pathlib import Path
from types import FunctionType, ModuleType
from typing import Any

import numpy as np

from graphcore.errors import StepgraphError
from graphcore.values import tensors

Types = Mapping[str, type]

LARGEST_NUMBER = 2**63
"""Larger integers are written in hexadecimal: Python limits the decimal digits that it reads."""


class Unstorable(StepgraphError):
    """A value that has no stored form: a handle of something outside, or an unknown class."""


def pack(value: Any, types: Types) -> tuple[str, dict[str, Any]]:
    """A value as JSON text and named tensors (the value's own, not copies; NumPy arrays stay arrays).

    Raises:
        Unstorable: for what cannot be built again.
    """
    packer = _Packer({cls: name for name, cls in types.items()})
    try:
        return json.dumps(packer.pack(value), separators=(",", ":")), packer.tensors
    except RecursionError as error:
        raise Unstorable("values that are nested so deeply, or that contain themselves, are not stored") from error


def unpack(text: str, stored: Mapping[str, Any], types: Types) -> Any:
    """The value again.

    Raises:
        Unstorable: for text that `pack` did not write, or a class that is not in `types` or no longer as it was.
    """
    try:
        return _unpack(json.loads(text), stored, types)
    except Unstorable:
        raise
    except Exception as error:  # the constructors of the classes are foreign code
        raise Unstorable(f"not a stored value: {type(error).__name__}: {error}") from error


class _Packer:
    """Collects tensors, each object once, while it walks a value."""

    def __init__(self, names: Mapping[type, str]) -> None:
        self.names = names
        self.tensors: dict[str, Any] = {}
        self._seen: dict[int, tuple[str, Any]] = {}

    def pack(self, value: Any) -> Any:
        kind = type(value)
        if (plain := _PLAIN.get(kind)) is not None:
            return plain(value)
        if kind in (list, tuple):
            return ["l" if kind is list else "t", [self.pack(item) for item in value]]
        if kind is dict:
            return ["d", [[self.pack(key), self.pack(item)] for key, item in value.items()]]
        if kind is np.ndarray:
            return ["n", self._tensor("n", value)]
        if isinstance(value, np.generic):
            return ["g", self._tensor("n", np.asarray(value))]
        if tensors.is_tensor(value):
            return ["x", self._tensor("t", value), tensors.device_kind(str(value.device)), tensors.strides(value)]
        if isinstance(value, Path):
            return ["p", _string(str(value))]
        return self._object(value, kind)

    def _tensor(self, letter: str, value: Any) -> str:
        if id(value) in self._seen:
            return self._seen[id(value)][0]
        if (reason := tensors.unfit(value)) is not None:
            raise Unstorable(f"{reason} are not stored")
        name = f"{letter}{len(self.tensors)}"
        self._seen[id(value)] = name, value  # held, so that no other object gets its id
        self.tensors[name] = value
        return name

    def _object(self, value: Any, kind: type) -> Any:
        if getattr(kind, "__stepgraph_transient__", False):
            raise Unstorable(f"a {kind.__qualname__} refers to something outside and is not stored")
        if (name := self.names.get(kind)) is None:
            raise Unstorable(f"values of type {kind.__module__}.{kind.__qualname__} are not stored")
        if isinstance(value, enum.Enum) and kind.__members__.get(value.name) is value:  # type: ignore[attr-defined]
            return ["e", name, value.name]
        if isinstance(value, tuple):
            return ["N", name, [self.pack(item) for item in value]]
        if not dataclasses.is_dataclass(value):
            raise Unstorable(f"this {kind.__qualname__} is neither a dataclass, a named tuple nor a named enum member")
        return ["c", name, [[name, self.pack(getattr(value, name))] for name in _fields(kind)]]


def _integer(value: int) -> Any:
    return value if -LARGEST_NUMBER < value < LARGEST_NUMBER else ["i", hex(value)]


def _float(value: float) -> Any:
    return value if math.isfinite(value) else ["f", repr(value)]


def _string(value: str) -> Any:
    """Lone surrogates (names of files may hold them) would be joined into other characters by JSON."""
    try:
        value.encode()
    except UnicodeEncodeError:
        return ["s", value.encode("utf-8", "surrogatepass").hex()]
    return value


_PLAIN: dict[type, Callable[[Any], Any]] = {
    type(None): lambda value: value,
    bool: lambda value: value,
    int: _integer,
    float: _float,
    str: _string,
    complex: lambda value: ["j", _float(value.real), _float(value.imag)],
    bytes: lambda value: ["b", value.hex()],
}


def _unpack(tree: Any, stored: Mapping[str, Any], types: Types) -> Any:
    if not isinstance(tree, list):
        if isinstance(tree, dict):
            raise Unstorable("not a stored value: a JSON object")
        return tree
    tag, body = tree[0], tree[1]
    if (build := _BUILD.get(tag)) is not None:
        return build(body)
    if tag == "j":
        return complex(*(_unpack(part, stored, types) for part in tree[1:]))
    if tag == "p":
        return Path(_unpack(body, stored, types))
    if tag in ("l", "t"):
        items = [_unpack(item, stored, types) for item in body]
        return items if tag == "l" else tuple(items)
    if tag == "d":
        return {_unpack(key, stored, types): _unpack(item, stored, types) for key, item in body}
    if tag in ("n", "g"):
        array = tensors.as_array(stored[body])
        return array if tag == "n" else array[()]
    if tag == "x":
        return tensors.restore(stored[body], tree[2], tree[3])
    return _unpack_object(tag, types[body], tree[2], stored, types)


_BUILD: dict[str, Callable[[str], Any]] = {
    "i": lambda body: int(body, 16),
    "f": float,
    "s": lambda body: bytes.fromhex(body).decode("utf-8", "surrogatepass"),
    "b": bytes.fromhex,
}


def _unpack_object(tag: str, cls: Any, body: Any, stored: Mapping[str, Any], types: Types) -> Any:
    if tag == "e" and issubclass(cls, enum.Enum):
        return cls[body]
    if tag == "N" and issubclass(cls, tuple):
        return cls._make(_unpack(item, stored, types) for item in body)
    if tag == "c" and dataclasses.is_dataclass(cls):
        return _build(cls, {name: _unpack(item, stored, types) for name, item in body})
    raise Unstorable(f"not a stored value: {tag!r} of {cls.__qualname__}")


def _build(cls: Any, values: dict[str, Any]) -> Any:
    """A dataclass through its own constructor; then every field as it was, also one that the constructor computes."""
    if tuple(values) != _fields(cls):
        raise Unstorable(f"{cls.__qualname__} has other fields than when it was stored")
    built = cls(**{field.name: values[field.name] for field in dataclasses.fields(cls) if field.init})
    for name, value in values.items():
        if getattr(built, name, None) is not value:
            object.__setattr__(built, name, value)
    return built


def _fields(cls: Any) -> tuple[str, ...]:
    return tuple(field.name for field in dataclasses.fields(cls))


# -- what a value holds ---------------------------------------------------------------------------------------------

_FIXED: dict[type, int] = {int: 32, float: 24, bool: 28, type(None): 16}
_LEAVES = frozenset({*_FIXED, str, bytes, complex})
_NOTHING: tuple[Any, ...] = ()


def size(value: Any) -> int:
    """Bytes that a value keeps in memory; memory that several of its tensors share counts once."""
    kind = type(value)
    if kind is tuple and len(value) == 1:
        value = value[0]
        kind = type(value)
    if (fixed := _FIXED.get(kind)) is not None:
        return fixed
    if kind is str:
        return sys.getsizeof(value)
    return _size(value)


def tensors_in(value: Any) -> Iterator[Any]:
    """The torch tensors of a value."""
    for item in _walk(value):
        if tensors.is_tensor(item):
            yield item


def _size(value: Any) -> int:
    total = 0
    storages: set[int] = set()
    for item in _walk(value):
        if (fixed := _FIXED.get(type(item))) is not None:
            total += fixed
        elif tensors.is_tensor(item) or isinstance(item, np.ndarray):
            if (storage := tensors.storage_id(item)) not in storages:
                storages.add(storage)
                total += tensors.nbytes(item)
        else:
            total += sys.getsizeof(item)
    return total


def _walk(value: Any) -> Iterator[Any]:
    """A value and all that it holds, each container once, however deep."""
    seen: set[int] = set()
    stack = [value]
    while stack:
        item = stack.pop()
        yield item
        if type(item) in _LEAVES:
            continue
        inner = _inner(item)
        if inner is not _NOTHING and id(item) not in seen:
            seen.add(id(item))
            stack.extend(inner)


def _inner(item: Any) -> Any:
    if isinstance(item, (list, tuple, set, frozenset)):
        return item
    if isinstance(item, dict):
        return [*item.keys(), *item.values()]
    if isinstance(item, (type, ModuleType, FunctionType)):
        return _NOTHING  # code, which the value does not own
    if attributes := getattr(item, "__dict__", None):
        return attributes.values()
    fields = getattr(type(item), "__dataclass_fields__", None)
    return _NOTHING if fields is None else [getattr(item, name, None) for name in fields]
