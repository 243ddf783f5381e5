"""How many bytes of weights a device may hold."""

from __future__ import annotations

import os
import re
from pathlib import Path

from graphcore import StepgraphError

VARIABLE = "STEPGRAPH_WEIGHTS_LIMIT"
"""Environment variable with the budget of every device, such as `6GiB`."""

SHARE = 0.7
"""Of the memory that is free when a device is first used; the rest is for what the models compute."""

UNITS = {"": 1, "kb": 10**3, "mb": 10**6, "gb": 10**9, "kib": 2**10, "mib": 2**20, "gib": 2**30}
CGROUP = Path("/sys/fs/cgroup/memory.max")


class Budget:
    """The limits of all devices: those that were set, else the environment's, else a share of what is free."""

    def __init__(self) -> None:
        self._set: dict[str, int] = {}
        self._found: dict[str, int] = {}

    def set(self, limit: int | str | None, device: str) -> None:
        """Set the limit of a device in bytes or as text such as `6GiB`; None goes back to the default."""
        if limit is None:
            self._set.pop(device, None)
        else:
            self._set[device] = size(limit) if isinstance(limit, str) else limit

    def of(self, device: str) -> int:
        """The limit of a device in bytes."""
        if device in self._set:
            return self._set[device]
        if stated := os.environ.get(VARIABLE):
            return size(stated)
        if device not in self._found:
            self._found[device] = int(SHARE * free_bytes(device))
        return self._found[device]


def size(text: str) -> int:
    """Bytes of a size such as `6GiB`, `800 MB` or `1000000`.

    Raises:
        StepgraphError: it is no size.
    """
    match = re.fullmatch(r"\s*(\d+(?:\.\d+)?)\s*([kmg]i?b)?\s*", text, re.IGNORECASE)
    if match is None:
        raise StepgraphError(f"{text!r} is no size for weights ({VARIABLE}); write it as in `6GiB` or `800MiB`")
    return int(float(match[1]) * UNITS[(match[2] or "").lower()])


def text(count: int) -> str:
    """Bytes in words: `1.7 GiB`, `12 MiB`."""
    return f"{count / 2**30:.1f} GiB" if count >= 2**30 else f"{count / 2**20:.4g} MiB"


def free_bytes(device: str) -> int:
    """Free memory of a device; of the machine for all that are no CUDA devices."""
    if device.startswith("cuda"):
        import torch

        return int(torch.cuda.mem_get_info(device)[0])
    import psutil

    free = int(psutil.virtual_memory().available)
    limit = CGROUP.read_text().strip() if CGROUP.is_file() else "max"  # of a container, where this process is in one
    return free if limit == "max" else min(free, int(limit))
