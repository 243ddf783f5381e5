"""Errors as people see them: a user's mistake never shows a traceback, a node's failure shows the node's own code."""

from __future__ import annotations

import errno
import os
import sys
import traceback as tracebacks
from pathlib import Path
from types import TracebackType

from graphcore.cli import problems, text
from graphcore.errors import Cancelled, CheckFailed, NodeFailed, StepgraphError

FAILED, USAGE, INTERRUPTED = 1, 2, 130

_FORBIDDEN = "; use a file or folder that you may read and write"
_FULL = "; free some space, then run it again"

HINTS = {
    errno.EACCES: _FORBIDDEN, errno.EPERM: _FORBIDDEN, errno.EROFS: _FORBIDDEN,
    errno.ENOSPC: _FULL, errno.EDQUOT: _FULL, errno.EFBIG: _FULL,
}  # fmt: skip
"""What helps, by what the system said."""

ENGINE = Path(__file__).resolve().parents[1]
"""The folder of graphcore, whose frames say nothing about a failing node."""


class UsageError(StepgraphError):
    """A command line that cannot be obeyed: exit code 2."""


def report(error: Exception, *, traceback: bool = False) -> int:
    """Print an error to stderr and say the exit code.

    Args:
        traceback: Show all frames, also for mistakes of the user.
    """
    if isinstance(error, BrokenPipeError):  # `stepgraph nodes | head`
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        return FAILED
    if traceback or not isinstance(error, (StepgraphError, OSError)):
        tracebacks.print_exception(error, file=sys.stderr)  # ours is a bug: the frames are what helps
        return FAILED
    if isinstance(error, Cancelled):
        print(error, file=sys.stderr)
        return INTERRUPTED
    if isinstance(error, CheckFailed):
        problems.write(error.problems, sys.stderr)
        return FAILED
    if isinstance(error, NodeFailed):
        sys.stderr.write(own_traceback(error))
    print(f"{text.paint('error:', 'bold red', sys.stderr)} {text.printable(say(error))}", file=sys.stderr)
    return USAGE if isinstance(error, UsageError) else FAILED


def say(error: Exception) -> str:
    """The message of an error; where the system refused a file, also what helps."""
    cause = error.__cause__ if isinstance(error, StepgraphError) else error
    hint = HINTS.get(cause.errno or 0, "") if isinstance(cause, OSError) else ""
    if isinstance(error, OSError) and error.strerror:
        return (f"{error.filename}: {error.strerror}" if error.filename else error.strerror) + hint
    return str(error) + hint


def own_traceback(failed: NodeFailed) -> str:
    """The frames of a node's own code: without the engine above them and the libraries below.

    Empty where the node refused its input on purpose: then the message says it all.
    """
    if isinstance(failed.error, StepgraphError):
        return ""
    frames = tracebacks.extract_tb(_below_engine(failed.error.__traceback__))
    if not frames:
        return ""
    home = Path(frames[0].filename).parent
    own = [frame for frame in frames if Path(frame.filename).is_relative_to(home)]
    lines = tracebacks.format_list(own)
    if hidden := len(frames) - len(own):
        lines.append(f"  ... {hidden} more frames in libraries (--traceback shows them)\n")
    return "".join(["Traceback of the node's own code:\n", *lines])


def _below_engine(trace: TracebackType | None) -> TracebackType | None:
    """The traceback from the first frame on that is not the engine's."""
    while trace and Path(trace.tb_frame.f_code.co_filename).is_relative_to(ENGINE):
        trace = trace.tb_next
    return trace
