"""The types of ports: which can be written in JSON, which may be linked to which."""

from __future__ import annotations

import collections.abc
import enum
import types
import typing
from functools import cache
from pathlib import Path, PurePath
from typing import Annotated, Any, Literal, Union, get_args, get_origin

SCALARS = (bool, int, float, str)
SEQUENCES = (list, tuple, collections.abc.Sequence, collections.abc.Iterable)


def bare(annotation: Any) -> Any:
    """An annotation without `Annotated`."""
    return bare(get_args(annotation)[0]) if get_origin(annotation) is Annotated else annotation


def members(annotation: Any) -> tuple[Any, ...]:
    """The members of a union (the type itself if it is none), each bare."""
    annotation = bare(annotation)
    if get_origin(annotation) in (Union, types.UnionType):
        return tuple(m for arg in get_args(annotation) for m in members(arg))
    return (types.NoneType if annotation is None else annotation,)


def accepts_none(annotation: Any) -> bool:
    return any(m in (types.NoneType, Any, object) for m in members(annotation))


def is_literal(annotation: Any) -> bool:
    """Whether some value of the type can be written in JSON (None does not count)."""
    return any(_literal_member(m) for m in members(annotation) if m is not types.NoneType)


def _literal_member(member: Any) -> bool:
    if member in SCALARS or member in (Any, Path, dict):
        return True
    origin = get_origin(member)
    if origin is Literal:
        return True
    if origin in SEQUENCES:
        return all(is_literal(arg) for arg in get_args(member) if arg is not Ellipsis)
    if origin is dict:
        return all(is_literal(arg) for arg in get_args(member))
    return isinstance(member, type) and issubclass(member, (enum.Enum, PurePath))


@cache
def item_type(annotation: Any) -> Any:
    """What iterating over a value gives: `Latents` for `list[Latents]`; None if it is not iterable.

    A class of one's own is iterable if its `__iter__` is annotated `-> Iterator[Item]`.
    """
    found = []
    for member in members(annotation):
        origin = get_origin(member)
        if member in (Any, object, list, tuple):
            return Any
        if origin in SEQUENCES:
            found.append(get_args(member)[0])
        elif isinstance(member, type) and member not in (str, bytes, dict) and "__iter__" in member.__dict__:
            try:
                returns = typing.get_type_hints(member.__dict__["__iter__"]).get("return")
            except NameError:
                returns = None
            found.append(get_args(returns)[0] if get_args(returns) else Any)
    return found[0] if found else None


@cache
def fits(given: Any, wanted: Any) -> bool:
    """Whether every value of type `given` may flow into a port of type `wanted` (int flows into float)."""
    wanted_members = members(wanted)
    if any(m in (Any, object) for m in wanted_members):
        return True
    return all(g in (Any, object) or any(_fits_one(g, w) for w in wanted_members) for g in members(given))


def _fits_one(given: Any, wanted: Any) -> bool:
    if given == wanted:
        return True
    given_origin, wanted_origin = get_origin(given), get_origin(wanted)
    if given_origin is Literal:
        if wanted_origin is Literal:
            return set(get_args(given)) <= set(get_args(wanted))
        return all(_fits_one(type(value), wanted) for value in get_args(given))
    if wanted_origin is Literal:
        return given is str or given in {type(value) for value in get_args(wanted)}
    given_class, wanted_class = given_origin or given, wanted_origin or wanted
    if given_class is int and wanted_class is float:
        return True
    if given_class is str and isinstance(wanted_class, type) and issubclass(wanted_class, (PurePath, enum.Enum)):
        return True
    if wanted_class in SEQUENCES:
        items, wanted_args = item_type(given), get_args(wanted)
        return items is not None and (not wanted_args or fits(items, wanted_args[0]))
    if not (isinstance(given_class, type) and isinstance(wanted_class, type)):
        return False
    return issubclass(given_class, wanted_class) and not (given_class is bool and wanted_class is int)


def say(annotation: Any) -> str:
    """A type in words: `Latents`, `int`, `list[Image]`, `Latents or None`, `'a' or 'b'`."""
    return " or ".join(dict.fromkeys(_say_one(m) for m in members(annotation)))


def _say_one(member: Any) -> str:
    if member is types.NoneType:
        return "None"
    origin, args = get_origin(member), get_args(member)
    if origin is Literal:
        return " or ".join(repr(value) for value in args)
    name: str = getattr(origin or member, "__name__", str(member))
    inner = ", ".join(say(arg) for arg in args if arg is not Ellipsis)
    return f"{name}[{inner}]" if inner else name
