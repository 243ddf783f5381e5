from __future__ import annotations

import io
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from graphcore.cli import failure, problems, text
from graphcore.errors import Cancelled, CheckFailed, InputError, NodeFailed, Problem, StepgraphError


def block(path: Path, content: str, line: int, column: int, **more: str) -> list[str]:
    path.write_text(content, encoding="utf-8")
    return problems.block(Problem("link", "no such node", str(path), line, column, **more), io.StringIO()).splitlines()


def test_a_problem_shows_its_line_with_a_caret_under_the_token(tmp_path: Path) -> None:
    path = tmp_path / "w.json"
    more = {"node": "decode", "port": "latents", "expected": "Latents", "got": "Image", "fix": "use `vae_encode`"}
    assert block(path, '{\n  "a": {"from": "nod.x"}\n}\n', 2, 17, **more) == [
        f"{path}:2:17: error[link]: `decode.latents`: no such node",
        '  2 |   "a": {"from": "nod.x"}',
        "    |                 ^^^^^^^",
        "  expected  Latents",
        "  got       Image",
        "  fix       use `vae_encode`",
    ]


def test_the_caret_stands_right_after_wide_characters_and_tabs(tmp_path: Path) -> None:
    _, shown, caret, *_ = block(tmp_path / "w.json", '\t"猫": 12\n', 1, 7)
    assert text.width(caret[: caret.index("^")]) == text.width(shown[: shown.index("12")])
    assert caret.endswith("^^")


def test_a_long_line_is_cut_around_the_place(tmp_path: Path) -> None:
    content = "{" + " " * 5000 + '"bad"' + " " * 5000 + "}"
    _, shown, caret, *_ = block(tmp_path / "w.json", content, 1, 5002)
    assert len(shown) < 120
    assert shown[caret.index("^") :].startswith('"bad"')
    assert caret.count("^") == 5


def test_control_characters_in_a_file_do_not_reach_the_terminal(tmp_path: Path) -> None:
    lines = block(tmp_path / "w.json", '{"\x1b[2J": 1}', 1, 2, got="\x1b[31m")
    assert "\x1b" not in "".join(lines)


@pytest.mark.parametrize(("line", "column"), [(99, 1), (0, 0), (1, 0)])
def test_a_place_that_is_not_there_shows_no_line(tmp_path: Path, line: int, column: int) -> None:
    assert len(block(tmp_path / "w.json", "{}", line, column)) == 1


def test_a_file_that_is_gone_or_huge_shows_no_line(tmp_path: Path) -> None:
    huge = tmp_path / "huge.json"
    huge.write_bytes(b" " * (problems.LARGEST_FILE + 1))
    assert problems.source_line(str(huge), 1) is None
    assert problems.source_line(str(tmp_path / "none.json"), 1) is None
    assert problems.source_line("a\0b", 1) is None


@given(content=st.text(max_size=300), line=st.integers(0, 5), column=st.integers(0, 400))
def test_no_content_makes_it_raise(
    content: str, line: int, column: int, tmp_path_factory: pytest.TempPathFactory
) -> None:
    path = tmp_path_factory.mktemp("any") / "w.json"
    path.write_text(content, encoding="utf-8", errors="surrogatepass")
    found = problems.block(Problem("c", content, str(path), line, column), io.StringIO())
    assert not any(character in found for character in "\x1b\x07\x08\r")


def test_the_last_line_counts_problems(tmp_path: Path) -> None:
    stream = io.StringIO()
    problems.write([Problem("a", "one", "w.json"), Problem("b", "two", "w.json")], stream)
    assert stream.getvalue().splitlines()[-1] == "2 problems in w.json"


@pytest.mark.parametrize(
    ("error", "code"),
    [
        (failure.UsageError("x"), 2),
        (StepgraphError("x"), 1),
        (Cancelled("x"), 130),
        (CheckFailed([Problem("a", "x")]), 1),
        (PermissionError(13, "Permission denied", "/out"), 1),
        (ValueError("a bug"), 1),
    ],
)
def test_exit_codes(error: Exception, code: int, capsys: pytest.CaptureFixture[str]) -> None:
    assert failure.report(error) == code
    said = capsys.readouterr()
    assert said.out == ""
    assert ("ValueError: a bug" in said.err) == isinstance(error, ValueError)


def test_a_file_that_cannot_be_used_is_named(capsys: pytest.CaptureFixture[str]) -> None:
    failure.report(PermissionError(13, "Permission denied", "/out"))
    words = "error: /out: Permission denied; use a file or folder that you may read and write\n"
    assert capsys.readouterr().err == words
    full = StepgraphError("output `image` in out: No space left on device")
    full.__cause__ = OSError(28, "No space left on device")
    failure.report(full)
    assert capsys.readouterr().err == f"error: {full}; free some space, then run it again\n"


def test_a_refusal_inside_a_node_shows_no_frames() -> None:
    failed = NodeFailed("a.b", "my/b", InputError("x", expected="a cat", got="a dog"))
    assert failure.own_traceback(failed) == ""


@pytest.mark.parametrize(
    ("value", "shown"),
    [(0.0042, "4 ms"), (0.0001, "<1 ms"), (1.234, "1.23 s"), (45.67, "45.7 s"), (59.99, "60.0 s"), (125, "2 min 05 s")],
)
def test_seconds(value: float, shown: str) -> None:
    assert text.seconds(value) == shown


@pytest.mark.parametrize(("value", "shown"), [(0, "0 B"), (1023, "1023 B"), (1536, "1.5 KiB"), (5 << 30, "5.0 GiB")])
def test_sizes(value: int, shown: str) -> None:
    assert text.size(value) == shown
