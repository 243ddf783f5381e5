"""What a run made, as JSON and files by content."""

from __future__ import annotations

import tempfile
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from graphcore.errors import CheckFailed, NodeFailed, OutOfMemory
from graphcore.files import exports
from server.files.store import MEDIA_TYPES, FileStore

CHUNK = 1 << 20


def keep(
    outputs: Mapping[str, Any],
    keys: Mapping[str, str],
    provenance: Mapping[str, Any],
    types: Mapping[str, type],
    files: FileStore,
) -> dict[str, Any]:
    """Each output by name: its key, its type, and its files (`id`, `media_type`, `bytes`).

    Raises:
        StepgraphError: a value that no file can hold.
        OSError: the disk is full.
    """
    result: dict[str, Any] = {}
    for name, value in outputs.items():
        with tempfile.TemporaryDirectory(dir=files.folder, prefix=".") as aside:
            written = exports.export(value, Path(aside) / "value", provenance, types)
            kept = [_keep(path, files) for path in written]
        result[name] = {"key": keys[name], "type": type(value).__name__, "files": kept}
    return result


def _keep(path: Path, files: FileStore) -> dict[str, Any]:
    with path.open("rb") as source:
        stored = files.add(iter(lambda: source.read(CHUNK), b""), path.suffix)
    return {"id": stored.id, "media_type": MEDIA_TYPES[path.suffix], "bytes": stored.bytes}


def describe(error: Exception) -> dict[str, Any]:
    """An error as people and programs read it: `kind`, `message`, and where it happened."""
    if isinstance(error, CheckFailed):
        return {"kind": "check", "message": str(error), "problems": [problem.as_dict() for problem in error.problems]}
    if isinstance(error, NodeFailed):
        kind = "memory" if isinstance(error.error, OutOfMemory) else "node"
        return {"kind": kind, "message": str(error), "node": error.path, "type": error.node_type}
    if isinstance(error, OutOfMemory):
        return {"kind": "memory", "message": str(error)}
    return {"kind": "other", "message": f"{type(error).__name__}: {error}"}
