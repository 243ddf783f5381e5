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
def interrupts(cancel: Callable[[], None]) -> Iterator[threading.Event]:
    """While inside, Ctrl-C calls `cancel`; if that comes too late, KeyboardInterrupt follows at the end.

    What it gives is set once Ctrl-C was pressed.

    Python runs signal handlers between bytecodes only, so a long kernel would swallow both Ctrl-C. The interpreter's
    wake-up socket is written to by the signal itself; a thread reads it and can act while the kernel runs.
    """
    pressed = threading.Event()
    if threading.current_thread() is not threading.main_thread():
        yield pressed
        return
    reader, writer = socket.socketpair()
    writer.setblocking(False)
    wakeup = signal.set_wakeup_fd(writer.fileno(), warn_on_full_buffer=False)
    handler = signal.signal(signal.SIGINT, lambda number, frame: None)  # not before: nobody would hear in between
    arguments = (reader, pressed, cancel)
    listener = threading.Thread(target=_listen, args=arguments, daemon=True, name="stepgraph-interrupts")
    listener.start()
    try:
        yield pressed
    finally:
        signal.signal(signal.SIGINT, handler)
        signal.set_wakeup_fd(wakeup)
        writer.close()
        listener.join()
        reader.close()
    if pressed.is_set():
        raise KeyboardInterrupt


def _listen(reader: socket.socket, pressed: threading.Event, cancel: Callable[[], None]) -> None:
    while signals := reader.recv(16):
        for _ in range(signals.count(signal.SIGINT)):
            if pressed.is_set():
                _leave()
            pressed.set()
            print("\nending after the node at work; Ctrl-C again ends at once", file=sys.stderr, flush=True)
            cancel()


def _leave() -> None:
    if sys.stderr.isatty():
        os.write(2, b"\x1b[?25h\n")  # the progress display hides the cursor
    os._exit(INTERRUPTED)
