"""`--events FILE`: one JSON object per line and event, for programs."""

from __future__ import annotations

import json
from pathlib import Path
from types import TracebackType
from typing import Any

from graphcore.cli import writing
from graphcore.events import Event

COLUMNS: dict[str, Any] = {
    "event": "", "node": "", "time": 0.0, "key": "", "seconds": 0.0, "bytes": 0, "cached": "",
}  # fmt: skip
"""What every line has, so that readers need no case for what is missing."""


class EventLog:
    """Writes events as they come. Each line is one write to the file, so that a killed run leaves whole lines.

    A full disk ends the log, not the run; it is said when the log is closed.
    """

    def __init__(self, path: Path) -> None:
        self._path = path
        self._error: OSError | None = None
        with writing.named("--events", path):
            self._file = path.open("wb", buffering=0)

    def __call__(self, event: Event) -> None:
        if self._error is not None:
            return
        line = json.dumps(COLUMNS | event.as_dict(), ensure_ascii=False, allow_nan=False)
        try:
            self._file.write(line.encode("utf-8", "backslashreplace") + b"\n")
        except OSError as error:
            self._error = error

    def __enter__(self) -> EventLog:
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, t: TracebackType | None) -> None:
        self._file.close()
        if self._error is not None and error is None:
            with writing.named("--events", self._path):
                raise self._error
