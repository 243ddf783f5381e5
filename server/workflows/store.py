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
from types import MappingProxyType
from typing import Any

from blake3 import blake3

from graphcore import StepgraphError, Workflow
from graphcore.errors import CheckFailed, Problem
from graphcore.files import provenance, reader, shipped
from server.workflows.given import Drawer

Found = tuple[Workflow, dict[str, str]]
"""A workflow, and the texts of all files that it uses."""

NOTHING: Mapping[str, str] = MappingProxyType({})

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
        own = {path.stem: False for path in self.folder.glob("*.json") if _NAME.fullmatch(path.stem) and _plain(path)}
        return dict(sorted({**dict.fromkeys(shipped.names(), True), **own}.items()))

    def read(self, name: str) -> Stored:
        """The file of a name.

        Raises:
            UnknownWorkflow: there is none, or what lies there is no file.
        """
        if _NAME.fullmatch(name):
            own = self.folder / f"{name}.json"
            with suppress(FileNotFoundError):
                if _plain(own):
                    return _stored(name, own)
            if (path := shipped.find(name)) is not None:
                return _stored(name, path, shipped=True)
        raise UnknownWorkflow(f"there is no workflow {name[:100]!r}")

    def version(self, name: str) -> str | None:
        """The version of a name now; None where there is none."""
        try:
            return self.read(name).version
        except UnknownWorkflow:
            return None

    def write(self, name: str, text: str, expected: str | None) -> Stored:
        """Write a file, whole or not at all.

        Args:
            expected: The version that it must have now, also of a shipped one that the new file is to cover; `*` for
                any; None: there must be no file yet.

        Raises:
            Changed: it has another version.
            UnknownWorkflow: the name is none that a workflow can have.
        """
        if not _NAME.fullmatch(name):
            raise UnknownWorkflow(f"{name[:100]!r} is no name of a workflow: letters, digits, `_` and `-`")
        path = self.folder / f"{name}.json"
        with self._lock:
            self._must_be(name, expected)
            aside = self.folder / f".{secrets.token_hex(8)}.part"
            try:
                with aside.open("xb") as file:
                    file.write(text.encode())
                    file.flush()
                    os.fsync(file.fileno())
                os.replace(aside, path)
            finally:
                aside.unlink(missing_ok=True)
        return Stored(name, text, _version(text.encode()), path)

    def remove(self, name: str, expected: str | None) -> None:
        """Remove a file; a shipped workflow of that name shows again.

        Raises:
            UnknownWorkflow: there is none.
            ReadOnly: it is a shipped one.
            Changed: it has another version than `expected` (None: any).
        """
        with self._lock:
            stored = self.read(name)
            if stored.shipped:
                raise ReadOnly(f"`{name}` comes with Stepgraph and cannot be removed")
            if expected not in (None, "*", stored.version):
                raise Changed(f"`{name}` is another version now")
            stored.path.unlink(missing_ok=True)

    def _must_be(self, name: str, expected: str | None) -> None:
        path = self.folder / f"{name}.json"
        if os.path.lexists(path) and not _plain(path):
            raise Changed(f"what lies under `{name}` is no plain file")
        if expected is None:
            if path.exists():
                raise Changed(f"`{name}` is there already; send its version with If-Match to replace it")
            return
        if expected == "*" and path.exists():
            return  # whatever it holds
        now = self.version(name)
        if now is None:
            raise Changed(f"there is no version of `{name}`")
        if expected not in ("*", now):
            raise Changed(f"`{name}` is another version now")

    def find(self, wanted: str | Mapping[str, Any], given: Mapping[str, str] = NOTHING) -> Found:
        """A workflow by name, or the one given, and the texts of all files it uses: of this folder, and shipped ones.

        Args:
            given: Texts that stand in for files of their names (`txt2img.json`), stored or not.

        Raises:
            UnknownWorkflow: there is none of this name.
            CheckFailed: with all mistakes of form.
        """
        workflow, problems = self.look(wanted, given)
        if problems or workflow is None:
            raise CheckFailed(problems)
        return workflow, files(workflow)

    def look(
        self, wanted: str | Mapping[str, Any], given: Mapping[str, str] = NOTHING
    ) -> tuple[Workflow | None, list[Problem]]:
        """As `find`: the workflow as far as it can be read (None: not at all), and every mistake of form.

        Raises:
            UnknownWorkflow: there is none of this name.
        """
        text, path = self._text(wanted, given)
        return reader.parse(text, path, Drawer(self.folder, given, hidden=path.name if path.name == POSTED else ""))

    def _text(self, wanted: str | Mapping[str, Any], given: Mapping[str, str]) -> tuple[str, Path]:
        if not isinstance(wanted, str):
            return json.dumps(wanted, indent=2), self.folder / POSTED
        if (text := given.get(f"{wanted}.json")) is not None:
            return text, self.folder / f"{wanted}.json"
        stored = self.read(wanted)
        return stored.text, stored.path


def files(workflow: Workflow) -> dict[str, str]:
    """The texts from which a workflow can be made again anywhere, by name; its own is `NAME.json`."""
    record = provenance.record(workflow, {})
    found: Mapping[str, str] = record["files"]
    return dict(found)


def _plain(path: Path) -> bool:
    """Whether there is a file: a link leads outside."""
    return path.is_file() and not path.is_symlink()


def _stored(name: str, path: Path, *, shipped: bool = False) -> Stored:
    content = path.read_bytes()  # not as text: that would change the ends of lines
    text = content.decode("utf-8", "replace")  # what is no UTF-8 is listed with its mistakes, as other broken files are
    return Stored(name, text, _version(content), path, shipped)


def _version(content: bytes) -> str:
    return blake3(content).hexdigest(16)
