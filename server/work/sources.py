"""Whether the source files of plugins may have changed: asked before every job, so it opens no file."""

from __future__ import annotations

import os
from collections.abc import Iterator, Sequence
from pathlib import Path

from graphcore.plugins.loader import PluginState
from server.files import stamp
from server.files.stamp import Stamp


class Sources:
    """Responsibilities: say that nothing changed only where it is certain.

    Args:
        folder: The folder of plugins.
    """

    def __init__(self, folder: Path) -> None:
        self._folder = folder
        self._before: Stamp | None = None

    def changed(self, states: Sequence[PluginState]) -> bool:
        """Whether plugins have to be read again since the last call; those that failed are always tried again."""
        if any(state.error for state in states if state.path is not None):
            return True
        if self._before is not None and stamp.of(self._before) == self._before:
            return False  # a file that came or went would have changed its folder
        self._before = stamp.of(_all(str(self._folder)))
        return True


def _all(folder: str) -> Iterator[str]:
    """A folder and all below it; of links the stamp takes care."""
    yield folder
    with os.scandir(folder) as entries:
        for entry in entries:
            if entry.name == "__pycache__":
                continue
            if entry.is_dir(follow_symlinks=False):
                yield from _all(entry.path)
            else:
                yield entry.path
