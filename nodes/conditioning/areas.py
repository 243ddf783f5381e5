"""Conditionings that hold in a part of the picture or of the schedule, and several of them together."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from typing import Annotated, Any

from pydantic import Field

from graphcore import InputError, TensorSpec, node
from nodes.models import unet_inputs
from nodes.sampling.schedule import Share
from nodes.types import Conditioning, Mask, Region


def regions_of(conditioning: Conditioning) -> tuple[Region, ...]:
    """The regions of a conditioning; one without is a region that is everywhere and always."""
    return conditioning.regions or (Region(conditioning),)


def infer_area(
    conditioning: Conditioning | None = None, mask: Mask | None = None, weight: float = 1.0
) -> Conditioning | None:
    """The conditioning with a region of the mask's shape."""
    if conditioning is None or mask is None:
        return None
    return _limited(conditioning, lambda region: _in_mask(region, mask.values, weight))


@node(category="conditioning", infer=infer_area)
def in_area(
    conditioning: Conditioning, mask: Mask, weight: Annotated[float, Field(gt=0, le=100)] = 1.0
) -> Conditioning:
    """A conditioning that holds where a mask is 1, and in part where it is between 0 and 1.

    Put several `together`: at each place the prediction is the mean of those that hold there, weighted by mask and
    `weight`. Every place of the picture needs one.

    Args:
        mask: Of any size; it is resampled to the size of the latents.
        weight: Against the others at the same place.

    Raises:
        InputError: the conditioning is in an area already whose mask has another size.
    """
    return _limited(conditioning, lambda region: _in_mask(region, mask.values, weight))


def infer_steps(conditioning: Conditioning | None = None, start: float = 0.0, end: float = 1.0) -> Conditioning | None:
    """The conditioning with a region; refuses a range that holds nothing."""
    _check_range(start, end)
    return None if conditioning is None else _limited(conditioning, lambda region: _in_range(region, start, end))


@node(category="conditioning", infer=infer_steps)
def in_steps(conditioning: Conditioning, start: Share = 0.0, end: Share = 1.0) -> Conditioning:
    """A conditioning that holds in a part of the steps: where start <= progress < end.

    Progress is the share of the run's steps that are done: with 20 steps, 0 .. 0.5 are the first ten. Put several
    `together`, so that each step has one.

    Args:
        start: 0 is the first step.
        end: 1 is the end of the run.

    Raises:
        InputError: `end` is not after `start`, or the conditioning holds in other steps only.
    """
    _check_range(start, end)
    return _limited(conditioning, lambda region: _in_range(region, start, end))


def infer_together(first: Conditioning | None = None, second: Conditioning | None = None) -> Conditioning | None:
    """The regions of both."""
    return None if first is None or second is None else together(first, second)


@node(category="conditioning", infer=infer_together)
def together(first: Conditioning, second: Conditioning) -> Conditioning:
    """Both, each where and when it holds (`in_area`, `in_steps`).

    Where both hold the prediction is the mean of theirs, by the weights of their regions. This is done with
    predictions, as composable diffusion does (arXiv:2206.01714), not with tokens: widths and lengths may differ.
    """
    return Conditioning(regions=(*regions_of(first), *regions_of(second)))


def _limited(conditioning: Conditioning, change: Callable[[Region], Region]) -> Conditioning:
    return Conditioning(regions=tuple(change(region) for region in regions_of(conditioning)))


def _in_mask(region: Region, mask: Any, weight: float) -> Region:
    """A region where its own mask and another one hold."""
    if region.mask is not None:
        ours, theirs = tuple(region.mask.shape), tuple(mask.shape)
        if not all(unet_inputs.same(a, b) for a, b in zip(ours[-2:], theirs[-2:], strict=True)):
            raise InputError(
                "mask", expected=f"a mask of {TensorSpec(ours[-2:])}, as that of the conditioning",
                got=str(TensorSpec(theirs)), fix="`resize_mask` gives them one size",
            )  # fmt: skip
        mask = mask if isinstance(mask, TensorSpec) else region.mask * mask
    return replace(region, mask=mask, weight=region.weight * weight)


def _check_range(start: float, end: float) -> None:
    if not start < end:
        raise InputError("end", expected=f"more than `start`, {start:g}", got=f"{end:g}")


def _in_range(region: Region, start: float, end: float) -> Region:
    """A region in those of its steps that lie in a range."""
    start, end = max(start, region.start), min(end, region.end)
    if not start < end:
        raise InputError(
            "conditioning", expected="one that holds in some of these steps",
            got=f"one for {region.start:.0%} to {region.end:.0%} of the schedule",
        )  # fmt: skip
    return replace(region, start=start, end=end)
