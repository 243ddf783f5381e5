"""Workflows as they are on the disk now, read and parsed only when a file changed."""

from __future__ import annotations

import json
import threading
from collections import OrderedDict
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

from graphcore.files import shipped
from server.files import stamp
from server.files.stamp import Stamp
from server.workflows.parsed import MOST_LENGTH, MOST_TEXTS
from server.workflows.store import NOTHING, POSTED, Found, WorkflowStore


class Library:
    """Responsibilities: give what `WorkflowStore.find` gives, and spare the reading where all files are as they were.

    Args:
        store: Where the workflows lie.
    """

    def __init__(self, store: WorkflowStore) -> None:
        self._store = store
        self._known: OrderedDict[str, tuple[Stamp, Found]] = OrderedDict()
        self._lock = threading.Lock()

    def find(self, wanted: str | Mapping[str, Any], given: Mapping[str, str] = NOTHING) -> Found:
        """As `WorkflowStore.find`; of unchanged files the workflow is the very same one, if no texts were given.

        Raises:
            UnknownWorkflow: there is none of this name.
            CheckFailed: with all mistakes of form.
        """
        if given:
            return self._store.find(wanted, given)
        asked = f"{wanted}.json" if isinstance(wanted, str) else json.dumps(wanted)
        with self._lock:
            known = self._known.get(asked)
        if known is not None and stamp.of(known[0]) == known[0]:
            return known[1]
        found = self._store.find(wanted)
        name = asked if isinstance(wanted, str) else POSTED
        before = stamp.of(_places(self._store.folder, found, name))
        again = self._store.find(wanted) if before is not None else found  # what the stamp stands for, for certain
        if before is not None and again[1] == found[1] and sum(map(len, found[1].values())) <= MOST_LENGTH:
            self._remember(asked, before, again)
        return again

    def _remember(self, asked: str, before: Stamp, found: Found) -> None:
        with self._lock:
            self._known[asked] = before, found
            self._known.move_to_end(asked)
            if len(self._known) > MOST_TEXTS:
                self._known.popitem(last=False)


def _places(folder: Path, found: Found, name: str) -> Iterator[Path]:
    """Where the files of a workflow lie, or would come to lie and be read instead."""
    workflow, texts = found
    for one in {name, *texts}:
        yield folder / one
        if workflow.path is not None:
            yield workflow.path.parent / one
        for place in shipped.folders():
            yield place / one
            yield (place / one).with_suffix(".json")
