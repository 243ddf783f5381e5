"""What a run tells the world while it goes: one typed record per decision of the executor."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, Literal, TypeAlias

Png: TypeAlias = bytes

EventName = Literal[
    "run_started", "expanded", "started", "progress", "note", "preview", "cached", "finished", "failed",
    "out_of_memory", "cancelled", "run_finished",
]  # fmt: skip


@dataclass(frozen=True, slots=True)
class Event:
    """One event of one run.

    Args:
        event: What happened. `expanded` says that a loop or map knows its number of iterations (`total`).
        node: Path such as `denoise[3].unet`; empty for events of the run as a whole.
        time: Seconds since the run started (monotonic clock).
        type: Node type, such as `stepgraph/unet`.
        key: Content address of the node's value, hexadecimal.
        seconds: What the node took; for `cached`, what it took when it was made.
        bytes: Size of the value in memory.
        cached: Where a value came from: `memory` or `disk`; empty where the node ran.
        message: A note, an error, or why a value was not kept.
        total: Number of iterations (`expanded`), number of calls that shared the forward pass (`finished`).
        preview: A small PNG picture of the value (`preview` only).
    """

    event: EventName
    node: str = ""
    time: float = 0.0
    type: str = ""
    key: str = ""
    seconds: float = 0.0
    bytes: int = 0
    cached: str = ""
    message: str = ""
    total: int = 0
    preview: Png = b""

    def as_dict(self) -> dict[str, Any]:
        """JSON-ready: fields that say nothing are left out, `event`, `node` and `time` never."""
        record: dict[str, Any] = {"event": self.event, "node": self.node, "time": round(self.time, 6)}
        for name in ("type", "key", "cached", "message", "total"):
            if value := getattr(self, name):
                record[name] = value
        if self.event in ("finished", "cached", "run_finished"):
            record["seconds"] = round(self.seconds, 6)
            record["bytes"] = self.bytes
        return record
