"""Where a server keeps what: one folder, with fixed names in it."""

from __future__ import annotations

import os
import sysconfig
from dataclasses import dataclass
from functools import cache
from pathlib import Path

from graphcore.files import shipped


@dataclass(frozen=True, slots=True)
class Folders:
    """The places below the data folder.

    Args:
        data: The folder that `stepgraph serve --data` names.
    """

    data: Path

    @property
    def queue(self) -> Path:
        return self.data / "queue.sqlite"

    @property
    def events(self) -> Path:
        return self.data / "events.sqlite"

    @property
    def files(self) -> Path:
        """Uploads and outputs, by content."""
        return self.data / "files"

    @property
    def workflows(self) -> Path:
        """Plain JSON files, which people edit too."""
        return self.data / "workflows"

    @property
    def models(self) -> Path:
        return self.data / "models"

    @property
    def hub(self) -> Path:
        """The cache of huggingface_hub, for models by their names on a hub."""
        return self.models / "hub"

    @property
    def plugins(self) -> Path:
        return self.data / "plugins"

    @property
    def cache(self) -> Path:
        return self.data / "cache"

    @property
    def roots(self) -> tuple[Path, ...]:
        """What the nodes of a workflow may read."""
        return (self.files, self.models, self.workflows, *shipped.folders())

    def hide(self, text: str) -> str:
        """A text for strangers: paths in it begin below the folders of this machine."""
        for place in _places(self.data):
            text = text.replace(place, "")
        return text

    def make(self) -> None:
        """Make them, for the owner alone."""
        self.data.mkdir(parents=True, exist_ok=True, mode=0o700)
        for folder in (self.files, self.workflows, self.models, self.plugins, self.cache):
            folder.mkdir(exist_ok=True)


@cache
def _places(data: Path) -> tuple[str, ...]:
    """Beginnings of paths that tell where things lie on this machine, the longest first."""
    workflows = [Folders(data).workflows, *shipped.folders()]  # they are named as in requests, without a folder
    packages = [*(folder.parent for folder in shipped.folders()), Path(__file__).parent.parent.parent]
    folders = [data, *workflows, *packages, *map(Path, sysconfig.get_paths().values()), Path.home()]
    named = {str(found) for folder in folders for found in (folder, folder.resolve())}
    return tuple(sorted((f"{name}{os.sep}" for name in named if len(name) > 1), key=len, reverse=True))
