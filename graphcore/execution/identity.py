"""What a call is known by besides its inputs: its node's name and code, the device, the content of files."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import Any, TypeAlias

from graphcore.declare.node import NodeType
from graphcore.errors import StepgraphError, say_foreign
from graphcore.values import keys

Header: TypeAlias = Callable[[NodeType], bytes]
"""Gives what a node type adds to the keys of its calls."""

Identify: TypeAlias = Callable[[NodeType, dict[str, Any]], tuple[bytes, ...]]
"""Gives what the content that a call reads adds to its key, or to the key of each output."""


def header(type_: NodeType, code: str, device: str, dtype: str) -> bytes:
    """What a node type adds to the keys of its calls.

    Args:
        code: The digest of its code.
        device: The kind of device.
    """
    return keys.digest(keys.encode([type_.name, code, device, dtype]))


def identify(type_: NodeType, values: Mapping[str, Any]) -> tuple[bytes, ...]:
    """What the content that a call reads adds to its key."""
    return content_keys(fingerprint(type_, values))


def fingerprint(type_: NodeType, values: Mapping[str, Any]) -> list[str]:
    """What a `fingerprint` hook says: one text, or one for each output."""
    assert type_.fingerprint is not None
    found = ask_hook("fingerprint", type_, type_.fingerprint, values)
    if not isinstance(found, tuple):
        return [found or ""]
    if len(found) != type_.width:
        raise StepgraphError(f"the fingerprint of {type_.name} gives {len(found)} texts for {type_.width} outputs")
    return list(found)


def ask_hook(name: str, type_: NodeType, hook: Callable[..., Any], values: Mapping[str, Any]) -> Any:
    """What a hook says of a call.

    Raises:
        StepgraphError: whatever the hook raised, with the node whose hook it is.
    """
    try:
        return hook(**values)
    except StepgraphError:
        raise
    except Exception as error:  # foreign code: a hook may raise anything
        raise StepgraphError(f"the `{name}` hook of {type_.name} failed: {say_foreign(error)}") from error


def content_keys(found: Sequence[str]) -> tuple[bytes, ...]:
    """What the texts of `fingerprint` add to keys."""
    return tuple(keys.literal(["fingerprint", text]) for text in found)


def call_name(type_: NodeType, values: Mapping[str, Any]) -> str:
    """Names one call of a `fingerprint` hook."""
    return f"{type_.name}({', '.join(f'{name}={value!r}' for name, value in values.items())})"
