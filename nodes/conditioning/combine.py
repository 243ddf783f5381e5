"""Two conditionings as one, token by token; and one that says nothing."""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING, Any, Literal

from graphcore import InputError, TensorSpec, node
from nodes.models import unet_inputs
from nodes.sampling.schedule import Share
from nodes.types import Conditioning

if TYPE_CHECKING:
    from torch import Tensor

How = Literal["concat", "average"]

FIX_REGIONS = "combine them first, then use `in_area` or `in_steps`"


def infer_combine(
    first: Conditioning | None = None, second: Conditioning | None = None, how: How | None = None
) -> Conditioning | None:
    """Shapes of the result; refuses what cannot be combined."""
    if first is None or second is None or how is None:
        return None
    _check(first, second, how)
    if how == "average":
        return _longer(first, second)
    return replace(first, context=_joined_spec(first.context, second.context), context_mask=_joined_mask(first, second))


@node(category="conditioning", infer=infer_combine)
def combine(first: Conditioning, second: Conditioning, how: How = "concat", weight: Share = 0.5) -> Conditioning:
    """Two conditionings as one.

    `concat` puts the context tokens of the second behind those of the first: the picture can show both. All else
    (vector, sizes, concat, residuals) is the first's. `average` is (1 - weight) first + weight second, of the context
    and of the vector: something between the two. A shorter context is filled up with its own last token (what text is
    padded with) to the length of the longer; sizes, concat and the like must be those of both, or of one alone.

    Args:
        weight: For `average`, the share of the second: 0 is the first, 1 the second.

    Raises:
        InputError: widths differ, one has what cannot be averaged, or one holds only in an area or in some steps.
    """
    _check(first, second, how)
    if how == "concat":
        return replace(first, context=_concat(first, second), context_mask=_joined_mask(first, second))
    return _average(first, second, weight)


def _check(first: Conditioning, second: Conditioning, how: How) -> None:
    for port, one in (("first", first), ("second", second)):
        if one.regions:
            raise InputError(
                port, expected="a conditioning for the whole picture and all steps", got="one with regions",
                fix=FIX_REGIONS,
            )  # fmt: skip
    _same_width("context", first.context, second.context)
    if how == "concat" and (first.context is None or second.context is None):
        port = "first" if first.context is None else "second"
        raise InputError(port, expected="a conditioning with a context", got="one without", fix="use `average`")
    if how == "average":
        _check_average(first, second)


def _check_average(first: Conditioning, second: Conditioning) -> None:
    _same_width("vector", first.vector, second.vector)
    for name in ("context", "vector"):
        if (getattr(first, name) is None) != (getattr(second, name) is None):
            port, other = ("first", "second") if getattr(first, name) is None else ("second", "first")
            raise InputError(port, expected=f"a conditioning with `{name}`, as `{other}`", got="one without")
    for port, one in (("first", first), ("second", second)):
        if one.vector is not None and _whole_numbers(one.vector):
            raise InputError(port, expected="a vector", got="class labels, between which there is nothing",
                             fix="use `together` with `in_area` or `in_steps`")  # fmt: skip


def _whole_numbers(tensor: Any) -> bool:
    return "int" in str(tensor.dtype)


def _same_width(name: str, first: Any, second: Any) -> None:
    if first is None or second is None:
        return
    ours, theirs = tuple(first.shape), tuple(second.shape)
    if not unet_inputs.same(theirs[-1], ours[-1]) or len(ours) != len(theirs):
        raise InputError(
            "second", expected=f"a {name} of width {ours[-1]}, as `first`", got=str(TensorSpec(theirs)),
            fix="make both with the encoders of one model",
        )  # fmt: skip
    if 1 not in (ours[0], theirs[0]) and not unet_inputs.same(theirs[0], ours[0]):
        raise InputError("second", expected=f"a {name} for {ours[0]} images, or for one", got=f"for {theirs[0]}")


def _concat(first: Conditioning, second: Conditioning) -> Tensor:
    import torch

    one, other = first.context, second.context
    assert one is not None
    assert other is not None
    rows = max(len(one), len(other))
    return torch.cat([_rows(one, rows), _rows(other.to(one.device, one.dtype), rows)], dim=1)


def _rows(tensor: Tensor, rows: int) -> Tensor:
    """A tensor of one image, for so many."""
    return tensor if len(tensor) == rows else tensor.expand(rows, *tensor.shape[1:])


def _joined_spec(first: Any, second: Any) -> Any:
    (rows, tokens, width), (others, more, _) = first.shape, second.shape
    both = None if tokens is None or more is None else tokens + more
    return TensorSpec((None if None in (rows, others) else max(rows, others), both, width), str(first.dtype))


def _joined_mask(first: Conditioning, second: Conditioning) -> Any:
    """The masks of both contexts; ones for a context without a mask."""
    if first.context_mask is None and second.context_mask is None:
        return None
    if isinstance(first.context_mask, TensorSpec) or isinstance(second.context_mask, TensorSpec):
        rows, tokens, _ = _joined_spec(first.context, second.context).shape
        return TensorSpec((rows, tokens))
    import torch

    masks = []
    for one in (first, second):
        assert one.context is not None
        mask = one.context_mask
        masks.append(torch.ones(one.context.shape[:2], device=one.context.device) if mask is None else mask)
    rows = max(map(len, masks))
    return torch.cat([_rows(mask.to(masks[0]), rows) for mask in masks], dim=1)


def _longer(first: Conditioning, second: Conditioning) -> Conditioning:
    """The one with more context tokens stands for the shapes of an average."""
    if first.context is None or second.context is None:
        return first
    ours, theirs = first.context.shape[1], second.context.shape[1]
    if ours is None or theirs is None:
        unknown: Any = TensorSpec((first.context.shape[0], None, first.context.shape[2]))
        return replace(first, context=unknown)
    return first if ours >= theirs else replace(first, context=second.context)


def _average(first: Conditioning, second: Conditioning, weight: float) -> Conditioning:
    context = _mixed_contexts(first.context, second.context, weight)
    vector = None if first.vector is None else _mixed(first.vector, second.vector, weight)
    rest = {
        name: _common(name, getattr(first, name), getattr(second, name))
        for name in ("context_mask", "concat", "time_ids", "image_embeds", "residuals", "features")
    }
    return Conditioning(context=context, vector=vector, **rest)


def _mixed_contexts(first: Tensor | None, second: Tensor | None, weight: float) -> Tensor | None:
    if first is None or second is None:
        return None
    tokens = max(first.shape[1], second.shape[1])
    return _mixed(_filled(first, tokens), _filled(second, tokens), weight)


def _filled(context: Tensor, tokens: int) -> Tensor:
    """A context with its last token repeated."""
    import torch

    absent = tokens - context.shape[1]
    return context if not absent else torch.cat([context, context[:, -1:].expand(-1, absent, -1)], dim=1)


def _mixed(first: Tensor, second: Any, weight: float) -> Tensor:
    import torch

    return torch.lerp(first, second.to(first.device, first.dtype), weight)


def _common(name: str, first: Any, second: Any) -> Any:
    """What both have, or the one that has it."""
    if first is None or second is None or first is second or _equal(first, second):
        return second if first is None else first
    raise InputError(
        "second", expected=f"the `{name}` of `first`, or none", got="another", fix=f"add `{name}` after `combine`"
    )


def _equal(first: Any, second: Any) -> bool:
    import torch

    if isinstance(first, tuple):
        return len(first) == len(second) and all(map(_equal, first, second))
    return first.shape == second.shape and torch.equal(first, second.to(first.device))


def infer_zero(conditioning: Conditioning | None = None) -> Conditioning | None:
    """As the conditioning."""
    return conditioning


@node(category="conditioning", infer=infer_zero)
def zero_out(conditioning: Conditioning) -> Conditioning:
    """The conditioning with zeros in its context and its vector: a negative that says nothing.

    Sizes, concat, residuals and class labels (where 0 is a class) stay as they are.
    """
    import torch

    def zeros(tensor: Tensor | None) -> Tensor | None:
        return tensor if tensor is None or _whole_numbers(tensor) else torch.zeros_like(tensor)

    changed = tuple(replace(region, conditioning=zero_out(region.conditioning)) for region in conditioning.regions)
    return replace(
        conditioning, context=zeros(conditioning.context), vector=zeros(conditioning.vector), regions=changed
    )
