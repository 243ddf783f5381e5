"""Classifier-free guidance."""

from __future__ import annotations

from typing import Annotated

from pydantic import Field

from graphcore import InputError, TensorSpec, node
from nodes.types import NoisePred

GuidanceScale = Annotated[float, Field(ge=0, le=100)]


def infer_mode(guidance_scale: float | None = None) -> str | None:
    """The mode, where the scale is known: so the checker knows which way of the switch is taken."""
    return None if guidance_scale is None else guidance_mode(guidance_scale)


@node(category="guidance", infer=infer_mode)
def guidance_mode(guidance_scale: GuidanceScale) -> str:
    """`none` where `guidance_scale` is at most 1, else `cfg`: what a `switch` over the two ways to denoise selects by.

    At 1 the guided prediction is the conditional one, so that half of the UNet's work can be left out; the diffusers
    pipelines do the same, for every scale up to 1.
    """
    return "none" if guidance_scale <= 1 else "cfg"


def infer(
    cond: NoisePred | None = None, uncond: NoisePred | None = None, guidance_scale: float = 7.5
) -> NoisePred | None:
    """The prediction's type and shape, which both inputs must share."""
    if cond is not None and uncond is not None:
        _check(cond, uncond)
    return cond if cond is not None else uncond


@node(category="guidance", infer=infer)
def classifier_free_guidance(cond: NoisePred, uncond: NoisePred, guidance_scale: GuidanceScale = 7.5) -> NoisePred:
    """Extrapolate from the unconditional to the conditional prediction: eps = eps_u + s (eps_c - eps_u).

    Args:
        cond: Prediction with the prompt.
        uncond: Prediction with the empty or the negative prompt.
        guidance_scale: s; 0 is the unconditional prediction, 1 the conditional one, about 7.5 is usual.

    Raises:
        InputError: the predictions differ in type or shape.

    Source: Ho & Salimans 2022 (arXiv:2207.12598), eq. 6, with s = 1 + w.
    """
    _check(cond, uncond)
    return NoisePred(uncond.sample + guidance_scale * (cond.sample - uncond.sample), cond.prediction_type)


def _check(cond: NoisePred, uncond: NoisePred) -> None:
    if cond.prediction_type != uncond.prediction_type:
        raise InputError(
            "uncond", expected=f"a prediction of type {cond.prediction_type}, as `cond`", got=uncond.prediction_type,
            fix="both must come from the same UNet",
        )  # fmt: skip
    ours, theirs = tuple(cond.sample.shape), tuple(uncond.sample.shape)
    if len(ours) != len(theirs) or any(a != b for a, b in zip(ours, theirs, strict=True) if None not in (a, b)):
        raise InputError(
            "uncond", expected=f"a prediction of shape {TensorSpec(ours)}, as `cond`", got=str(TensorSpec(theirs)),
            fix="both must be predicted from the same latents",
        )  # fmt: skip
