"""`did you mean`, for checkers: bounded work, however many names and mistakes a file has."""

from __future__ import annotations

from collections.abc import Collection

from graphcore.errors import did_you_mean

_COMPARISONS = 50_000
_LONGEST = 80


class Suggester:
    """Suggests names until it has compared so many that a person would not read on anyway."""

    def __init__(self) -> None:
        self._left = _COMPARISONS

    def near(self, name: str, known: Collection[str]) -> str:
        """`did you mean `x`?`, or an empty string."""
        self._left -= len(known)
        if self._left < 0 or len(name) > _LONGEST:
            return ""
        return did_you_mean(name, [candidate for candidate in known if len(candidate) <= _LONGEST])

    def near_or_list(self, name: str, known: Collection[str], title: str) -> str:
        """As `near`; where nothing is near, the names that there are."""
        if found := self.near(name, known):
            return found
        return f"{title}: {listing(known)}" if known else ""


def listing(names: Collection[str], limit: int = 12) -> str:
    """`a`, `b` and 3 more."""
    shown = [f"`{name[:_LONGEST]}`" for _, name in zip(range(limit), names, strict=False)]
    more = len(names) - len(shown)
    return ", ".join(shown) + (f" and {more} more" if more else "")
