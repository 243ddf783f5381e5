"""`stepgraph schema`: the JSON Schema of workflow files, for completion and squiggles in editors."""

from __future__ import annotations

import argparse
import json
from pathlib import Path
from typing import Any

from graphcore.cli import options as shared
from graphcore.cli import writing


def configure(parser: argparse.ArgumentParser) -> None:
    shared.add_help(parser)
    parser.add_argument("--out", metavar="FILE", type=Path, help="write to a file instead of to stdout")
    shared.add_plugins(parser)


def main(options: argparse.Namespace) -> int:
    from graphcore.declare.schema import workflow_schema

    document = dump(workflow_schema(shared.load_plugins(options).registry))
    if options.out is None:
        print(document, end="")
    else:
        with writing.named("--out", options.out):
            writing.replace(options.out, document)
        print(options.out)
    return 0


def dump(schema: dict[str, Any]) -> str:
    return json.dumps(schema, indent=2, ensure_ascii=False) + "\n"
