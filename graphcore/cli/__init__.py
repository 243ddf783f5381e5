"""The command line, `stepgraph`: only the command that is asked for is imported."""

from __future__ import annotations

import argparse
import importlib
import sys
from collections.abc import Sequence
from importlib.metadata import PackageNotFoundError, entry_points, version
from io import TextIOWrapper

COMMANDS = {
    "run": "run a workflow and write its outputs",
    "check": "say everything that is wrong with a workflow, before anything runs",
    "explain": "say which nodes are cached, which will run, and why",
    "workflows": "list the workflows that come with Stepgraph, and their inputs",
    "nodes": "list the node types, or document one",
    "plugins": "list the plugins and what went wrong with them",
    "schema": "write the JSON Schema of workflow files for the installed nodes",
    "cache": "show, verify or clear the cache",
    "init": "make a folder to work in",
}
"""Name and help of each command; the module of the same name holds `configure(parser)` and `main(options)`."""

GROUP = "stepgraph.commands"
"""Entry points of further commands: modules with `HELP`, `configure(parser)` and `main(options)`."""

CHECKOUT = {"serve": "server.cli"}
"""Those of a checkout that is not installed."""

INTERRUPTED = 130


def main(argv: Sequence[str] | None = None) -> int:
    """Run one command.

    Returns:
        0 ok, 1 run or check failed, 2 usage, 130 interrupted.
    """
    arguments = sys.argv[1:] if argv is None else list(argv)
    options: argparse.Namespace | None = None
    if isinstance(sys.stdout, TextIOWrapper):
        sys.stdout.reconfigure(errors="backslashreplace")  # a name that the terminal cannot show costs no run
    try:
        options = _parser(arguments).parse_args(arguments)
        code = int(options.main(options))
        sys.stdout.flush()  # here, where a reader that has left can be told from a failure
        return code
    except SystemExit as stop:  # argparse has said what it had to say
        return stop.code if isinstance(stop.code, int) else 0 if stop.code is None else 2
    except KeyboardInterrupt:
        print("interrupted", file=sys.stderr)
        return INTERRUPTED
    except Exception as error:
        from graphcore.cli import failure

        return failure.report(error, traceback=getattr(options, "traceback", False))


def _parser(arguments: Sequence[str]) -> argparse.ArgumentParser:
    """All commands with their one-line help; the arguments of the one that is asked for."""
    parser = argparse.ArgumentParser(
        prog="stepgraph",
        description="A node-graph engine for latent diffusion whose denoising loop is open.",
        epilog="`stepgraph run txt2img --set prompt='a red apple'` makes a first picture.",
        allow_abbrev=False,
    )
    parser.add_argument("--version", action="version", version=f"stepgraph {_version()}")
    commands = parser.add_subparsers(metavar="COMMAND", required=True)
    asked = next((argument for argument in arguments if not argument.startswith("-")), "")
    modules = {name: f"graphcore.cli.{name}" for name in COMMANDS} | _further()
    for name, place in modules.items():
        text = COMMANDS.get(name) or str(importlib.import_module(place).HELP)
        command = commands.add_parser(
            name, help=text, description=f"{text[0].upper()}{text[1:]}.", allow_abbrev=False, add_help=False
        )
        if name == asked:
            module = importlib.import_module(place)
            module.configure(command)
            command.set_defaults(main=module.main)
    return parser


def _further() -> dict[str, str]:
    """Commands that other parts of the house and other packages bring along: name and module."""
    return {entry.name: entry.value for entry in entry_points(group=GROUP)} or CHECKOUT


def _version() -> str:
    try:
        return version("stepgraph")
    except PackageNotFoundError:
        return "(not installed)"
