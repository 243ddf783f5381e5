"""Conditionings as one: closed forms, and what cannot be put together."""

from __future__ import annotations

from typing import Any

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from graphcore import InputError, TensorSpec
from nodes import combine, zero_out
from nodes.conditioning.combine import infer_combine
from nodes.types import Conditioning, Region


def draw(*shape: int, seed: int = 0) -> torch.Tensor:
    return torch.randn(shape, generator=torch.Generator().manual_seed(seed))


def spec(conditioning: Conditioning) -> Conditioning:
    """What the checker knows of a conditioning."""

    def of(tensor: torch.Tensor | None) -> Any:
        return None if tensor is None else TensorSpec(tuple(tensor.shape), str(tensor.dtype).removeprefix("torch."))

    names = ("context", "context_mask", "vector", "time_ids")
    return Conditioning(**{name: of(getattr(conditioning, name)) for name in names})


ROWS = st.sampled_from([(1, 1), (1, 3), (3, 1), (2, 2)])


@settings(deadline=None)
@given(ROWS, st.integers(1, 4), st.integers(1, 4))
def test_concat_puts_tokens_behind_tokens(rows: tuple[int, int], first: int, second: int) -> None:
    one, other = draw(rows[0], first, 5), draw(rows[1], second, 5, seed=1)
    vector, numbers = draw(1, 7), draw(1, 6)
    given_ = Conditioning(one, vector=vector, time_ids=numbers), Conditioning(other, vector=draw(1, 7, seed=2))
    found = combine(*given_, "concat")
    assert found.context is not None
    assert found.context.shape == (max(rows), first + second, 5)
    for row in range(max(rows)):
        assert torch.equal(found.context[row, :first], one[row % rows[0]])
        assert torch.equal(found.context[row, first:], other[row % rows[1]])
    assert found.vector is vector
    assert found.time_ids is numbers
    inferred = infer_combine(spec(given_[0]), spec(given_[1]), "concat")
    assert inferred is not None
    assert inferred.context == TensorSpec(tuple(found.context.shape), "float32")


def test_masks_go_along() -> None:
    one = Conditioning(draw(1, 2, 5), context_mask=torch.tensor([[1.0, 0.0]]))
    found = combine(one, Conditioning(draw(2, 3, 5)), "concat").context_mask
    assert found is not None
    assert found.tolist() == [[1, 0, 1, 1, 1]] * 2
    assert combine(Conditioning(draw(1, 2, 5)), one, "concat").context_mask.tolist() == [[1, 1, 1, 0]]  # type: ignore[union-attr]


@settings(deadline=None)
@given(ROWS, st.floats(0, 1), st.integers(1, 4), st.integers(1, 4))
def test_average_is_linear(rows: tuple[int, int], weight: float, first: int, second: int) -> None:
    one, other = draw(rows[0], first, 5), draw(rows[1], second, 5, seed=1)
    vectors = draw(rows[0], 7, seed=2), draw(rows[1], 7, seed=3)
    found = combine(Conditioning(one, vector=vectors[0]), Conditioning(other, vector=vectors[1]), "average", weight)
    tokens = max(first, second)
    filled = [context[:, [min(place, context.shape[1] - 1) for place in range(tokens)]] for context in (one, other)]
    torch.testing.assert_close(found.context, (1 - weight) * filled[0] + weight * filled[1])
    torch.testing.assert_close(found.vector, (1 - weight) * vectors[0] + weight * vectors[1])


def test_the_ends_of_an_average_are_exact() -> None:
    one, other = (
        Conditioning(draw(1, 3, 5), vector=draw(1, 7)),
        Conditioning(draw(1, 3, 5, seed=1), vector=draw(1, 7, seed=1)),
    )
    for weight, end in ((0.0, one), (1.0, other)):
        found = combine(one, other, "average", weight)
        assert torch.equal(found.context, end.context)  # type: ignore[arg-type]
        assert torch.equal(found.vector, end.vector)  # type: ignore[arg-type]


def test_what_both_have_alike_stays_in_an_average() -> None:
    numbers = torch.tensor([[1.0, 2.0]])
    one, other = Conditioning(draw(1, 3, 5), time_ids=numbers), Conditioning(draw(1, 3, 5), time_ids=numbers.clone())
    found = combine(one, other, "average")
    assert found.time_ids is numbers
    residuals = (draw(1, 2, 4, 4),)
    found = combine(Conditioning(draw(1, 3, 5)), Conditioning(draw(1, 3, 5), residuals=residuals), "average")
    assert found.residuals is residuals


TIMED = Conditioning(regions=(Region(Conditioning(draw(1, 2, 5))),))
LABELS = [Conditioning(vector=torch.tensor([label])) for label in (1, 2)]

BAD: list[tuple[Conditioning, Conditioning, str, str, str]] = [
    (Conditioning(draw(1, 2, 5)), Conditioning(draw(1, 2, 6)), "concat", "second", "width 5"),
    (Conditioning(draw(2, 2, 5)), Conditioning(draw(3, 2, 5)), "concat", "second", "for 2 images"),
    (Conditioning(), Conditioning(draw(1, 2, 5)), "concat", "first", "with a context"),
    (Conditioning(draw(1, 2, 5)), Conditioning(vector=draw(1, 2)), "concat", "second", "with a context"),
    (Conditioning(draw(1, 2, 5), vector=draw(1, 7)), Conditioning(draw(1, 2, 5)), "average", "second", "`vector`"),
    (Conditioning(vector=draw(1, 7)), Conditioning(vector=draw(1, 8)), "average", "second", "width 7"),
    (LABELS[0], LABELS[1], "average", "first", "class labels"),
    (TIMED, Conditioning(draw(1, 2, 5)), "concat", "first", "whole"),
]  # fmt: skip


@pytest.mark.parametrize(("first", "second", "how", "port", "words"), BAD)
def test_what_cannot_be_combined(first: Conditioning, second: Conditioning, how: Any, port: str, words: str) -> None:
    for call in (combine, infer_combine):
        with pytest.raises(InputError, match=words) as caught:
            call(first, second, how)
        assert caught.value.port == port


def test_different_sizes_are_not_averaged() -> None:
    one, other = (Conditioning(draw(1, 2, 5), time_ids=torch.full((1, 6), value)) for value in (1.0, 2.0))
    with pytest.raises(InputError, match="`time_ids` of `first`") as caught:
        combine(one, other, "average")
    assert "after `combine`" in caught.value.fix


def test_zero_out() -> None:
    numbers, label = draw(1, 6), torch.tensor([3])
    found = zero_out(Conditioning(draw(1, 2, 5), vector=draw(1, 7), time_ids=numbers))
    assert torch.equal(found.context, torch.zeros(1, 2, 5))  # type: ignore[arg-type]
    assert torch.equal(found.vector, torch.zeros(1, 7))  # type: ignore[arg-type]
    assert found.time_ids is numbers
    assert zero_out(Conditioning(vector=label)).vector is label
    region = Region(Conditioning(draw(1, 2, 5)), start=0.5)
    inner = zero_out(Conditioning(regions=(region,))).regions[0]
    assert inner.start == 0.5
    assert not inner.conditioning.context.any()  # type: ignore[union-attr]
