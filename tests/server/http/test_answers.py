"""A synchronous run that was asked before is answered at once, and never with what would come out otherwise."""

from __future__ import annotations

import json
import time
from pathlib import Path
from typing import Any

from server.work.folders import Folders
from tests.server.http.house import Running, serve

PLUGIN = '''
from pathlib import Path

from graphcore import node

FACTOR = 2


@node(category="test")
def twice(value: int) -> int:
    """Two times a number."""
    return value * FACTOR


def content(file: Path) -> str:
    return Path(file).read_text()


@node(category="test", fingerprint=content)
def read(file: Path) -> int:
    """The number in a file."""
    return int(Path(file).read_text())


@node(category="test", pure=False)
def effect(value: int) -> int:
    """Something that happens outside, too."""
    return value
'''


def workflow(type_: str, input_: str, kind: str, **more: str) -> str:
    nodes = {"n": {"type": type_, "inputs": {input_: {"from": f"inputs.{input_}"}}, **more}}
    inputs = {input_: {"type": kind}}
    return json.dumps({"stepgraph": 1, "inputs": inputs, "nodes": nodes, "outputs": {"out": {"from": "n"}}})


def run(server: Running, name: str, inputs: dict[str, Any], **headers: str) -> tuple[str, Any]:
    """The job that answered, and what it made."""
    answer = server.ask(f"/api/v1/workflows/{name}/run", {"inputs": inputs}, headers=headers)
    assert answer.status == 200, answer.body
    return answer.headers["Location"], answer.json


def test_answers_are_those_of_a_run(tmp_path: Path) -> None:
    folders = Folders(tmp_path / "data")
    folders.make()
    plugin = folders.plugins / "own.py"
    plugin.write_text(PLUGIN)
    number = folders.models / "number"
    number.write_text("5")
    for name, arguments in {
        "twice": ("own/twice", "value", "integer"),
        "read": ("own/read", "file", "path"),
        "effect": ("own/effect", "value", "integer"),
        "inner": ("own/twice", "value", "integer"),
    }.items():
        (folders.workflows / f"{name}.json").write_text(workflow(*arguments))
    (folders.workflows / "outer.json").write_text(workflow("workflow", "value", "integer", path="inner.json"))
    with serve(folders.data) as server:
        first, value = run(server, "twice", {"value": 4})
        assert value == 8
        assert run(server, "twice", {"value": 4}) == (first, 8)
        assert run(server, "twice", {"value": 5})[0] != first
        keyed = run(server, "twice", {"value": 4}, **{"Idempotency-Key": "one"})
        assert keyed[0] != first
        as_json = server.ask(
            "/api/v1/workflows/twice/run", {"inputs": {"value": 4}}, headers={"Accept": "application/json"}
        )
        assert as_json.json["state"] == "succeeded"

        effect, _ = run(server, "effect", {"value": 4})
        assert run(server, "effect", {"value": 4})[0] != effect  # an effect happens each time

        read, value = run(server, "read", {"file": str(number)})
        assert value == 5
        assert run(server, "read", {"file": str(number)}) == (read, 5)
        number.write_text("6")
        again, value = run(server, "read", {"file": str(number)})
        assert again != read
        assert value == 6
        assert run(server, "read", {"file": str(number)}) == (again, 6)
        number.write_text("none")
        for _ in range(2):  # a look that found a change is not the last one
            failed = server.ask("/api/v1/workflows/read/run", {"inputs": {"file": str(number)}})
            assert failed.status == 422
            assert "none" in failed.json["detail"]
        number.write_text("6")
        assert run(server, "read", {"file": str(number)}) == (again, 6)

        outer, value = run(server, "outer", {"value": 4})
        assert value == 8
        assert run(server, "outer", {"value": 4}) == (outer, 8)
        (folders.workflows / "inner.json").write_text(workflow("own/effect", "value", "integer"))
        assert run(server, "outer", {"value": 4})[1] == 4
        (folders.workflows / "inner.json").write_text(workflow("own/twice", "value", "integer"))

        made = server.ask(first).json["result"]["out"]["files"][0]["id"]
        (file,) = folders.files.glob(f"{made}.*")
        file.unlink()
        location, value = run(server, "twice", {"value": 4})
        assert value == 8

        time.sleep(2.1)  # from here on the server trusts the times of the files
        for name in ("twice", "outer"):
            location, _ = run(server, name, {"value": 4})
            assert run(server, name, {"value": 4}) == (location, 8)
        (folders.workflows / "inner.json").write_text(workflow("own/effect", "value", "integer"))
        assert run(server, "outer", {"value": 4})[1] == 4
        number.write_text("7")
        assert run(server, "read", {"file": str(number)})[1] == 7
        plugin.write_text(PLUGIN.replace("FACTOR = 2", "FACTOR = 3"))
        assert run(server, "twice", {"value": 4})[1] == 12
        location, _ = run(server, "twice", {"value": 4})
        (folders.workflows / "twice.json").write_text(workflow("own/twice", "value", "integer") + "\n")
        assert run(server, "twice", {"value": 4})[0] != location  # files tell the workflow that they were made by
        (folders.workflows / "twice.json").write_text(workflow("own/effect", "value", "integer"))
        assert run(server, "twice", {"value": 4})[1] == 4
