"""`stepgraph nodes [NAME]`: the node types at hand, or the documentation of one."""

from __future__ import annotations

import argparse
import json
import sys
from collections.abc import Iterable
from typing import Any

from graphcore.cli import options as shared
from graphcore.cli import text
from graphcore.declare import description, ports
from graphcore.declare.node import NodeType, Port
from graphcore.declare.registry import short_name

BOUNDS = {
    "minimum": "at least", "exclusiveMinimum": "above", "maximum": "at most", "exclusiveMaximum": "below",
    "minLength": "characters at least", "maxLength": "characters at most", "multipleOf": "a multiple of",
}  # fmt: skip


def configure(parser: argparse.ArgumentParser) -> None:
    shared.add_help(parser)
    parser.add_argument("name", metavar="NAME", nargs="?", help="a node type, such as unet or my_plugin/depth")
    shared.add_plugins(parser)
    shared.add_json(parser)


def main(options: argparse.Namespace) -> int:
    registry = shared.load_plugins(options).registry
    chosen = [registry.get(options.name)] if options.name else list(registry)
    if options.json:
        described = [description.describe(node) for node in chosen]
        print(json.dumps(described[0] if options.name else described, indent=2, ensure_ascii=False))
    elif options.name:
        print(document(chosen[0]))
    else:
        print(overview(chosen))
    return 0


def overview(nodes: Iterable[NodeType]) -> str:
    """Names and first lines, by category."""
    categories: dict[str, list[NodeType]] = {}
    for node in nodes:
        categories.setdefault(node.category, []).append(node)
    longest = max((text.width(short_name(node.name)) for known in categories.values() for node in known), default=0)
    blocks = []
    for category, known in sorted(categories.items()):
        rows = [(short_name(node.name).ljust(longest), text.first_line(node.doc)) for node in known]
        blocks.append(f"{text.paint(category, 'bold', sys.stdout)}\n{text.columns(rows)}")
    return "\n\n".join(blocks)


def document(node: NodeType) -> str:
    """What a person needs to use one node: purpose, ports, an example."""
    parts = [f"{text.paint(short_name(node.name), 'bold', sys.stdout)}  ({node.category}; {_nature(node)})"]
    if node.doc:
        parts.append("\n".join(f"  {line}".rstrip() for line in text.printable(node.doc).splitlines()))
    for title, known in (("inputs", node.inputs), ("outputs", node.outputs)):
        rows = [(port.name, ports.say(port.annotation), _remark(port, title == "inputs")) for port in known.values()]
        parts.append(f"{title}\n{text.columns(rows)}" if rows else f"{title}\n  none")
    parts.append(f"in a workflow\n  {json.dumps(example(node), ensure_ascii=False)}")
    return "\n\n".join(parts)


def _nature(node: NodeType) -> str:
    hooks = [name for name in ("fingerprint", "batch", "infer", "preview") if getattr(node, name) is not None]
    pure = "pure" if node.pure else "has an effect: runs in every run"
    return f"{pure}; hooks: {', '.join(hooks)}" if hooks else pure


def _remark(port: Port, is_input: bool) -> str:
    """Default and bounds of an input."""
    if not is_input:
        return ""
    default = "required" if port.required else f"default {description.plain(port.default)!r}"
    schema = description.schema(port) or {}
    bounds = [f"{words} {schema[name]}" for name, words in BOUNDS.items() if name in schema]
    return ", ".join([default if port.literal else f"{default}; a link", *bounds, *([port.help] if port.help else [])])


def example(node: NodeType) -> dict[str, Any]:
    """The node as it stands in a workflow: what is required, as links or as a first literal."""
    inputs = {
        port.name: {"from": "..."} if not port.literal else "..." for port in node.inputs.values() if port.required
    }
    return {"type": short_name(node.name), **({"inputs": inputs} if inputs else {})}
