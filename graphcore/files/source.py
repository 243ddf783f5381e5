"""A JSON file that a person wrote: its text, its content, and where in it each value stands.

Whatever the file holds, reading it gives problems with places, never an exception: it may be missing, a picture,
50 MB, nested 10,000 deep, not UTF-8, or JSON with comments.
"""

from __future__ import annotations

import json
import re
import stat
from dataclasses import dataclass, field
from functools import cached_property
from pathlib import Path
from typing import Any

from graphcore.errors import Problem, did_you_mean
from graphcore.files.places import JsonPath, Places, too_deep
from graphcore.files.workflow import MISSING

SIZE_LIMIT = 16 * 2**20
"""Bytes; a workflow of 100,000 nodes has about 8 million."""

DEPTH_LIMIT = 100

_SIGNATURES = {
    b"\x89PNG": "a PNG picture", b"\xff\xd8\xff": "a JPEG picture", b"GIF8": "a GIF picture",
    b"RIFF": "a RIFF file (WebP?)",
    b"PK\x03\x04": "a zip archive", b"%PDF": "a PDF", b"\x1f\x8b": "a gzip archive", b"SQLite": "an SQLite database",
}  # fmt: skip
_UTF16 = (b"\xff\xfe", b"\xfe\xff")


@dataclass(frozen=True, eq=False)
class Source:
    """A JSON file as read.

    Args:
        path: The file; None for a text in memory.
        data: The parsed JSON; MISSING where it could not be parsed (then `problems` says why), and in it in place of
            NaN and Infinity, which JSON lacks.
        problems: What is wrong with the file as JSON.
    """

    path: Path | None
    text: str = field(repr=False)
    data: Any = field(default=MISSING, repr=False)
    problems: list[Problem] = field(default_factory=list)

    @property
    def name(self) -> str:
        return str(self.path) if self.path is not None else ""

    @cached_property
    def _places(self) -> Places | None:
        """None for a text that does not parse, or was never there (a workflow made in memory)."""
        if self.data is MISSING and not _parses(self.text):
            return None
        return Places(self.text)

    def position(self, path: JsonPath, *, key: bool = False) -> tuple[int, int]:
        """Line and column (from 1) of the value at a path of keys and indices, or of its key; (0, 0) if unknown."""
        return self._places.position(path, key=key) if self._places else (0, 0)

    def problem(self, code: str, message: str, path: JsonPath = (), *, key: bool = False, **more: str) -> Problem:
        """A problem at the value at `path` (or at its key)."""
        line, column = self.position(path, key=key)
        return Problem(code, message, self.name, line, column, **more)


def load(path: str | Path) -> Source:
    """Read a JSON file. Never raises for what the file is or holds: see `Source.problems`."""
    path = Path(path)
    try:
        data = _bytes(path)
    except _RefusedError as refused:
        return Source(path, "", problems=[Problem("file", refused.message, str(path), fix=refused.fix)])
    return decode(data, path)


def decode(data: bytes, path: Path | None = None) -> Source:
    """As `load`, for bytes at hand."""
    name = str(path) if path is not None else ""
    if len(data) > SIZE_LIMIT:
        return Source(path, "", problems=[_too_large(len(data), name)])
    if kind := next((kind for start, kind in _SIGNATURES.items() if data.startswith(start)), ""):
        return Source(path, "", problems=[Problem("file", f"this is {kind}, not a JSON file", name, fix=_RIGHT_FILE)])
    try:
        return parse(data.decode("utf-8-sig"), path)
    except UnicodeDecodeError as error:
        before = data[: error.start].decode("utf-8-sig", errors="replace")
        line, column = Places(before).at(len(before))
        if data.startswith(_UTF16):
            problem = Problem("encoding", "this text is UTF-16, not UTF-8", name, 1, 1, fix="save it as UTF-8")
        elif b"\0" in data[:1000]:
            problem = Problem("file", "this is a binary file, not JSON", name, fix=_RIGHT_FILE)
        else:
            got = f"byte 0x{data[error.start]:02x}"
            message = f"not UTF-8: {got} is no character"
            problem = Problem("encoding", message, name, line, column, fix="save it as UTF-8")
        return Source(path, "", problems=[problem])


_RIGHT_FILE = "name a workflow file, which ends in .json"


def parse(text: str, path: Path | None = None) -> Source:
    """As `load`, for text at hand."""
    name = str(path) if path is not None else ""
    text = text.removeprefix("\ufeff")
    if len(text) > SIZE_LIMIT:
        return Source(path, "", problems=[_too_large(len(text), name)])
    if not text.strip():
        return Source(path, text, problems=[Problem("syntax", "the file is empty", name, 1, 1, fix=_MINIMAL)])
    if (offset := too_deep(text, DEPTH_LIMIT)) is not None:
        before = text[:offset]
        if (broken := _syntax(before, name)) and broken[0] < len(before.rstrip()):
            return Source(path, text, problems=[broken[1]])
        line, column = Places(text).at(offset)
        message = f"nested deeper than {DEPTH_LIMIT} levels"
        return Source(path, text, problems=[Problem("depth", message, name, line, column, fix="flatten it here")])
    return _content(text, path)


_MINIMAL = 'the least workflow is {"stepgraph": 1, "nodes": {...}, "outputs": {...}}'


def _content(text: str, path: Path | None) -> Source:
    """The source of a text that parses; what JSON forbids or leaves open is found here."""
    odd: list[str] = []

    def pairs(items: list[tuple[str, Any]]) -> dict[str, Any]:
        found = dict(items)
        if len(found) < len(items):
            odd.append("a repeated key")
        return found

    def constant(token: str) -> Any:
        odd.append(token)
        return MISSING

    name = str(path) if path is not None else ""
    try:
        data = json.loads(text, object_pairs_hook=pairs, parse_constant=constant)
    except ValueError as error:
        return Source(path, text, problems=[_explain(text, error, name)[1]])
    halves = re.search(r"\\u[dD][89a-fA-F]|[\ud800-\udfff]", text)
    problems = _oddities(text, name) if odd or halves else []
    return Source(path, text, data, problems)


def _oddities(text: str, name: str) -> list[Problem]:
    places, problems = Places(text), []
    for offset, key in places.repeated:
        message, fix = f"the key {key!r} stands twice in one object", "remove one, or rename it"
        problems.append(Problem("duplicate-key", message, name, *places.at(offset), got=key, fix=fix))
    for offset, token in places.not_finite:
        message, expected = f"{token} is no JSON number", "a finite number"
        problems.append(Problem("number", message, name, *places.at(offset), expected=expected, got=token))
    for offset, token in places.half_characters:
        message = f"{token[:40]!a} holds half of a surrogate pair, which is no character"
        problems.append(Problem("encoding", message, name, *places.at(offset), got=ascii(token[:40])))
    return sorted(problems, key=lambda problem: (problem.line, problem.column))


def _parses(text: str) -> bool:
    return bool(text) and len(text) <= SIZE_LIMIT and too_deep(text, DEPTH_LIMIT) is None and not _syntax(text, "")


def _syntax(text: str, name: str) -> tuple[int, Problem] | None:
    """What keeps a text from being JSON, with its offset."""
    try:
        json.loads(text)
    except ValueError as error:
        return _explain(text, error, name)
    return None


def _explain(text: str, error: ValueError, name: str) -> tuple[int, Problem]:
    """A syntax error as for a person who edits the file by hand, with its offset."""
    if isinstance(error, json.JSONDecodeError):
        offset, message, fix = _words(text, error)
    else:  # a number of more digits than Python converts
        match = re.search(r"\d{4000}", text)
        offset, message, fix = match.start() if match else 0, "a number with thousands of digits", ""
    line, column = Places(text).at(offset)
    return offset, Problem("syntax", f"not valid JSON: {message}", name, line, column, fix=fix)


def _words(text: str, error: json.JSONDecodeError) -> tuple[int, str, str]:
    """Offset, message and fix of a syntax error."""
    at, here = error.pos, text[error.pos : error.pos + 2]
    before = text[:at].rstrip()
    if comment := re.compile(r"//|/\*|#").match(text, _skip(text, at)):
        fix = 'remove it; a node may have a "note", a workflow a "description"'
        return comment.start(), "JSON has no comments", fix
    if not here:
        return len(before), "the text ends too early; a bracket or quote is not closed", ""
    if before.endswith(",") and text[_skip(text, at)] in "]}":
        return len(before) - 1, f"a comma before `{text[_skip(text, at)]}`", "remove the comma"
    if here[0] == "'":
        return at, "strings stand in double quotes", "write \" instead of '"
    if error.msg.startswith("Illegal trailing comma"):
        return at, "a comma after the last item", "remove the comma"
    if error.msg.startswith("Unterminated string"):
        return at, "a string without its closing quote", 'close it with " on the same line'
    if error.msg.startswith("Invalid control character"):
        return at, "a line break or control character inside a string", "write \\n, or close the string"
    if error.msg.startswith("Expecting ',' delimiter") and before:
        return len(before) - 1, "a comma (or a closing bracket) is missing after this", ""
    if error.msg.startswith("Expecting ':' delimiter"):
        return at, "a colon is missing between key and value", ""
    if word := re.compile(r"\w+").match(text, at):
        known = {"True": "true", "False": "false", "None": "null", "nan": "null"}
        fix = f"write {known[word[0]]}" if word[0] in known else "put text in double quotes"
        return at, f"`{word[0][:40]}` is no JSON value", fix
    if error.msg.startswith("Extra data"):
        return at, "there is more text after the end of the document", "remove it"
    return at, error.msg.lower(), ""


def _skip(text: str, at: int) -> int:
    """The first offset from `at` that is no white space (the last one of the text if there is none)."""
    while at < len(text) - 1 and text[at].isspace():
        at += 1
    return min(at, len(text) - 1)


def _too_large(size: int, name: str) -> Problem:
    message = f"the file has {size / 2**20:.0f} MB; a workflow may have {SIZE_LIMIT // 2**20}"
    return Problem("file", message, name, expected=f"at most {SIZE_LIMIT} bytes", got=f"{size} bytes", fix=_RIGHT_FILE)


class _RefusedError(Exception):
    def __init__(self, message: str, fix: str = "") -> None:
        self.message, self.fix = message, fix


def _bytes(path: Path) -> bytes:
    try:
        status = path.stat()
        if stat.S_ISDIR(status.st_mode):
            raise _RefusedError("this is a folder, not a workflow file", _inside(path))
        if not stat.S_ISREG(status.st_mode):
            raise _RefusedError("this is no regular file", _RIGHT_FILE)
        if status.st_size > SIZE_LIMIT:
            problem = _too_large(status.st_size, "")
            raise _RefusedError(problem.message, problem.fix)
        with path.open("rb") as file:
            return file.read(SIZE_LIMIT + 1)
    except FileNotFoundError:
        raise _RefusedError("there is no such file", _near(path)) from None
    except OSError as error:
        raise _RefusedError(f"cannot be read: {error.strerror or error}") from None
    except ValueError:  # a null character in the name
        raise _RefusedError("this is no file name") from None


def _inside(folder: Path) -> str:
    names = sorted(child.name for child in folder.glob("*.json"))[:3]
    return f"name a file in it: {', '.join(names)}" if names else ""


def _near(path: Path) -> str:
    try:
        names = [child.name for child in path.parent.iterdir()][:1000]
    except OSError:
        return ""
    return did_you_mean(path.name, names)
