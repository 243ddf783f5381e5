"""A data folder belongs to one server at a time: two would each take the other's jobs for abandoned.

The lock is the system's own: it ends with the process that holds it, however that ends.
"""

from __future__ import annotations

import os
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import IO

from graphcore import StepgraphError

NAME = "server.lock"


@contextmanager
def claim(data: Path) -> Iterator[None]:
    """Hold a data folder, which is made if it is not there.

    Raises:
        StepgraphError: another server holds it, or nothing can be written there.
    """
    try:
        data.mkdir(parents=True, exist_ok=True, mode=0o700)
        file = (data / NAME).open("a+", encoding="ascii")
    except OSError as error:
        raise StepgraphError(f"--data {data}: nothing can be written there: {error.strerror or error}") from error
    with file:
        if not _lock(file):
            file.seek(0)
            holder = file.read(40).strip() or "unknown"
            raise StepgraphError(
                f"--data {data}: another server (process {holder}) works in this folder; stop that one, or give "
                "this one a folder of its own"
            )
        file.truncate(0)
        file.write(f"{os.getpid()}\n")
        file.flush()
        yield


def _lock(file: IO[str]) -> bool:
    if sys.platform == "win32":
        import msvcrt

        try:
            msvcrt.locking(file.fileno(), msvcrt.LK_NBLCK, 1)
        except OSError:
            return False
        return True
    import fcntl

    try:
        fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except OSError:
        return False
    return True
