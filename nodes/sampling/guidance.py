"""Classifier-free guidance: how much, at which steps, and how much contrast is taken back."""

from __future__ import annotations

import math
from typing import Annotated, Literal

from pydantic import Field

from graphcore import InputError, TensorSpec, node
from nodes.sampling.schedule import Share
from nodes.types import NoisePred, Timestep

GuidanceScale = Annotated[float, Field(ge=0, le=100)]
Curve = Literal["linear", "cosine", "quadratic"]


# --- guidance_mode and scheduled_scale --------------------------------------------------------------------------------


def infer_mode(
    guidance_scale: float | None = None,
    start: float | None = None,
    end: float | None = None,
    guidance_rescale: float | None = None,
) -> str | None:
    """The mode, where it is the same at all steps: so the checker knows which way of the switch is taken."""
    if start is not None and end is not None:
        _check_interval(start, end)
    if guidance_scale is not None and guidance_scale <= 1:
        return "none"
    if guidance_scale is None or guidance_rescale is None or start != 0 or end is None or end < 1:
        return None
    return guidance_mode(guidance_scale, guidance_rescale=guidance_rescale)


@node(category="guidance", infer=infer_mode)
def guidance_mode(
    guidance_scale: GuidanceScale,
    timestep: Timestep | None = None,
    start: Share = 0.0,
    end: Share = 1.0,
    guidance_rescale: Share = 0.0,
) -> str:
    """`none`, `cfg` or `rescaled`: what a `switch` over the ways to denoise selects by, once for all or at each step.

    At a scale of 1 the guided prediction is the conditional one, so that half of the UNet's work can be left out; the
    diffusers pipelines do the same, for every scale up to 1. Outside of an interval of the schedule guidance may do
    more harm than good, and is left out too (Kynkaanniemi et al. 2024, arXiv:2404.07724).

    Args:
        guidance_scale: 1 or less is `none`.
        timestep: Needed for an interval.
        start, end: Shares of the schedule: guidance where start <= progress < end (to the last step where `end` is 1).
        guidance_rescale: Above 0 the mode is `rescaled`, for `rescale_guidance`.

    Raises:
        InputError: `start` is not before `end`, or there is an interval and no timestep.
    """
    _check_interval(start, end)
    if guidance_scale <= 1 or not _within(timestep, start, end):
        return "none"
    return "rescaled" if guidance_rescale > 0 else "cfg"


def _within(timestep: Timestep | None, start: float, end: float) -> bool:
    if start <= 0 and end >= 1:
        return True
    if timestep is None:
        raise InputError(
            "timestep", expected="a timestep, as guidance is to hold only in a part of the schedule", got="none",
            fix="link the timestep of the loop, or leave `start` 0 and `end` 1",
        )  # fmt: skip
    return start <= timestep.progress and (timestep.progress < end or end >= 1)


def _check_interval(start: float, end: float) -> None:
    if start >= end:
        raise InputError(
            "start", expected=f"less than `end`, which is {end:g}", got=f"{start:g}",
            fix="for no guidance at all set `guidance_scale` to 1",
        )  # fmt: skip


@node(category="guidance")
def scheduled_scale(
    timestep: Timestep, first: GuidanceScale = 10.0, last: GuidanceScale = 3.0, curve: Curve = "linear"
) -> float:
    """A guidance scale that changes over the steps, from `first` to `last`.

    Args:
        timestep: Of the loop.
        first: At the first step.
        last: At the last step; a schedule of one step has only the first.
        curve: `linear`; `cosine`, flat at both ends; `quadratic`, flat at the first.
    """
    done = timestep.index / max(timestep.count - 1, 1)
    share = {"linear": done, "cosine": (1 - math.cos(math.pi * done)) / 2, "quadratic": done**2}[curve]
    return first + (last - first) * share


# --- classifier_free_guidance and rescale_guidance --------------------------------------------------------------------


def infer(
    cond: NoisePred | None = None, uncond: NoisePred | None = None, guidance_scale: float = 7.5
) -> NoisePred | None:
    """The prediction's type and shape, which both inputs must share."""
    if cond is not None and uncond is not None:
        check_alike(cond, uncond)
    return cond if cond is not None else uncond


@node(category="guidance", infer=infer)
def classifier_free_guidance(cond: NoisePred, uncond: NoisePred, guidance_scale: GuidanceScale = 7.5) -> NoisePred:
    """Extrapolate from the unconditional to the conditional prediction: eps = eps_u + s (eps_c - eps_u).

    A learned variance is that of `cond`.

    Args:
        cond: Prediction with the prompt.
        uncond: Prediction with the empty or the negative prompt.
        guidance_scale: s; 0 is the unconditional prediction, 1 the conditional one, about 7.5 is usual.

    Raises:
        InputError: the predictions differ in type or shape.

    Source: Ho & Salimans 2022 (arXiv:2207.12598), eq. 6, with s = 1 + w.
    """
    check_alike(cond, uncond)
    sample = uncond.sample + guidance_scale * (cond.sample - uncond.sample)
    return NoisePred(sample, cond.prediction_type, cond.variance)


def infer_rescaled(guided: NoisePred | None = None, cond: NoisePred | None = None) -> NoisePred | None:
    """The prediction's type and shape, which both inputs must share."""
    if guided is not None and cond is not None:
        check_alike(cond, guided, "guided")
    return guided if guided is not None else cond


@node(category="guidance", infer=infer_rescaled)
def rescale_guidance(guided: NoisePred, cond: NoisePred, guidance_rescale: Share = 0.7) -> NoisePred:
    """Take back what guidance adds to the contrast: eps = phi eps_g std(eps_c) / std(eps_g) + (1 - phi) eps_g.

    The deviation is that of one image, over channels, height and width.

    Args:
        guided: What `classifier_free_guidance` gives.
        cond: The conditional prediction.
        guidance_rescale: phi; 0 changes nothing, 0.7 is usual.

    Raises:
        InputError: the predictions differ in type or shape.

    Source: Lin et al. 2023 (arXiv:2305.08891), sec. 3.4.
    """
    check_alike(cond, guided, "guided")
    dims = tuple(range(1, guided.sample.dim()))
    ratio = cond.sample.std(dim=dims, keepdim=True) / guided.sample.std(dim=dims, keepdim=True)
    rescaled = guided.sample * ratio
    sample = guidance_rescale * rescaled + (1 - guidance_rescale) * guided.sample
    return NoisePred(sample, guided.prediction_type, guided.variance)


def check_alike(cond: NoisePred, other: NoisePred, port: str = "uncond") -> None:
    """Refuse a prediction of another type or shape than `cond`.

    Raises:
        InputError: on `port`, the one of `other`.
    """
    if cond.prediction_type != other.prediction_type:
        raise InputError(
            port, expected=f"a prediction of type {cond.prediction_type}, as `cond`", got=other.prediction_type,
            fix="both must come from the same UNet",
        )  # fmt: skip
    ours, theirs = tuple(cond.sample.shape), tuple(other.sample.shape)
    if len(ours) != len(theirs) or any(a != b for a, b in zip(ours, theirs, strict=True) if None not in (a, b)):
        raise InputError(
            port, expected=f"a prediction of shape {TensorSpec(ours)}, as `cond`", got=str(TensorSpec(theirs)),
            fix="both must be predicted from the same latents",
        )  # fmt: skip
