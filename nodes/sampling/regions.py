"""A conditioning that holds in parts of the picture or of the schedule: which parts count, and their mean."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any

from graphcore import InputError
from nodes.types import Region

if TYPE_CHECKING:
    import torch

Arguments = Mapping[str, Any]


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
        raise InputError(
            "conditioning", expected=f"a conditioning that holds {progress:.0%} into the schedule",
            got="regions of other steps", fix="combine it with one for all steps",
        )  # fmt: skip
    return [({**call, "conditioning": region.conditioning}, region) for region in held]


def holds(region: Region, progress: float) -> bool:
    """Whether a region counts at this share of the schedule."""
    return region.start <= progress and (progress < region.end or region.end >= 1)


def blend(parts: Sequence[tuple[torch.Tensor, Region | None]]) -> torch.Tensor:
    """The weighted mean of predictions (batch, channels, height, width), place by place.

    Raises:
        InputError: at some place no region counts.
    """
    import torch

    if len(parts) == 1 and (parts[0][1] is None or parts[0][1].mask is None):
        return parts[0][0]
    total, weights = torch.zeros_like(parts[0][0]), torch.zeros_like(parts[0][0][:, :1])
    for sample, region in parts:
        assert region is not None
        share = region.weight * _mask(region, sample)
        total, weights = total + share * sample, weights + share
    if float(weights.min()) <= 0:
        raise InputError(
            "conditioning", expected="a conditioning for every place of the picture", got="masks that leave a gap",
            fix="combine it with one that has no mask",
        )  # fmt: skip
    return total / weights


def _mask(region: Region, sample: torch.Tensor) -> torch.Tensor:
    """The weights of a region at the size of the latents."""
    import torch
    from torch.nn.functional import interpolate

    if region.mask is None:
        return torch.ones_like(sample[:, :1])
    mask = region.mask.to(sample.device, sample.dtype)
    if mask.shape[2:] == sample.shape[2:]:
        return mask
    return interpolate(mask, size=sample.shape[2:], mode="bilinear", antialias=True, align_corners=False)
