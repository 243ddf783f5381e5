"""Problems as people see them: place, the offending line with a caret, expected, got, fix."""

from __future__ import annotations

import re
from collections.abc import Iterable, Sequence
from itertools import islice
from pathlib import Path
from typing import TextIO

from graphcore.cli import text
from graphcore.errors import Problem

LONGEST_LINE = 100
"""Characters of a source line that are shown."""
LARGEST_FILE = 4 << 20
"""Bytes; the lines of a larger file are not shown."""

TOKEN = re.compile(r'"(?:[^"\\]|\\.)*"|[\w.+-]+|.')


def write(problems: Sequence[Problem], stream: TextIO) -> None:
    """One block per problem, then how many there are."""
    for problem in problems:
        stream.write(block(problem, stream) + "\n\n")
    files = {problem.file for problem in problems if problem.file}
    where = f" in {next(iter(files))}" if len(files) == 1 else ""
    stream.write(text.paint(text.count(len(problems), "problem"), "bold red", stream) + text.printable(where) + "\n")


def block(problem: Problem, stream: TextIO) -> str:
    """A problem in a few lines."""
    place = ":".join(str(part) for part in (problem.file, problem.line, problem.column) if part)
    where = ".".join(part for part in (problem.node, problem.port) if part)
    head = [text.paint(text.printable(place), "bold", stream)] if place else []
    head.append(text.paint(f"error[{problem.code}]", "red", stream))
    message = text.printable(f"`{where}`: {problem.message}" if where else problem.message)
    lines = [": ".join([*head, message])]
    lines += excerpt(problem)
    facts = (("expected", problem.expected), ("got", problem.got), ("fix", problem.fix))
    lines += [f"  {name:8}  {text.printable(value)}" for name, value in facts if value]
    return "\n".join(lines)


def excerpt(problem: Problem) -> list[str]:
    """The offending line and, under it, a caret; nothing where the line cannot be read."""
    line = source_line(problem.file, problem.line)
    if line is None or not problem.column:
        return []
    line = text.printable(line).replace("\t", " ")
    start = max(0, problem.column - 1 - LONGEST_LINE // 2) if len(line) > LONGEST_LINE else 0
    before, shown = line[start : problem.column - 1], line[start : start + LONGEST_LINE]
    token = TOKEN.match(line, min(problem.column - 1, len(line)))
    marked = text.width(token.group()) if token else 1
    room = max(1, min(marked, text.width(shown) - text.width(before)))
    number = str(problem.line)
    return [f"  {number} | {shown}", f"  {' ' * len(number)} | {' ' * text.width(before)}{'^' * room}"]


def source_line(file: str, number: int) -> str | None:
    """Line `number` (from 1) of a file; None if there is none to show."""
    if not file or not number:
        return None
    try:
        if Path(file).stat().st_size > LARGEST_FILE:
            return None
        with Path(file).open(encoding="utf-8-sig", errors="replace", newline="\n") as lines:
            return nth(lines, number)
    except (OSError, ValueError):
        return None


def nth(lines: Iterable[str], number: int) -> str | None:
    found = next(islice(lines, number - 1, None), None)
    return None if found is None else found.rstrip("\r\n")
