"""The folder of Stepgraph's own files: cache, digests, temporary things."""

from __future__ import annotations

import os
from pathlib import Path

from graphcore.errors import StepgraphError


def home() -> Path:
    """`$STEPGRAPH_HOME`, else `stepgraph` in the user's cache folder (`$XDG_CACHE_HOME`, by default `~/.cache`).

    The folder is not made here. A relative `$XDG_CACHE_HOME` is passed over, as the XDG base directory
    specification asks.

    Raises:
        StepgraphError: the user has no home folder and no variable says another.
    """
    try:
        if chosen := os.environ.get("STEPGRAPH_HOME"):
            return Path(chosen).expanduser().absolute()
        if os.path.isabs(caches := os.environ.get("XDG_CACHE_HOME", "")):
            return Path(caches) / "stepgraph"
        return Path.home() / ".cache" / "stepgraph"
    except RuntimeError as error:
        raise StepgraphError("there is no home folder for the cache; set STEPGRAPH_HOME to a folder") from error
