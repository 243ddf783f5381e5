"""Everything that can go wrong, as data that a person (or a program) can act on.

One base class, few others. A `Problem` is one finding about a workflow file; exceptions carry them.
"""

from __future__ import annotations

import difflib
import traceback
from collections.abc import Iterable, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any


class StepgraphError(Exception):
    """Base of all errors that Stepgraph raises on purpose; `str()` is fit to be shown to people."""


class DeclarationError(StepgraphError):
    """A function that cannot be a node: the message names function and parameter."""


class PluginError(StepgraphError):
    """A plugin that cannot be loaded: the message names its file and what went wrong."""


class InputError(StepgraphError):
    """A node (or its `infer` hook) refuses one of its inputs.

    Raise it inside a node: the engine adds the node's path, and the checker turns it into a `Problem` at the
    line of the port.
    """

    def __init__(self, port: str, *, expected: str, got: str, fix: str = "") -> None:
        self.port, self.expected, self.got, self.fix = port, expected, got, fix
        super().__init__(f"`{port}` wants {expected}, got {got}" + (f"; {fix}" if fix else ""))


class NodeFailed(StepgraphError):
    """A node raised while it ran. `__cause__` is the original exception with its traceback."""

    def __init__(self, path: str, node_type: str, error: BaseException) -> None:
        self.path, self.node_type, self.error = path, node_type, error
        super().__init__(f"node `{path}` ({node_type}) failed: {type(error).__name__}: {error}")


class OutOfMemory(StepgraphError):
    """The device is full even after cached values and idle weights were freed."""


class TooManyIterations(StepgraphError):
    """Loops make more iterations than are looked at without running them."""


class Cancelled(StepgraphError):
    """The run was cancelled; all finished steps are in the cache."""


@dataclass(frozen=True, slots=True)
class Problem:
    """One finding of the checker.

    `line` and `column` count from 1 (0: the file as a whole); `node` is a path such as `denoise.step`.
    """

    code: str
    message: str
    file: str = ""
    line: int = 0
    column: int = 0
    node: str = ""
    port: str = ""
    expected: str = ""
    got: str = ""
    fix: str = ""

    def describe(self) -> str:
        """One line for people: place, node and port, message, fix."""
        place = ":".join(str(part) for part in (self.file, self.line, self.column) if part)
        where = f"`{self.node}.{self.port}`" if self.node and self.port else f"`{self.node}`" if self.node else ""
        text = ": ".join(part for part in (place, where, self.message) if part)
        return f"{text} ({self.fix})" if self.fix else text

    def as_dict(self) -> dict[str, Any]:
        return asdict(self)


class CheckFailed(StepgraphError):
    """A workflow has errors; `problems` lists all of them."""

    def __init__(self, problems: Sequence[Problem]) -> None:
        self.problems = tuple(problems)
        super().__init__("\n".join(problem.describe() for problem in self.problems))


def say_foreign(error: BaseException) -> str:
    """What foreign code (a node, a hook) raised, in one line, with the line of code that raised it."""
    frames = traceback.extract_tb(error.__traceback__)
    place = f" ({Path(frames[-1].filename).name}, line {frames[-1].lineno})" if frames else ""
    return f"{type(error).__name__}: {error}{place}"


def did_you_mean(name: str, known: Iterable[str]) -> str:
    """`did you mean `x`?` for the nearest known names, else an empty string."""
    near = difflib.get_close_matches(name, list(known), n=2, cutoff=0.6)
    return f"did you mean {' or '.join(f'`{candidate}`' for candidate in near)}?" if near else ""
