"""Reading handles: the configuration behind one, its identity, and that the model has the part at all."""

from __future__ import annotations

import json
from collections.abc import Iterable, Mapping
from functools import lru_cache
from hashlib import blake2b
from typing import Any

from graphcore import InputError
from nodes.types import ModelHandle


@lru_cache(maxsize=128)
def settings(config: str) -> Mapping[str, Any]:
    """The configuration of a handle, parsed (do not write to it)."""
    parsed: dict[str, Any] = json.loads(config)
    return parsed


def config_of(handle: ModelHandle, port: str, what: str) -> Mapping[str, Any]:
    """The configuration of a part that a node needs.

    Args:
        port: The node's port that it came in by.
        what: The part in words, such as `a text encoder`.

    Raises:
        InputError: the model has no such part.
    """
    config = settings(handle.config)
    if not handle.class_name:
        raise InputError(
            port, expected=what, got=f"a model without one ({config.get('family', 'unknown family')})",
            fix=str(config.get("instead", "use a model that has one")),
        )  # fmt: skip
    return config


def canonical(config: Mapping[str, Any]) -> str:
    """A configuration as text: equal for equal settings."""
    return json.dumps(config, sort_keys=True, separators=(",", ":"))


def identity(handle: ModelHandle) -> str:
    """Names what a handle computes: content of the base and of what changes it."""
    patches = (f"{patch.kind} {patch.digest or patch.source} {patch.settings}" for patch in handle.patches)
    return "|".join((handle.digest or handle.source, *patches))


def text_digest(lines: Iterable[str]) -> str:
    """One digest of many: of the lines that name them."""
    return blake2b("\n".join(lines).encode(), digest_size=32).hexdigest()
