"""Which port types fit which."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from enum import Enum
from pathlib import Path
from typing import Any, Literal

import pytest

from graphcore.declare import ports


class Base: ...


class Derived(Base): ...


class Kind(Enum):
    A = "a"


class Steps:
    def __iter__(self) -> Iterator[Derived]:
        return iter([Derived()])


@pytest.mark.parametrize(
    ("given", "wanted", "fits"),
    [
        (int, int, True), (int, float, True), (float, int, False), (bool, int, False), (bool, float, False),
        (str, int, False), (Derived, Base, True), (Base, Derived, False), (Derived, Base | None, True),
        (Base | None, Base, False), (Any, Base, True), (Base, Any, True), (Base, object, True),
        (list[Derived], list[Base], True), (list[Base], list[Derived], False), (list[int], Sequence[float], True),
        (Steps, list[Base], True), (list[str], str, False), (str, list[str], False), (str, Path, True),
        (str, Kind, True), (str, Literal["a"], True), (Literal["a"], str, True),
        (Literal["a"], Literal["a", "b"], True),
        (Literal["a", "c"], Literal["a", "b"], False), (int, Literal["a"], False),
    ],
)  # fmt: skip
def test_fits(given: Any, wanted: Any, fits: bool) -> None:
    assert ports.fits(given, wanted) is fits


def test_item_types() -> None:
    assert ports.item_type(list[int]) is int
    assert ports.item_type(Steps) is Derived
    assert ports.item_type(list) is Any
    assert ports.item_type(str) is None
    assert ports.item_type(Base) is None


def test_types_in_words() -> None:
    assert ports.say(list[Base] | None) == "list[Base] or None"
    assert ports.say(Literal["a", "b"]) == "'a' or 'b'"
