"""The workflows of a server: files in a folder, and the shipped ones beside them. The files are the truth.

A version (ETag) is the content's digest, so that nobody overwrites what he has not seen, whoever wrote it.
"""

from __future__ import annotations

import json
import os
import re
import secrets
import threading
from collections.abc import Mapping
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from blake3 import blake3

from graphcore import StepgraphError, Workflow
from graphcore.files import provenance, shipped

NAME = r"[A-Za-z0-9][A-Za-z0-9_\-]{0,99}"
"""Names of workflows: no dots, no slashes, so that a name is never a path."""

POSTED = "posted.json"
"""Name of a workflow that was sent whole."""

_NAME = re.compile(NAME)


class UnknownWorkflow(StepgraphError):
    """There is no workflow of that name."""


class Changed(StepgraphError):
    """The file is not the version that the client saw."""


class ReadOnly(StepgraphError):
    """A shipped workflow cannot be changed; save it under this name and it is yours."""


@dataclass(frozen=True, slots=True)
class Stored:
    """One workflow file as it is now.

    Args:
        version: Digest of the text: the ETag.
        shipped: It comes with Stepgraph.
    """

    name: str
    text: str
    version: str
    path: Path
    shipped: bool = False


class WorkflowStore:
    """Responsibilities: read, write and remove workflow files by name, never lose an update.

    Args:
        folder: Where they lie; files of the same names cover the shipped ones.
    """

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self._lock = threading.Lock()

    def names(self) -> dict[str, bool]:
        """All names, sorted, and whether the workflow is a shipped one."""
        own = {path.stem: False for path in self.folder.glob("*.json") if _NAME.fullmatch(path.stem)}
        return dict(sorted({**dict.fromkeys(shipped.names(), True), **own}.items()))

    def read(self, name: str) -> Stored:
        """The file of a name.

        Raises:
            UnknownWorkflow: there is none.
        """
        if _NAME.fullmatch(name):
            own = self.folder / f"{name}.json"
            with suppress(FileNotFoundError):
                if not own.is_symlink():  # a link leads outside
                    return _stored(name, own.read_text(encoding="utf-8"), own)
            if (path := shipped.find(name)) is not None:
                return _stored(name, path.read_text(encoding="utf-8"), path, shipped=True)
        raise UnknownWorkflow(f"there is no workflow {name[:100]!r}")

    def write(self, name: str, text: str, expected: str | None) -> Stored:
        """Write a file, whole or not at all.

        Args:
            expected: The version that it must have now; `*` for any; None: there must be no file yet.

        Raises:
            Changed: it has another version.
            UnknownWorkflow: the name is none that a workflow can have.
        """
        if not _NAME.fullmatch(name):
            raise UnknownWorkflow(f"{name[:100]!r} is no name of a workflow: letters, digits, `_` and `-`")
        path = self.folder / f"{name}.json"
        with self._lock:
            self._must_be(name, path, expected)
            aside = self.folder / f".{secrets.token_hex(8)}.part"
            try:
                with aside.open("x", encoding="utf-8", newline="") as file:
                    file.write(text)
                    file.flush()
                    os.fsync(file.fileno())
                os.replace(aside, path)
            finally:
                aside.unlink(missing_ok=True)
        return _stored(name, text, path)

    def remove(self, name: str, expected: str | None) -> None:
        """Remove a file; a shipped workflow of that name shows again.

        Raises:
            UnknownWorkflow: there is none.
            ReadOnly: it is a shipped one.
            Changed: it has another version than `expected` (None: any).
        """
        stored = self.read(name)
        if stored.shipped:
            raise ReadOnly(f"`{name}` comes with Stepgraph and cannot be removed")
        with self._lock:
            self._must_be(name, stored.path, expected or "*")
            stored.path.unlink()

    def _must_be(self, name: str, path: Path, expected: str | None) -> None:
        there = path.exists()
        if expected == "*" and there:
            return
        now = _stored(name, path.read_text(encoding="utf-8"), path).version if there else None
        if not there and expected is not None and expected != "*":
            covered = shipped.find(name)  # saving over a shipped one that was opened: the new file covers it
            now = None if covered is None else _stored(name, covered.read_text(encoding="utf-8"), covered).version
        if expected not in (now, "*"):
            raise Changed(f"`{name}` is another version now" if there else f"there is no such version of `{name}`")

    def find(self, wanted: str | Mapping[str, Any]) -> tuple[Workflow, dict[str, str]]:
        """A workflow by name, or the one given, and the texts of all files it uses: of this folder, and shipped ones.

        Raises:
            UnknownWorkflow: there is none of this name.
            CheckFailed: with all mistakes of form.
        """
        if isinstance(wanted, str):
            stored = self.read(wanted)
            workflow = Workflow.parse(stored.text, stored.path)
        else:
            workflow = Workflow.parse(json.dumps(wanted, indent=2), self.folder / POSTED)
        return workflow, files(workflow)


def files(workflow: Workflow) -> dict[str, str]:
    """The texts from which a workflow can be made again anywhere, by name; its own is `NAME.json`."""
    record = provenance.record(workflow, {})
    found: Mapping[str, str] = record["files"]
    return dict(found)


def _stored(name: str, text: str, path: Path, *, shipped: bool = False) -> Stored:
    return Stored(name, text, blake3(text.encode()).hexdigest(16), path, shipped)
