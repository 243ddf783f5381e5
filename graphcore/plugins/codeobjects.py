"""Functions in words that are the same in every process: what a digest takes where the source does not say it all."""

from __future__ import annotations

import dataclasses
import enum
import functools
import re
import types
from collections.abc import Callable, Iterable, Mapping
from typing import Any

_ADDRESS = re.compile(r" at 0x[0-9a-fA-F]+")
_PLAIN = (bool, int, float, complex, str, bytes, types.NoneType, types.EllipsisType)


def state(function: Callable[..., Any]) -> str:
    """What a function holds besides its code: closure, defaults, arguments of a partial; empty where there is none."""
    return _Describer(function.__module__ if hasattr(function, "__module__") else "").state(function)


def describe(function: Callable[..., Any]) -> str:
    """A function by its code object, with all of its own module that it names, recursively.

    Functions and classes of other modules count by their names, other objects by their `repr` without addresses.
    """
    return _Describer(getattr(function, "__module__", "")).say(function)


class _Describer:
    """Says values in words. What was said already is said by its number, so that cycles end."""

    def __init__(self, home: str) -> None:
        self._home = home
        self._seen: dict[int, tuple[int, object]] = {}  # the object too: while it lives, nobody else has its id

    def say(self, value: Any) -> str:
        if isinstance(value, _PLAIN):
            return f"{type(value).__name__}:{value!r}"
        if isinstance(value, types.ModuleType):
            return f"module:{value.__name__}"
        if id(value) in self._seen:
            return f"#{self._seen[id(value)][0]}"
        self._seen[id(value)] = (len(self._seen), value)
        return f"{type(value).__qualname__}({self._inside(value)})"

    def state(self, function: Any) -> str:
        if isinstance(function, functools.partial):
            return self._all([function.args, function.keywords]) + self.state(function.func)
        cells = [_content(cell) for cell in getattr(function, "__closure__", None) or ()]
        held = [getattr(function, "__defaults__", None), getattr(function, "__kwdefaults__", None), cells]
        return self._all(held) if any(held) else ""

    def _all(self, values: Iterable[Any]) -> str:
        return ", ".join(self.say(value) for value in values)

    def _inside(self, value: Any) -> str:
        if isinstance(value, (types.FunctionType, type)):
            return self._definition(value)
        if isinstance(value, types.CodeType):
            return self._code(value)
        if isinstance(value, types.MethodType):
            return self._all([value.__func__, value.__self__])
        if isinstance(value, functools.partial):
            return self._all([value.func, value.args, value.keywords])
        if isinstance(value, (list, tuple)):
            return self._all(value)
        if isinstance(value, Mapping):
            return self._all(part for item in value.items() for part in item)
        if isinstance(value, (set, frozenset)):  # their order is salted
            return ", ".join(sorted(_Describer(self._home).say(item) for item in value))
        if isinstance(value, enum.Enum):
            return f"{value.name}={self.say(value.value)}"
        if dataclasses.is_dataclass(value):
            return self._all(getattr(value, field.name) for field in dataclasses.fields(value))
        return _ADDRESS.sub("", repr(value))

    def _definition(self, value: Any) -> str:
        name = f"{value.__module__}.{value.__qualname__}"
        if value.__module__ != self._home:
            return name
        if isinstance(value, type):
            return f"{name} {self._all(item for item in vars(value).values() if isinstance(item, types.FunctionType))}"
        return f"{name} {self._code(value.__code__)} {self.state(value)} {self._globals(value)}"

    def _code(self, code: types.CodeType) -> str:
        return f"{code.co_code.hex()} {self._all(code.co_consts)} {code.co_names} {code.co_varnames} {code.co_freevars}"

    def _globals(self, function: types.FunctionType) -> str:
        """The values of the names that a function takes from its module (its nested functions' names as well)."""
        used = sorted({name for code in _nested(function.__code__) for name in code.co_names})
        values = function.__globals__
        return ", ".join(f"{name}={self.say(values[name])}" for name in used if name in values)


def _content(cell: types.CellType) -> Any:
    try:
        return cell.cell_contents
    except ValueError:  # not filled yet: a function that refers to itself while it is made
        return None


def _nested(code: types.CodeType) -> list[types.CodeType]:
    inner = [constant for constant in code.co_consts if isinstance(constant, types.CodeType)]
    return [code, *(deeper for one in inner for deeper in _nested(one))]
