"""Looking at values that a run left in the cache: what they are, numbers about their tensors, a small picture."""

from __future__ import annotations

import base64
import dataclasses
import itertools
from collections.abc import Iterator
from typing import Any

from graphcore import Engine
from graphcore.declare.registry import Registry
from server.work import pictures
from server.work.messages import CALL

BINS = 32
"""Bars of a histogram."""

PLAIN = (bool, int, float, str)

MOST_TEXT = 2000
"""Characters of a text that are told."""

MOST_VALUES = 1000
"""Numbers of a row that are told one by one, such as the timesteps of a schedule."""

MOST_TENSORS = 200
MOST_FIELDS = 200


def look(engine: Engine, key: str, *, picture: bool) -> dict[str, Any]:
    """What the outputs of the call with this key are; `{"missing": true}` where the cache has none.

    Args:
        key: Of the call, in 64 digits; two more before it choose one of its outputs.
    """
    which, call = key[:-CALL], key[-CALL:]
    outputs = engine.value(call)
    if outputs is None:
        return {"missing": True}
    if which:
        outputs = outputs[int(which, 16) :][:1]
    return {"outputs": [_describe(value, engine.registry if picture else None) for value in outputs]}


def _describe(value: Any, registry: Registry | None) -> dict[str, Any]:
    found: dict[str, Any] = {"type": type(value).__name__}
    if value is None or isinstance(value, (bool, int, float)):
        found["value"] = value
    elif isinstance(value, str):
        found["value"] = value[:MOST_TEXT]
    if fields := dict(itertools.islice(_fields(value, ""), MOST_FIELDS)):
        found["fields"] = fields
    tensors: dict[str, dict[str, Any]] = {}
    for place, tensor in _tensors(value, ""):
        if len(tensors) < MOST_TENSORS:
            tensors[place or "value"] = _numbers(tensor)
    if tensors:
        found["tensors"] = tensors
    if registry is not None and (png := _picture(value, registry)):
        found["png"] = base64.b64encode(png).decode()
    return found


def _tensors(value: Any, place: str) -> Iterator[tuple[str, Any]]:
    """The tensors in a value, with their places in it."""
    if hasattr(value, "is_floating_point") and hasattr(value, "shape"):
        yield place, value
        return
    inner: Any = ()
    if dataclasses.is_dataclass(value):
        inner = ((one.name, getattr(value, one.name)) for one in dataclasses.fields(value))
    elif isinstance(value, dict):
        inner = value.items()
    elif isinstance(value, (list, tuple)):
        inner = enumerate(value)
    for name, item in inner:
        yield from _tensors(item, f"{place}.{name}" if place else str(name))


def _fields(value: Any, place: str) -> Iterator[tuple[str, Any]]:
    """The plain values in a value of a class of its own, such as its text, with their places in it."""
    for one in dataclasses.fields(value) if dataclasses.is_dataclass(value) else ():
        inner, name = getattr(value, one.name), f"{place}{one.name}"
        if isinstance(inner, str):
            yield name, inner[:MOST_TEXT]
        elif inner is None or isinstance(inner, PLAIN):
            yield name, inner
        elif isinstance(inner, (list, tuple)) and all(isinstance(item, PLAIN) for item in inner[:MOST_FIELDS]):
            yield name, [item[:MOST_TEXT] if isinstance(item, str) else item for item in inner[:MOST_FIELDS]]
        else:
            yield from _fields(inner, f"{name}.")


def _numbers(tensor: Any) -> dict[str, Any]:
    """Shape, dtype, range, mean, standard deviation and a histogram."""
    found: dict[str, Any] = {"shape": list(tensor.shape), "dtype": str(tensor.dtype).removeprefix("torch.")}
    if not tensor.numel() or tensor.is_complex():
        return found
    values = tensor.detach().cpu().double().flatten()
    finite = values[values.isfinite()]
    if tensor.ndim <= 1 and values.numel() == finite.numel() <= MOST_VALUES:
        found["values"] = values.tolist()
    found["not_finite"] = int(values.numel() - finite.numel())
    if finite.numel():
        low, high = float(finite.min()), float(finite.max())
        found |= {"min": low, "max": high, "mean": float(finite.mean()), "std": float(finite.std(correction=0))}
        found["histogram"] = [int(count) for count in finite.histc(BINS, low, high).tolist()]
    return found


def _picture(value: Any, registry: Registry) -> bytes | None:
    """A small PNG by the `preview` hook of a node that makes such a value, or else of the first tensor in it.

    None where nothing can be drawn; of models, nothing would be seen.
    """
    for node in registry:
        kinds = [port.type for port in node.outputs.values()]
        if node.preview is not None and node.single and kinds == [type(value)]:
            return node.preview(value)
    if getattr(type(value), "__stepgraph_weights__", False):
        return None
    drawn = (pictures.draw(tensor) for _, tensor in itertools.islice(_tensors(value, ""), MOST_TENSORS))
    return next((png for png in drawn if png is not None), None)
