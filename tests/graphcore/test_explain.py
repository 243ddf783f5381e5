"""What `explain` says: cached, or will run and why, without running anything."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest

from graphcore import Engine, Workflow, content, digests, executor, node
from graphcore.node import declared
from graphcore.registry import Registry
from tests.graphcore import arithmetic
from tests.graphcore.arithmetic import CALLS


def _content(path: str) -> str:
    return content.digest(path)


@node(category="numbers", fingerprint=_content)
def read(path: str) -> str:
    """The text of a file."""
    CALLS["read"] += 1
    return Path(path).read_text()


@node(category="numbers")
def length(text: str) -> int:
    """Letters of a text."""
    CALLS["length"] += 1
    return len(text)


REGISTRY = Registry().with_nodes(
    "stepgraph", [*arithmetic.REGISTRY, *(d for f in (read, length) if (d := declared(f)))]
) if False else None
