"""Workflows that were read before: the same texts are parsed once, and the engine checks and compiles them once."""

from __future__ import annotations

import threading
from collections import OrderedDict
from collections.abc import Mapping

from graphcore import Workflow

MOST_TEXTS = 64
"""Workflows that are remembered, each with all files that it uses."""

MOST_LENGTH = 1 << 20
"""Characters of all texts of a workflow that is remembered; larger ones are rare, and parsed each time."""


class Parsed:
    """Responsibilities: give the workflow that texts describe, the very same one for the same texts."""

    def __init__(self) -> None:
        self._known: OrderedDict[tuple[str, frozenset[tuple[str, str]]], Workflow] = OrderedDict()
        self._lock = threading.Lock()

    def get(self, name: str, files: Mapping[str, str]) -> Workflow:
        """The workflow of the file `name` among `files`, which holds the texts of those that it uses, too.

        Raises:
            CheckFailed: with all mistakes of form.
        """
        texts = (name, frozenset(files.items()))
        with self._lock:
            if (known := self._known.get(texts)) is not None:
                self._known.move_to_end(texts)
                return known
        workflow = Workflow.parse(files[name], name, files=files)
        if sum(map(len, files.values())) <= MOST_LENGTH:
            with self._lock:
                self._known[texts] = workflow
                if len(self._known) > MOST_TEXTS:
                    self._known.popitem(last=False)
        return workflow
