"""Tells when files change: one call per burst of events, made on a thread of its own."""

from __future__ import annotations

import sys
import threading
import time
import traceback
from collections.abc import Callable, Iterable
from pathlib import Path
from types import TracebackType

from watchdog.events import FileSystemEvent, FileSystemEventHandler
from watchdog.observers import Observer

from graphcore.errors import StepgraphError

LONGEST_WAIT = 20
"""Bursts without an end are reported after this many times the debounce."""

_NO_CHANGE = ("opened", "closed_no_write")
_TEMPORARY = ("~", ".swp", ".swx", ".swo", ".tmp", ".temp", ".bak", ".part", ".crswap", ".pyc", ".orig", "___")
_VIM_PROBE = "4913"


class Watcher:
    """Watches files and folders (with all below them), as a context manager.

    Directories are watched, never a file itself: editors replace a file by renaming another one. Reads, hidden and
    temporary files and `__pycache__` do not count. While `on_change` runs, changes gather for the next call, so two
    calls never overlap. An exception in it is reported, and watching goes on.

    Args:
        paths: Files (they need not exist yet, their folders must) and folders.
        on_change: Gets the paths that changed, absolute and with symbolic links to folders resolved.
        debounce: Seconds of quiet that end a burst.
        on_error: Gets an exception that `on_change` raised; by default its traceback is printed to stderr.

    Raises:
        StepgraphError: on entering, if a folder cannot be watched.
    """

    def __init__(
        self,
        paths: Iterable[Path],
        on_change: Callable[[set[Path]], None],
        debounce: float = 0.15,
        *,
        on_error: Callable[[Exception], None] | None = None,
    ) -> None:
        self._files, self._folders = _targets(paths)
        self._on_change, self._debounce, self._on_error = on_change, debounce, on_error or _print
        self._news = threading.Condition()
        self._changed: set[Path] = set()
        self._last = 0.0
        self._stopping = False
        self._observer = Observer()
        self._worker = threading.Thread(target=self._work, name="stepgraph-watch", daemon=True)

    def __enter__(self) -> Watcher:
        handler = _Handler(self._notice)
        try:
            for folder in sorted(self._folders):
                self._observer.schedule(handler, str(folder), recursive=True)
            for folder in sorted({file.parent for file in self._files} - self._folders):
                self._observer.schedule(handler, str(folder), recursive=False)
            self._observer.start()
        except OSError as error:
            raise StepgraphError(f"cannot watch for changes: {error}") from error
        self._worker.start()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.stop()

    def stop(self) -> None:
        """Stop watching; a call that is under way is awaited, changes that were not reported yet are dropped."""
        with self._news:
            self._stopping = True
            self._news.notify_all()
        if self._observer.is_alive():
            self._observer.stop()
            self._observer.join()
        if self._worker.is_alive() and self._worker is not threading.current_thread():
            self._worker.join()

    def _notice(self, path: Path) -> None:
        if not self._counts(path):
            return
        with self._news:
            self._changed.add(path)
            self._last = time.monotonic()
            self._news.notify_all()

    def _counts(self, path: Path) -> bool:
        """Whether a path is one of those that are watched, and not somebody's temporary file."""
        if path in self._files:
            return True
        for folder in self._folders:
            if path.is_relative_to(folder):
                return not any(_is_noise(part) for part in path.relative_to(folder).parts)
        return False

    def _work(self) -> None:
        while (changed := self._burst()) is not None:
            try:
                self._on_change(changed)
            except Exception as error:
                self._on_error(error)

    def _burst(self) -> set[Path] | None:
        """Wait for a change, then for quiet; None when watching ends."""
        with self._news:
            self._news.wait_for(lambda: self._changed or self._stopping)
            latest = time.monotonic() + LONGEST_WAIT * self._debounce
            while not self._stopping:
                now = time.monotonic()
                rest = min(self._last + self._debounce, latest) - now
                if rest <= 0:
                    break
                self._news.wait(rest)
            changed, self._changed = self._changed, set()
            return None if self._stopping else changed


class _Handler(FileSystemEventHandler):
    """Takes from watchdog's events the paths that changed."""

    def __init__(self, notice: Callable[[Path], None]) -> None:
        self._notice = notice

    def on_any_event(self, event: FileSystemEvent) -> None:
        if event.event_type in _NO_CHANGE or (event.is_directory and event.event_type == "modified"):
            return  # a folder is "modified" whenever anything in it is, noise as well
        for path in (event.src_path, event.dest_path):
            if path:
                self._notice(Path(str(path, "utf-8", "surrogateescape") if isinstance(path, bytes) else path))


def _targets(paths: Iterable[Path]) -> tuple[set[Path], set[Path]]:
    files: set[Path] = set()
    folders: set[Path] = set()
    for path in paths:
        if path.is_dir():
            folders.add(path.resolve())
        else:  # of a symbolic link both ends can change
            files |= {path.parent.resolve() / path.name, path.resolve()}
    inner = {folder for folder in folders if any(above in folders for above in folder.parents)}
    return files, folders - inner


def _is_noise(name: str) -> bool:
    return (
        name.startswith((".", "#")) or name.endswith(_TEMPORARY) or name == "__pycache__" or name == _VIM_PROBE
    )  # fmt: skip


def _print(error: Exception) -> None:
    print("".join(traceback.format_exception(error)), file=sys.stderr)
