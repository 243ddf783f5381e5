"""`stepgraph plugins`: which plugins are loaded, what they offer, what went wrong."""

from __future__ import annotations

import argparse
import json
import sys

from graphcore.cli import options as shared
from graphcore.cli import text
from graphcore.plugins.loader import Plugins, PluginState


def configure(parser: argparse.ArgumentParser) -> None:
    shared.add_help(parser)
    shared.add_plugins(parser)
    shared.add_json(parser)


def main(options: argparse.Namespace) -> int:
    folders = shared.plugin_folders(options)
    states = Plugins([folder.absolute() for folder in folders]).states
    if options.json:
        print(json.dumps([state.as_dict() for state in states], indent=2, ensure_ascii=False))
    else:
        print("\n".join(map(block, states)))
        if not folders:
            print("There is no folder ./plugins; name others with --plugins DIR.")
    return 1 if any(state.error for state in states) else 0


def block(state: PluginState) -> str:
    """A plugin in a line, its nodes and its error below."""
    place = str(state.path) if state.path else f"installed, {text.count(len(state.nodes), 'node')}"
    lines = [f"{text.paint(state.name, 'bold', sys.stdout)}  {text.printable(place)}"]
    if state.path:
        lines += [f"  {name}" for name in state.nodes]
        if not state.nodes and not state.error:
            lines.append("  no nodes: it holds no function with `@node`")
    if state.error:
        lines.append(f"  {text.paint('error:', 'bold red', sys.stdout)} {text.printable(state.error)}")
        lines += [f"    {line}" for line in text.printable(state.traceback).splitlines()]
    return "\n".join(lines)
