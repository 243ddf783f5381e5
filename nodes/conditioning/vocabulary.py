"""What a model with a closed vocabulary knows, and which words of a prompt it has never seen."""

from __future__ import annotations

import difflib
import re
from collections.abc import Callable, Iterable, Sequence

WORD = re.compile(r"[^\W\d_]+(?:'[^\W\d_]+)?")
SHOWN = 6
"""How many things a note names."""


def things(vocabulary: Iterable[str]) -> list[str]:
    """Every name of every thing: lines of vocabulary.txt, alternatives separated by `|`."""
    return [name.strip().lower() for line in vocabulary for name in line.split("|") if name.strip()]


def unknown_words(text: str, known: Iterable[str], seen: Callable[[str], bool] = lambda word: False) -> list[str]:
    """The words of a prompt that are in no known name, in order, once each.

    Args:
        known: Names of things, and other words of the captions.
        seen: Whether the model has seen a word for another reason.
    """
    words = {word for name in known for word in WORD.findall(name.lower())}
    wanted = dict.fromkeys(WORD.findall(text.lower()))
    return [word for word in wanted if word not in words and not seen(word)]


def nearest(words: Iterable[str], names: Sequence[str]) -> list[str]:
    """Known names spelt most like the words, the best for each first (none if nothing comes near)."""
    parts: dict[str, str] = {}
    for name in names:
        for part in (name, *name.split()):
            parts.setdefault(part, name)
    found = (parts[near] for word in words for near in difflib.get_close_matches(word, parts, n=2, cutoff=0.7))
    return list(dict.fromkeys(found))[:SHOWN]


def describe(words: Sequence[str], names: Sequence[str]) -> str:
    """The note about unknown words: which, and what is near them, or some of what there is."""
    listed = ", ".join(f"`{word}`" for word in words)
    text = f"this model has never seen the word{'s' if len(words) > 1 else ''} {listed}"
    if near := nearest(words, names):
        return f"{text}; the nearest things that it knows: {', '.join(near)}"
    step = max(1, len(names) // SHOWN)
    return f"{text}; it knows {len(names)} names of things, such as {', '.join(names[::step][:SHOWN])}"
