"""JSON texts with places, against the json module and against files that are none."""

from __future__ import annotations

import json
import os
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from graphcore.files import source
from graphcore.files.workflow import MISSING

JSON = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats(allow_nan=False, allow_infinity=False) | st.text(),
    lambda inner: st.lists(inner) | st.dictionaries(st.text(), inner),
    max_leaves=30,
)


def paths(value: Any, at: source.JsonPath = ()) -> list[tuple[source.JsonPath, Any]]:
    found = [(at, value)]
    for step, inner in (
        value.items() if isinstance(value, dict) else enumerate(value) if isinstance(value, list) else ()
    ):
        found += paths(inner, (*at, step))
    return found


@given(JSON, st.sampled_from([None, 0, 2]), st.booleans())
def test_every_value_is_found_where_the_json_decoder_reads_it(value: Any, indent: int | None, ascii_only: bool) -> None:
    text = json.dumps(value, indent=indent, ensure_ascii=ascii_only)
    read = source.parse(text)
    if read.problems:  # half of a surrogate pair, which json lets pass
        assert {problem.code for problem in read.problems} == {"encoding"}
        return
    assert read.data == value
    lines = text.split("\n")
    for path, expected in paths(value):
        line, column = read.position(path)
        offset = sum(len(one) + 1 for one in lines[: line - 1]) + column - 1
        assert json.JSONDecoder().raw_decode(text, offset)[0] == expected
        if path and isinstance(path[-1], str):
            line, column = read.position(path, key=True)
            offset = sum(len(one) + 1 for one in lines[: line - 1]) + column - 1
            assert json.JSONDecoder().raw_decode(text, offset)[0] == path[-1]


@given(st.text(alphabet='[]{}",:\\ \n1aé\ud800/#-', max_size=60) | st.text(max_size=60))
def test_any_text_gives_data_or_a_problem_with_a_place(text: str) -> None:
    read = source.parse(text)
    assert (read.data is MISSING) <= bool(read.problems)
    for problem in read.problems:
        assert problem.line >= 1
        assert problem.column >= 1
        problem.describe().encode()
    if read.data is not MISSING and not read.problems:
        assert read.data == json.loads(text.removeprefix("\ufeff"))


@given(st.binary(max_size=200))
def test_any_bytes_give_data_or_a_problem(data: bytes) -> None:
    read = source.decode(data)
    assert (read.data is MISSING) <= bool(read.problems)


@pytest.mark.parametrize(
    ("text", "line", "column", "words"),
    [
        ('{"a": 1,}', 1, 8, "a comma before `}`"),
        ("[1,\n 2,\n]", 2, 3, "a comma before `]`"),
        ('{"a": 1 // one\n}', 1, 9, "JSON has no comments"),
        ('{\n  # one\n  "a": 1}', 2, 3, "JSON has no comments"),
        ('{"a": 1,\n /* b */ "b": 2}', 2, 2, "JSON has no comments"),
        ('{"a": 1\n "b": 2}', 1, 7, "a comma (or a closing bracket) is missing"),
        ('{"a" 1}', 1, 6, "a colon is missing"),
        ("{'a': 1}", 1, 2, "double quotes"),
        ('{"a": tru}', 1, 7, "`tru` is no JSON value"),
        ('{"a": True}', 1, 7, "write true"),
        ('{"a": "x', 1, 7, "without its closing quote"),
        ('{"a": "x\ny"}', 1, 9, "line break"),
        ('{"a": [1, 2', 1, 12, "ends too early"),
        ("{} {}", 1, 4, "more text after the end"),
        ("1" * 5000, 1, 1, "thousands of digits"),
        ("", 1, 1, "empty"),
        (" \n ", 1, 1, "empty"),
    ],
)
def test_a_syntax_error_is_said_as_to_a_person(text: str, line: int, column: int, words: str) -> None:
    [problem] = source.parse(text).problems
    assert (problem.code, problem.line, problem.column) == ("syntax", line, column)
    assert words in problem.describe()


@pytest.mark.parametrize(
    ("text", "code", "column"),
    [
        ('{"a": 1, "b": {}, "a": 2}', "duplicate-key", 19),
        ('{"a": NaN}', "number", 7),
        ('{"a": [1, -Infinity]}', "number", 11),
        ('{"a": "\\ud800"}', "encoding", 7),
        ('{"a": "\ud800"}', "encoding", 7),
        ('{"\\udc00": 1}', "encoding", 2),
    ],
)
def test_what_python_lets_pass_is_found(text: str, code: str, column: int) -> None:
    [problem] = source.parse(text).problems
    assert (problem.code, problem.line, problem.column) == (code, 1, column)
    problem.describe().encode()


def test_a_pair_of_surrogate_escapes_is_a_character() -> None:
    assert source.parse('{"a": "\\ud83d\\ude00"}').problems == []


@pytest.mark.parametrize("closed", [True, False])
@pytest.mark.parametrize(("opening", "closing"), [("[", "]"), ('{"a":', "}")])
def test_deep_nesting_is_refused_where_it_becomes_too_deep(opening: str, closing: str, closed: bool) -> None:
    text = opening * 10_000 + "1" + closing * 10_000 * closed
    [problem] = source.parse(text).problems
    assert (problem.code, problem.line, problem.column) == ("depth", 1, source.DEPTH_LIMIT * len(opening) + 1)
    assert source.parse("[" * source.DEPTH_LIMIT + "]" * source.DEPTH_LIMIT).problems == []


def test_brackets_in_strings_are_not_nesting() -> None:
    text = json.dumps({"a": "[" * 1000, "b": '"{' * 1000, "c": "\\" * 7 + "[" * 500})
    assert source.parse(text).problems == []


def test_a_file_that_is_too_large_is_not_parsed(tmp_path: Path) -> None:
    file = tmp_path / "large.json"
    with file.open("wb") as stream:
        stream.truncate(50_000_000)
    [problem] = source.load(file).problems
    assert problem.code == "file"
    assert "48 MB" in problem.message
    assert problem.file == str(file)


def test_a_byte_order_mark_is_tolerated(tmp_path: Path) -> None:
    file = tmp_path / "bom.json"
    file.write_bytes(b'\xef\xbb\xbf{"a": 1}')
    read = source.load(file)
    assert read.data == {"a": 1}
    assert read.position(("a",)) == (1, 7)


@pytest.mark.parametrize(
    ("data", "code", "words"),
    [
        (b"\x89PNG\r\n\x1a\n....", "file", "a PNG picture"),
        (b"PK\x03\x04....", "file", "a zip archive"),
        (b"\x00\x01\xff\xfe\xfd", "file", "a binary file"),
        ('{"a": 1}'.encode("utf-16"), "encoding", "UTF-16"),
        ('{"a":\n"ä"}'.encode("latin-1"), "encoding", "not UTF-8: byte 0xe4"),
    ],
)
def test_a_file_of_another_kind_is_named(data: bytes, code: str, words: str, tmp_path: Path) -> None:
    file = tmp_path / "x.json"
    file.write_bytes(data)
    [problem] = source.load(file).problems
    assert problem.code == code
    assert words in problem.message
    if "0xe4" in words:
        assert (problem.line, problem.column) == (2, 2)


def test_what_is_no_file_is_refused(tmp_path: Path) -> None:
    (tmp_path / "flow.json").write_text("{}")
    os.mkfifo(tmp_path / "pipe.json")
    cases = {
        "flwo.json": "did you mean `flow.json`?",
        ".": "this is a folder",
        "pipe.json": "no regular file",
        "no\0name": "no file name",
        "flow.json/x.json": "",
    }
    for name, words in cases.items():
        [problem] = source.load(tmp_path / name).problems
        assert problem.code == "file"
        assert words in problem.describe()
