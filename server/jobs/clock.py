"""Time for leases: seconds that no change of the wall clock touches, comparable between the processes of a machine."""

from __future__ import annotations

import time
from pathlib import Path

_BOOT = Path("/proc/sys/kernel/random/boot_id")


class Clock:
    """A clock that runs from the start of the machine.

    Attributes:
        boot: Names this start of the machine: a time of another one means nothing now.
    """

    def __init__(self) -> None:
        self.boot = _BOOT.read_text().strip() if _BOOT.exists() else ""

    def now(self) -> float:
        """Seconds since the machine started, sleep included where the system tells."""
        source = getattr(time, "CLOCK_BOOTTIME", None)
        return time.monotonic() if source is None else time.clock_gettime(source)
