"""`stepgraph cache info|verify|clear`: what is kept on disk."""

from __future__ import annotations

import argparse
import json
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from typing import TYPE_CHECKING

from graphcore.cli import options as shared
from graphcore.cli import text
from graphcore.errors import StepgraphError

if TYPE_CHECKING:
    from graphcore.cache import DiskCache


def configure(parser: argparse.ArgumentParser) -> None:
    shared.add_help(parser)
    actions = parser.add_subparsers(metavar="ACTION", required=True, dest="action")
    info = actions.add_parser("info", help="how much there is, and where", allow_abbrev=False)
    verify = actions.add_parser("verify", help="read every file and say what is damaged", allow_abbrev=False)
    clear = actions.add_parser("clear", help="remove all entries", allow_abbrev=False)
    for action in (info, verify, clear):
        shared.add_cache(action)
    shared.add_json(info)
    verify.add_argument("--repair", action="store_true", help="remove what is damaged")


def main(options: argparse.Namespace) -> int:
    with _cache(options) as cache:
        if options.action == "info":
            return _info(cache, as_json=options.json)
        if options.action == "verify":
            return _verify(cache, repair=options.repair)
        print(f"{text.count(cache.clear(), 'entry', 'entries')} removed from {cache.folder}")
    return 0


@contextmanager
def _cache(options: argparse.Namespace) -> Iterator[DiskCache]:
    """The disk tier, with no classes: what it holds is looked at, not built."""
    from graphcore.cache import DiskCache
    from graphcore.execution.engine import DISK_LIMIT

    cache = DiskCache(shared.cache_folder(options), DISK_LIMIT, {})
    try:
        if reason := cache.info().reason:
            raise StepgraphError(f"the cache {cache.folder}: {reason}; name another with --cache or STEPGRAPH_HOME")
        yield cache
    finally:
        cache.close()


def _info(cache: DiskCache, *, as_json: bool) -> int:
    known = cache.info()
    if as_json:
        facts = {"folder": str(known.folder), "entries": known.entries, "bytes": known.bytes, "limit": known.limit}
        print(json.dumps(facts, indent=2))
    else:
        share = f"{text.size(known.bytes)} of at most {text.size(known.limit)}"
        print(
            text.columns([("folder", str(known.folder)), ("entries", f"{known.entries:,}"), ("size", share)], indent="")
        )
    return 0


def _verify(cache: DiskCache, *, repair: bool) -> int:
    entries = cache.info().entries
    problems = cache.verify(repair=repair)
    for problem in problems:
        print(text.printable(problem))
    if not problems:
        print(f"{text.count(entries, 'entry', 'entries')}, all whole")
    elif repair:
        print(f"{text.count(len(problems), 'damaged file')} removed; what is missing is made again when it is needed")
    else:
        hint = "damage is harmless (a damaged value is made again); --repair removes it"
        print(f"{text.count(len(problems), 'problem')}; {hint}", file=sys.stderr)
    return 1 if problems and not repair else 0
