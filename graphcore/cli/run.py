"""`stepgraph run FILE`: run a workflow and write its outputs."""

from __future__ import annotations

import argparse
from collections.abc import Sequence
from contextlib import ExitStack
from pathlib import Path
from typing import Any

from graphcore.cli import options as shared

FILE_HELP = "a workflow file, the bare name of a shipped workflow (`stepgraph workflows`), or a PNG picture made by one"


def configure(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("-h", "--help", action=Help, nargs=0, help="show this help, and what can be drawn, and leave")
    parser.add_argument("file", metavar="FILE", help=FILE_HELP)
    shared.add_settings(parser)
    parser.add_argument(
        "--out", metavar="DIR", type=Path, default=Path("outputs"), help="where the outputs go (default: outputs)"
    )
    shared.add_plugins(parser)
    shared.add_cache(parser)
    parser.add_argument("--no-cache", action="store_true", help="read and write no cache on disk")
    parser.add_argument("--events", metavar="FILE", type=Path, help="write every event as a line of JSON")
    parser.add_argument("--trace", metavar="FILE", type=Path, help="write a Chrome trace, for ui.perfetto.dev")
    parser.add_argument("--watch", action="store_true", help="run again whenever the workflow or a plugin is saved")
    shared.add_device(parser)
    shared.add_roots(parser)
    parser.add_argument("--traceback", action="store_true", help="show all frames of an error")


def main(options: argparse.Namespace) -> int:
    from graphcore.cli.session import Session

    with ExitStack() as stack:
        listeners: list[Any] = []
        if options.events:
            from graphcore.cli.eventlog import EventLog

            listeners.append(stack.enter_context(EventLog(options.events)))
        if options.trace:
            from graphcore.cli.trace import Trace

            listeners.append(stack.enter_context(Trace(options.trace)))
        session = Session(options, listeners, stack)
        if options.watch:
            from graphcore.cli.watching import watch

            return watch(session, traceback=options.traceback)
        session.run()
    return 0


class Help(argparse.Action):
    """`--help`: the arguments, the inputs of the workflow that is named, and what the installed libraries say."""

    def __call__(
        self,
        parser: argparse.ArgumentParser,
        namespace: argparse.Namespace,
        values: str | Sequence[Any] | None,
        option: str | None = None,
    ) -> None:
        from graphcore.cli.helptexts import help_texts

        print(parser.format_help())
        if named := getattr(namespace, "file", None):
            print(_inputs(named) + "\n")
        for help_text in help_texts():
            print(help_text + "\n")
        parser.exit()


def _inputs(name: str) -> str:
    from graphcore.cli import shipped, workflows
    from graphcore.files import reader

    workflow, _ = reader.read(shipped.find(name))
    return "" if workflow is None else f"inputs of {name}:\n{workflows.inputs(workflow.inputs)}"
