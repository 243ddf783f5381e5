"""`stepgraph explain FILE`: which nodes are cached, which will run, and why."""

from __future__ import annotations

import argparse
import json
from collections.abc import Sequence
from contextlib import ExitStack
from typing import TYPE_CHECKING

from graphcore.cli import options as shared
from graphcore.cli import settings, shipped, target, text

if TYPE_CHECKING:
    from graphcore.execution.explain import Explanation

STYLES = {"cached": "green", "run": "yellow", "partly": "yellow", "unknown": "dim"}
WORDS = {"run": "will run", "partly": "partly cached"}


def configure(parser: argparse.ArgumentParser) -> None:
    shared.add_help(parser)
    parser.add_argument("file", metavar="FILE", help="a workflow file, a bare name, or a picture made by a workflow")
    shared.add_settings(parser)
    shared.add_plugins(parser)
    shared.add_cache(parser)
    shared.add_device(parser)
    shared.add_roots(parser)
    shared.add_json(parser)


def main(options: argparse.Namespace) -> int:
    with ExitStack() as stack:
        wanted = target.load(shipped.find(options.file), stack)
        given = settings.read(wanted.workflow, options.set, known=wanted.values)
        found = _explanations(wanted, given, options)
    if options.json:
        print(json.dumps([one.as_dict() for one in found], indent=2, ensure_ascii=False))
    else:
        print(render(found))
    return 0


def _explanations(wanted: target.Target, given: settings.Settings, options: argparse.Namespace) -> list[Explanation]:
    """The one place that knows what is asked."""
    from graphcore.execution.engine import Engine

    registry = shared.load_plugins(options).registry
    with Engine(
        registry=registry,
        cache=shared.cache_folder(options),
        device=shared.device(options),
        dtype=options.dtype,
        roots=shared.roots(options, target.files(wanted.workflow), given.paths),
    ) as engine:
        return list(engine.explain(wanted.workflow, {**wanted.values, **given.values}))


def render(found: Sequence[Explanation]) -> str:
    """One line per node, then how much of it all is there."""
    rows = [(one.node, _count(one), WORDS.get(one.state, one.state), one.reason) for one in found]
    return f"{text.columns(rows, indent='', styles=[STYLES[one.state] for one in found])}\n{summary(found)}"


def _count(one: Explanation) -> str:
    """Iterations of a node in a loop."""
    if one.total < 2:
        return ""
    return f"{one.cached} of {one.total}" if one.state == "partly" else f"{one.total} x"


def summary(found: Sequence[Explanation]) -> str:
    """`61 calls: 60 from the cache, 1 to run`."""
    total, cached = sum(one.total for one in found), sum(one.cached for one in found)
    open_ends = sum(one.state == "unknown" for one in found)
    more = f", and {text.count(open_ends, 'loop')} whose length is not known yet" if open_ends else ""
    return f"{text.count(total, 'call')}: {cached} from the cache, {total - cached} to run{more}"
