r"""Weights in prompts: `(word:1.2)`, `(word)`, `[word]`, nested, with `\(` for a bracket that is meant as one.

The notation is that of AUTOMATIC1111's stable-diffusion-webui (`modules/prompt_parser.py`), as ComfyUI and sd_embed
read it too. There a bracket that is never closed passes silently; here it is refused, with its place.
"""

from __future__ import annotations

import math
import re
from dataclasses import dataclass

from graphcore import InputError

STEP = 1.1
"""What a pair of round brackets multiplies by; square brackets divide by it."""

CLOSES = {")": "(", "]": "["}
MARKS = re.compile(
    r"""
      \\(?P<escaped>[()\[\]\\])
    | :\s*(?P<weight>[+-]?[\d.,]*\d[\d.,]*)\s*(?P<end>[)\]])
    | (?P<open>[(\[])
    | (?P<close>[)\]])
    | (?P<text>[^\\()\[\]:]+|.)
    """,
    re.VERBOSE | re.DOTALL,
)


@dataclass(frozen=True, slots=True)
class Piece:
    """A part of a prompt, as the model is to read it, and how much it counts."""

    text: str
    weight: float = 1.0


@dataclass(slots=True)
class _Bracket:
    """A bracket that is open: which one, where in the prompt, and how many pieces came before it."""

    mark: str
    place: int
    pieces: int


def parse(prompt: str) -> list[Piece]:
    r"""The pieces of a prompt, in order; the weights of nested brackets multiply.

    `(word:1.2)` weighs 1.2, `(word)` 1.1, `[word]` 1 / 1.1; `\(`, `\)`, `\[`, `\]` and `\\` are the characters
    themselves. A colon without a number and a bracket behind it is a colon.

    Raises:
        InputError: on port `text`: a bracket without its other half, `[word:1.2]`, or a weight that is no number.
    """
    pieces: list[Piece] = []
    opened: list[_Bracket] = []
    for found in MARKS.finditer(prompt):
        if mark := found["open"]:
            opened.append(_Bracket(mark, found.start(), len(pieces)))
        elif mark := found["close"] or found["end"]:
            bracket = _partner(opened, mark, found.end() - 1, prompt)
            factor = _factor(bracket, found["weight"], prompt)
            pieces[bracket.pieces :] = [Piece(p.text, p.weight * factor) for p in pieces[bracket.pieces :]]
        else:
            pieces.append(Piece(found["escaped"] or found["text"]))
    if opened:
        raise _unpaired(opened[-1].mark, opened[-1].place, prompt)
    return _joined(pieces)


def _partner(opened: list[_Bracket], mark: str, place: int, prompt: str) -> _Bracket:
    """The bracket that this one closes."""
    if not opened or opened[-1].mark != CLOSES[mark]:
        raise _unpaired(mark, place, prompt)
    return opened.pop()


def _factor(bracket: _Bracket, weight: str | None, prompt: str) -> float:
    if weight is None:
        return STEP if bracket.mark == "(" else 1 / STEP
    if bracket.mark == "[":
        raise InputError(
            "text", expected="square brackets without a weight",
            got=f"`:{weight}]` in {_around(prompt, bracket.place)}", fix=f"write round brackets, `(...:{weight})`",
        )  # fmt: skip
    try:
        factor = float(weight)
    except ValueError as error:
        raise InputError(
            "text", expected="a number such as 1.2 behind the colon",
            got=f"`{weight}` in {_around(prompt, bracket.place)}", fix="write it with one point and no comma",
        ) from error  # fmt: skip
    return factor


def _unpaired(mark: str, place: int, prompt: str) -> InputError:
    other = dict(zip("([)]", ")]([", strict=True))[mark]
    return InputError(
        "text", expected=f"a `{other}` for every `{mark}`",
        got=f"a `{mark}` alone at character {place + 1}, in {_around(prompt, place)}",
        fix=f"add the `{other}`, or write `\\{mark}` for a bracket that is part of the text",
    )  # fmt: skip


def _around(prompt: str, place: int) -> str:
    """The prompt near a place, in quotes."""
    start, end = max(0, place - 15), place + 15
    return repr(("..." if start else "") + prompt[start:end] + ("..." if end < len(prompt) else ""))


def _joined(pieces: list[Piece]) -> list[Piece]:
    """Neighbours of equal weight as one piece."""
    found: list[Piece] = []
    for piece in pieces:
        if found and math.isclose(found[-1].weight, piece.weight, rel_tol=1e-12):
            found[-1] = Piece(found[-1].text + piece.text, found[-1].weight)
        else:
            found.append(piece)
    return found
