"""A conditioning that holds in parts of the picture or of the schedule: which parts count, and their mean."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from functools import lru_cache
from typing import TYPE_CHECKING, Any

from graphcore import InputError, runtime
from nodes.types import Conditioning, Region

if TYPE_CHECKING:
    import torch

Arguments = Mapping[str, Any]


def check(conditioning: Conditioning | None) -> None:
    """Refuse regions that leave a part of the schedule without a conditioning.

    Raises:
        InputError: names the part.
    """
    if conditioning is None or not conditioning.regions:
        return
    reached = 0.0
    for region in sorted(conditioning.regions, key=lambda region: region.start):
        if region.start > reached:
            raise _gap(f"{reached:.0%} to {region.start:.0%}")
        reached = max(reached, region.end)
    if reached < 1:
        raise _gap(f"{reached:.0%} to 100%")


def plain(call: Arguments) -> list[tuple[Arguments, Region | None]]:
    """A call of the UNet as calls without regions: those that hold at its timestep.

    Raises:
        InputError: none does.
    """
    if not call["conditioning"].regions:
        return [(call, None)]
    progress = call["timestep"].progress
    held = [region for region in call["conditioning"].regions if holds(region, progress)]
    if not held:
        raise _gap(f"{progress:.0%}")
    return [({**call, "conditioning": region.conditioning}, region) for region in held]


def _gap(where: str) -> InputError:
    return InputError(
        "conditioning", expected=f"a conditioning that holds at {where} of the schedule",
        got="regions of other steps", fix="put one for these steps, or for all, beside them with `together`",
    )  # fmt: skip


def holds(region: Region, progress: float) -> bool:
    """Whether a region counts at this share of the schedule."""
    return region.start <= progress and (progress < region.end or region.end >= 1)


def blend(parts: Sequence[tuple[torch.Tensor, Region | None]]) -> torch.Tensor:
    """The weighted mean of predictions (batch, channels, height, width), place by place.

    Raises:
        InputError: at some place no region counts.
    """
    if len(parts) == 1 and (parts[0][1] is None or parts[0][1].mask is None):
        return parts[0][0]
    first = parts[0][0]
    weighed = tuple((region.mask, region.weight) for _, region in parts if region is not None)
    # Masks stay the same from step to step; a check on tensors without content must not leave any behind.
    shares = _shares if runtime().pretended is None else _shares.__wrapped__
    height, width = first.shape[2:]
    found = shares(weighed, (int(height), int(width)), str(first.device), first.dtype)
    total = found[0] * first
    for share, (sample, _) in zip(found[1:], parts[1:], strict=True):
        total = total + share * sample
    return total


@lru_cache(maxsize=8)
def _shares(
    weighed: tuple[tuple[torch.Tensor | None, float], ...], size: tuple[int, int], device: str, dtype: torch.dtype
) -> tuple[torch.Tensor, ...]:
    """How much each region counts at each place of the latents; they add up to 1.

    Computed on the CPU, where masks are made: the loop waits for no accelerator.

    Args:
        weighed: Mask and weight of each region.
        size: Height and width of the latents.
        device, dtype: Of the shares.
    """
    import torch

    weights = [weight * _resized(mask, size) for mask, weight in weighed]
    total = weights[0]
    for each in weights[1:]:
        total = total + each
    if runtime().pretended is None and float(total.min()) <= 0:
        raise InputError(
            "conditioning", expected="a conditioning for every place of the picture", got="masks that leave a gap",
            fix="put one without a mask beside them with `together`",
        )  # fmt: skip
    return tuple(torch.div(each, total).to(device, dtype) for each in weights)


def _resized(mask: torch.Tensor | None, size: tuple[int, int]) -> torch.Tensor:
    """A mask at the size of the latents; ones where there is none."""
    import torch
    from torch.nn.functional import interpolate

    if mask is None:
        return torch.ones(1, 1, 1, 1)
    mask = mask.to("cpu", torch.float32)
    if tuple(mask.shape[2:]) == size:
        return mask
    return interpolate(mask, size=size, mode="bilinear", antialias=True, align_corners=False)
