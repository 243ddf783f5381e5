"""Ctrl-C: the first ends the run after the node at work, the second ends the process at once."""

from __future__ import annotations

import contextlib
import os
import signal
import socket
import sys
import threading
from collections.abc import Callable, Iterator

INTERRUPTED = 130


@contextlib.contextmanager
def interrupts(cancel: Callable[[], None]) -> Iterator[None]:
    """While inside, Ctrl-C calls `cancel`.

    Python runs signal handlers between bytecodes only, so a long kernel would swallow both Ctrl-C. The interpreter's
    wake-up socket is written to by the signal itself; a thread reads it and can act while the kernel runs.
    """
    if threading.current_thread() is not threading.main_thread():
        yield
        return
    reader, writer = socket.socketpair()
    writer.setblocking(False)
    handler = signal.signal(signal.SIGINT, lambda number, frame: None)
    wakeup = signal.set_wakeup_fd(writer.fileno(), warn_on_full_buffer=False)
    listener = threading.Thread(target=_listen, args=(reader, cancel), daemon=True, name="stepgraph-interrupts")
    listener.start()
    try:
        yield
    finally:
        signal.set_wakeup_fd(wakeup)
        signal.signal(signal.SIGINT, handler)
        writer.close()
        listener.join()
        reader.close()


def _listen(reader: socket.socket, cancel: Callable[[], None]) -> None:
    presses = 0
    while signals := reader.recv(16):
        for _ in range(signals.count(signal.SIGINT)):
            presses += 1
            if presses > 1:
                _leave()
            print("\nending after the node at work; Ctrl-C again ends at once", file=sys.stderr)
            cancel()


def _leave() -> None:
    if sys.stderr.isatty():
        os.write(2, b"\x1b[?25h\n")  # the progress display hides the cursor
    os._exit(INTERRUPTED)
