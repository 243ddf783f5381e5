"""What supervisor and worker say to each other: one JSON object a line, over the worker's standard streams.

The queue is the truth; these lines only save waiting.

To the worker: `{"do": "wake"}`, `{"do": "cancel", "job": ID}`, `{"do": "look", "key": KEY, "ask": N}`,
`{"do": "stop"}`, `{"do": "ping"}`. From it: `{"say": "ready"}`, `{"say": "alive"}` (it heard something),
`{"say": "state", "job": ID}`, `{"say": "events", "job": ID}`, `{"say": "seen", "ask": N, ...}`, and as the last word of
one that cannot go on `{"say": "broken", "error": WHY}`.
"""

from __future__ import annotations

import json
from typing import Any

CALL = 64
"""Digits of the key of a call; in a question for a value, two more before them choose one of the call's outputs."""


def encode(**message: Any) -> bytes:
    return json.dumps(message, separators=(",", ":")).encode() + b"\n"


def decode(line: bytes | str) -> dict[str, Any]:
    """A message; anything else (a library that prints) is one without content."""
    try:
        message = json.loads(line)
    except ValueError:
        return {}
    return message if isinstance(message, dict) else {}
