"""Arguments that several commands share, and what they mean."""

from __future__ import annotations

import argparse
import sys
from collections.abc import Iterable
from pathlib import Path
from typing import TYPE_CHECKING

from graphcore.cli import text
from graphcore.cli.failure import UsageError
from graphcore.files import shipped

if TYPE_CHECKING:
    from graphcore.plugins.loader import Plugins

PLUGINS = Path("plugins")
"""The plugin folder that is used where none is named."""


def add_help(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("-h", "--help", action="help", help="show this help and leave")


def add_plugins(parser: argparse.ArgumentParser) -> None:
    parser.add_argument(
        "--plugins",
        metavar="DIR",
        type=Path,
        action="append",
        help="a folder of plugins; may be repeated (default: ./plugins, if there is one)",
    )


def add_json(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("--json", action="store_true", help="write JSON, for programs")


def add_settings(parser: argparse.ArgumentParser) -> None:
    parser.add_argument(
        "--set",
        metavar="NAME=VALUE",
        action="append",
        default=[],
        help="the value of one of the workflow's inputs; may be repeated",
    )


def add_cache(parser: argparse.ArgumentParser) -> None:
    parser.add_argument(
        "--cache", metavar="DIR", type=Path, help="the folder of the cache (default: below STEPGRAPH_HOME)"
    )


def add_device(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("--device", default="auto", help="auto (a GPU where there is one), cpu, cuda, cuda:1, mps")
    parser.add_argument("--dtype", default="auto", choices=("auto", "float32", "float16", "bfloat16"))


def device(options: argparse.Namespace) -> str:
    """The device that is named, once it is known to work."""
    from graphcore.values import tensors

    name: str = options.device
    if trouble := tensors.trouble_with(name):
        raise UsageError(f"--device {name}: {trouble}")
    return name


def add_roots(parser: argparse.ArgumentParser) -> None:
    parser.add_argument(
        "--root",
        metavar="DIR",
        type=Path,
        action="append",
        default=[],
        help="a folder that nodes may read, besides the workflow's own and paths given with --set; may be repeated",
    )


def roots(options: argparse.Namespace, files: Iterable[Path], given: Iterable[Path]) -> tuple[Path, ...]:
    """What nodes may read: the folders of the workflow's files, the shipped ones, what the person named; no other."""
    _refuse_strangers("--root", options.root)
    folders = dict.fromkeys(path.parent.absolute() for path in sorted(files))
    return (*folders, *shipped.folders(), *given, *(root.absolute() for root in options.root))


def plugin_folders(options: argparse.Namespace) -> list[Path]:
    """The folders that are named, else ./plugins if there is one."""
    if options.plugins:
        _refuse_strangers("--plugins", options.plugins)
        return list(options.plugins)
    return [PLUGINS] if PLUGINS.is_dir() else []


def _refuse_strangers(option: str, folders: Iterable[Path]) -> None:
    """A folder that is not there is a mistake on the command line, most often a misspelt one."""
    for folder in folders:
        if not folder.is_dir():
            raise UsageError(f"{option} {folder}: there is no such folder")


def load_plugins(options: argparse.Namespace) -> Plugins:
    """Built-in nodes and plugins; says on stderr which plugin could not be loaded."""
    from graphcore.plugins.loader import Plugins

    plugins = Plugins([folder.absolute() for folder in plugin_folders(options)])
    warn(plugins)
    return plugins


def warn(plugins: Plugins) -> None:
    for state in plugins.states:
        if state.error:
            mark = text.paint("plugin error:", "bold yellow", sys.stderr)
            said = text.printable(f"{state.name}: {state.error}")
            print(f"{mark} {said} (`stepgraph plugins` says more)", file=sys.stderr)


def cache_folder(options: argparse.Namespace) -> Path:
    """The folder of the cache's disk tier."""
    if options.cache is not None:
        return Path(options.cache).absolute()
    from graphcore.home import home

    return home() / "cache"
