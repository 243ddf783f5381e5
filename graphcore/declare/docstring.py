"""What a docstring in Google style says about parameters."""

from __future__ import annotations

import re

_ENTRY = re.compile(r"(?P<names>\w+(?:, \w+)*)(?: \([^)]*\))?:(?: (?P<text>.*))?\Z")


def arguments(doc: str) -> dict[str, str]:
    """The text of each parameter under `Args:`, in one line; `height, width: ...` counts for both."""
    found: dict[str, list[str]] = {}
    names: list[str] = []
    inside, indent = False, 0
    for line in doc.splitlines():
        if line.strip() == "Args:":
            inside = True
        elif inside and line.strip():
            depth = len(line) - len(line.lstrip())
            if not depth:
                break
            indent = indent or depth
            entry = _ENTRY.match(line.strip()) if depth == indent else None
            if entry:
                names = entry["names"].split(", ")
                found.update({name: [entry["text"] or ""] for name in names})
            else:
                for name in names:
                    found[name].append(line.strip())
    return {name: " ".join(part for part in parts if part) for name, parts in found.items()}


def summary(doc: str) -> str:
    """The first paragraph, in one line."""
    return " ".join(doc.strip().partition("\n\n")[0].split())
