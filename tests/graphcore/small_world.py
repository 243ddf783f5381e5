"""A few node types for the tests of reader, checker and schema; none of them computes anything."""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Annotated, Any, Literal, NamedTuple

from pydantic import Field

from graphcore import InputError, TensorSpec, node, runtime
from graphcore.check import checker
from graphcore.declare.node import declared
from graphcore.declare.registry import Registry
from graphcore.errors import Problem
from graphcore.files import reader


@dataclass(frozen=True, eq=False)
class Picture:
    """A picture: (height, width)."""

    pixels: Any


@dataclass(frozen=True, eq=False)
class Code:
    """What pictures are encoded to."""

    samples: Any


@dataclass(frozen=True, eq=False)
class Coder:
    """Encodes and decodes."""

    width: int


@dataclass(frozen=True, eq=False)
class Times:
    """A sequence of its own kind."""

    values: Any

    def __len__(self) -> int:
        return int(self.values.shape[0])

    def __iter__(self) -> Iterator[float]:
        return iter(self.values)


class Parts(NamedTuple):
    """Several outputs."""

    coder: Coder
    times: Times
    size: int


def infer_open(path: str | None = None, width: int | None = None) -> Parts | None:
    if path == "broken":
        raise ZeroDivisionError("no luck")
    if path == "relative":
        runtime().readable("here.txt").read_text()
    return None if width is None else Parts(Coder(width), Times(TensorSpec((width,))), width)


@node(category="test", infer=infer_open)
def open_coder(path: str, width: Annotated[int, Field(ge=1, le=64)] = 8) -> Parts:
    """A coder from a file."""
    raise NotImplementedError


def infer_encode(coder: Coder | None = None, picture: Picture | None = None) -> Code | None:
    if coder is None or picture is None:
        return None
    if picture.pixels.shape[1] not in (None, coder.width):
        got = f"a picture {picture.pixels.shape[1]} wide"
        raise InputError("picture", expected=f"a picture {coder.width} wide", got=got, fix="resize it")
    return Code(TensorSpec((coder.width,)))


@node(category="test", infer=infer_encode)
def encode(coder: Coder, picture: Picture) -> Code:
    """A picture as code."""
    raise NotImplementedError


@node(category="test")
def decode(coder: Coder, code: Code) -> Picture:
    """Code as a picture."""
    raise NotImplementedError


@node(category="test", infer=lambda path, width=4: Picture(TensorSpec((None, width))))
def load(path: Path, width: int = 4) -> Picture:
    """A picture from a file."""
    raise NotImplementedError


@node(category="test")
def mix(pictures: list[Picture], weights: list[float] = [], mode: Literal["mean", "max"] = "mean") -> Picture:  # noqa: B006
    """Several pictures as one."""
    raise NotImplementedError


@node(category="test", infer=lambda value=None, plus=0.0: None if value is None else value + plus)
def add(value: float, plus: Annotated[float, Field(ge=-100, le=100)] = 0.0) -> float:
    """A sum."""
    raise NotImplementedError


@node(category="test")
def name_of(number: int, prefix: str = "n", code: Code | None = None, loud: bool = False) -> str:
    """A text."""
    raise NotImplementedError


@node(category="test", pure=False)
def save(picture: Picture) -> None:
    """Saves; has no outputs."""
    raise NotImplementedError


@node(category="test")
def depth_encoder(picture: Picture) -> Code:
    """A plugin's node."""
    raise NotImplementedError


def types(*functions: Any) -> list[Any]:
    return [found for function in functions if (found := declared(function)) is not None]


REGISTRY = (
    Registry()
    .with_nodes("stepgraph", types(open_coder, encode, decode, load, mix, add, name_of, save))
    .with_nodes("my_plugin", types(depth_encoder))
)

PARTS: Mapping[str, Any] = {
    "coder": {"type": "open_coder", "inputs": {"path": "x"}},
    "photo": {"type": "load", "inputs": {"path": "p.png", "width": 8}},
    "code": {"type": "encode", "inputs": {"coder": {"from": "coder.coder"}, "picture": {"from": "photo"}}},
}
"""Nodes to begin with: coder, photo and its code."""


def workflow(nodes: Mapping[str, Any], outputs: Any = None, **more: Any) -> dict[str, Any]:
    """A workflow of these nodes; by default its output is the last of them."""
    if outputs is None:
        outputs = {"out": {"from": list(nodes)[-1]}}
    return {"stepgraph": 1, **more, "nodes": dict(nodes), "outputs": outputs}


def problems_of(data: Any, inputs: Mapping[str, Any] | None = None, *, models: bool = False) -> list[Problem]:
    """Everything that reader and checker say about a workflow (a text, or JSON to write as one)."""
    text = data if isinstance(data, str) else json.dumps(data, indent=2)
    found, problems = reader.parse(text)
    return [*problems, *(checker.check(found, REGISTRY, inputs, models=models) if found else [])]


def only(data: Any, inputs: Mapping[str, Any] | None = None, *, models: bool = False) -> Problem:
    """The one problem of a workflow."""
    problems = problems_of(data, inputs, models=models)
    assert len(problems) == 1, "\n".join(problem.describe() for problem in problems) or "no problem was found"
    return problems[0]


def place_of(text: str, needle: str, count: int = 1) -> tuple[int, int]:
    """Line and column of the count-th occurrence of a piece of text."""
    offset = -1
    for _ in range(count):
        offset = text.index(needle, offset + 1)
    return text.count("\n", 0, offset) + 1, offset - text.rfind("\n", 0, offset)
