"""The light commands, in this process."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import jsonschema
import pytest

from graphcore.cli import main
from graphcore.files import shipped as shipped_workflows

Capture = pytest.CaptureFixture[str]


def say(capsys: Capture, *arguments: str) -> tuple[int, str, str]:
    code = main(arguments)
    said = capsys.readouterr()
    return code, said.out, said.err


def test_without_a_command_or_with_an_unknown_one_it_is_a_usage_error(capsys: Capture) -> None:
    assert say(capsys)[0] == 2
    code, _, err = say(capsys, "frob")
    assert code == 2
    assert "invalid choice: 'frob'" in err


@pytest.mark.parametrize(
    "command", ["run", "check", "explain", "workflows", "nodes", "plugins", "schema", "cache", "init"]
)
def test_every_command_has_help(command: str, capsys: Capture) -> None:
    code, out, _ = say(capsys, command, "--help")
    assert code == 0
    assert f"usage: stepgraph {command}" in out
    assert command in say(capsys, "--help")[1]


def test_run_help_lists_inputs_and_what_can_be_drawn(capsys: Capture) -> None:
    code, out, _ = say(capsys, "run", "txt2img", "--help")
    assert code == 0
    assert "guidance_scale" in out
    assert "penguin" in out
    assert "--set model=" in out


def test_nodes_lists_built_ins_and_plugins(place: Path, capsys: Capture) -> None:
    code, out, _ = say(capsys, "nodes")
    assert code == 0
    assert "  my/add" in out
    assert any(line.split()[:1] == ["load_model"] for line in out.splitlines())


def test_one_node_is_documented(place: Path, capsys: Capture) -> None:
    code, out, _ = say(capsys, "nodes", "my/slow")
    assert code == 0
    assert "The value plus one, after a while." in out
    assert "default 0.03, at least 0" in out
    assert '{"type": "my/slow", "inputs": {"value": "..."}}' in out


def test_an_unknown_node_is_an_error_with_a_suggestion(place: Path, capsys: Capture) -> None:
    code, _, err = say(capsys, "nodes", "load_modl")
    assert (code, "did you mean `load_model`" in err) == (1, True)


def test_nodes_as_json_hold_schema_and_defaults(place: Path, capsys: Capture) -> None:
    found = json.loads(say(capsys, "nodes", "my/slow", "--json")[1])
    assert found["inputs"]["value"] == {
        "type": "int", "required": True, "literal": True, "help": "", "schema": {"type": "integer"},
    }  # fmt: skip
    jsonschema.validate(found["inputs"]["seconds"]["default"], found["inputs"]["seconds"]["schema"])
    with pytest.raises(jsonschema.ValidationError):
        jsonschema.validate(61, found["inputs"]["seconds"]["schema"])
    everything = json.loads(say(capsys, "nodes", "--json")[1])
    assert {"stepgraph/unet", "my/slow"} <= {node["name"] for node in everything}


def test_workflows_lists_every_shipped_one_with_inputs(place: Path, capsys: Capture) -> None:
    code, out, _ = say(capsys, "workflows")
    found = {one["name"]: one for one in json.loads(say(capsys, "workflows", "--json")[1])}
    assert code == 0
    assert set(found) == set(shipped_workflows.names())
    assert all(name in out for name in found)
    assert found["txt2img"]["inputs"]["steps"]["type"] == "integer"
    assert found["txt2img"]["runnable"]
    assert not found["denoise"]["runnable"]


def test_plugins_tells_nodes_and_errors(place: Path, capsys: Capture) -> None:
    (place / "plugins" / "broken.py").write_text("import nothing_of_this_name\n")
    code, out, _ = say(capsys, "plugins")
    assert code == 1
    assert "  my/add" in out
    assert "nothing_of_this_name" in out
    states = {state["name"]: state for state in json.loads(say(capsys, "plugins", "--json")[1])}
    assert states["my"]["error"] is None
    assert states["broken"]["nodes"] == []


def test_a_broken_plugin_does_not_keep_others_from_working(place: Path, capsys: Capture) -> None:
    (place / "plugins" / "broken.py").write_text("raise ValueError('\x1b[2J')\n")
    code, out, err = say(capsys, "nodes")
    assert code == 0
    assert "my/add" in out
    assert "plugin error: broken:" in err
    assert "\x1b" not in err


def test_another_folder_of_plugins(place: Path, tmp_path: Path, capsys: Capture) -> None:
    (tmp_path / "other").mkdir()
    (tmp_path / "other" / "mine.py").write_text((place / "plugins" / "my.py").read_text())
    out = say(capsys, "nodes", "--plugins", str(tmp_path / "other"))[1]
    assert "mine/add" in out
    assert "my/add" not in out
    assert say(capsys, "nodes", "--plugins", "nowhere")[0] == 2


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        (["--root", "nowhere"], "--root nowhere: there is no such folder"),
        (["--device", "gpu"], "--device gpu: wanted is auto, cpu, cuda"),
        (["--device", "cuda:99"], "--device cuda:99: it cannot be used here ("),
    ],
)
def test_what_is_not_there_is_refused_before_anything_runs(
    arguments: list[str], words: str, counting: Path, capsys: Capture
) -> None:
    code, _, err = say(capsys, "explain", str(counting), *arguments)
    assert code == 2
    assert words in err


def test_check_says_all_is_well(counting: Path, capsys: Capture) -> None:
    code, out, _ = say(capsys, "check", "counting.json", "--set", "steps=2")
    assert (code, out) == (0, "counting.json: no problems\n")
    assert json.loads(say(capsys, "check", "counting.json", "--json")[1]) == {"ok": True, "problems": []}


def test_check_shows_all_problems_with_their_lines(write: Callable[..., Path], capsys: Capture) -> None:
    nodes: dict[str, Any] = {
        "one": {"type": "my/ad", "inputs": {"a": 1}},
        "two": {"type": "my/slow", "inputs": {"value": "20"}},
    }
    path = write("bad.json", nodes, {"sum": "one", "x": "two"})
    code, out, _ = say(capsys, "check", "bad.json")
    lines = path.read_text().splitlines()
    assert code == 1
    assert "2 problems in bad.json" in out
    for wrong in ('"my/ad"', '"20"'):
        number = next(i for i, line in enumerate(lines, 1) if wrong in line)
        column = lines[number - 1].index(wrong) + 1
        assert f"bad.json:{number}:{column}: error[" in out
        assert f"  {number} | {lines[number - 1]}\n" in out
    found = json.loads(say(capsys, "check", "bad.json", "--json")[1])
    assert not found["ok"]
    assert [problem["node"] for problem in found["problems"]] == ["one", "two"]


@pytest.mark.parametrize("content", [b"", b"\x00\x01\xff", b"[1, 2", b"[" * 10_000, b'{"a": 1, "a": 2}', b"null"])
def test_check_of_anything_is_a_clear_error(place: Path, content: bytes, capsys: Capture) -> None:
    (place / "any.json").write_bytes(content)
    code, out, err = say(capsys, "check", "any.json")
    assert code == 1
    assert "any.json" in out
    assert "Traceback" not in out + err


@pytest.mark.parametrize(
    ("name", "said"),
    [
        ("countin.json", "did you mean `counting.json`?"),
        ("counting", "write ./counting.json"),
        ("txt2im", "did you mean `txt2img`"),
        ("txt2img.json", "the shipped workflow is called `txt2img`"),
        ("plugins/", "it is a folder"),
        ("no/such/file.json", "there is no folder 'no/such'"),
    ],
)
def test_a_file_that_is_not_there_is_a_usage_error(counting: Path, name: str, said: str, capsys: Capture) -> None:
    for command in ("run", "check", "explain"):
        code, _, err = say(capsys, command, name)
        assert code == 2
        assert said in err


def validator_of(schema: Any) -> Any:
    """Made once for a schema: whether it is one takes a second to find out."""
    kind = jsonschema.validators.validator_for(schema)
    kind.check_schema(schema)
    return kind(schema)


def test_schema_accepts_the_shipped_workflows_and_refuses_others(place: Path, capsys: Capture) -> None:
    assert say(capsys, "schema", "--out", "s.json")[0] == 0
    schema = json.loads((place / "s.json").read_text())
    assert json.loads(say(capsys, "schema")[1]) == schema
    validator = validator_of(schema)
    for folder in shipped_workflows.folders():
        for path in folder.glob("*.json"):
            validator.validate(json.loads(path.read_text()))
    with pytest.raises(jsonschema.ValidationError):
        validator.validate({"stepgraph": 1, "nodes": {"a": {"type": "no_such_node"}}, "outputs": {}})


def test_init_makes_a_folder_that_works(place: Path, capsys: Capture, monkeypatch: pytest.MonkeyPatch) -> None:
    code, out, _ = say(capsys, "init", "new")
    assert code == 0
    new = place / "new"
    assert {str(new / line) for line in ("README.md", "workflow.schema.json")} <= {
        str(place / line) for line in out.split("\n")
    }
    schema = json.loads((new / "workflow.schema.json").read_text())
    validator = validator_of(schema)
    copies = sorted((new / "workflows").glob("*.json"))
    assert [path.stem for path in copies] == shipped_workflows.names()
    for path in copies:
        document = json.loads(path.read_text())
        assert (path.parent / document["$schema"]).resolve() == new / "workflow.schema.json"
        validator.validate(document)
    assert json.loads((new / ".vscode" / "settings.json").read_text())["json.schemas"]
    monkeypatch.chdir(new)
    assert "my_nodes/describe" in say(capsys, "nodes")[1]
    assert say(capsys, "check", "workflows/txt2img.json")[0] == 0


def test_init_never_overwrites(place: Path, capsys: Capture) -> None:
    (place / "new" / "workflows").mkdir(parents=True)
    mine = place / "new" / "workflows" / "txt2img.json"
    mine.write_text("mine")
    (place / "new" / "README.md").write_text("mine too")
    code, out, _ = say(capsys, "init", "new")
    assert code == 0
    assert mine.read_text() == "mine"
    assert (place / "new" / "README.md").read_text() == "mine too"
    assert "txt2img.json (kept as it is)" in out
    before = {path: path.read_bytes() for path in (place / "new").rglob("*") if path.is_file()}
    assert say(capsys, "init", "new")[0] == 0
    assert {
        path: path.read_bytes()
        for path in (place / "new").rglob("*")
        if path.is_file() and "__pycache__" not in path.parts
    } == before


def test_init_into_a_file_is_an_error(place: Path, capsys: Capture) -> None:
    (place / "file").write_text("x")
    assert say(capsys, "init", "file")[0] == 1
