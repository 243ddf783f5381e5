"""One room of names for a request's workflows: texts that came with it, files of the folder, shipped ones."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from pathlib import Path


class Drawer(Mapping[str, str]):
    """Texts by file name, as the reader of workflows looks for sub-workflows: what was given covers what is stored.

    A name that is not in it leads the reader on to the shipped workflows, as one of the folder would cover them too.

    Args:
        folder: Where workflows are stored; no name leads out of it.
        given: Texts that stand in for files of their names.
        hidden: A name that means none of these files: that of the text which is read.
    """

    def __init__(self, folder: Path, given: Mapping[str, str], hidden: str = "") -> None:
        self._folder, self._given, self._hidden = folder, given, hidden

    def __getitem__(self, name: str) -> str:
        file = f"{name.removesuffix('.json')}.json"
        if file == self._hidden:
            raise KeyError(name)
        if file in self._given:
            return self._given[file]
        if (path := self._stored(file)) is None:
            raise KeyError(name)
        return path.read_bytes().decode("utf-8", "replace")

    def _stored(self, name: str) -> Path | None:
        if name.startswith("/") or ".." in name.split("/") or "\0" in name:
            return None
        path, place = self._folder / name, self._folder.resolve() / name
        return path if path.is_file() and path.resolve() == place else None  # a link leads outside

    def __iter__(self) -> Iterator[str]:
        stored = (path.name for path in self._folder.glob("*.json") if self._stored(path.name) is not None)
        return iter(sorted({*self._given, *stored} - {self._hidden}))

    def __len__(self) -> int:
        return sum(1 for _ in self)
