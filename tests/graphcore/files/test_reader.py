"""Mistakes of form, each with its place; files that name files."""

# ruff: noqa: E501 (a table has one case per line)

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

from graphcore import Workflow
from graphcore.errors import CheckFailed, Problem
from graphcore.files import reader, shipped
from graphcore.files.workflow import MISSING, Link, ListOf, Loop, Map, NodeCall, SubWorkflow, Switch, Written
from tests.graphcore.small_world import place_of

LEAST = '{"stepgraph": 1, "nodes": {"a": {"type": "t"}}, "outputs": {"x": {"from": "a"}}}'


def around(node: str) -> str:
    """A workflow with one node, as text."""
    return f'{{"stepgraph": 1, "nodes": {{"a": {node}}}, "outputs": {{"x": {{"from": "a"}}}}}}'


def with_input(description: str) -> str:
    return LEAST.replace('"nodes"', f'"inputs": {{"n": {description}}}, "nodes"')


def found(text: str) -> list[Problem]:
    return reader.parse(text)[1]


def test_everything_in_a_file_is_read() -> None:
    text = json.dumps(
        {
            "$schema": "s", "stepgraph": 1, "title": "T", "description": "D", "layout": {"x": [1]},
            "inputs": {"n": {"type": "array", "items": "integer", "default": [1], "description": "d"},
                       "f": {"type": "number", "minimum": 0, "maximum": 2.5, "enum": [1, 2]}},
            "nodes": {
                "a": {"type": "t/u", "title": "x", "note": "y",
                      "inputs": {"p": 1, "q": {"from": "b.c"}, "r": [1, {"from": "b"}], "s": {"k": [1]}}},
                "b": {"type": "loop", "inputs": {"i": 1}, "each": {"e": [1]}, "times": 3, "carry": {"c": 0},
                      "body": {"nodes": {"m": {"type": "t"}}, "carry": {"c": {"from": "m"}}, "collect": {"l": {"from": "m"}},
                               "layout": 1}},
                "c": {"type": "map", "each": {"e": {"from": "b.l"}}, "mode": "product",
                      "body": {"nodes": {}, "outputs": {"o": {"from": "each.e"}}}},
                "d": {"type": "switch", "select": {"from": "inputs.n"}, "cases": {"1": 1, "v-pred": 2}, "default": None},
            },
            "outputs": {"o": {"from": "c.o"}},
        }
    )  # fmt: skip
    workflow, problems = reader.parse(text, "here.json")
    assert problems == []
    assert workflow is not None
    assert (workflow.path, workflow.title, workflow.description, workflow.text) == (Path("here.json"), "T", "D", text)
    assert workflow.inputs["n"].default == [1]
    assert workflow.inputs["n"].items == "integer"
    assert (workflow.inputs["f"].minimum, workflow.inputs["f"].maximum, workflow.inputs["f"].enum) == (0, 2.5, (1, 2))
    assert workflow.inputs["f"].default is MISSING
    call, loop, map_, switch = workflow.nodes.values()
    assert isinstance(call, NodeCall)
    assert call.inputs == {
        "p": Written(1),
        "q": Link("b", "c"),
        "r": ListOf((Written(1), Link("b"))),
        "s": Written({"k": [1]}),
    }
    assert isinstance(loop, Loop)
    assert (loop.each, loop.times, loop.carry) == ({"e": Written([1])}, Written(3), {"c": Written(0)})
    assert (loop.next, loop.collect, list(loop.nodes)) == ({"c": Link("m")}, {"l": Link("m")}, ["m"])
    assert isinstance(map_, Map)
    assert (map_.mode, map_.outputs) == ("product", {"o": Link("each", "e")})
    assert isinstance(switch, Switch)
    assert (switch.cases, switch.default) == ({"1": Written(1), "v-pred": Written(2)}, Written(None))
    assert workflow.outputs == {"o": Link("c", "o")}


FORM: list[tuple[str, str, str, str, str, str]] = [
    # text, code, needle where it is reported, node, port, words of the description
    (LEAST.replace('"nodes"', '"node"'), "unknown-key", '"node"', "", "", "did you mean `nodes`?"),
    (LEAST.replace("{", '{"zzz": 1, ', 1), "unknown-key", '"zzz"', "", "", "known here"),
    (LEAST.replace("1,", "2,", 1), "version", "2", "", "", "reads version 1"),
    (LEAST.replace("1,", '"1",', 1), "version", '"1"', "", "", "not a version"),
    (LEAST.replace('"stepgraph": 1, ', ""), "version", "{", "", "", "is missing"),
    ('{"name": "left-pad", "version": "1.0"}', "version", "{", "", "", "not a Stepgraph workflow"),
    ('{"last_node_id": 9, "nodes": [], "links": []}', "version", "{", "", "", "not a Stepgraph workflow"),
    ("[1]", "kind", "[", "", "", "wants an object {...}, got [1]"),
    (LEAST.replace('{"a": {"type": "t"}}', "[]"), "kind", "[]", "", "", "wants an object"),
    (LEAST.replace('{"x": {"from": "a"}}', "{}"), "missing-key", "{}}", "", "", "nothing would run"),
    (LEAST.replace('"stepgraph"', '"title": 5, "stepgraph"'), "kind", "5", "", "", "wants text, got 5"),
    (around('"t"'), "kind", '"t"', "a", "", "wants an object"),
    (around("{}"), "missing-key", '"a"', "a", "", "the key `type` is missing"),
    (around('{"typ": "t"}'), "missing-key", '"a"', "a", "", "the key `type` is missing"),
    (around('{"type": ["t"]}'), "kind", '["t"]', "a", "type", "the name of a node type"),
    (around('{"type": "t", "input": {}}'), "unknown-key", '"input"', "a", "input", "did you mean `inputs`?"),
    (around('{"type": "t", "latents": 1}'), "unknown-key", '"latents"', "a", "latents", "stand under `inputs`"),
    (around('{"type": "t", "inputs": [1]}'), "kind", "[1]", "a", "inputs", "wants an object"),
    (around('{"type": "t", "note": 1}'), "kind", "1}", "a", "note", "wants text"),
    (around('{"type": "t", "inputs": {"p": {"from": "a.b.c"}}}'), "link", '"a.b.c"', "a", "p", "is no link"),
    (around('{"type": "t", "inputs": {"p": {"from": 3}}}'), "link", "3}", "a", "p", "wants text, got 3"),
    (around('{"type": "t", "inputs": {"p": {"from": ["b", 0]}}}'), "link", '["b", 0]', "a", "p", "wants text"),
    (around('{"type": "t", "inputs": {"p": {"from": "b", "output": "c"}}}'), "link", '"output"', "a", "p", "beside"),
    (around('{"type": "t", "inputs": {"p": {"k": [{"from": "b"}]}}}'), "link", '{"from": "b"}', "a", "p", "inside an object"),
    (around('{"type": "t", "inputs": {"p": [NaN]}}'), "number", "NaN", "", "", "no JSON number"),
    (around('{"type": "t", "inputs": {"p": 1, "p": 2}}'), "duplicate-key", '"p": 2', "", "", "stands twice"),
    (around('{"type": "loop", "times": 1}'), "missing-key", '"a"', "a", "", "`body` is missing"),
    (around('{"type": "loop", "body": {"nodes": {}}}'), "missing-key", '"a"', "a", "", "needs `each` or `times`"),
    (around('{"type": "loop", "times": 1, "body": {"nodes": {}, "outputs": {}}}'), "unknown-key", '"outputs"', "a", "outputs", "known here"),
    (around('{"type": "loop", "each": {}, "body": {"nodes": {}}}'), "missing-key", "{}, \"body", "a", "each", "`each` is empty"),
    (around('{"type": "loop", "times": 1, "body": {"nodes": {"b": {}}}}'), "missing-key", '"b"', "a.b", "", "`type`"),
    (around('{"type": "map", "body": {"nodes": {}, "outputs": {}}}'), "missing-key", '"a"', "a", "", "`each` is missing"),
    (around('{"type": "map", "each": {"e": 1}, "mode": "all", "body": {"nodes": {}, "outputs": {}}}'), "kind", '"all"', "a", "mode", 'wants "zip" or "product"'),
    (around('{"type": "switch", "select": 1, "cases": {}}'), "missing-key", "{}}", "a", "cases", "without cases"),
    (around('{"type": "switch", "cases": {"a": 1}}'), "missing-key", '"a": {"t', "a", "", "`select` is missing"),
    (around('{"type": "switch", "select": 1, "cases": {"a": 1}, "defualt": 1}'), "unknown-key", '"defualt"', "a", "defualt", "did you mean `default`?"),
    (around('{"type": "workflow", "path": 1}'), "kind", "1}", "a", "path", "the path of a workflow file"),
    (LEAST.replace('"a"', '"1 a"'), "name", '"1 a"', "1 a", "", "cannot name a node"),
    (LEAST.replace('"a"', '"a.b"'), "name", '"a.b"', "a.b", "", "call it `a_b`"),
    (LEAST.replace('"a": ', '"carry": '), "name", '"carry"', "carry", "", "for something else"),
    (LEAST.replace('"x"', '"../x"'), "name", '"../x"', "", "../x", "cannot name a value"),
    (with_input('"integer"'), "kind", '"integer"', "", "n", "wants an object"),
    (with_input("{}"), "missing-key", '"n"', "", "n", "`type` is missing"),
    (with_input('{"type": "int"}'), "input", '"int"', "", "n", "did you mean `integer`?"),
    (with_input('{"type": "integer", "defalt": 1}'), "unknown-key", '"defalt"', "", "n", "did you mean `default`?"),
    (with_input('{"type": "integer", "default": "20"}'), "input", '"20"', "", "n", 'wants a whole number, got "20"'),
    (with_input('{"type": "integer", "default": true}'), "input", "true", "", "n", "got true"),
    (with_input('{"type": "integer", "default": 0, "minimum": 1}'), "input", "0,", "", "n", "wants at least 1, got 0"),
    (with_input('{"type": "number", "default": 1e999}'), "input", "1e999", "", "n", "wants a number"),
    (with_input('{"type": "number", "default": NaN}'), "number", "NaN", "", "", "NaN"),
    (with_input('{"type": "number", "minimum": 2, "maximum": 1}'), "input", "2,", "", "n", "above the maximum"),
    (with_input('{"type": "number", "minimum": "0"}'), "input", '"0"', "", "n", "wants a number"),
    (with_input('{"type": "string", "minimum": 0}'), "input", '"minimum"', "", "n", "is for numbers"),
    (with_input('{"type": "string", "items": "integer"}'), "input", '"items"', "", "n", "is for arrays"),
    (with_input('{"type": "string", "enum": "a"}'), "kind", '"a"}', "", "n", "a list of allowed values"),
    (with_input('{"type": "string", "enum": []}'), "input", "[]", "", "n", "allows no value"),
    (with_input('{"type": "string", "enum": ["a", 2]}'), "input", "2]", "", "n", "wants text, got 2"),
    (with_input('{"type": "string", "enum": ["a"], "default": "b"}'), "input", '"b"', "", "n", 'wants one of "a", got "b"'),
    (with_input('{"type": "array", "items": "integer", "default": [1, "2"]}'), "input", '[1, "2"]', "", "n", '"2" at index 1'),
]  # fmt: skip


@pytest.mark.parametrize(("text", "code", "needle", "node", "port", "words"), FORM, ids=range(len(FORM)))
def test_a_mistake_of_form_is_one_problem_at_its_place(
    text: str, code: str, needle: str, node: str, port: str, words: str
) -> None:
    problems = found(text)
    if 'typ"' in text and "type" not in text.split('typ"')[0]:
        problems = [problem for problem in problems if problem.code != "unknown-key"]
    assert len(problems) == 1, [problem.describe() for problem in problems]
    [problem] = problems
    assert problem.code == code
    assert (problem.line, problem.column) == place_of(text, needle)
    assert (problem.node, problem.port) == (node, port)
    assert words in problem.describe()


def test_all_mistakes_are_reported_at_once() -> None:
    text = """{"stepgraph": 1, "titel": "x",
      "inputs": {"n": {"type": "int"}},
      "nodes": {"a b": {"type": "t", "inputs": {"p": {"from": "x.y.z"}, "q": {"from": "a b.c"}}}, "c": 1},
      "outputs": {"x": {"from": 3}}}"""
    assert [(problem.code, problem.line) for problem in sorted(found(text), key=lambda p: (p.line, p.column))] == [
        ("unknown-key", 1), ("input", 2), ("name", 3), ("link", 3), ("kind", 3), ("link", 4),
    ]  # fmt: skip


def test_load_and_parse_raise_with_all_problems(tmp_path: Path) -> None:
    file = tmp_path / "w.json"
    file.write_text(LEAST)
    assert Workflow.load(file).path == file
    assert Workflow.parse(LEAST).path is None
    with pytest.raises(CheckFailed) as caught:
        Workflow.parse(LEAST.replace('"type"', '"typ"'), "w.json")
    assert {problem.file for problem in caught.value.problems} == {"w.json"}
    with pytest.raises(CheckFailed, match="no such file"):
        Workflow.load(tmp_path / "none.json")


# -- files that name files -------------------------------------------------------------------------------------


def write(folder: Path, **files: Any) -> None:
    for name, text in files.items():
        (folder / f"{name}.json").parent.mkdir(exist_ok=True, parents=True)
        (folder / f"{name}.json").write_text(text)


def uses(*paths: str) -> str:
    nodes = {f"s{index}": {"type": "workflow", "path": path} for index, path in enumerate(paths)}
    return json.dumps({"stepgraph": 1, "nodes": nodes, "outputs": {"x": {"from": "s0"}}})


def test_a_file_is_found_beside_the_file_that_names_it_and_read_once(tmp_path: Path) -> None:
    write(tmp_path, top=uses("sub/one.json", "sub/two", "./sub/../sub/one.json"), **{"sub/one": LEAST})
    write(tmp_path / "sub", two=uses("one.json"))
    workflow = Workflow.load(tmp_path / "top.json")
    first, second, third = workflow.nodes.values()
    assert isinstance(first, SubWorkflow)
    assert isinstance(second, SubWorkflow)
    assert isinstance(third, SubWorkflow)
    inner = second.workflow.nodes["s0"]
    assert isinstance(inner, SubWorkflow)
    assert first.workflow is third.workflow
    assert first.workflow is inner.workflow
    assert first.workflow.path == tmp_path / "sub" / "one.json"


def test_problems_name_the_file_they_are_in(tmp_path: Path) -> None:
    write(tmp_path, top=uses("one.json", "one.json"), one=LEAST.replace('"type"', '"typ"'))
    workflow, problems = reader.read(tmp_path / "top.json")
    assert workflow is not None
    assert {problem.file for problem in problems} == {str(tmp_path / "one.json")}
    assert len({problem.describe() for problem in problems}) == len(problems)


def test_a_file_outside_of_the_folder_is_refused(tmp_path: Path) -> None:
    write(tmp_path, secret=LEAST)
    inside = tmp_path / "inside"
    write(inside, top=uses("../secret.json"), absolute=uses(str(tmp_path / "secret.json")), linked=uses("link.json"))
    (inside / "link.json").symlink_to(tmp_path / "secret.json")
    for name in ("top", "absolute", "linked"):
        _, [problem] = reader.read(inside / f"{name}.json")
        assert (problem.code, problem.node, problem.port) == ("file", "s0", "path")
        assert "outside" in problem.message


def test_a_missing_or_damaged_file_is_reported_once(tmp_path: Path) -> None:
    write(tmp_path, top=uses("onee.json"), one="{", two=uses("one.json", "one.json"), three=uses("no\0name"))
    _, [problem] = reader.read(tmp_path / "top.json")
    assert "no such file" in problem.message
    assert problem.fix.startswith("did you mean `one.json`")
    _, [problem] = reader.read(tmp_path / "two.json")
    assert (problem.code, problem.file) == ("syntax", str(tmp_path / "one.json"))
    _, [problem] = reader.read(tmp_path / "three.json")
    assert problem.code == "file"


def test_a_file_that_uses_itself_names_the_way(tmp_path: Path) -> None:
    write(tmp_path, a=uses("b.json"), b=uses("c.json"), c=uses("b.json"))
    _, [problem] = reader.read(tmp_path / "a.json")
    assert (problem.code, problem.file) == ("recursion", str(tmp_path / "c.json"))
    assert "b.json -> c.json -> b.json" in problem.message


def test_files_within_files_have_an_end(tmp_path: Path) -> None:
    chain = {f"f{index}": uses(f"f{index + 1}.json") for index in range(60)}
    write(tmp_path, **chain, f60=LEAST)
    _, [problem] = reader.read(tmp_path / "f0.json")
    assert problem.code == "depth"


def test_files_that_unfold_without_end_are_refused(tmp_path: Path) -> None:
    doubled = {f"f{index}": uses(f"f{index + 1}.json", f"f{index + 1}.json") for index in range(25)}
    write(tmp_path, **doubled, f25=LEAST)
    _, problems = reader.read(tmp_path / "f0.json")
    assert {problem.code for problem in problems} == {"size"}


def test_bodies_within_bodies_have_an_end() -> None:
    node: dict[str, Any] = {"type": "t"}
    for _ in range(24):
        node = {"type": "loop", "times": 1, "body": {"nodes": {"a": node}}}
    assert found(around(json.dumps(node))) == []
    for _ in range(10):
        node = {"type": "loop", "times": 1, "body": {"nodes": {"a": node}}}
    assert [problem.code for problem in found(around(json.dumps(node)))] == ["depth"]


def test_a_workflow_and_its_files_can_be_taken_along(tmp_path: Path) -> None:
    write(tmp_path, top=uses("sub/two.json", "one"), one=LEAST)
    write(tmp_path / "sub", two=uses("three.json", "../one.json"), three=LEAST.replace('"x"', '"y"'))
    workflow = Workflow.load(tmp_path / "top.json")
    taken = reader.texts(workflow)
    again, problems = reader.parse(workflow.text, "elsewhere/top.json", taken)
    assert problems == []
    assert again is not None
    assert reader.texts(again) == taken
    assert set(taken) == {"sub/two.json", "sub/three.json", "one.json", "one"}
    _, problems = reader.parse(workflow.text, tmp_path / "top.json", {})
    assert {problem.code for problem in problems} == {"file"}


def test_a_shipped_workflow_is_used_by_its_bare_name(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    library, work = tmp_path / "library", tmp_path / "work"
    write(library, common=uses("part.json"), part=LEAST)
    write(
        work, top=uses("common"), path=uses("library/common"), own=uses("part.json"), part=LEAST.replace('"x"', '"y"')
    )
    monkeypatch.setattr(shipped, "folders", lambda: (library,))
    top = Workflow.load(work / "top.json").nodes["s0"]
    assert isinstance(top, SubWorkflow)
    assert top.workflow.path == library / "common.json"
    inner = top.workflow.nodes["s0"]
    assert isinstance(inner, SubWorkflow)
    assert inner.workflow.path == library / "part.json"
    own = Workflow.load(work / "own.json").nodes["s0"]
    assert isinstance(own, SubWorkflow)
    assert own.workflow.path == work / "part.json"
    assert [problem.code for problem in reader.read(work / "path.json")[1]] == ["file"]


def test_long_chains_need_no_recursion() -> None:
    nodes = {f"n{i}": {"type": "t", "inputs": {"a": {"from": f"n{i - 1}"} if i else 0}} for i in range(20_000)}
    text = json.dumps({"stepgraph": 1, "nodes": nodes, "outputs": {"x": {"from": "n19999"}}})
    workflow, problems = reader.parse(text)
    assert problems == []
    assert workflow is not None
    assert len(workflow.nodes) == 20_000
