"""Which looks at the disk may be done between two turns of the event loop, by how long they took before."""

from __future__ import annotations

from collections import Counter

SWIFT_SECONDS = 0.001
"""A look that costs no more than a turn of threads does where the machine is busy."""

IN_A_ROW = 3
"""Slow looks on the loop until one is done in a thread: a single one says little, other programs have their turns."""

LATE_SECONDS = 0.05
"""A look that kept the loop waiting so long waited for a disk, most likely."""

PENANCE = 10
"""Looks in threads after one that was late, so that a slow disk holds up the loop a tenth of the time at most."""

MOST_NAMES = 500
"""Names that are remembered."""


class Pace:
    """Responsibilities: say, by name, whether the next look belongs on the loop or in a thread."""

    def __init__(self) -> None:
        self._owed: dict[str, int] = {}
        self._slow: Counter[str] = Counter()

    def swift(self, name: str) -> bool:
        """Whether the loop may do it: no look of this name is owed to the threads."""
        return self._owed.get(name, 1) == 0

    def here(self, name: str, took: float) -> None:
        """A look on the loop took so long, seconds."""
        self._slow[name] = self._slow[name] + 1 if took > SWIFT_SECONDS else 0
        if took > LATE_SECONDS:
            self._owed[name] = PENANCE
        elif self._slow[name] >= IN_A_ROW:
            self._owed[name] = 1

    def there(self, name: str, spent: float) -> None:
        """A look in a thread spent so much processor time: how long it took says nothing, as threads wait in turn."""
        owed = self._owed.get(name, 1)
        if len(self._owed) >= MOST_NAMES:
            self._owed.clear()
            self._slow.clear()
        self._owed[name] = max(owed - 1, 0) if spent < SWIFT_SECONDS else max(owed, 1)
        self._slow[name] = 0
