"""The notation of weights in prompts: against trees whose weights are known by construction."""

from __future__ import annotations

import math
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from graphcore import InputError
from nodes.conditioning.prompt_weights import MARKS, STEP, Piece, parse

# A prompt is a list of (text) leaves and (mark, weight, children) nodes; its weights follow from the tree alone.
LEAVES = st.text(max_size=8)
TREES: st.SearchStrategy[Any] = st.recursive(
    LEAVES,
    lambda inner: st.tuples(
        st.sampled_from(["(", "["]),
        st.none() | st.floats(0.1, 3).map(lambda x: round(x, 3)),
        st.lists(inner, max_size=3),
    ),
    max_leaves=8,
)


def write(tree: Any) -> str:
    """The prompt of a tree; colons stand for nothing here, as a colon before a number and a bracket is a weight."""
    if isinstance(tree, str):
        text = tree.replace("\\", "\\\\").replace(":", ";")
        for mark in "()[]":
            text = text.replace(mark, f"\\{mark}")
        return text
    mark, weight, children = tree
    inner = "".join(map(write, children))
    if mark == "[":
        return f"[{inner}]"
    return f"({inner})" if weight is None else f"({inner}:{weight})"


def leaves(tree: Any, factor: float = 1.0) -> list[tuple[str, float]]:
    """Each character of a tree with its weight."""
    if isinstance(tree, str):
        return [(character, factor) for character in tree.replace(":", ";")]
    mark, weight, children = tree
    own = 1 / 1.1 if mark == "[" else 1.1 if weight is None else weight
    return [pair for child in children for pair in leaves(child, factor * own)]


@settings(deadline=None)
@given(st.lists(TREES, max_size=4))
def test_weights_are_those_of_the_tree(trees: list[Any]) -> None:
    pieces = parse("".join(map(write, trees)))
    found = [(character, piece.weight) for piece in pieces for character in piece.text]
    expected = [pair for tree in trees for pair in leaves(tree)]
    assert [character for character, _ in found] == [character for character, _ in expected]
    for (_, ours), (_, theirs) in zip(found, expected, strict=True):
        assert math.isclose(ours, theirs, rel_tol=1e-9)


@settings(deadline=None)
@given(st.text(max_size=40))
def test_any_text_is_read_or_refused_in_words(text: str) -> None:
    try:
        pieces = parse(text)
    except InputError as error:
        refused = error.port, bool(error.fix)
    else:
        refused = None
    if refused:
        assert refused == ("text", True)
        return
    if not any(mark in text for mark in "()[]\\"):
        assert "".join(piece.text for piece in pieces) == text
        assert all(piece.weight == 1 for piece in pieces)


@settings(deadline=None)
@given(st.text(max_size=40))
def test_the_scanner_leaves_no_character_out(text: str) -> None:
    assert "".join(found.group() for found in MARKS.finditer(text)) == text


@pytest.mark.parametrize(
    ("prompt", "expected"),
    [
        ("", []),
        ("a (red:1.3) apple", [("a ", 1.0), ("red", 1.3), (" apple", 1.0)]),
        ("(a (b:2):0.5)", [("a ", 0.5), ("b", 1.0)]),
        ("((x))", [("x", STEP * STEP)]),
        ("[x]", [("x", 1 / STEP)]),
        (r"a \(b\) \[c\] \\", [("a (b) [c] \\", 1.0)]),
        ("at 12:30 (now: red)", [("at 12:30 ", 1.0), ("now: red", STEP)]),
        ("(x:-1)", [("x", -1.0)]),
        ("(x: .5 )", [("x", 0.5)]),
        ("C:\\path", [("C:\\path", 1.0)]),
    ],
)
def test_examples(prompt: str, expected: list[tuple[str, float]]) -> None:
    assert parse(prompt) == [Piece(text, pytest.approx(weight)) for text, weight in expected]


@pytest.mark.parametrize(
    ("prompt", "words"),
    [
        ("a (red apple", ["`(` alone at character 3", "add the `)`"]),
        ("a red) apple", ["`)` alone at character 6", r"write `\)`"]),
        ("(a [b)", ["`)` alone at character 6"]),
        ("[word:1.2]", ["square brackets without a weight", "(...:1.2)"]),
        ("(word:1,2)", ["a number such as 1.2", "`1,2`"]),
        ("(word:1.2.3)", ["a number such as 1.2", "`1.2.3`"]),
    ],
)
def test_mistakes_are_said_in_words(prompt: str, words: list[str]) -> None:
    with pytest.raises(InputError) as caught:
        parse(prompt)
    for word in words:
        assert word in str(caught.value)
