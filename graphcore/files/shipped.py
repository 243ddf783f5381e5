"""The workflows that come with the installed packages, by bare name."""

from __future__ import annotations

import importlib
from functools import cache
from importlib.metadata import entry_points
from pathlib import Path

_GROUP, _CHECKOUT = "stepgraph.workflows", "nodes.resources:workflow_folder"


@cache
def folders() -> tuple[Path, ...]:
    """Folders of shipped workflows: from the entry points, or those of a checkout that is not installed."""
    found = [Path(entry.load()()) for entry in entry_points(group=_GROUP)]
    if not found:
        module, _, function = _CHECKOUT.partition(":")
        try:
            found = [Path(getattr(importlib.import_module(module), function)())]
        except ImportError:
            return ()
    return tuple(folder.resolve() for folder in found)


def find(name: str) -> Path | None:
    """The file of a shipped workflow: `txt2img` or `txt2img.json`; None if there is none, or `name` is a path."""
    if not name or "/" in name or "\\" in name or name.startswith("."):
        return None
    file = name if name.endswith(".json") else f"{name}.json"
    return next((folder / file for folder in folders() if (folder / file).is_file()), None)


def names() -> list[str]:
    """The bare names of all shipped workflows."""
    return sorted({file.stem for folder in folders() for file in folder.glob("*.json")})
