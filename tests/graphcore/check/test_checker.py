"""What the checker finds in a graph: one mistake, one problem, at its exact place, with the likely fix."""

# ruff: noqa: E501 (a table has one case per line)

from __future__ import annotations

import copy
import json
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest

from graphcore.check import checker
from graphcore.files import reader
from tests.graphcore.small_world import PARTS, REGISTRY, only, place_of, problems_of, workflow

LOOP: dict[str, Any] = {
    "type": "loop",
    "inputs": {"coder": {"from": "coder.coder"}},
    "each": {"t": {"from": "coder.times"}},
    "carry": {"code": {"from": "code"}},
    "body": {
        "nodes": {
            "picture": {
                "type": "decode",
                "inputs": {"coder": {"from": "inputs.coder"}, "code": {"from": "carry.code"}},
            },
            "next": {"type": "encode", "inputs": {"coder": {"from": "inputs.coder"}, "picture": {"from": "picture"}}},
            "text": {"type": "name_of", "inputs": {"number": {"from": "index"}}},
        },
        "carry": {"code": {"from": "next"}},
        "collect": {"pictures": {"from": "picture"}},
    },
}
MAP: dict[str, Any] = {
    "type": "map",
    "each": {"w": [1, 2, 3]},
    "body": {
        "nodes": {"one": {"type": "load", "inputs": {"path": "x", "width": {"from": "each.w"}}}},
        "outputs": {"pictures": {"from": "one"}},
    },
}
SWITCH: dict[str, Any] = {
    "type": "switch", "select": "a", "cases": {"a": {"from": "photo"}, "b": {"from": "photo"}},
}  # fmt: skip
END: dict[str, Any] = {"type": "mix", "inputs": {"pictures": {"from": "loop.pictures"}}}


def whole() -> dict[str, Any]:
    """A workflow with one of everything and no mistake."""
    nodes = {**PARTS, "loop": LOOP, "map": MAP, "switch": SWITCH, "end": END}
    return copy.deepcopy(
        workflow(nodes, {"out": {"from": "end"}, "code": {"from": "loop.code"}, "many": {"from": "map"}})
    )


def test_the_whole_has_no_mistake() -> None:
    assert problems_of(whole(), models=True) == []


def with_(*path_and_value: Any) -> Callable[[dict[str, Any]], None]:
    """Sets (or, with ..., removes) a value in a workflow; the path is dotted."""
    path, value = path_and_value

    def change(data: dict[str, Any]) -> None:
        *steps, last = path.split("/")
        for step in steps:
            data = data[step]
        if value is ...:
            del data[last]
        else:
            data[last] = value

    return change


def link(text: str) -> dict[str, str]:
    return {"from": text}


@dataclass(frozen=True)
class Case:
    """A change that makes one mistake, and what is said about it.

    `at` is a piece of the text (of its first occurrence, or of the one given), where the problem is reported.
    """

    change: Callable[[dict[str, Any]], None]
    code: str
    at: str
    node: str
    port: str
    words: str
    count: int = 1


CODE, BODY = "nodes/code", "nodes/loop/body"
CASES: dict[str, Case] = {
    # names
    "node type": Case(with_(f"{CODE}/type", "encod"), "unknown-node-type", '"encod"', "code", "", "did you mean `encode`"),
    "structure": Case(with_("nodes/map/type", "mapp"), "unknown-key", "", "map", "", ""),
    "plugin": Case(with_(f"{CODE}/type", "other/encode"), "unknown-node-type", '"other/encode"', "code", "", "no plugin `other` is loaded"),
    "plugin's node": Case(with_(f"{CODE}/type", "my_plugin/depth_encoder2"), "unknown-node-type", '"my_plugin/', "code", "", "did you mean `my_plugin/depth_encoder`?"),
    "node without plugin": Case(with_(f"{CODE}/type", "depth_encoder"), "unknown-node-type", '"depth_encoder"', "code", "", "did you mean `my_plugin/depth_encoder`?"),
    "port": Case(with_("nodes/photo/inputs/widht", 3), "unknown-port", '"widht"', "photo", "widht", "did you mean `width`?"),
    "far port": Case(with_("nodes/photo/inputs/zzz", 3), "unknown-port", '"zzz"', "photo", "zzz", "its inputs: `path`, `width`"),
    "renamed port": Case(with_("nodes/end/inputs", {"picture": link("loop.pictures")}), "unknown-port", '"picture": {\n          "from": "loop', "end", "picture", "did you mean `pictures`?"),
    "node": Case(with_(f"{CODE}/inputs/picture", link("phoot")), "unknown-node", '"phoot"', "code", "picture", "did you mean `photo`?"),
    "input": Case(with_(f"{CODE}/inputs/picture", link("inputs.p")), "unknown-name", '"inputs.p"', "code", "picture", "`inputs.p` names nothing"),
    "output": Case(with_(f"{CODE}/inputs/coder", link("coder.codr")), "unknown-output", '"coder.codr"', "code", "coder", "did you mean `coder`?"),
    "single output": Case(with_(f"{CODE}/inputs/picture", link("photo.image")), "unknown-output", '"photo.image"', "code", "picture", 'write {"from": "photo"}'),
    "loop output": Case(with_("nodes/end/inputs/pictures", link("loop.picture")), "unknown-output", '"loop.picture"', "end", "pictures", "did you mean `pictures`"),
    "no outputs": Case(lambda d: (with_("nodes/s", {"type": "save", "inputs": {"picture": link("photo")}})(d), with_("outputs/x", link("s"))(d)), "output-missing", '"s"', "", "x", "`s` has no outputs", 2),
    "several outputs": Case(with_(f"{CODE}/inputs/coder", link("coder")), "output-missing", '"coder"\n', "code", "coder", "`coder`, `times`, `size` (did you mean `coder.coder`?)"),
    "scope name": Case(with_(f"{BODY}/nodes/next/inputs/coder", link("inputs.codr")), "unknown-name", '"inputs.codr"', "loop.next", "coder", "did you mean `inputs.coder`?"),
    "scope alone": Case(with_(f"{BODY}/nodes/next/inputs/coder", link("inputs")), "unknown-name", '"inputs"\n', "loop.next", "coder", "`inputs` alone"),
    "carry outside": Case(with_(f"{CODE}/inputs/picture", link("carry.x")), "unknown-node", '"carry.x"', "code", "picture", "only in the body of a loop"),
    "index with output": Case(with_(f"{BODY}/nodes/text/inputs/number", link("index.n")), "unknown-output", '"index.n"', "loop.text", "number", 'write {"from": "index"}'),
    "map has no carry": Case(with_("nodes/map/body/nodes/one/inputs/width", link("carry.w")), "unknown-node", '"carry.w"', "map.one", "width", "body of a loop"),
    "output of the file": Case(with_("outputs/out", link("ennd")), "unknown-node", '"ennd"', "", "out", "did you mean `end`?"),
    # bodies
    "into a body": Case(with_(f"{BODY}/nodes/next/inputs/picture", link("photo")), "scope", '"photo"', "loop.next", "picture", 'pass it through the inputs of `loop`: "inputs": {"photo": {"from": "photo"}}, and link `inputs.photo` here', 3),
    "out of a body": Case(with_("nodes/end/inputs/pictures", [link("picture")]), "scope", '"picture"\n', "end", "pictures", "`picture` is inside the body of `loop` (link an output of `loop`: `code`, `pictures`)", 3),
    # types
    "wrong type": Case(with_(f"{BODY}/nodes/picture/inputs/code", link("inputs.coder")), "type", '"inputs.coder"', "loop.picture", "code", "wants Code, got Coder from `inputs.coder` (`encode` makes Code from a Coder)", 2),
    "conversion": Case(with_("nodes/end/inputs/pictures", [link("loop.code")]), "type", '"loop.code"', "end", "pictures", "wants Picture, got Code from `loop.code` (`decode` makes Picture from a Code)"),
    "other output": Case(with_(f"{CODE}/inputs/coder", link("coder.times")), "type", '"coder.times"', "code", "coder", "wants Coder, got Times from `coder.times` (did you mean `coder.coder`?)"),
    "one for a list": Case(with_("nodes/end/inputs/pictures", link("photo")), "type", '"photo"', "end", "pictures", 'write a list: [{"from": "photo"}]', 5),
    "a list for one": Case(with_(f"{CODE}/inputs/picture", link("loop.pictures")), "cycle", '"code"', "code", "", "code -> loop -> code"),
    "list for one": Case(with_(f"{CODE}/inputs/picture", link("map.pictures")), "type", '"map.pictures"', "code", "picture", "use a `map`"),
    "link for a literal": Case(with_("nodes/photo/inputs/width", link("coder.coder")), "type", '"coder.coder"', "photo", "width", "wants int, got Coder"),
    "literal for a link": Case(with_(f"{CODE}/inputs/picture", 5), "literal", "5", "code", "picture", "wants a link to Picture, got 5 (`decode` or `load`"),
    "forgotten braces": Case(with_(f"{CODE}/inputs/coder", "coder.coder"), "literal", '"coder.coder"', "code", "coder", 'write {"from": "coder.coder"}'),
    "misspelt from": Case(with_(f"{CODE}/inputs/picture", {"form": "photo"}), "literal", '{\n          "form"', "code", "picture", 'a link is written {"from": "node.output"}'),
    "list for a link": Case(with_(f"{CODE}/inputs/picture", [link("photo")]), "type", "[\n", "code", "picture", "without [ ]"),
    # missing
    "missing": Case(with_(f"{CODE}/inputs/picture", ...), "missing-input", '"code"', "code", "picture", "wants Picture (`decode` or `load`"),
    "missing literal": Case(with_("nodes/photo/inputs", {}), "missing-input", '"photo"', "photo", "path", "wants Path"),
    # literals
    "text for a number": Case(with_("nodes/photo/inputs/width", "20"), "literal", '"20"', "photo", "width", 'wants a valid integer, got "20" (write 20)'),
    "float for an int": Case(with_("nodes/photo/inputs/width", 20.0), "literal", "20.0", "photo", "width", "(write 20)"),
    "bool for an int": Case(with_("nodes/photo/inputs/width", True), "literal", "true", "photo", "width", "got true"),
    "above": Case(with_("nodes/coder/inputs/width", 65), "literal", "65", "coder", "width", "wants a number less than or equal to 64, got 65"),
    "below": Case(with_("nodes/coder/inputs/width", 0), "literal", "0", "coder", "width", "wants a number greater than or equal to 1, got 0"),
    "choice": Case(with_("nodes/end/inputs/mode", "meen"), "literal", '"meen"', "end", "mode", 'wants one of "mean", "max", got "meen" (did you mean `mean`?)'),
    "in a list": Case(with_("nodes/end/inputs/weights", [1.0, "2"]), "literal", '[\n          1.0', "end", "weights", "at 1"),
    "in a list with links": Case(with_("nodes/end/inputs/weights", [link("coder.size"), "2"]), "literal", '"2"', "end", "weights", "wants a valid number"),
    "null": Case(with_("nodes/photo/inputs/width", None), "literal", "null", "photo", "width", "got null"),
    "a number for text": Case(with_("nodes/coder/inputs/path", 3), "literal", "3", "coder", "path", 'write "3"'),
    # circles
    "circle": Case(lambda d: d["nodes"].update(a={"type": "add", "inputs": {"value": link("b")}}, b={"type": "add", "inputs": {"value": link("c")}}, c={"type": "add", "inputs": {"value": link("a")}}, d={"type": "add", "inputs": {"value": link("c")}}), "cycle", '"a": {\n      "type": "add"', "a", "", "a -> c -> b -> a"),
    "own output": Case(with_("nodes/a", {"type": "add", "inputs": {"value": link("a")}}), "cycle", '"a": {\n      "type": "add"', "a", "", "a -> a"),
    "circle in a body": Case(with_(f"{BODY}/nodes/picture/inputs/code", link("next")), "cycle", '"picture": {\n', "loop.picture", "", "picture -> next -> picture", 2),
    # loops
    "no next": Case(with_(f"{BODY}/carry", {}), "carry", '"code": {\n          "from": "code"', "loop", "code", "does not say how the carry `code` goes on"),
    "no first": Case(with_("nodes/loop/carry", {}), "unknown-name", "", "", "", ""),
    "extra next": Case(with_(f"{BODY}/carry/more", link("index")), "carry", '"more"', "loop", "more", "has no first value"),
    "other next": Case(with_(f"{BODY}/carry/code", link("picture")), "carry", '"picture"\n', "loop", "code", "begins as Code, but goes on as Picture from `picture` (`encode` or `my_plugin/depth_encoder` make Code from a Picture)", 2),
    "each": Case(with_("nodes/loop/each/t", link("coder.size")), "each", '"coder.size"', "loop", "t", "`t` is int"),
    "each literal": Case(with_("nodes/map/each/w", 3), "each", "3", "map", "w", "`w` is int"),
    "lengths": Case(with_("nodes/map/each/v", [1]), "each", "[\n          1\n        ]", "map", "v", "`w` has 3, `v` has 1"),
    "times": Case(with_("nodes/loop/times", "3"), "literal", '"3"', "loop", "times", "wants a whole number"),
    "negative times": Case(with_("nodes/loop/times", -1), "literal", "-1", "loop", "times", "0 or more"),
    "linked times": Case(with_("nodes/loop/times", link("photo")), "type", '"photo"', "loop", "times", "got Picture", 3),
    "clash": Case(with_(f"{BODY}/collect/code", link("picture")), "collect", '"code": {\n            "from": "picture"', "loop", "code", "both a carry and a collect"),
    "item type": Case(with_("nodes/map/each/w", ["a", "b"]), "type", '"each.w"', "map.one", "width", "wants int, got str"),
    # switches
    "case": Case(with_("nodes/switch/select", "c"), "switch", '"c"', "switch", "select", "there is no case `c`"),
    "select": Case(with_("nodes/switch/select", link("photo")), "switch", '"photo"', "switch", "select", "wants text, a whole number or true/false, got Picture", 3),
    "case type": Case(lambda d: (with_("nodes/switch", {"type": "switch", "select": link("coder.size"), "cases": {"8": link("photo"), "9": link("code")}})(d), with_("outputs/x", [link("end")])(d), with_(f"{CODE}/note", "x")(d), with_("nodes/z", {"type": "save", "inputs": {"picture": link("switch")}})(d)), "type", '"switch"\n', "z", "picture", "wants Picture, got Picture or Code from `switch`"),
}  # fmt: skip
del CASES["structure"], CASES["no first"]  # they make several problems, see below


@pytest.mark.parametrize("case", CASES.values(), ids=CASES.keys())
def test_a_mistake_is_one_problem_at_its_place(case: Case) -> None:
    data = whole()
    case.change(data)
    text = json.dumps(data, indent=2)
    problem = only(text)
    assert problem.code == case.code, problem.describe()
    assert (problem.node, problem.port) == (case.node, case.port)
    assert case.words in problem.describe()
    place = place_of(text, case.at, case.count)
    assert (problem.line, problem.column) == place, (problem.describe(), place)


def test_a_carry_without_first_value_is_said_where_it_is_used() -> None:
    data = whole()
    data["nodes"]["loop"]["carry"] = {}
    data["outputs"].pop("code")
    assert {(problem.code, problem.node) for problem in problems_of(data)} == {
        ("carry", "loop"),
        ("unknown-name", "loop.picture"),
    }


def test_all_mistakes_come_at_once_in_the_order_of_the_file() -> None:
    data = whole()
    for name in ("port", "node", "above", "choice", "other next"):
        CASES[name].change(data)
    found = problems_of(json.dumps(data, indent=2))
    assert sorted(problem.code for problem in found) == ["carry", "literal", "literal", "unknown-node", "unknown-port"]
    assert [(p.line, p.column) for p in found] == sorted((p.line, p.column) for p in found)


def test_what_comes_from_an_unknown_node_fits_everything() -> None:
    data = whole()
    data["nodes"]["coder"]["type"] = "opener"
    data["nodes"]["photo"]["type"] = "loader"
    assert [problem.code for problem in problems_of(data, models=True)] == ["unknown-node-type"] * 2


def test_several_circles_are_reported_each() -> None:
    def pair(a: str, b: str) -> dict[str, Any]:
        return {a: {"type": "add", "inputs": {"value": link(b)}}, b: {"type": "add", "inputs": {"value": link(a)}}}

    found = problems_of(workflow({**pair("a", "b"), **pair("c", "d")}))
    assert [problem.got for problem in found] == ["a -> b -> a", "c -> d -> c"]


def test_a_carry_may_begin_as_null_or_as_a_whole_number() -> None:
    body = {"nodes": {"next": {"type": "add", "inputs": {"value": link("carry.sum")}}}, "carry": {"sum": link("next")}}
    assert problems_of(workflow({"l": {"type": "loop", "times": 2, "carry": {"sum": 0}, "body": body}})) == []
    seen = {
        "nodes": {
            "name": {"type": "name_of", "inputs": {"number": 1, "code": link("carry.code")}},
            "code": {"type": "my_plugin/depth_encoder", "inputs": {"picture": link("inputs.photo")}},
        },
        "carry": {"code": link("code")},
        "collect": {"names": link("name")},
    }
    loop = {"type": "loop", "times": 2, "inputs": {"photo": link("photo")}, "carry": {"code": None}, "body": seen}
    assert problems_of(workflow({"photo": PARTS["photo"], "loop": loop}, {"x": link("loop.names")})) == []


def test_a_loop_in_a_loop_is_checked_with_the_types_around_it() -> None:
    inner = {
        "type": "loop", "times": 1, "carry": {"code": link("carry.code")}, "inputs": {"coder": link("inputs.coder")},
        "body": LOOP["body"],
    }  # fmt: skip
    outer = {**LOOP, "body": {"nodes": {"inner": inner}, "carry": {"code": link("inner.pictures")}}}
    problem = only(workflow({**PARTS, "loop": outer}, {"x": link("loop.code")}))
    assert (problem.code, problem.node, problem.got) == ("carry", "loop", "list[Picture]")


# -- inputs ----------------------------------------------------------------------------------------------------

INPUTS = {
    "width": {"type": "integer", "default": 4, "minimum": 1, "maximum": 64},
    "path": {"type": "path"},
    "mode": {"type": "string", "enum": ["mean", "max"], "default": "mean"},
}


def with_inputs() -> dict[str, Any]:
    inputs = {"path": link("inputs.path"), "width": link("inputs.width")}
    return workflow({"photo": {"type": "load", "inputs": inputs}}, inputs=INPUTS)


@pytest.mark.parametrize(
    ("inputs", "code", "port", "words"),
    [
        ({"path": "x", "widht": 3}, "unknown-input", "widht", "did you mean `width`?"),
        ({"width": 3}, "missing-input", "path", "--set path="),
        ({"path": "x", "width": "3"}, "input", "width", 'wants a whole number, got "3"'),
        ({"path": "x", "width": True}, "input", "width", "got true"),
        ({"path": "x", "width": 0}, "input", "width", "wants at least 1, got 0"),
        ({"path": "x", "width": 65}, "input", "width", "wants at most 64, got 65"),
        ({"path": 5}, "input", "path", "wants a path (text), got 5"),
        ({"path": "a\ud800"}, "input", "path", "wants a path"),
        ({"path": "x", "mode": "min"}, "input", "mode", 'wants one of "mean", "max", got "min"'),
    ],
)
def test_a_wrong_input_is_refused(inputs: dict[str, Any], code: str, port: str, words: str) -> None:
    problem = only(with_inputs(), inputs, models=True)
    assert (problem.code, problem.port) == (code, port)
    assert words in problem.describe()


def test_right_inputs_pass_and_a_file_alone_needs_none() -> None:
    assert problems_of(with_inputs(), {"path": "x", "width": 3}) == []
    assert problems_of(with_inputs(), {"path": Path("x")}) == []
    assert problems_of(with_inputs(), None) == []


def test_an_input_is_typed_by_its_description() -> None:
    data = with_inputs()
    data["nodes"]["photo"]["inputs"]["width"] = link("inputs.mode")
    assert only(data).message == "wants int, got 'mean' or 'max' from `inputs.mode`"
    data["nodes"]["photo"]["inputs"]["width"] = link("photo")
    data["nodes"]["photo"]["inputs"]["width"] = link("inputs.widht")
    assert only(data).fix.startswith("did you mean `inputs.width`")


# -- files in files --------------------------------------------------------------------------------------------

PART = workflow(
    {"loop": {**LOOP, "inputs": {"coder": link("inputs.coder")}, "each": {"t": link("inputs.times")},
              "carry": {"code": link("inputs.code")}}},
    {"code": link("loop.code"), "same": link("inputs.code"), "pictures": link("loop.pictures")},
    inputs={"coder": {"type": "any"}, "times": {"type": "any"}, "code": {"type": "any"},
            "width": {"type": "integer", "default": 1, "maximum": 9}},
)  # fmt: skip
USE: dict[str, Any] = {
    "type": "workflow", "path": "part.json",
    "inputs": {"coder": link("coder.coder"), "times": link("coder.times"), "code": link("code")},
}  # fmt: skip


def two_files(folder: Path, change: Callable[[dict[str, Any]], None], part: Any = PART) -> list[Any]:
    top = copy.deepcopy(workflow({**PARTS, "use": USE, "end": END}))
    top["nodes"]["end"]["inputs"]["pictures"] = link("use.pictures")
    change(top)
    (folder / "top.json").write_text(json.dumps(top, indent=2))
    (folder / "part.json").write_text(json.dumps(part, indent=2))
    return checker.check_file(folder / "top.json", REGISTRY)


FILES = {
    "whole": (lambda d: None, "", ""),
    "unknown": (with_("nodes/use/inputs/codr", 1), "unknown-port", "did you mean `coder`"),
    "missing": (with_("nodes/use/inputs/times", ...), "missing-input", "the input `times` of `part.json` is missing"),
    "type": (with_("nodes/use/inputs/code", link("photo")), "type", "wants Code, got Picture from `photo`"),
    "sequence": (with_("nodes/use/inputs/times", link("coder.size")), "type", "wants list, got int"),
    "literal": (with_("nodes/use/inputs/width", 10), "literal", "wants at most 9, got 10"),
    "typed": (with_("nodes/use/inputs/width", link("photo")), "type", "wants int, got Picture"),
    "output": (with_("outputs/out", link("use.picture")), "unknown-output", "did you mean `pictures`?"),
    "output type": (with_("nodes/end/inputs/pictures", [link("use.code")]), "type", "wants Picture, got Code"),
    "passed on": (with_("nodes/end/inputs/pictures", [link("use.same")]), "type", "wants Picture, got Code"),
}


@pytest.mark.parametrize(("change", "code", "words"), FILES.values(), ids=FILES.keys())
def test_a_file_as_a_node(change: Callable[[dict[str, Any]], None], code: str, words: str, tmp_path: Path) -> None:
    found = two_files(tmp_path, change)
    assert [problem.code for problem in found] == [code] * bool(code)
    for problem in found:
        assert words in problem.describe()
        assert problem.file == str(tmp_path / "top.json")
        assert problem.line > 1


def test_a_mistake_in_a_file_used_twice_is_one_problem_there(tmp_path: Path) -> None:
    part = copy.deepcopy(PART)
    part["nodes"]["loop"]["body"]["nodes"]["next"]["type"] = "encod"
    [problem] = two_files(tmp_path, with_("nodes/again", USE), part)
    assert (problem.file, problem.node, problem.code) == (
        str(tmp_path / "part.json"), "loop.next", "unknown-node-type",
    )  # fmt: skip
    text = (tmp_path / "part.json").read_text()
    assert (problem.line, problem.column) == place_of(text, '"encod"')


def test_form_and_graph_are_reported_together(tmp_path: Path) -> None:
    file = tmp_path / "w.json"
    data = with_inputs()
    data["titel"] = "x"
    data["nodes"]["photo"]["inputs"]["width"] = "3"
    file.write_text(json.dumps(data, indent=1))
    assert {problem.code for problem in checker.check_file(file, REGISTRY)} == {"unknown-key", "literal"}
    assert [problem.code for problem in checker.check_file(tmp_path / "none.json", REGISTRY)] == ["file"]


@pytest.mark.parametrize("shape", ["chain", "fan"])
def test_large_graphs_need_no_recursion(shape: str) -> None:
    count = 5000
    nodes: dict[str, Any] = {
        f"n{i}": {"type": "add", "inputs": {"value": link(f"n{i - 1}") if i and shape == "chain" else 0.0}}
        for i in range(count)
    }
    nodes["end"] = {"type": "mix", "inputs": {"pictures": [], "weights": [link(f"n{i}") for i in range(count)]}}
    text = json.dumps(workflow(nodes))
    read, problems = reader.parse(text)
    assert problems == []
    assert read is not None
    assert checker.check(read, REGISTRY) == []
