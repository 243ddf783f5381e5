"""Why a plugin could not be loaded, in one line that its author can act on."""

from __future__ import annotations

import traceback
from pathlib import Path

from graphcore.errors import PluginError, StepgraphError
from graphcore.plugins.imports import PLUGIN_PACKAGE


def reason(name: str, path: Path | None, error: BaseException) -> str:
    """The short form of what a plugin raised.

    Args:
        name: The plugin's name.
        path: Its file or folder, if it has one.
        error: What came out of it: any exception, whatever is wrong with that exception itself.

    Returns:
        `file:line: what went wrong`.
    """
    if isinstance(error, SyntaxError):
        return f"{error.filename or path}:{error.lineno or 0}: {type(error).__name__}: {error.msg}"
    place = _place(path, error)
    said = _said(name, error)
    return f"{place}: {said}" if place else said


def story(path: Path | None, error: BaseException) -> str:
    """The traceback, from the plugin's own first line on: how the engine came there says nothing to its author.

    Empty where the engine refused something on purpose: then `reason` says it all.
    """
    if isinstance(error, StepgraphError):
        return ""
    trace = error.__traceback__
    while path is not None and trace is not None and not Path(trace.tb_frame.f_code.co_filename).is_relative_to(path):
        trace = trace.tb_next
    return "".join(traceback.TracebackException(type(error), error, trace).format())


def _said(name: str, error: BaseException) -> str:
    if isinstance(error, ModuleNotFoundError) and error.name and not error.name.startswith(PLUGIN_PACKAGE):
        missing = error.name.split(".")[0]
        if missing == name:
            return f"a plugin is loaded under a private name; write `from . import ...`, not `import {name}`"
        return f"it needs the package `{missing}`, which is not installed (no module named `{error.name}`)"
    if isinstance(error, SystemExit):
        return f"it called sys.exit({error.code!r}) while it was loaded"
    if isinstance(error, PluginError):
        return str(error)
    return traceback.format_exception_only(error)[-1].strip().removeprefix("graphcore.errors.")


def _place(path: Path | None, error: BaseException) -> str:
    """The last line of the plugin's own that the error went through."""
    if path is None:
        return ""
    frames = [f for f in traceback.extract_tb(error.__traceback__) if Path(f.filename).is_relative_to(path)]
    return f"{frames[-1].filename}:{frames[-1].lineno}" if frames else ""
