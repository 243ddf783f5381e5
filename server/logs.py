"""Log lines for people, or as JSON. They hold ids and names, no prompts and no secrets.

Messages of exceptions quote what somebody wrote, so that the log shows where an error came from and what it is called;
the message stands with the job, which its owner can read.
"""

from __future__ import annotations

import contextvars
import json
import logging
import sqlite3
import sys
import time
import traceback

REQUEST: contextvars.ContextVar[str] = contextvars.ContextVar("request", default="")
"""Id of the request that is answered here."""

_JSON = "--log-json"
_settings = {"json": False}
_spoken_for = {"request": ""}

_OWN = frozenset(vars(logging.makeLogRecord({}))) | {"message", "asctime"}
_HARMLESS = (OSError, sqlite3.Error, MemoryError)
"""Errors of the machine: their messages quote nobody."""


class JsonFormatter(logging.Formatter):
    """One JSON object a line: time, level, logger, message, and what was given as `extra`."""

    def format(self, record: logging.LogRecord) -> str:
        line = {
            "time": time.strftime("%Y-%m-%dT%H:%M:%S", time.gmtime(record.created)) + f".{int(record.msecs):03d}Z",
            "level": record.levelname.lower(),
            "logger": record.name,
            "message": record.getMessage(),
            **{name: value for name, value in vars(record).items() if name not in _OWN and value != ""},
        }
        if record.exc_info and record.exc_info[1] is not None:
            line["traceback"] = came_from(record.exc_info[1])
        return json.dumps(line, default=str)


class PlainFormatter(logging.Formatter):
    """A line for people; the request's id stands before the message."""

    def __init__(self) -> None:
        super().__init__("%(asctime)s %(levelname)s %(name)s: %(message)s")

    def formatMessage(self, record: logging.LogRecord) -> str:  # noqa: N802 - the name is that of the standard library
        request = getattr(record, "request", "")
        return super().formatMessage(record) + (f" [request {request}]" if request else "")

    def formatException(self, ei: object) -> str:  # noqa: N802
        error = ei[1] if isinstance(ei, tuple) else None
        return came_from(error) if isinstance(error, BaseException) else ""


def came_from(error: BaseException) -> str:
    """Kinds and places of an error and its causes, without their messages."""
    parts: list[str] = []
    seen: BaseException | None = error
    while seen is not None and len(parts) < 20:
        said = f": {seen}" if isinstance(seen, _HARMLESS) else ""
        parts.append("".join(traceback.format_tb(seen.__traceback__)) + type(seen).__name__ + said)
        seen = seen.__cause__ or (None if seen.__suppress_context__ else seen.__context__)
    return "\nfollowed by\n".join(reversed(parts))


def configure(*, as_json: bool, verbose: bool = False) -> None:
    """Send log lines to standard error; requests are logged where `verbose`."""
    _settings["json"] = as_json
    handler = logging.StreamHandler(sys.stderr)
    handler.setFormatter(JsonFormatter() if as_json else PlainFormatter())
    handler.addFilter(_note_request)
    root = logging.getLogger()
    root.handlers[:] = [handler]
    root.setLevel(logging.INFO)
    logging.getLogger("aiohttp.access").setLevel(logging.INFO if verbose else logging.WARNING)


def _note_request(record: logging.LogRecord) -> bool:
    if not hasattr(record, "request"):
        record.request = REQUEST.get() or _spoken_for["request"]
    return True


def speak_for(request: str) -> None:
    """Until the next call, lines of this process that no request writes belong to this one (in workers: one job)."""
    _spoken_for["request"] = request


def arguments() -> list[str]:
    """What a process that is started from this one is told, so that its log looks the same."""
    return [_JSON] if _settings["json"] else []
