"""Text for terminals: colours where they are wanted, figures with units, columns."""

from __future__ import annotations

import os
import shutil
import sys
import textwrap
import unicodedata
from collections.abc import Iterable, Sequence
from typing import TextIO

LEAST_ROOM = 20
"""Columns for the last column of a table, however narrow the terminal is."""

CODES = {"bold": "1", "dim": "2", "red": "31", "green": "32", "yellow": "33", "cyan": "36"}


def colourful(stream: TextIO) -> bool:
    """Whether a stream shows colours: a terminal, unless the person says NO_COLOR (https://no-color.org)."""
    return stream.isatty() and not os.environ.get("NO_COLOR") and os.environ.get("TERM") != "dumb"


def paint(words: str, style: str, stream: TextIO) -> str:
    """`words` in a style such as `bold red`, where the stream shows colours."""
    if not colourful(stream):
        return words
    return f"\x1b[{';'.join(CODES[name] for name in style.split())}m{words}\x1b[0m"


def printable(words: str) -> str:
    """Without control characters: what a file says must not steer the terminal. Line ends stay."""
    return "".join(c if c in "\n\t" or unicodedata.category(c) not in ("Cc", "Cf", "Cs") else "�" for c in words)


def width(words: str) -> int:
    """Columns that a text takes in a terminal."""
    return sum(
        0 if unicodedata.combining(c) else 2 if unicodedata.east_asian_width(c) in "WF" else 1 for c in words
    )  # fmt: skip


def seconds(value: float) -> str:
    """`<1 ms`, `40 ms`, `1.23 s`, `2 min 05 s`."""
    if value >= 60:
        minutes, rest = divmod(round(value), 60)
        return f"{minutes} min {rest:02d} s"
    if value < 0.1:
        return f"{value * 1000:.0f} ms" if value >= 0.0005 else "<1 ms"
    return f"{value:.2f} s" if value < 10 else f"{value:.1f} s"


def size(count: float) -> str:
    """Bytes in binary units: `512 B`, `1.5 MiB`."""
    for unit in ("B", "KiB", "MiB"):
        if count < 1024:
            return f"{count:.0f} {unit}" if unit == "B" else f"{count:.1f} {unit}"
        count /= 1024
    return f"{count:.1f} GiB"


def count(number: int, noun: str, nouns: str = "") -> str:
    """`1 node`, `2 nodes`; `nouns` where the plural is not the noun and an s."""
    return f"{number:,} {noun if number == 1 else nouns or f'{noun}s'}"


def columns(
    rows: Iterable[Sequence[str]], indent: str = "  ", gap: int = 2, styles: Sequence[str] | None = None
) -> str:
    """Rows as aligned columns for stdout, each in its style. On a terminal the last column is folded to its width."""
    cells = [[printable(cell) for cell in row] for row in rows]
    widths: list[int] = []
    for row in cells:
        for place, cell in enumerate(row[:-1]):
            widths[place : place + 1] = [max(width(cell), *widths[place : place + 1], 0)]
    lines = [_line(row, widths, indent, gap) for row in cells]
    if styles is not None:
        lines = [paint(line, style, sys.stdout) for line, style in zip(lines, styles, strict=True)]
    return "\n".join(lines)


def _line(row: Sequence[str], widths: Sequence[int], indent: str, gap: int) -> str:
    padded = [cell + " " * (widths[place] - width(cell) + gap) for place, cell in enumerate(row[:-1])]
    start = indent + "".join(padded)
    room = (shutil.get_terminal_size().columns if sys.stdout.isatty() else 10**6) - width(start)
    folded = textwrap.wrap(row[-1], max(room, LEAST_ROOM), break_long_words=False, break_on_hyphens=False)
    return ("\n" + " " * width(start)).join([start + "".join(folded[:1]), *folded[1:]]).rstrip()


def first_line(words: str) -> str:
    return words.strip().split("\n", 1)[0]
