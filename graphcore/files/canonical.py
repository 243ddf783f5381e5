"""The canonical text of a workflow file: one order of keys and one layout, so that a small change is a small diff."""

from __future__ import annotations

import json
from collections.abc import Callable, Mapping
from typing import Any

WIDTH = 120
"""Columns of a line."""

FILE = ("$schema", "stepgraph", "title", "description", "inputs", "nodes", "outputs", "layout")
INPUT = ("type", "default", "description", "minimum", "maximum", "enum", "items")
NODE = (
    "type", "title", "note", "mute", "bypass", "path", "select", "cases", "default", "inputs", "each", "times", "mode",
    "carry", "body",
)  # fmt: skip
BODY = ("nodes", "carry", "collect", "outputs", "layout")
"""Keys that have a meaning, in their order; names (of nodes, inputs, ports, outputs) keep that of their author."""


def text(document: Mapping[str, Any]) -> str:
    """A workflow document as text: keys in canonical order, what is short on one line, a newline at the end.

    Unknown keys are kept, after the known ones; writing the document that was read from the text gives the same text.
    """
    return _lay_out(_document(document), 0, 0, 2) + "\n"


def _document(document: Any) -> Any:
    found = _ordered(document, FILE)
    if isinstance(found, dict):
        _each(found, "inputs", lambda described: _ordered(described, INPUT))
        _each(found, "nodes", _node)
    return found


def _node(node: Any) -> Any:
    found = _ordered(node, NODE)
    if isinstance(found, dict) and isinstance(found.get("body"), Mapping):
        found["body"] = _ordered(found["body"], BODY)
        _each(found["body"], "nodes", _node)
    return found


def _each(document: dict[str, Any], key: str, order: Callable[[Any], Any]) -> None:
    """Put the entries of one part of a document in order."""
    if isinstance(part := document.get(key), Mapping):
        document[key] = {name: order(entry) for name, entry in part.items()}


def _ordered(entries: Any, keys: tuple[str, ...]) -> Any:
    """An object by the order of its keys, unknown ones last; what is no object, as it is."""
    if not isinstance(entries, Mapping):
        return entries
    return {key: entries[key] for key in (*(k for k in keys if k in entries), *(k for k in entries if k not in keys))}


def _lay_out(value: Any, indent: int, column: int, open_levels: int = 0) -> str:
    """JSON on one line if it fits from its column on, else one entry a line.

    Args:
        open_levels: Levels of objects that have one entry a line however short they are: the file and its parts.
    """
    line = json.dumps(value, ensure_ascii=False)
    stays_open = open_levels > 0 and isinstance(value, Mapping)
    if not isinstance(value, (Mapping, list)) or not value or (column + len(line) < WIDTH and not stays_open):
        return line
    inner = " " * (indent + 2)
    if isinstance(value, Mapping):
        starts = [f"{inner}{json.dumps(key, ensure_ascii=False)}: " for key in value]
        items, opening, closing = list(value.values()), "{", "}"
    else:
        starts, items, opening, closing = [inner] * len(value), value, "[", "]"
    lines = [
        start + _lay_out(item, indent + 2, len(start), open_levels - 1)
        for start, item in zip(starts, items, strict=True)
    ]
    return f"{opening}\n" + ",\n".join(lines) + f"\n{' ' * indent}{closing}"
