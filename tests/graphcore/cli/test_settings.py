from __future__ import annotations

import json
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from graphcore.cli import settings
from graphcore.cli.failure import UsageError
from graphcore.files.workflow import MISSING, Workflow, WorkflowInput


def workflow(*inputs: WorkflowInput) -> Workflow:
    return Workflow(None, "", "", {described.name: described for described in inputs}, {}, {})


def convert(kind: str, written: str, **more: object) -> object:
    return settings.convert(WorkflowInput("x", kind, **more), written)  # type: ignore[arg-type]


@given(st.integers())
def test_an_integer_comes_back(number: int) -> None:
    value = convert("integer", str(number))
    assert (value, type(value)) == (number, int)


@given(st.floats(allow_nan=False, allow_infinity=False))
def test_a_number_comes_back_as_float(number: float) -> None:
    value = convert("number", repr(number))
    assert (value, type(value)) == (number, float)


@given(st.text(st.characters(exclude_categories=["Cs"])))
def test_a_string_is_left_as_it_is(text: str) -> None:
    assert convert("string", text) == text


@given(st.lists(st.integers() | st.booleans() | st.text(), max_size=5))
def test_json_arrays_come_back(items: list[object]) -> None:
    assert convert("array", json.dumps(items)) == items


def test_seven_is_a_float_where_a_number_is_wanted() -> None:
    assert repr(convert("number", "7")) == "7.0"


@pytest.mark.parametrize("written", ["20.0", "1e3", "0x10", "1_000", "", "twenty", "٣", "True"])
def test_what_is_no_integer_is_refused(written: str) -> None:
    with pytest.raises(UsageError, match="`x` wants an integer"):
        convert("integer", written)


@pytest.mark.parametrize("written", ["nan", "inf", "-Infinity", "1_0.5", "", "much", "1e999"])
def test_what_is_no_finite_number_is_refused(written: str) -> None:
    with pytest.raises(UsageError, match="`x` wants a number"):
        convert("number", written)


@pytest.mark.parametrize(("written", "value"), [("true", True), ("Yes", True), ("0", False), ("off", False)])
def test_booleans(written: str, value: bool) -> None:
    assert convert("boolean", written) is value


def test_maybe_is_no_boolean() -> None:
    with pytest.raises(UsageError, match="true or false"):
        convert("boolean", "maybe")


def test_arrays_between_commas_take_the_type_of_their_items() -> None:
    assert convert("array", "1, 2,3", items="integer") == [1, 2, 3]
    assert convert("array", "ddim,euler", items="string") == ["ddim", "euler"]
    assert convert("array", "ddim,1", items="any") == ["ddim", 1]
    assert convert("array", "") == []
    with pytest.raises(UsageError, match="an integer"):
        convert("array", "1,b", items="integer")


def test_any_is_json_or_text() -> None:
    assert convert("any", '{"a": [1, null]}') == {"a": [1, None]}
    assert convert("any", "hello") == "hello"
    assert convert("any", "NaN") == "NaN"


@pytest.mark.parametrize(
    ("kind", "written", "more"),
    [
        ("integer", "0", {"minimum": 1}),
        ("number", "1.5", {"maximum": 1}),
        ("string", "eulr", {"enum": ("euler", "ddim")}),
        ("array", "1,2", {"items": "string"}),
    ],
)
def test_bounds_and_choices_hold(kind: str, written: str, more: dict[str, object]) -> None:
    if kind == "array":
        written = "[1, 2]"
    with pytest.raises(UsageError, match="`x` wants"):
        convert(kind, written, **more)


def test_a_path_starts_at_the_current_folder_and_may_be_read(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    found = settings.read(workflow(WorkflowInput("image", "path")), ["image=sub/cat.png"])
    assert found.values == {"image": str(tmp_path / "sub" / "cat.png")}
    assert found.paths == (tmp_path / "sub" / "cat.png",)


def test_a_name_with_a_scheme_is_no_path(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    found = settings.read(workflow(WorkflowInput("model", "path")), ["model=builtin:emoji"])
    assert found == settings.Settings({"model": "builtin:emoji"}, ())


def test_a_file_whose_name_has_a_colon_is_a_path(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    (tmp_path / "a:b").touch()
    assert settings.read(workflow(WorkflowInput("f", "path")), ["f=ab:c", "f=a:b"]).paths == (tmp_path / "a:b",)
    (tmp_path / "ab:c").touch()
    assert settings.read(workflow(WorkflowInput("f", "path")), ["f=ab:c"]).paths == (tmp_path / "ab:c",)


def test_the_last_value_of_a_name_counts() -> None:
    found = settings.read(
        workflow(WorkflowInput("f", "path"), WorkflowInput("n", "integer")), ["n=1", "f=a", "n=2", "f=b"]
    )
    assert found.values["n"] == 2
    assert [path.name for path in found.paths] == ["b"]


def test_a_value_may_hold_equals_signs() -> None:
    assert settings.read(workflow(WorkflowInput("p", "string")), ["p=a=b"]).values == {"p": "a=b"}


def test_an_unknown_name_is_refused_with_the_nearest() -> None:
    with pytest.raises(UsageError, match=r"no input `promt`; did you mean `prompt`\?"):
        settings.read(workflow(WorkflowInput("prompt", "string", "")), ["promt=a"])


def test_without_equals_sign_it_says_the_form() -> None:
    with pytest.raises(UsageError, match="write name=value"):
        settings.read(workflow(WorkflowInput("prompt", "string", "")), ["prompt"])


def test_all_missing_inputs_are_named_unless_they_are_known() -> None:
    wanted = workflow(WorkflowInput("a", "integer"), WorkflowInput("b", "string"), WorkflowInput("c", "string", "x"))
    with pytest.raises(UsageError, match=r"needs --set a=\.\.\. \(integer\), --set b=\.\.\. \(string\)$"):
        settings.read(wanted, [])
    assert settings.read(wanted, ["a=1"], known={"b"}).values == {"a": 1}
    assert settings.read(wanted, [], complete=False).values == {}
    assert WorkflowInput("a", "integer").default is MISSING
