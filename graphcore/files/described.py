"""Values for the named inputs of a workflow: which a description such as `{"type": "integer", "minimum": 1}` takes."""

from __future__ import annotations

import math
from pathlib import PurePath
from typing import Any, Literal

from graphcore.files.workflow import WorkflowInput

TYPES = ("string", "integer", "number", "boolean", "path", "array", "any")

_ANNOTATIONS = {"string": str, "integer": int, "number": float, "boolean": bool, "path": str, "any": Any}
_WORDS = {
    "string": "text", "integer": "a whole number", "number": "a number", "boolean": "true or false",
    "path": "a path (text)", "array": "a list", "any": "a value",
}  # fmt: skip


def annotation(described: WorkflowInput) -> Any:
    """The Python type of an input, as links from it are checked. A path is text here: it fits text and path ports."""
    if described.enum and all(isinstance(value, (str, bool, int)) for value in described.enum):
        return Literal[described.enum]
    if described.type == "array":
        return list[_ANNOTATIONS.get(described.items, Any)]  # type: ignore[misc]
    return _ANNOTATIONS.get(described.type, Any)


def refusal(described: WorkflowInput, value: Any) -> tuple[str, str] | None:
    """What an input expects and what it got instead; None if it takes the value."""
    if not _is(described.type, value):
        return _WORDS.get(described.type, described.type), show(value)
    if described.type == "array":
        for index, item in enumerate(value):
            if not _is(described.items, item):
                return f"a list of {_WORDS.get(described.items, described.items)}", f"{show(item)} at index {index}"
    if described.enum is not None and not any(_same(value, allowed) for allowed in described.enum):
        return "one of " + ", ".join(show(allowed) for allowed in described.enum), show(value)
    if described.minimum is not None and _is("number", value) and value < described.minimum:
        return f"at least {described.minimum:g}", show(value)
    if described.maximum is not None and _is("number", value) and value > described.maximum:
        return f"at most {described.maximum:g}", show(value)
    return None


def show(value: Any) -> str:
    """A value as it is written in JSON, cut to a readable length."""
    if value is None or isinstance(value, bool):
        text = {None: "null", True: "true", False: "false"}[value]
    elif isinstance(value, str):
        text = '"' + repr(value[:70])[1:-1] + '"'
    elif isinstance(value, int) and abs(value) > 10**60:
        text = "a very large number"
    elif isinstance(value, dict):
        text = "an object"
    else:
        text = repr(value[:20] if isinstance(value, list) else value)
    return text if len(text) <= 72 else text[:70] + "..."


def _is(kind: str, value: Any) -> bool:
    if kind in ("string", "path"):
        return (isinstance(value, str) and _encodes(value)) or (kind == "path" and isinstance(value, PurePath))
    if kind == "boolean":
        return isinstance(value, bool)
    if kind == "integer":
        return isinstance(value, int) and not isinstance(value, bool)
    if kind == "number":
        return isinstance(value, (int, float)) and not isinstance(value, bool) and _finite(value)
    return isinstance(value, (list, tuple)) if kind == "array" else True


def _encodes(text: str) -> bool:
    """Whether a text is one (half of a surrogate pair is none)."""
    try:
        text.encode()
    except UnicodeEncodeError:
        return False
    return True


def _finite(value: float) -> bool:
    try:
        return math.isfinite(value)
    except OverflowError:  # a whole number beyond the range of a float
        return False


def _same(value: Any, allowed: Any) -> bool:
    """Equality that tells 1 from true."""
    return bool(value == allowed) and isinstance(value, bool) == isinstance(allowed, bool)
