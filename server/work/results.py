"""What a run made, as JSON and files by content."""

from __future__ import annotations

import json
import tempfile
from collections import OrderedDict
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

from blake3 import blake3

from graphcore.errors import CheckFailed, NodeFailed, OutOfMemory
from graphcore.files import exports
from server.files.store import MEDIA_TYPES, FileStore, UnknownFile

CHUNK = 1 << 20

MOST_KNOWN = 1000
"""Outputs whose files are remembered."""


class Results:
    """Responsibilities: write outputs to files, once for each output and what is written into it.

    Args:
        files: Where they go.
    """

    def __init__(self, files: FileStore) -> None:
        self._files = files
        self._known: OrderedDict[tuple[str, bytes], list[dict[str, Any]]] = OrderedDict()

    def keep(
        self,
        outputs: Mapping[str, Any],
        keys: Mapping[str, str],
        provenance: Mapping[str, Any],
        types: Mapping[str, type],
        *,
        cached: bool = False,
    ) -> dict[str, Any]:
        """Each output by name: its key, its type, and its files (`id`, `media_type`, `bytes`).

        Args:
            cached: All values came from the cache, so that equal keys are equal values (a node with an effect has
                run: its values may differ under one key).

        Raises:
            StepgraphError: a value that no file can hold.
            OSError: the disk is full.
        """
        record = blake3(json.dumps(provenance, sort_keys=True, default=str).encode()).digest()
        result: dict[str, Any] = {}
        for name, value in outputs.items():
            known = self._recall(keys[name], record) if cached else None
            files = self._write(value, provenance, types) if known is None else known
            self._remember(keys[name], record, files)
            result[name] = {"key": keys[name], "type": type(value).__name__, "files": files}
        return result

    def _write(self, value: Any, provenance: Mapping[str, Any], types: Mapping[str, type]) -> list[dict[str, Any]]:
        with tempfile.TemporaryDirectory(dir=self._files.folder, prefix=".") as aside:
            written = exports.export(value, Path(aside) / "value", provenance, types)
            return [_keep(path, self._files) for path in written]

    def _recall(self, key: str, record: bytes) -> list[dict[str, Any]] | None:
        """The files of an output that was written before, if they are all still there."""
        known = self._known.get((key, record))
        if known is None:
            return None
        try:
            for file in known:
                self._files.touch(file["id"])
        except UnknownFile:
            return None
        return known

    def _remember(self, key: str, record: bytes, files: list[dict[str, Any]]) -> None:
        self._known[key, record] = files
        self._known.move_to_end((key, record))
        if len(self._known) > MOST_KNOWN:
            self._known.popitem(last=False)


def _keep(path: Path, files: FileStore) -> dict[str, Any]:
    with path.open("rb") as source:
        stored = files.add(iter(lambda: source.read(CHUNK), b""), path.suffix)
    return {"id": stored.id, "media_type": MEDIA_TYPES[path.suffix], "bytes": stored.bytes}


def describe(error: Exception, hide: Callable[[str], str] = str) -> dict[str, Any]:
    """An error as people and programs read it: `kind`, `message`, and where it happened.

    Args:
        hide: Takes out of a message what strangers need not know.
    """
    if isinstance(error, CheckFailed):
        problems = [{name: _hidden(value, hide) for name, value in one.as_dict().items()} for one in error.problems]
        return {"kind": "check", "message": hide(str(error)), "problems": problems}
    if isinstance(error, NodeFailed):
        kind = "memory" if isinstance(error.error, OutOfMemory) else "node"
        return {"kind": kind, "message": hide(str(error)), "node": error.path, "type": error.node_type}
    if isinstance(error, OutOfMemory):
        return {"kind": "memory", "message": hide(str(error))}
    return {"kind": "other", "message": hide(f"{type(error).__name__}: {error}")}


def _hidden(value: Any, hide: Callable[[str], str]) -> Any:
    return hide(value) if isinstance(value, str) else value
