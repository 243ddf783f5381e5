"""`--watch`: run again whenever the workflow, one that it uses, or a plugin is saved."""

from __future__ import annotations

import sys
import time
from collections.abc import Iterable
from pathlib import Path
from queue import Empty, Queue
from typing import NoReturn

from graphcore.cli import failure, text
from graphcore.cli.failure import UsageError
from graphcore.cli.session import Session
from graphcore.errors import Cancelled
from graphcore.plugins.watch import Watcher


def watch(session: Session, *, traceback: bool = False) -> NoReturn:
    """Run, wait for a save, run again, until Ctrl-C. A save during a run ends that run first.

    Raises:
        KeyboardInterrupt, Cancelled: Ctrl-C.
        UsageError: the command line is wrong from the start.
    """
    changes: Queue[set[Path]] = Queue()

    def notice(paths: set[Path]) -> None:
        changes.put(paths)
        session.cancel()

    first, watched, watcher = True, set[Path](), None
    try:
        while True:
            wanted = session.files() | set(session.plugins.folders)
            if wanted != watched:
                if watcher is not None:
                    watcher.stop()
                watched, watcher = wanted, Watcher(wanted, notice).__enter__()
            _attempt(session, changes, first=first, traceback=traceback)
            first = False
            _say("waiting for a change; Ctrl-C ends", "dim")
            changed = _take(changes)
            _say(f"{time.strftime('%H:%M:%S')} changed: {_names(changed)}", "bold")
            _reload(session)
    finally:
        if watcher is not None:
            watcher.stop()


def _attempt(session: Session, changes: Queue[set[Path]], *, first: bool, traceback: bool) -> None:
    """One run; what goes wrong is said, and the next save may mend it."""
    try:
        session.run()
    except Cancelled:
        if session.interrupted or changes.empty():
            raise  # it was Ctrl-C, be there a save at the same time or not
    except Exception as error:
        if first and isinstance(error, UsageError):
            raise
        failure.report(error, traceback=traceback)


def _take(changes: Queue[set[Path]]) -> set[Path]:
    """Wait for changes; takes all that have come."""
    changed = changes.get()
    try:
        while True:
            changed |= changes.get_nowait()
    except Empty:
        return changed


def _reload(session: Session) -> None:
    for state in session.plugins.reload():
        if state.error:
            _say(f"plugin {state.name}: {state.error}", "bold yellow")
        else:
            _say(f"plugin {state.name}: loaded, {text.count(len(state.nodes), 'node')}", "")
    session.use_plugins()


def _names(paths: Iterable[Path]) -> str:
    return ", ".join(sorted(path.name for path in paths))


def _say(words: str, style: str) -> None:
    words = text.printable(words)
    print(text.paint(words, style, sys.stderr) if style else words, file=sys.stderr, flush=True)
