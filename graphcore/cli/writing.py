"""Where a command writes: places that cannot be written are refused before the work, files are replaced whole."""

from __future__ import annotations

import os
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from graphcore.cli.failure import UsageError


@contextmanager
def named(option: str, path: Path) -> Iterator[None]:
    """Within, a file that cannot be written is a mistake on the command line: the option named it."""
    try:
        yield
    except OSError as error:
        missing = isinstance(error, (FileNotFoundError, NotADirectoryError))
        fix = "; name a file in a folder that is there" if missing else ""
        raise UsageError(f"{option} {path}: {error.strerror or error}{fix}") from error


def confirm_folder(option: str, folder: Path) -> None:
    """Refuse a folder that could not be made, or not be written to: a run would only find out at its end."""
    there = folder.absolute()
    while not there.exists() and there != there.parent:
        there = there.parent
    if not there.is_dir():
        raise UsageError(f"{option} {folder}: {there} is a file; name a folder, which is made if it is not there")
    if not os.access(there, os.W_OK | os.X_OK):
        raise UsageError(f"{option} {folder}: you may not write to {there}; name another folder")


def replace(path: Path, document: str) -> None:
    """Write a text file whole: who reads it meanwhile sees the old or the new one."""
    partial = path.with_name(f"{path.name}.{os.getpid()}.partial")
    partial.write_text(document, encoding="utf-8")
    partial.replace(path)
