"""Where each value of a JSON text stands. Needed only once something is wrong, so it may be slower than reading."""

from __future__ import annotations

import json
import re
from array import array
from bisect import bisect_right
from dataclasses import dataclass, field
from functools import cached_property
from itertools import accumulate
from typing import TypeAlias

JsonPath: TypeAlias = tuple[str | int, ...]
"""Keys and indices from the top of a JSON document to a value in it."""

# A string may lack its end (the text may be broken); possessive, so that no input makes it slow.
_STRING = r'"[^"\\]*+(?:\\.[^"\\]*+)*+"?'
_TOKEN = re.compile(rf"{_STRING}|[\[\]{{}},:]|[^\s\[\]{{}},:\"]+", re.DOTALL)
_BRACKET = re.compile(rf"{_STRING}|[\[\]{{}}]", re.DOTALL)


_Tree: TypeAlias = "dict[str, _Entry] | list[_Entry]"
_Entry: TypeAlias = "tuple[int, int, _Tree | None]"
"""A value: offset of its key (its own where it has none), its own offset, the values in it."""


@dataclass(slots=True)
class _Findings:
    """What a scan met on its way, as offsets."""

    repeated: list[tuple[int, str]] = field(default_factory=list)
    not_finite: list[tuple[int, str]] = field(default_factory=list)
    strings: list[tuple[int, str]] = field(default_factory=list)


class Places:
    """Finds lines and columns in the text of a valid JSON document (NaN and Infinity are tolerated)."""

    def __init__(self, text: str) -> None:
        self._text = text

    @cached_property
    def _lines(self) -> list[int]:
        return [0, *(match.end() for match in re.finditer("\n", self._text))]

    def at(self, offset: int) -> tuple[int, int]:
        """Line and column of an offset, both from 1."""
        line = bisect_right(self._lines, offset)
        return line, offset - self._lines[line - 1] + 1

    def position(self, path: JsonPath, *, key: bool = False) -> tuple[int, int]:
        """Line and column of a value, or of its key; for a path that the text lacks, of the nearest value above."""
        place = self._scan[0]
        for step in path:
            found: _Entry | None = None
            if isinstance(place[2], dict) and isinstance(step, str):
                found = place[2].get(step)
            elif isinstance(place[2], list) and isinstance(step, int) and 0 <= step < len(place[2]):
                found = place[2][step]
            if found is None:
                return self.at(place[1])
            place = found
        return self.at(place[0] if key else place[1])

    @property
    def repeated(self) -> list[tuple[int, str]]:
        """Offsets and names of keys that stand twice in one object."""
        return self._scan[1].repeated

    @property
    def not_finite(self) -> list[tuple[int, str]]:
        """Offsets and texts of NaN and Infinity."""
        return self._scan[1].not_finite

    @property
    def half_characters(self) -> list[tuple[int, str]]:
        """Offsets and texts of strings with half of a surrogate pair, which is no character."""
        return [(at, token) for at, token in self._scan[1].strings if _is_half(token)]

    @cached_property
    def _scan(self) -> tuple[_Entry, _Findings]:
        return _scan(self._text)


def too_deep(text: str, limit: int) -> int | None:
    """Offset of the bracket that nests deeper than `limit`; None if none does. The text need not be valid."""
    if _depth(text) <= limit:
        return None
    depth = 0
    for match in _BRACKET.finditer(text):
        if match[0] in "[{":
            depth += 1
            if depth > limit:
                return match.start()
        elif match[0] in "]}":
            depth -= 1
    return None


_ALL_BUT_BRACKETS = bytes(set(range(256)) - set(b'[]{}"'))
_STEPS = bytes.maketrans(b"[{]}", bytes([1, 1, 255, 255]))


def _depth(text: str) -> int:
    """The deepest nesting of brackets outside strings, at the speed of C: every file is asked for it."""
    if "\\" in text:
        text = re.sub(r"\\.", "", text, flags=re.DOTALL)
    brackets = text.encode("utf-8", "surrogatepass").translate(None, _ALL_BUT_BRACKETS).replace(b'""', b"")
    if b'"' in brackets:
        brackets = re.sub(rb'"[^"]*"?', b"", brackets)
    return max(accumulate(array("b", brackets.translate(_STEPS))), default=0)


def _is_half(token: str) -> bool:
    return any("\ud800" <= character <= "\udfff" for character in _unquote(token))


def _unquote(token: str) -> str:
    return str(json.loads(token)) if "\\" in token else token[1:-1]


def _scan(text: str) -> tuple[_Entry, _Findings]:
    """The tree of places of a valid text, without recursion; tuples of numbers, which cost the least."""
    found = _Findings()
    top: list[_Entry] = []
    parent: _Tree = top
    stack: list[_Tree] = []
    key, key_at = "", -1
    for match in _TOKEN.finditer(text):
        token = match[0]
        if token in ",:":
            continue
        if token in "]}":
            parent = stack.pop()
            continue
        at = match.start()
        inside: _Tree | None = {} if token == "{" else [] if token == "[" else None
        if isinstance(parent, list):
            parent.append((at, at, inside))
        elif key_at < 0:
            key, key_at = _unquote(token), at
            _note(token, at, found)
            continue
        else:
            if key in parent:
                found.repeated.append((key_at, key))
            parent[key] = (key_at, at, inside)
            key_at = -1
        if inside is not None:
            stack.append(parent)
            parent = inside
        else:
            _note(token, at, found)
    return (top or [(0, 0, None)])[0], found


def _note(token: str, at: int, found: _Findings) -> None:
    if token[0] == '"':
        if "\\u" in token or not token.isascii():
            found.strings.append((at, token))
    elif token[-1] in "Ny":
        found.not_finite.append((at, token))
