"""Declaring nodes: the signature is the schema; refusals name function and parameter."""

from __future__ import annotations

from enum import Enum
from pathlib import Path
from typing import Annotated, Any, Literal, NamedTuple

import pytest
from pydantic import Field

from graphcore import node
from graphcore.declare.node import NodeType, Port, declared
from graphcore.errors import DeclarationError
from graphcore.files.workflow import MISSING

Weight = Annotated[float, Field(ge=0, le=1)]


class Kind(Enum):
    SOFT = "soft"
    HARD = "hard"


class Both(NamedTuple):
    low: float
    high: float


def type_of(function: Any) -> NodeType:
    found = declared(function)
    assert found is not None
    return found


def test_inputs_outputs_and_help_are_read_from_the_function() -> None:
    @node(category="mixing")
    def mix(a: list[float], weight: Weight = 0.5, kind: Kind = Kind.SOFT) -> Both:
        """Mixes."""
        return Both(min(a) * weight, max(a))

    found = type_of(mix)
    assert (found.name, found.category, found.doc) == ("mix", "mixing", "Mixes.")
    assert [(p.name, p.required, p.default) for p in found.inputs.values()] == [
        ("a", True, MISSING),
        ("weight", False, 0.5),
        ("kind", False, Kind.SOFT),
    ]
    assert list(found.outputs) == ["low", "high"]
    assert not found.single
    assert mix([1.0, 2.0]) == (0.5, 2.0)  # still a plain function
    assert found.split(mix([1.0, 2.0])) == (0.5, 2.0)


def test_one_output_and_none() -> None:
    @node(category="x")
    def one() -> int:
        """One."""
        return 1

    @node(category="x")
    def none() -> None:
        """Nothing."""

    assert (list(type_of(one).outputs), type_of(one).single) == (["output"], True)
    assert list(type_of(none).outputs) == []


def untyped(a) -> int:  # type: ignore[no-untyped-def]
    return int(a)


def no_return(a: int):  # type: ignore[no-untyped-def]
    return a


def wrong_default(a: int = "x") -> int:  # type: ignore[assignment]
    return a


def out_of_bounds(weight: Weight = 2.0) -> float:
    return weight


def star(*values: int) -> int:
    return sum(values)


def reserved(carry: int) -> int:
    return carry


def none_default(a: int = None) -> int:  # type: ignore[assignment]  # noqa: RUF013
    return a


def unknown_type(a: Nowhere) -> int:  # type: ignore[name-defined]  # noqa: F821
    return int(a)


@pytest.mark.parametrize(
    ("function", "words"),
    [
        (untyped, "`untyped`, parameter `a` has no type"),
        (no_return, "`no_return` has no return type"),
        (wrong_default, "`wrong_default`, parameter `a`: the default 'x' is not of its type"),
        (out_of_bounds, "`out_of_bounds`, parameter `weight`: the default 2.0 is not of its type"),
        (star, "`star`, parameter `values`: ports have names"),
        (reserved, "`reserved`, parameter `carry`: this name has a meaning"),
        (none_default, r"`none_default`, parameter `a`: the default is None"),
        (unknown_type, "`unknown_type`.*'Nowhere' is not defined"),
    ],
)
def test_a_refusal_names_function_and_parameter(function: Any, words: str) -> None:
    with pytest.raises(DeclarationError, match=words):
        node(category="x")(function)


def test_pieces_may_ask_only_for_parameters() -> None:
    with pytest.raises(DeclarationError, match="its pieces asks for `from_here`, which is no parameter"):

        @node(category="x", pieces=lambda from_here: (("values", from_here),))
        def cut(values: list[int], start: int) -> list[int]:
            """Cuts."""
            return values[start:]


def test_a_fingerprint_may_ask_only_for_parameters() -> None:
    with pytest.raises(DeclarationError, match=r"`read`.*asks for `name`, which is no parameter"):

        @node(category="x", fingerprint=lambda name: "")
        def read(path: Path) -> str:
            """Reads."""
            return str(path)


@pytest.mark.parametrize(
    ("annotation", "value", "expected"),
    [
        (int, 20, 20),
        (float, 7, 7.0),
        (str, "a", "a"),
        (bool, True, True),
        (Weight, 1, 1.0),
        (Kind, "hard", Kind.HARD),
        (Path, "a/b", Path("a/b")),
        (Literal["a", "b"], "b", "b"),
        (list[int], [1, 2], [1, 2]),
        (tuple[str, ...], ["a"], ("a",)),
        (int | None, None, None),
    ],
)
def test_literals_become_values_of_the_type(annotation: Any, value: Any, expected: Any) -> None:
    found = Port("p", annotation).validate(value)
    assert found == expected
    assert type(found) is type(expected)


@pytest.mark.parametrize(
    ("annotation", "value"),
    [
        (int, "20"), (int, 1.5), (int, True), (bool, 1), (float, "7"), (str, 1), (Weight, 1.5), (Kind, "medium"),
        (Literal["a", "b"], "c"), (list[int], ["1"]), (int, None), (int, [1]), (float, float("nan")),
    ],
)  # fmt: skip
def test_wrong_literals_are_refused(annotation: Any, value: Any) -> None:
    with pytest.raises(ValueError, match=r"\w"):
        Port("p", annotation).validate(value)
