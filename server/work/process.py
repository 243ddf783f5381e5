"""The process around a worker: it says why it cannot start, and does not outlive its server for long."""

from __future__ import annotations

import argparse
import os
import sys
import threading
import time
import traceback
from collections.abc import Sequence

from server.work import messages

LOOK_SECONDS = 0.5
"""How often the process looks whether its server lives."""


def main(argv: Sequence[str] | None = None) -> int:
    """`python -m server.work.process --parent PID --orphan SECONDS` and the arguments of the worker."""
    parser = argparse.ArgumentParser(allow_abbrev=False)
    parser.add_argument("--parent", type=int, required=True)
    parser.add_argument("--orphan", type=float, required=True)
    options, rest = parser.parse_known_args(argv)
    watch = threading.Thread(target=_end_as_orphan, args=(options.parent, options.orphan), daemon=True)
    watch.start()
    voice = os.dup(sys.stdout.fileno())  # the worker takes standard output for itself
    try:
        from server.work import worker

        _try(rest)
        return worker.main(rest)
    except Exception as error:
        traceback.print_exc()
        os.write(voice, messages.encode(say="broken", error=f"{type(error).__name__}: {error}"))
        return 1


def _try(arguments: Sequence[str]) -> None:
    """Use the device once: one that is not there must not take up jobs only to fail them.

    Raises:
        RuntimeError: in torch's words.
    """
    parser = argparse.ArgumentParser(allow_abbrev=False)
    parser.add_argument("--device", default="auto")
    device = parser.parse_known_args(arguments)[0].device
    if device not in ("auto", "cpu"):
        import torch

        try:
            torch.ones(1, device=device).sum().item()
        except (RuntimeError, AssertionError) as error:  # the latter from a torch that was built without it
            words = str(error).partition("\n")[0]
            raise RuntimeError(f"the device {device} cannot be used: {words}") from error


def _end_as_orphan(parent: int, seconds: float) -> None:
    """End the process some time after its server's end: a step that never ends would hold its job for ever."""
    while os.getppid() == parent:
        time.sleep(LOOK_SECONDS)
    time.sleep(seconds)
    os._exit(1)


if __name__ == "__main__":
    status = main()
    sys.stderr.flush()
    os._exit(status)  # a thread still reads standard input, over which an orderly end would stumble
