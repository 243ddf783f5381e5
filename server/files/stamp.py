"""Whether files are as they were, without opening them: who opens files wakes all that watch them."""

from __future__ import annotations

import os
import stat
import time
from collections.abc import Iterable
from pathlib import Path

RECENT_SECONDS = 2.0
"""A file that changed so lately may change again without another time: clocks of file systems are coarse."""

Stamp = dict[str, tuple[int, int, int] | None]
"""By path the time of the last change, the size and the number of what lies there; None where there is nothing."""


def of(paths: Iterable[str | Path]) -> Stamp | None:
    """The stamp of files and folders (of a folder: which entries it has). Take it before reading them.

    None where it would prove nothing: something changed just now, or is a link, whose end may change unseen.
    """
    edge = time.time_ns() - int(RECENT_SECONDS * 1e9)
    found: Stamp = {}
    for path in paths:
        try:
            status = os.lstat(path)
        except (FileNotFoundError, NotADirectoryError):
            found[str(path)] = None
            continue
        except OSError:
            return None
        if status.st_ctime_ns > edge or stat.S_ISLNK(status.st_mode):
            return None
        found[str(path)] = (status.st_ctime_ns, status.st_size, status.st_ino)
    return found
