"""Help texts of node libraries: how `stepgraph run --help` says what can be drawn without knowing who draws."""

from __future__ import annotations

import importlib
from collections.abc import Iterator
from importlib.metadata import entry_points

GROUP, CHECKOUT = "stepgraph.help", "nodes.resources:help_text"
"""The entry point group, and what a source checkout that is not installed offers in it."""


def help_texts() -> Iterator[str]:
    """What each installed library has to say, as plain text."""
    functions = [entry.load() for entry in entry_points(group=GROUP)]
    if not functions:
        module, _, name = CHECKOUT.partition(":")
        try:
            functions = [getattr(importlib.import_module(module), name)]
        except ImportError:  # graphcore alone, without the node library
            return
    for function in functions:
        yield str(function()).rstrip()
