"""`stepgraph init DIR`: a folder to work in. What is there already is never touched."""

from __future__ import annotations

import argparse
import json
import re
from collections.abc import Iterator
from pathlib import Path

from graphcore.cli import options as shared
from graphcore.files.shipped import folders

SCHEMA = "workflow.schema.json"

EDITOR = {
    "json.schemas": [{"fileMatch": ["/workflows/*.json", "/*.workflow.json"], "url": f"./{SCHEMA}"}],
    "json.validate.enable": True,
}
"""Settings of VS Code: completion and squiggles in workflow files."""

PLUGIN = '''"""Nodes of your own: every `@node` function here is a node type, called `my_nodes/NAME` in workflows.

Save the file while `stepgraph run FILE --watch` runs, and it runs again with the new version.
"""

from __future__ import annotations

from typing import Annotated

from pydantic import Field

from graphcore import node, note


# The signature is the schema: types make the ports, defaults and `Field` bounds make the form, the docstring the help.
# Values such as `Image`, `Latents` or `Conditioning` are imported from `nodes.types`.
@node(category="text")
def describe(subject: str, colours: list[str], at_most: Annotated[int, Field(ge=1, le=5)] = 2) -> str:
    """A prompt from a subject and some colours: `a tomato, red and green`.

    A node is pure: the same inputs give the same output, so its output can be cached. It never changes its inputs.
    """
    if len(colours) > at_most:
        note(f"only the first {at_most} of {len(colours)} colours are named")  # shown to the person who runs it
    return ", ".join([subject, " and ".join(colours[:at_most])] if colours else [subject])
'''

README = """# A folder for Stepgraph

| here | what it is |
| --- | --- |
| `workflows/` | copies of the workflows that come with Stepgraph, to change as you like |
| `plugins/` | your own node types, one file or package each; loaded by every command that is run in this folder |
| `workflow.schema.json` | completion and checks in editors; `.vscode/settings.json` points to it |

```
stepgraph run workflows/{example}.json             # make the outputs; they lie in outputs/
stepgraph run workflows/{example}.json --watch     # again on every save of the workflow or of a plugin
stepgraph check workflows/{example}.json           # everything that is wrong with it, before it runs
stepgraph explain workflows/{example}.json         # what is cached, what would run, and why
stepgraph nodes                                # the node types, those of plugins/ among them
stepgraph schema --out workflow.schema.json    # once more, after plugins have changed
```
"""


def configure(parser: argparse.ArgumentParser) -> None:
    shared.add_help(parser)
    parser.add_argument("folder", metavar="DIR", type=Path, help="made if it does not exist; existing files are kept")
    shared.add_plugins(parser)


def main(options: argparse.Namespace) -> int:
    from graphcore.cli.schema import dump
    from graphcore.declare.schema import workflow_schema

    folder: Path = options.folder
    made: list[Path] = []
    kept: list[Path] = []
    for path, content in _files(folder):
        (made if _create(path, content) else kept).append(path)
    options.plugins = [*(options.plugins or []), folder / "plugins"]
    schema = dump(workflow_schema(shared.load_plugins(options).registry))
    (made if _create(folder / SCHEMA, schema.encode()) else kept).append(folder / SCHEMA)
    for path in made:
        print(path)
    for path in kept:
        print(f"{path} (kept as it is)")
    return 0


def _files(folder: Path) -> Iterator[tuple[Path, bytes]]:
    """What goes into the folder, but for the schema."""
    sources = {path.name: path for shipped in reversed(folders()) for path in shipped.iterdir() if path.is_file()}
    for name, source in sorted(sources.items()):
        if not name.startswith(".") and not name.endswith(".schema.json"):
            yield folder / "workflows" / name, _with_schema(source)
    yield folder / "plugins" / "my_nodes.py", PLUGIN.encode()
    yield folder / ".vscode" / "settings.json", (json.dumps(EDITOR, indent=2) + "\n").encode()
    names = sorted(name.removesuffix(".json") for name in sources if name.endswith(".json"))
    example = "txt2img" if "txt2img" in names else next(iter(names), "NAME")
    yield folder / "README.md", README.replace("{example}", example).encode()


def _with_schema(source: Path) -> bytes:
    """A file's content; a workflow names the schema, for editors other than VS Code."""
    content = source.read_bytes()
    if source.suffix != ".json" or b'"$schema"' in content:
        return content
    return re.sub(rb"\A\s*\{", rb'{\n  "$schema": "../%s",' % SCHEMA.encode(), content, count=1)


def _create(path: Path, content: bytes) -> bool:
    """Write a new file; False if there is one already."""
    path.parent.mkdir(parents=True, exist_ok=True)
    try:
        with path.open("xb") as file:
            file.write(content)
    except FileExistsError:
        return False
    return True
